"""What records are made of: a value for each frame, the seconds of each timed frame, and differences between models.

A run folder keeps these as CSV tables whose columns are the fields here, in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconet_bench.core.size import Size

#: The video of a difference that holds for other videos like the measured ones, which are a sample of them.
ALL_VIDEOS = "all"
#: The video of a difference that holds for the measured clips alone: only their frames are a sample.
THESE_CLIPS = "these clips"
#: A corrected p value below this shows a difference.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class SampleKey:
    """What the samples of one metric were taken of: the frames of a model on a video, made by a runtime."""

    model: str
    video: str
    runtime: str
    metric: str


#: The value at each frame index, by what it was taken of.
Samples = Mapping[SampleKey, Mapping[int, float]]


@dataclass(frozen=True)
class TimingKey:
    """Frames that were timed together: of a model in a runtime, at one size and one boundary."""

    model: str
    runtime: str
    size: Size
    boundary: str


@dataclass(frozen=True)
class TimedFrame:
    """One timed frame of a model in a runtime.

    Attributes:
        boundary: ``device`` or ``end_to_end``.
        number: of the frame among those of the same :attr:`key`, from 0.
        seconds: that it took.
        round: of the interleaved measurement, from 0.
    """

    model: str
    runtime: str
    size: Size
    boundary: str
    number: int
    seconds: float
    round: int

    @property
    def key(self) -> TimingKey:
        """What it belongs to."""
        return TimingKey(self.model, self.runtime, self.size, self.boundary)


@dataclass(frozen=True)
class Difference:
    """The paired difference of a metric between two models, ``first`` minus ``second``.

    Attributes:
        better: direction of the metric: lower or higher.
        video: the video that it is of, or :data:`ALL_VIDEOS` or :data:`THESE_CLIPS` for the mean over several.
        first, second: names of the models.
        ci_low, ci_high: 95 % interval; ``None`` where ``n`` does not allow one.
        n: number of paired frames.
        verdict: which of the two is better, if that is shown; a sentence for people.
        p: probability of such a difference if there is none; ``None`` where ``n`` does not allow one, and in runs of
            older versions.
        p_corrected: the same, corrected for how many differences were tested; ``None`` also where it was not tested.
    """

    metric: str
    better: str
    video: str
    first: str
    second: str
    difference: float
    ci_low: float | None
    ci_high: float | None
    n: int
    verdict: str
    p: float | None = None
    p_corrected: float | None = None

    @property
    def shown(self) -> bool | None:
        """Whether a difference is shown; ``None`` where it was not tested."""
        if self.p is not None:
            return None if self.p_corrected is None else self.p_corrected < SIGNIFICANCE
        # A run of an older version: each interval was a test.
        return None if self.ci_low is None or self.ci_high is None else not self.ci_low <= 0 <= self.ci_high


def answers(differences: Iterable[Difference]) -> list[Difference]:
    """The differences that say which model is better: over several videos, or on the only one; no details."""
    rows = list(differences)
    count = Counter((row.metric, row.first, row.second) for row in rows)
    alone = {pair for pair, number in count.items() if number == 1}
    together = (ALL_VIDEOS, THESE_CLIPS)
    return [row for row in rows if row.video in together or (row.metric, row.first, row.second) in alone]
