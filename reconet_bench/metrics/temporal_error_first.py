"""E(V) between every frame and the first one: what has drifted since a clip began."""

from __future__ import annotations

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.temporal_error import RootMean, errors_apart, masked


@METRICS.register("temporal_error_first")
class TemporalErrorFirst(RootMean):
    """sqrt(1/(T−1) Σ_{t>1} 1/(3HW) Σ M ‖y_1 − W(y_t)‖²): E(V) of the pairs of the first frame and each later one.

    The flow is composed over the frames between, or exact where the clip knows it. A sample is known by its later
    frame.

    Reference: Lai et al., *Learning Blind Video Temporal Consistency*, ECCV 2018, whose long-term loss compares each
    frame with the first. They normalise by traceable pixels and take a mean without a root; this is in the form of
    E(V), so that it can be compared with the other E(V) of a clip.
    """

    default = False
    summary = "E(V) between each frame and the first of the clip: drift"
    blind_to = (
        "what enters the scene after the first frame, pixels that are hidden in between where the flow is composed, "
        "and the length of the clip: long ones drift further"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        clip = footage.clip
        pairs = {later: (0, later) for later in range(1, len(clip)) if 0 in clip.starts(later)}
        if not pairs:
            raise MetricUnavailable(f"{clip.why_no_pairs(1)}, or none that begins with the first frame")
        return masked(errors_apart(clip, footage.stylized, pairs, "later ones"))
