"""Stabilisers: what is done to stylised frames after the network so that they flicker less."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from reconet_bench.core.ops import from_uint8
from reconet_bench.core.registry import Registry
from reconet_bench.data.clip import Motion
from reconet_bench.temporal.history import FrameHistory

STABILISERS: Registry[Stabiliser] = Registry("stabiliser", "reconet_bench.temporal")


@dataclass(frozen=True)
class Neighbours:
    """A frame and the one before it, all ``(1, 3, H, W)`` in [0, 1].

    Attributes:
        stylized: the current frame, stylised.
        shown: what was shown for the frame before.
        content, content_before: the content of both.
        motion: from the current frame to the one before; ``None`` where the stabiliser uses none.
    """

    stylized: Tensor
    shown: Tensor
    content: Tensor
    content_before: Tensor
    motion: Motion | None


class Stabiliser(ABC):
    """A way to stabilise; without a memory of its own, so that one serves all sessions.

    Attributes:
        summary: one line for people.
        uses_motion: whether it needs the motion to the frame before.
    """

    summary: ClassVar[str]
    uses_motion: ClassVar[bool] = False

    @abstractmethod
    def mix(self, frames: Neighbours, strength: float) -> Tensor:
        """What is shown for the frame, ``(1, 3, H, W)``; ``strength`` in [0, 1) is the most of the past in it."""


@dataclass(frozen=True)
class Stabilisation:
    """A stabiliser by name, and its strength in [0, 1)."""

    name: str
    strength: float = 0.8


class ShownFrames:
    """Applies a stabiliser to a sequence; it remembers what was shown."""

    def __init__(self, stabilisation: Stabilisation) -> None:
        self._stabiliser, self._strength = STABILISERS[stabilisation.name], stabilisation.strength
        self._shown: Tensor | None = None

    def reset(self) -> None:
        """The next frame begins a sequence."""
        self._shown = None

    def __call__(self, stylized: Tensor, history: FrameHistory) -> Tensor:
        """What is shown for the current frame of ``history``, which is ``stylized`` ``(1, 3, H, W)``."""
        stylized = stylized.clamp(0, 1)
        if history.before is None or history.current is None or self._shown is None:
            self._shown = stylized
            return stylized
        device = stylized.device
        motion = None
        if self._stabiliser.uses_motion:
            motion = Motion(history.flow().to(device), history.traceable().to(device))
        content, before = (from_uint8(image, device) for image in (history.current, history.before))
        with torch.inference_mode():
            self._shown = self._stabiliser.mix(
                Neighbours(stylized, self._shown, content, before, motion), self._strength
            ).clamp(0, 1)
        return self._shown
