"""Verdicts between models: what is tested, and how often a difference is claimed where there is none."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from conftest import TranslationClip
from scipy.signal import lfilter

from reconet_bench.benchmark.paired_differences import COMPARED, differences
from reconet_bench.core.samples import ALL_VIDEOS, SIGNIFICANCE, THESE_CLIPS, Difference, SampleKey, answers
from reconet_bench.core.statistics import holm
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import ModelSource

MODELS = [Model(ModelSource(name, None, lambda: None), name, "wave") for name in "abc"]


def clips(count: int) -> list[TranslationClip]:
    return [TranslationClip(length=2, name=f"clip{number}") for number in range(count)]


def compared(values: dict[tuple[str, str, str], np.ndarray], videos: int, models: int = 3) -> list[Difference]:
    """Differences between models, of samples by model, clip and metric."""
    samples = {
        SampleKey(model, clip, "torch", metric): dict(enumerate(series.tolist()))
        for (model, clip, metric), series in values.items()
    }
    return differences(MODELS[:models], clips(videos), samples)


def alike(random: np.random.Generator, videos: int, n: int, correlation: float) -> list[Difference]:
    """Three models that differ in nothing: frames are as hard for all, and each model has noise of its own."""

    def noise() -> np.ndarray:
        drawn = random.standard_normal(n)
        drawn[1:] *= math.sqrt(1 - correlation**2)
        return lfilter([1.0], [1.0, -correlation], drawn)

    values = {}
    for clip in clips(videos):
        for metric in COMPARED:
            hard = 5 + random.standard_normal() + noise()
            for model in "abc":
                value = hard + 0.5 * noise()
                values[model, clip.name, metric] = value**2 if metric.startswith("temporal") else value
    return compared(values, videos)


def false_claims(videos: int, n: int, correlation: float, comparisons: int) -> float:
    """Share of comparisons in which any verdict says that a model is better."""
    random = np.random.default_rng([videos, n, int(10 * correlation)])
    found = [alike(random, videos, n, correlation) for _ in range(comparisons)]
    return float(np.mean([any("better" in row.verdict for row in rows) for rows in found]))


@pytest.mark.parametrize(("videos", "n", "correlation"), [(1, 11, 0.5), (4, 11, 0.5), (1, 23, 0.8)])
def test_where_nothing_differs_a_comparison_claims_nothing(videos, n, correlation):
    assert false_claims(videos, n, correlation, 100) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("n", [11, 23, 49])
@pytest.mark.parametrize("videos", [1, 2, 4])
def test_false_claims_thoroughly(videos, n, correlation):
    share = false_claims(videos, n, correlation, 1000)
    print(f"{videos} videos, n={n}, rho={correlation}: {100 * share:.1f} % of comparisons claim a difference")
    assert share <= 0.05


# --- what is tested -------------------------------------------------------------------------------------


def draws(scale: float, n: int, seed: int) -> np.ndarray:
    return scale * (1 + 0.05 * np.random.default_rng(seed).standard_normal(n))


def test_several_videos_are_asked_about_together_and_the_clips_behind_them_are_not():
    names = [clip.name for clip in clips(4)]
    values = {
        (model, clip, "temporal_error"): draws(scale, 23, 10 * k + ord(model))
        for k, clip in enumerate(names)
        for model, scale in (("a", 0.01), ("b", 0.04))
    }
    rows = {row.video: row for row in compared(values, 4, models=2)}
    assert list(rows) == [ALL_VIDEOS, THESE_CLIPS, *names]
    assert {row.verdict for row in (rows[ALL_VIDEOS], rows[THESE_CLIPS])} == {"a is better"}
    assert {rows[name].verdict for name in names} == {"not tested by itself"}
    assert all(rows[name].p is not None and rows[name].shown is None for name in names)
    assert answers(list(rows.values())) == [rows[ALL_VIDEOS], rows[THESE_CLIPS]]
    # The same p values as they are corrected by hand: two were tested, and the smaller counts double.
    raw = [rows[ALL_VIDEOS].p, rows[THESE_CLIPS].p]
    assert [rows[ALL_VIDEOS].p_corrected, rows[THESE_CLIPS].p_corrected] == holm(raw)
    assert max(row.p_corrected for row in (rows[ALL_VIDEOS], rows[THESE_CLIPS])) == max(*raw, 2 * min(raw))


def test_the_only_clip_is_tested():
    values = {
        ("a", "clip0", "temporal_error"): draws(0.01, 23, 0),
        ("b", "clip0", "temporal_error"): draws(0.04, 23, 1),
    }
    (row,) = compared(values, 1, models=2)
    assert (row.video, row.verdict, row.p_corrected) == ("clip0", "a is better", row.p)


def test_more_questions_make_a_verdict_harder_to_get():
    """Three models on one clip: the same difference counts less than between two."""
    series = {model: draws(scale, 11, ord(model)) for model, scale in (("a", 0.9), ("b", 1.0), ("c", 1.1))}
    values = {(model, "clip0", metric): one for model, one in series.items() for metric in COMPARED[2:]}
    two, three = compared(values, 1, models=2), compared(values, 1)
    assert [row.p for row in two] == [row.p for row in three[: len(two)]]
    assert all(b.p_corrected > a.p_corrected for a, b in zip(two, three, strict=False))
    assert len(three) == 2 * len(list(combinations("abc", 2)))
    assert all((row.verdict != "no difference shown") == (row.p_corrected < SIGNIFICANCE) for row in three)


@pytest.mark.parametrize(
    ("metric", "first", "second", "verdict"),
    [
        ("warping_error", [0.1, 0.2] * 6, [0.3, 0.4] * 6, "a is better"),
        ("warping_error", [0.3, 0.4] * 6, [0.1, 0.2] * 6, "b is better"),
        ("ssim_adjacent", [0.9, 0.8] * 6, [0.7, 0.6] * 6, "a is better"),
        ("ssim_adjacent", [0.7, 0.6] * 6, [0.9, 0.8] * 6, "b is better"),
        ("ssim_adjacent", [0.7, 0.9] * 6, [0.9, 0.7] * 6, "no difference shown"),
        ("ssim_adjacent", [0.7, 0.9, 0.7] * 2, [0.7, 0.9, 0.7] * 2, "no difference shown"),
        ("ssim_adjacent", [0.7], [0.9], "too few frames to tell"),
        ("ssim_adjacent", [0.7, 0.6] * 2, [0.9, 0.8] * 2, "too few frames to tell"),
    ],
)
def test_verdicts(monkeypatch, metric, first, second, verdict):
    monkeypatch.setattr("reconet_bench.benchmark.paired_differences.COMPARED", (metric,))
    values = {("a", "clip0", metric): np.array(first), ("b", "clip0", metric): np.array(second)}
    (row,) = compared(values, 1, models=2)
    assert row.verdict == verdict
