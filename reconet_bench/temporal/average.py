"""Mixing with the frame before, without motion: what some tools offer as "smooth"."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from reconet_bench.temporal.base import STABILISERS, Neighbours, Stabiliser


@STABILISERS.register("average")
class Average(Stabiliser):
    """An exponential moving average of the shown frames. It lowers E(V) by ghosting: what moves is seen twice."""

    summary: ClassVar[str] = "mixes each frame with the one shown before it, without motion: it ghosts"

    def mix(self, frames: Neighbours, strength: float) -> Tensor:
        return strength * frames.shown + (1 - strength) * frames.stylized
