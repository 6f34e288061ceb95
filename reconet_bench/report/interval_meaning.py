"""What the intervals and verdicts of a run mean, for people: in runs of this version and of older ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconet_bench.core.samples import Difference
from reconet_bench.core.statistics import VERSION

#: What stands beside a table of values, by version of the statistics (:data:`reconet_bench.core.statistics.VERSION`).
_OF_VALUES = {
    1: "This run is of an older version: the 95 % intervals of single videos and of differences are a bootstrap of "
    "neighbouring frames within each video, which is often too narrow. Intervals of means over several videos take the "
    "video as the unit. To have all intervals as they are made now, measure again.",
    2: "The 95 % interval of one video says where the value could lie if other frames of the same kind were measured; "
    "it allows for neighbouring frames being alike. That of a mean over several videos takes the video as the unit: "
    "it holds for other videos like these, contains the differences between videos, and is wide if they are few. "
    "A model is called better only if the p value of the paired difference is below 5 % after correction for how many "
    "differences were tested (Holm).",
}
#: What stands beside a table of paired differences.
_OF_DIFFERENCES = {
    1: "First minus second, on the same frames, each video with the same weight. The bracket is the 95 % interval of a "
    "bootstrap of neighbouring frames. Each row is tested for itself: of twenty rows in which nothing differs, one "
    "shows a difference by chance.",
    2: "First minus second, on the same frames, each video with the same weight; the bracket is the 95 % interval. "
    "“all” holds for other videos like the measured ones; “these clips” holds for the measured ones alone. "
    "The p value in brackets is corrected for the number of rows that were tested (Holm) and decides the "
    "verdict.",
}


def version_of(provenance: Mapping[str, Any], differences: Sequence[Difference]) -> int:
    """The version of a run's statistics; where its provenance does not say, what its differences look like."""
    found = provenance.get("statistics")
    if isinstance(found, int):
        return found
    return 2 if any(row.p is not None for row in differences) else 1


def of_values(version: int) -> str:
    """What to know about the intervals of values and the signs of a table."""
    return _OF_VALUES.get(version, _newer(version))


def of_differences(version: int) -> str:
    """What to know about paired differences."""
    return _OF_DIFFERENCES.get(version, _newer(version))


def _newer(version: int) -> str:
    return f"The intervals of this run are of a newer version ({version}; this one knows {VERSION})."
