"""E(V) over the content's own: how much more a stylised film flickers than the film itself."""

from __future__ import annotations

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.statistics import samples_of_ratio
from reconet_bench.metrics.temporal_error import RootMean, adjacent_errors, content_errors, masked


@METRICS.register("temporal_error_over_content")
class TemporalErrorOverContent(RootMean):
    """E(V) of the stylised frames over E(V) of the content on the same pairs: 1 = flickers as the content does.

    sqrt(Σ_t e_t / Σ_t c_t) of the squared errors of both. See
    :func:`~reconet_bench.metrics.statistics.samples_of_ratio` for what the samples are.
    """

    default = False
    summary = "E(V) over the content's own: 1 = as stable as the film itself"
    blind_to = (
        "what a model paints, pixels that cannot be traced, and how noisy the film is: the cleaner it is, the larger "
        "the value"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        content = content_errors(footage)
        if not any(content.values()):
            raise MetricUnavailable("the content has no error along its motion, so there is none to divide by")
        return samples_of_ratio(masked(adjacent_errors(footage)), content)
