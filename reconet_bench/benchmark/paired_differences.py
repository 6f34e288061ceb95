"""Paired differences between models: the same frames seen by both, so that the clip's own difficulty cancels out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from reconet_bench.core.samples import ALL_VIDEOS, Difference, SampleKey, Samples
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import METRICS, Metric
from reconet_bench.metrics.statistics import mean_difference
from reconet_bench.models.loading import Model

#: Metrics whose paired differences between models are reported.
COMPARED = ("temporal_error", "temporal_error_long", "ssim_adjacent_warped", "style_distance")
#: Samples of two models on the same frames of a video.
Pair = tuple[list[float], list[float]]


def differences(models: Sequence[Model], clips: Sequence[Clip], samples: Samples) -> list[Difference]:
    """Paired differences between models, on all videos together (which is what models are ranked by) and on each.

    They are taken in the first runtime that both models ran in.
    Motion is compared whatever the styles, the distance to a style only between models of one. A clip measured along
    true and along estimated flow counts once, along the true one: the same frames twice would narrow the interval.
    """
    true = {clip.name for clip in clips if not clip.flow}
    twins = {clip.title for clip in clips if clip.flow and clip.name in true}
    rows = []
    for a, b in itertools.combinations([model for model in models if not model.is_content], 2):
        for name in COMPARED:
            if name == "style_distance" and (not a.style or a.style != b.style):
                continue
            found = {clip.title: _paired(a, b, clip.title, name, samples) for clip in clips}
            pairs = {video: pair for video, pair in found.items() if pair and pair[0]}
            together = [pair for video, pair in pairs.items() if video not in twins]
            for video, parts in {ALL_VIDEOS: together, **{v: [pair] for v, pair in pairs.items()}}.items():
                if parts and not (video == ALL_VIDEOS and len(pairs) == 1):
                    rows.append(_difference(METRICS[name], name, video, a.source.name, b.source.name, parts))
    return rows


def _paired(a: Model, b: Model, video: str, metric: str, samples: Samples) -> Pair | None:
    """Samples of both models on the frames they share, in the first runtime that both ran in."""
    for key, first in samples.items():
        if key != SampleKey(a.source.name, video, key.runtime, metric):
            continue
        second = samples.get(replace(key, model=b.source.name))
        if second is not None:
            shared = sorted(first.keys() & second.keys())
            return [first[i] for i in shared], [second[i] for i in shared]
    return None


def _difference(metric: Metric, name: str, video: str, a: str, b: str, parts: Sequence[Pair]) -> Difference:
    e = mean_difference(metric, parts)
    sign = -1 if metric.better == "lower" else 1
    if e.low is None or e.high is None:
        verdict = "too few frames to tell"
    elif e.low <= 0 <= e.high:
        verdict = "no difference shown"
    else:
        verdict = f"{a if sign * e.value > 0 else b} is better"
    return Difference(
        metric=name,
        better=metric.better,
        video=video,
        first=a,
        second=b,
        difference=e.value,
        ci_low=e.low,
        ci_high=e.high,
        n=e.n,
        verdict=verdict,
    )
