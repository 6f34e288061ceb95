"""What records are made of: a value for each frame, the seconds of each timed frame, and differences between models.

A run folder keeps these as CSV tables whose columns are the fields here, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconet_bench.core.size import Size

#: The video of a difference over all videos together.
ALL_VIDEOS = "all"


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
        video: the video that it is of, or :data:`ALL_VIDEOS` for the mean over all.
        first, second: names of the models.
        ci_low, ci_high: 95 % interval; ``None`` where ``n`` does not allow one.
        n: number of paired frames.
        verdict: which of the two is better, if that is shown; a sentence for people.
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
