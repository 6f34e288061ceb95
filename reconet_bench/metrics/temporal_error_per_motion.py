"""E(V) over how far the content moves: a fast clip is harder than a slow one."""

from __future__ import annotations

import torch

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, once_per_clip
from reconet_bench.metrics.statistics import samples_of_ratio
from reconet_bench.metrics.temporal_error import RootMean, adjacent_errors, masked


@METRICS.register("temporal_error_per_motion")
class TemporalErrorPerMotion(RootMean):
    """E(V) over the root mean square of the motion: sqrt(Σ_t e_t / Σ_t m_t).

    e_t = 1/(3HW) Σ M ‖y_t − W(y_{t+1})‖² is what E(V) is made of, m_t = 1/(HW) Σ M ‖F_t‖² in square pixels. Untraceable
    pixels stay in both denominators and cancel out. See :func:`~reconet_bench.metrics.statistics.samples_of_ratio` for
    what the samples are.
    """

    unit = "1/px"
    default = False
    summary = "E(V) over the root mean square motion between frames: error for each pixel that the content moves"
    blind_to = (
        "what a model paints, the size of the frame, with which motion grows, and a film that hardly moves, on which "
        "it is large whatever the flicker"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        errors = masked(adjacent_errors(footage))

        def strengths() -> dict[int, float]:
            found = {}
            for index in footage.starts(1):
                motion = footage.clip.motion(index)
                squares = motion.flow.double().square().sum(1, keepdim=True)
                # Where nothing is known of the motion, its numbers need not be finite.
                found[index] = float((torch.where(motion.mask > 0, squares, 0.0) * motion.mask).mean())
            return found

        motion = once_per_clip(footage.clip, "squared motion", strengths)
        if not any(motion.values()):
            raise MetricUnavailable("nothing moves in this clip, so there is no motion to divide by")
        return samples_of_ratio(errors, motion)
