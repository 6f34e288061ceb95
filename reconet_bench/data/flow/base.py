"""Estimated motion: an estimator, a forward–backward consistency check, and a cache on disk."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from reconet_bench.core.cache import mark_used
from reconet_bench.core.errors import ModelError
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.ops import to_uint8, warp
from reconet_bench.core.registry import Registry
from reconet_bench.core.size import Size
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.data.clip import Clip, Motion, composed_motion

ESTIMATORS: Registry[Estimator] = Registry("flow estimator", "reconet_bench.data.flow")
#: Lai et al. 2018: share of the squared flow, and pixels², that forward and backward flow may disagree by …
CONSISTENCY_SHARE, CONSISTENCY_FLOOR = 0.01, 0.5
#: … and the squared gradient of the flow from which on a pixel lies on a motion boundary.
BOUNDARY_SHARE, BOUNDARY_FLOOR = 0.01, 0.002

#: From two frames ``(1, 3, H, W)`` in [0, 1] to the flow ``(1, 2, H, W)`` in pixels from the first to the second.
FlowFunction = Callable[[Tensor, Tensor], Tensor]


class Estimator(ABC):
    """A way to estimate flow.

    Attributes:
        summary: one line for people.
        in_workers: whether processes that load training data may run it; a process that uses a GPU cannot be forked.
    """

    summary: ClassVar[str]
    in_workers: ClassVar[bool] = True

    @abstractmethod
    def load(self, weights: Path | None = None) -> tuple[FlowFunction, str]:
        """The flow function, and a key for the cache: a text that changes whenever the results would.

        Args:
            weights: file of the weights, if the estimator is a network.

        Raises:
            ModelError: no weights, or weights of another network; nothing is downloaded.
        """


def consistency_mask(forward: Tensor, backward: Tensor) -> Tensor:
    """The mask of reliable flow: forward and backward flow agree, and there is no motion boundary.

    Args:
        forward: ``(1, 2, H, W)`` pixels, from t to t+1, on the grid of t.
        backward: the same from t+1 to t, on the grid of t+1.

    Returns:
        ``(1, 1, H, W)``, 1 = traceable from t; outside the frame counts as occluded.

    Reference: Lai et al., *Learning Blind Video Temporal Consistency*, ECCV 2018, after Sundaram et al. 2010:
    occluded where |w̃ + ŵ|² > 0.01 (|w̃|² + |ŵ|²) + 0.5, on a boundary where |∇ŵ|² > 0.01 |ŵ|² + 0.002. They
    warp frame t onto t+1 and judge the backward flow there; here t+1 is warped onto t, so the two change places.
    """
    returning, inside = warp(backward, forward)
    disagreement = (forward + returning).square().sum(1, keepdim=True)
    strength = forward.square().sum(1, keepdim=True)
    occluded = (
        disagreement > CONSISTENCY_SHARE * (strength + returning.square().sum(1, keepdim=True)) + CONSISTENCY_FLOOR
    )
    gradient = torch.zeros_like(strength)
    for axis in (2, 3):
        size = forward.shape[axis] - 1
        step = forward.narrow(axis, 1, size) - forward.narrow(axis, 0, size)
        gradient.narrow(axis, 0, size).add_(step.square().sum(1, keepdim=True))
    boundary = gradient > BOUNDARY_SHARE * strength + BOUNDARY_FLOOR
    return inside * (~(occluded | boundary)).float()


class EstimatedClip(Clip):
    """A clip with motion that is estimated from its frames, also if its true flow is known.

    The estimator sees 8-bit frames, as a viewer does. The cache key is made of both frames, the estimator
    and its weights, so the cache never returns the motion of other frames.

    Args:
        estimator: name in :data:`ESTIMATORS`.
        weights: see :meth:`Estimator.load`.
        cache: folder for results; by default ``flow`` in :func:`~reconet_bench.core.machine.cache_folder`.
        remembered: one-step motions that stay in memory.

    Raises:
        UnknownName, ModelError: no such estimator, or its weights are missing.
    """

    def __init__(
        self, clip: Clip, estimator: str, weights: Path | None = None, cache: Path | None = None, remembered: int = 8
    ) -> None:
        self.clip = clip
        self._estimate, self._key = ESTIMATORS[estimator].load(weights)
        self._cache = cache or cache_folder() / "flow"
        self.name, self.source, self.luminance, self.flow = clip.name, clip.source, clip.luminance, estimator
        self.digest = f"{clip.digest} {self._key}" if clip.digest else ""
        # If the true flow is known, the same pairs are used, so that both can be compared.
        self._starts = frozenset(clip.starts() or clip.adjacent())
        self._step = lru_cache(maxsize=remembered)(self._one_step)

    def __len__(self) -> int:
        return len(self.clip)

    @property
    def size(self) -> Size:
        return self.clip.size

    def frame(self, index: int) -> Tensor:
        return self.clip.frame(index)

    def check(self, indices: Sequence[int]) -> None:
        self.clip.check(indices)

    def label(self, index: int) -> str:
        return self.clip.label(index)

    def adjacent(self) -> list[int]:
        return self.clip.adjacent()

    def starts(self, step: int = 1) -> list[int]:
        return [i for i in range(len(self) - step) if all(i + offset in self._starts for offset in range(step))]

    def motion_back(self, index: int) -> Motion:
        return self.clip.motion_back(index)

    def motion(self, index: int, step: int = 1) -> Motion:
        return self._step(index) if step == 1 else composed_motion(self, index, step)

    def keep(self, index: int) -> tuple[Path, bool]:
        """Where the motion from a frame to the next is kept, and whether it was estimated just now.

        Raises:
            OSError: it cannot be kept.
        """
        path = self._place(self.frame(index), self.frame(index + 1))
        if _cached(path, self.size) is not None:
            return path, False
        motion = self._step(index)
        if not path.is_file():  # it could not be written: now the reason is told
            self._write(path, motion)
        return path, True

    def _one_step(self, index: int) -> Motion:
        first, second = self.frame(index), self.frame(index + 1)
        path = self._place(first, second)
        if (known := _cached(path, self.size)) is not None:
            return known
        forward, backward = self._estimate(first, second), self._estimate(second, first)
        motion = Motion(forward, consistency_mask(forward, backward))
        with contextlib.suppress(OSError):  # not writable: it is estimated again next time
            self._write(path, motion)
        return motion

    def _place(self, first: Tensor, second: Tensor) -> Path:
        """Where the motion between two frames is kept."""
        digest = hashlib.sha256(self._key.encode())
        for frame in (first, second):
            digest.update(repr(tuple(frame.shape)).encode() + to_uint8(frame).tobytes())
        return self._cache / f"{digest.hexdigest()}.safetensors"

    def _write(self, path: Path, motion: Motion) -> None:
        write_tensors(path, {"flow": motion.flow, "mask": motion.mask.to(torch.uint8)}, {"estimator": self._key})


def _cached(path: Path, size: Size) -> Motion | None:
    """The cached motion; ``None`` if there is none, or its file is broken."""
    try:
        tensors, _ = read_tensors(path)
        mark_used(path)
        motion = Motion(tensors["flow"], tensors["mask"].float())
    except (ModelError, KeyError):
        return None
    return motion if tuple(motion.flow.shape) == (1, 2, *size) and tuple(motion.mask.shape) == (1, 1, *size) else None
