"""What a metric is, and the statistics every one of them gets: a mean, its interval, paired differences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from reconet_bench.data.base import Clip
from reconet_bench.errors import DataError, MetricUnavailable
from reconet_bench.perceptual import LossNetwork
from reconet_bench.registry import Registry

T = TypeVar("T")

METRICS: Registry[Metric] = Registry("metric", "reconet_bench.metrics")

#: Resamples of the bootstrap, and the seed that makes intervals repeatable.
RESAMPLES, SEED = 2000, 20220901
#: Fewer samples than this have no interval: a bootstrap of them finds differences where there are none.
FEWEST = 6


@dataclass(frozen=True)
class Style:
    """What ``style_distance`` needs: Gram targets by tap, and the loss network or the reason it is missing."""

    targets: dict[str, Tensor]
    network: LossNetwork | None
    reason: str = ""


class Footage:
    """Stylised frames of a clip, ready to be measured.

    Args:
        clip: the content.
        stylized: as many frames ``(1, 3, H, W)`` in [0, 1], of the clip's size.
        style: see :class:`Style`; ``None`` where no style is known.

    Raises:
        DataError: another number of frames, another size, or a frame that is not finite.
    """

    def __init__(self, clip: Clip, stylized: Sequence[Tensor], style: Style | None = None) -> None:
        if len(stylized) != len(clip):
            raise DataError(f"{clip.name}: {len(clip)} content frames but {len(stylized)} stylised ones")
        for index, frame in enumerate(stylized):
            if tuple(frame.shape) != (1, 3, *clip.size):
                height, width = clip.size
                raise DataError(
                    f"{clip.name}: stylised frame {clip.label(index)} is {frame.shape[-1]}x{frame.shape[-2]}, the content {width}x{height}"
                )
            if not frame.isfinite().all():
                raise DataError(f"{clip.name}: stylised frame {clip.label(index)} has values that are not finite")
        self.clip, self.stylized, self.style = clip, stylized, style
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()``, done once for these frames: what several metrics begin with."""
        if key not in self._known:
            self._known[key] = compute()
        return cast(T, self._known[key])

    @cached_property
    def content(self) -> list[Tensor]:
        """Frames of the clip."""
        return [self.clip.frame(index) for index in range(len(self.clip))]

    def starts(self, step: int) -> list[int]:
        """Where pairs ``step`` apart begin; raises MetricUnavailable with the reason where there are none."""
        starts = self.clip.starts(step)
        if not starts:
            raise MetricUnavailable(self.clip.why_no_pairs(step))
        return starts


#: What was computed of the content alone, by clip: the same for every model and runtime.
_OF_CONTENT: WeakKeyDictionary[Clip, dict[Hashable, Any]] = WeakKeyDictionary()


def once_per_clip(clip: Clip, key: Hashable, compute: Callable[[], T]) -> T:
    """``compute()``, done once for each clip and key."""
    known = _OF_CONTENT.setdefault(clip, {})
    if key not in known:
        known[key] = compute()
    return cast(T, known[key])


class Metric(ABC):
    """A number per frame or pair, and how these become one.

    Attributes:
        unit: of the value; empty for a plain number.
        better: ``lower``, ``higher`` or ``reference``; reports read the direction from here.
        summary: one line for people.
        of_content: measures the clip and not the stylised frames: the same for every model.
        uses_motion: is only as good as the clip's motion; where that is estimated, the rows say so.
        block: at least so many neighbouring samples are resampled together, for frames that follow one another are
            alike; 1 where the samples lie apart.
    """

    unit: ClassVar[str] = ""
    better: ClassVar[str]
    summary: ClassVar[str]
    of_content: ClassVar[bool] = False
    uses_motion: ClassVar[bool] = False
    block: ClassVar[int] = 3

    @abstractmethod
    def samples(self, footage: Footage) -> dict[int, float]:
        """The value at each frame index (of a pair: its first frame); raises MetricUnavailable."""

    def reduce(self, samples: np.ndarray) -> np.ndarray:
        """One value from samples along the last axis: their mean."""
        return np.asarray(samples.mean(-1))


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
