"""E(V) between frames ten apart."""

from __future__ import annotations

from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.temporal_error import RootMean, errors_steps_apart

#: Frames between the two ends of a pair: twice those of ``temporal_error_long``.
STEP = 10


@METRICS.register("temporal_error_10")
class TemporalError10(RootMean):
    """E(V) between frames ten apart: flow composed over them, or the exact flow where the clip knows it."""

    default = False
    summary = f"E(V) between frames {STEP} apart"
    blind_to = (
        "clips shorter than eleven frames, flicker that has gone ten frames later, and pixels that are hidden in "
        "between where the flow is composed"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        return errors_steps_apart(footage, STEP)
