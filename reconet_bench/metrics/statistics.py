"""Statistics of every metric: a mean, its interval, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconet_bench.metrics.base import Metric

#: Resamples of the bootstrap, and the seed that makes intervals repeatable.
RESAMPLES, SEED = 2000, 20220901


#: Fewer samples than this have no interval: a bootstrap of them finds differences where there are none.
FEWEST = 6


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (``None`` for fewer than :data:`FEWEST` samples) over ``n`` samples."""

    value: float
    low: float | None
    high: float | None
    n: int


def estimate(metric: Metric, samples: Sequence[float]) -> Estimate:
    """Value and bootstrap interval over the frames of one video, see :func:`mean_difference`."""
    return _mean_over_videos(metric, [np.asarray(samples, np.float64)[None]], np.ones(1))


def paired_difference(metric: Metric, first: Sequence[float], second: Sequence[float]) -> Estimate:
    """``first`` minus ``second`` on the same frames of one video; both are resampled together, frame by frame."""
    return mean_difference(metric, [(first, second)])


def mean_difference(metric: Metric, videos: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """Mean over videos of ``first`` minus ``second``: each video has the same weight, however long it is.

    Frames are resampled within each video, by blocks, for neighbours are alike: the circular block bootstrap
    (Politis & Romano 1992, after Künsch 1989; Efron & Tibshirani 1993, chapter 8.6). Blocks are 1.4 n^(1/3) long, the
    best for a correlation of 0.5 between neighbours (Andrews 1991), and :attr:`Metric.block` at least. Few blocks vary
    too little: their deviations are widened by sqrt(n / (n - block)), and have the tails of Student's t with as many
    degrees of freedom as there are blocks, less one for each video. A video of fewer than :data:`FEWEST` samples cannot
    tell how much it varies: it draws single samples from all videos together, so that the differences between videos
    are in the interval too. Fewer samples than that in all have no interval.
    """
    for first, second in videos:
        if len(first) != len(second):
            raise ValueError(f"paired samples must be of one length, got {len(first)} and {len(second)}")
    return _mean_over_videos(metric, [np.asarray(pair, np.float64) for pair in videos], np.array([1.0, -1.0]))


def _mean_over_videos(metric: Metric, videos: Sequence[np.ndarray], signs: np.ndarray) -> Estimate:
    """Mean over videos ``(rows, n)`` of the signed sum of their reduced rows."""
    value = float(np.mean([signs @ metric.reduce(video) for video in videos]))
    together = np.concatenate(videos, -1)
    n = together.shape[-1]
    if n < FEWEST:
        return Estimate(value, None, None, n)
    random = np.random.default_rng(SEED)
    deviations, blocks = np.zeros(RESAMPLES), 0.0
    for video in videos:
        count = video.shape[-1]
        source = video if count >= FEWEST else together
        block = block_length(metric, count) if count >= FEWEST else 1
        drawn = signs @ metric.reduce(source[:, _blocks(random, source.shape[-1], count, block)])
        deviations += (drawn - drawn.mean()) * np.sqrt(source.shape[-1] / (source.shape[-1] - block)) / len(videos)
        blocks += count / block
    long = sum(video.shape[-1] >= FEWEST for video in videos)
    freedom = blocks - long - (long < len(videos))
    deviations *= np.sqrt(freedom / random.chisquare(freedom, RESAMPLES))
    low, high = value + np.quantile(deviations, (0.025, 0.975))
    return Estimate(value, float(low), float(high), n)


def block_length(metric: Metric, n: int) -> int:
    """How many neighbouring samples of ``n`` are resampled together: half of them at most."""
    return 1 if metric.block == 1 else min(max(metric.block, round(1.4 * n ** (1 / 3))), n // 2)


def _blocks(random: np.random.Generator, n: int, count: int, block: int) -> np.ndarray:
    """Indices ``(RESAMPLES, count)`` below ``n``: runs of ``block`` neighbours, the first following the last."""
    starts = random.integers(0, n, (RESAMPLES, -(-count // block)))
    runs: np.ndarray = (starts[..., None] + np.arange(block)) % n
    return runs.reshape(RESAMPLES, -1)[:, :count]
