"""LPIPS of a stylised frame and the next one warped onto it."""

from __future__ import annotations

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Metric
from reconet_bench.metrics.perceptual_distance import lpips
from reconet_bench.metrics.style import MOST_FRAMES, evenly_spread


@METRICS.register("lpips_adjacent_warped")
class LpipsAdjacentWarped(Metric):
    """LPIPS (VGG) of y_t and M W(y_{t+1}) + (1 − M) y_t, mean over at most six pairs, evenly spread.

    What cannot be traced is taken from y_t itself, so that it is equal, and stays in the mean, as in E(V).

    Reference: Zhang et al. 2018, see :func:`~reconet_bench.metrics.perceptual_distance.lpips`.
    """

    better = "lower"
    positive = True
    uses_motion = True
    default = False
    summary = "LPIPS of adjacent stylised frames after warping along the motion: flicker as people see it"
    blind_to = "what a model paints, pixels that cannot be traced, and the blur that warping adds, which it counts"

    def samples(self, footage: Footage) -> dict[int, float]:
        starts, found = footage.starts(1), {}
        for index in (starts[place] for place in evenly_spread(len(starts), MOST_FRAMES)):
            frame, traceable = footage.next_warped(index)
            if traceable.any():
                now = footage.stylized[index]
                found[index] = lpips(now, now + traceable * (frame - now))
        if not found:
            raise MetricUnavailable("no pixel can be traced from any frame to the next")
        return found
