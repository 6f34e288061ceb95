"""How much neighbouring frames differ, without motion compensation: for clips in which nothing moves."""

from __future__ import annotations

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Metric


@METRICS.register("flicker_raw")
class FlickerRaw(Metric):
    """1/(3HW) Σ |y_t − y_{t+1}|, mean over pairs of adjacent frames, y in [0, 1].

    VBench's score of temporal flickering is one minus this: (255 − mean absolute difference of 8-bit frames) / 255.
    VBench takes it of static films alone; of a film that moves, motion counts as flicker.

    Reference: Huang et al., *VBench: Comprehensive Benchmark Suite for Video Generative Models*, CVPR 2024.
    """

    better = "lower"
    positive = True
    default = False
    summary = "mean absolute difference of adjacent frames, without motion; VBench's flickering score is 1 minus it"
    blind_to = "motion, which it counts as flicker: read it where nothing moves; and what a model paints"

    def samples(self, footage: Footage) -> dict[int, float]:
        adjacent, y = footage.clip.adjacent(), footage.stylized
        if not adjacent:
            raise MetricUnavailable(f"{footage.clip.name} has no two consecutive frames")
        return {index: float((y[index] - y[index + 1]).abs().double().mean()) for index in adjacent}
