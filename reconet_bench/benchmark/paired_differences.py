"""Paired differences between models: the same frames seen by both, so that the clip's own difficulty cancels out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from reconet_bench.core.samples import ALL_VIDEOS, THESE_CLIPS, Difference, SampleKey, Samples, answers
from reconet_bench.core.statistics import holm
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import METRICS
from reconet_bench.metrics.statistics import Estimate, difference_on_clips, difference_over_videos
from reconet_bench.models.loading import Model

#: Metrics whose paired differences between models are reported.
COMPARED = ("temporal_error", "temporal_error_long", "ssim_adjacent_warped", "style_distance")
#: Samples of two models on the same frames of a video.
Pair = tuple[list[float], list[float]]


def differences(models: Sequence[Model], clips: Sequence[Clip], samples: Samples) -> list[Difference]:
    """Paired differences between models: on all videos (by which models are ranked), on these clips, and on each clip.

    They are taken in the first runtime that both models ran in, else in the first of each.
    Motion is compared whatever the styles, the distance to a style only between models of one. A clip measured along
    true and along estimated flow counts once, along the true one: the same frames twice would narrow the interval.
    Verdicts are given by p values that are corrected for their number (Holm). So that few questions are asked, the
    single clips behind a mean are not tested: their intervals stand for themselves.
    """
    true = {clip.name for clip in clips if not clip.flow}
    twins = {clip.title for clip in clips if clip.flow and clip.name in true}
    rows = []
    for a, b in itertools.combinations([model for model in models if not model.is_content], 2):
        for name in COMPARED:
            if name == "style_distance" and (not a.style or a.style != b.style):
                continue
            videos = [clip.title for clip in clips]
            rows += _differences(name, a.source.name, b.source.name, videos, samples, twins)
    return _judged(rows)


def against(
    baseline: str, models: Sequence[str], videos: Sequence[str], metrics: Sequence[str], samples: Samples
) -> list[Difference]:
    """Paired differences of each of ``models`` to one baseline, as :func:`differences` takes them, with verdicts.

    Args:
        models, baseline: names of models in ``samples``.
        videos, metrics: to compare on, by name; a metric that a model lacks is left out.
    """
    rows = []
    for model in models:
        for name in metrics:
            rows += _differences(name, model, baseline, videos, samples)
    return _judged(rows)


def _differences(
    name: str, a: str, b: str, videos: Sequence[str], samples: Samples, twins: Collection[str] = ()
) -> list[Difference]:
    """One metric of two models: over all videos, on these clips and on each; not yet judged.

    Args:
        twins: videos that are among the others too, along true motion.
    """
    found = {video: _paired(a, b, video, name, samples) for video in videos}
    pairs = {video: pair for video, pair in found.items() if pair and pair[0]}
    together = [pair for video, pair in pairs.items() if video not in twins]
    metric = METRICS[name]
    estimates = {}
    if len(together) > 1:
        estimates[ALL_VIDEOS] = difference_over_videos(metric, together)
    if len(pairs) > 1 and together:
        estimates[THESE_CLIPS] = difference_on_clips(metric, together)
    estimates |= {video: difference_on_clips(metric, [pair]) for video, pair in pairs.items()}
    return [_row(name, video, a, b, estimate) for video, estimate in estimates.items()]


def _paired(a: str, b: str, video: str, metric: str, samples: Samples) -> Pair | None:
    """Samples of both models on the frames they share, in the first runtime that both ran in, else each in its first.

    The latter holds for frames that another tool rendered, and for models that have no runtime in common.
    """
    for key, first in samples.items():
        if key != SampleKey(a, video, key.runtime, metric):
            continue
        second = samples.get(replace(key, model=b))
        if second is not None:
            shared = sorted(first.keys() & second.keys())
            return [first[i] for i in shared], [second[i] for i in shared]
    firsts = [_first(model, video, metric, samples) for model in (a, b)]
    if firsts[0] is None or firsts[1] is None:
        return None
    shared = sorted(firsts[0].keys() & firsts[1].keys())
    return [firsts[0][i] for i in shared], [firsts[1][i] for i in shared]


def _first(model: str, video: str, metric: str, samples: Samples) -> Mapping[int, float] | None:
    """Samples of a model in its first runtime."""
    keys = (key for key in samples if key == SampleKey(model, video, key.runtime, metric))
    key = next(keys, None)
    return None if key is None else samples[key]


def _row(metric: str, video: str, a: str, b: str, estimate: Estimate) -> Difference:
    """A difference that is not yet judged."""
    return Difference(
        metric=metric,
        better=METRICS[metric].better,
        video=video,
        first=a,
        second=b,
        difference=estimate.value,
        ci_low=estimate.low,
        ci_high=estimate.high,
        n=estimate.n,
        verdict="too few frames to tell" if estimate.p is None else "not tested by itself",
        p=estimate.p,
    )


def _judged(rows: Sequence[Difference]) -> list[Difference]:
    """The same rows with verdicts, by p values that are corrected for their number."""
    asked = set(answers(rows))
    corrected = holm([row.p if row in asked else None for row in rows])
    judged = [replace(row, p_corrected=p) for row, p in zip(rows, corrected, strict=True)]
    return [row if row.shown is None else replace(row, verdict=_verdict(row)) for row in judged]


def _verdict(row: Difference) -> str:
    if not row.shown:
        return "no difference shown"
    first_is_better = (row.difference < 0) == (row.better == "lower")
    return f"{row.first if first_is_better else row.second} is better"
