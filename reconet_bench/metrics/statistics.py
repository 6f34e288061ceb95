"""Statistics of every metric: a value with its interval, and paired differences on clips and over videos.

The sums are in :mod:`reconet_bench.core.statistics`; here is what they mean for a metric. An interval of one clip says
how far its value could have been off had other frames of the same kind been seen. One over several videos either keeps
to *these clips*, which are known as well as their frames allow, or takes the *video* as the unit: then differences
between videos are in the interval, and it holds for other videos like these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reconet_bench.core.statistics import (
    FEWEST,
    MeanError,
    error_of_mean,
    error_of_series,
    error_of_values,
    interval,
)
from reconet_bench.metrics.base import Metric

#: Samples of two models on the same frames of a clip.
Pair = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, ``None`` where there is too little to tell.

    Attributes:
        n: number of samples behind it.
        p: of a difference, the probability of one so large if there is none; uncorrected.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None


def estimate(metric: Metric, samples: Sequence[float]) -> Estimate:
    """Value and interval of one clip; under :data:`~reconet_bench.core.statistics.FEWEST` samples have no interval."""
    values = np.asarray(samples, np.float64)
    value = float(metric.reduce(values))
    if len(values) < FEWEST:
        return Estimate(value, None, None, len(values))
    error = error_of_series(metric.influence(values))
    return Estimate(value, *interval(value, error.half_width, metric.positive), len(values))


def mean_over_videos(metric: Metric, videos: Sequence[Sequence[float]]) -> Estimate:
    """Mean over videos of a metric's value, each with the same weight; the interval is of videos like these.

    The unit is the video, as in :func:`difference_over_videos`. One video has the interval of its frames.
    """
    if len(videos) == 1:
        return estimate(metric, videos[0])
    values = [float(metric.reduce(np.asarray(samples, np.float64))) for samples in videos]
    value, n = float(np.mean(values)), sum(map(len, videos))
    if n < FEWEST:
        return Estimate(value, None, None, n)
    return Estimate(value, *interval(value, error_of_values(values).half_width, metric.positive), n)


def samples_of_ratio(above: Mapping[int, float], below: Mapping[int, float]) -> dict[int, float]:
    """Samples whose mean is the ratio R of the mean of one series to the mean of another, and whose interval is R's.

    A ratio of means is not the mean of ratios, which a single small denominator spoils. The sample of a frame is
    R + (a − R b) / B with B the mean of b: its pseudo-value, or linearisation. What numerator and denominator do apart
    from one another moves it, and what they do together cancels, as it does in R. So the mean is exactly R, and its
    error is that of R by the delta method. A single one may be negative.

    References: Tukey 1958 (pseudo-values); Cochran, *Sampling Techniques*, 1977, section 6.3 (variance of a ratio).

    Args:
        above, below: series by frame; frames that both have count.
    """
    frames = sorted(above.keys() & below.keys())
    a, b = (np.array([series[frame] for frame in frames], np.float64) for series in (above, below))
    ratio = a.mean() / b.mean()
    return dict(zip(frames, (ratio + (a - ratio * b) / b.mean()).tolist(), strict=True))


def paired_difference(metric: Metric, first: Sequence[float], second: Sequence[float]) -> Estimate:
    """``first`` minus ``second`` on the same frames of one clip: what is hard about a frame cancels out."""
    return difference_on_clips(metric, [(first, second)])


def difference_on_clips(metric: Metric, clips: Sequence[Pair]) -> Estimate:
    """Mean over clips of ``first`` minus ``second``, each with the same weight, however long it is.

    The interval is of *these clips*: of how well their frames tell each clip's difference. It needs
    :data:`~reconet_bench.core.statistics.FEWEST` samples of each.
    """
    pairs = [_arrays(pair) for pair in clips]
    errors = None
    if all(len(first) >= FEWEST for first, _ in pairs):
        # Influences are subtracted frame by frame.
        deviations = [metric.influence(first) - metric.influence(second) for first, second in pairs]
        errors = error_of_mean([error_of_series(values, len(pairs)) for values in deviations])
    return _difference(_values(metric, pairs), errors, pairs)


def difference_over_videos(metric: Metric, videos: Sequence[Pair]) -> Estimate:
    """Mean over videos of ``first`` minus ``second``, each with the same weight; the interval is of videos like these.

    The unit is the video: Student's t of one difference for each, with one degree of freedom less than there are
    videos. One video tells nothing about others and has no interval.
    """
    pairs = [_arrays(pair) for pair in videos]
    values = _values(metric, pairs)
    enough = len(pairs) > 1 and sum(len(first) for first, _ in pairs) >= FEWEST
    return _difference(values, error_of_values(values) if enough else None, pairs)


def _arrays(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    first, second = pair
    if len(first) != len(second):
        raise ValueError(f"paired samples must be of one length, got {len(first)} and {len(second)}")
    return np.asarray(first, np.float64), np.asarray(second, np.float64)


def _values(metric: Metric, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """The difference on each clip or video."""
    return [float(metric.reduce(first) - metric.reduce(second)) for first, second in pairs]


def _difference(
    values: Sequence[float], error: MeanError | None, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Estimate:
    value, n = float(np.mean(values)), sum(len(first) for first, _ in pairs)
    if error is None:
        return Estimate(value, None, None, n)
    return Estimate(value, *interval(value, error.half_width), n, error.p_value(value))
