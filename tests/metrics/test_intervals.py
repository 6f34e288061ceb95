"""Whether 95 % is 95 %: intervals of simulated frames, which are alike when they are neighbours."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from reconet_bench.metrics.base import METRICS
from reconet_bench.metrics.statistics import (
    Estimate,
    difference_on_clips,
    difference_over_videos,
    estimate,
    paired_difference,
)

#: Samples of a clip of 12, 24 and 50 frames, and the correlation of neighbours.
CELLS = list(itertools.product((11, 23, 49), (0.0, 0.5, 0.8)))
#: A plain mean, and E(V), whose samples are squares.
SHAPES = {"ssim_adjacent": "mean", "temporal_error": "root of a mean of squares"}


def frames(random: np.random.Generator, shape: tuple[int, ...], correlation: float) -> np.ndarray:
    """Normal numbers of mean 0 and variance 1 along the last axis, a stationary autoregression of first order."""
    noise = random.standard_normal(shape)
    noise[..., 1:] *= math.sqrt(1 - correlation**2)
    return lfilter([1.0], [1.0, -correlation], noise)


def samples(metric: str, random: np.random.Generator, shape: tuple[int, ...], correlation: float) -> np.ndarray:
    """Samples whose value is :func:`truth` in the long run; squares vary by 60 % and are skewed."""
    normal = frames(random, shape, correlation)
    return (3 + normal) ** 2 if metric == "temporal_error" else 0.5 + 0.1 * normal


def truth(metric: str) -> float:
    return math.sqrt(10) if metric == "temporal_error" else 0.5


def coverage(found: list[Estimate], value: float) -> float:
    """Percent of the intervals that hold the true value."""
    return 100 * float(np.mean([e.low <= value <= e.high for e in found]))


def over_clips(metric: str, correlation: float, n: int, repeats: int, how) -> float:
    """Coverage of the mean over four clips: of a difference to a model without error."""
    random = np.random.default_rng(n)
    drawn = samples(metric, random, (repeats, 4, n), correlation)
    nothing = np.zeros(n)
    return coverage([how(METRICS[metric], [(clip, nothing) for clip in clips]) for clips in drawn], truth(metric))


def within(percent: float, n: int, correlation: float, noise: float) -> bool:
    """Whether a coverage is what is promised, but for the noise of the simulation."""
    least = 90.0 if (n, correlation) == (11, 0.8) else 92.5
    return least - noise <= percent <= 98.0 + noise


@pytest.mark.parametrize("metric", SHAPES)
def test_95_percent_of_the_intervals_of_a_clip_hold_the_truth(metric):
    found = {}
    for n, correlation in CELLS:
        drawn = samples(metric, np.random.default_rng(n), (4000, n), correlation)
        found[n, correlation] = coverage([estimate(METRICS[metric], one) for one in drawn], truth(metric))
    assert {cell: percent for cell, percent in found.items() if not within(percent, *cell, noise=0.7)} == {}


@pytest.mark.parametrize("how", [difference_over_videos, difference_on_clips])
@pytest.mark.parametrize("metric", SHAPES)
def test_95_percent_of_the_intervals_of_four_clips_hold_the_truth(metric, how):
    found = {(n, rho): over_clips(metric, rho, n, 1000, how) for n, rho in CELLS}
    assert {cell: percent for cell, percent in found.items() if not within(percent, *cell, noise=1.4)} == {}


@pytest.mark.slow
@pytest.mark.parametrize("metric", SHAPES)
def test_coverage_thoroughly(metric):
    """The same with so many repeats that a tenth of a percent counts; the table is printed."""
    table = {}
    for n, rho in CELLS:
        drawn = samples(metric, np.random.default_rng(n), (10_000, n), rho)
        one = coverage([estimate(METRICS[metric], values) for values in drawn], truth(metric))
        videos = over_clips(metric, rho, n, 4000, difference_over_videos)
        clips = over_clips(metric, rho, n, 4000, difference_on_clips)
        table[n, rho] = (one, videos, clips)
        print(f"{metric} n={n} rho={rho}: one clip {one:.1f}, all videos {videos:.1f}, these clips {clips:.1f}")
    assert all(within(percent, n, rho, noise=0.4) for (n, rho), row in table.items() for percent in row)


@pytest.mark.slow
@pytest.mark.parametrize("skewed", ["gamma", "lognormal"])
def test_coverage_of_skewed_errors(skewed):
    """Errors of which a few frames have far more than the others."""
    for n, rho in CELLS:
        normal = frames(np.random.default_rng(n), (5000, n), rho)
        if skewed == "gamma":
            drawn, mean = stats.gamma.ppf(stats.norm.cdf(normal), 2), 2.0
        else:
            drawn, mean = np.exp(0.4 * normal), math.exp(0.08)
        percent = coverage([estimate(METRICS["temporal_error"], values) for values in drawn], math.sqrt(mean))
        assert within(percent, n, rho, noise=0.7), (n, rho, percent)


@pytest.mark.parametrize(("n", "widest"), [(11, 2.4), (23, 1.5), (49, 1.25)])
def test_intervals_of_independent_frames_are_not_absurdly_wide(n, widest):
    """On average, in widths of the interval that knows that the frames are independent."""
    drawn = frames(np.random.default_rng(n), (500, n), 0.0)
    found = [estimate(METRICS["ssim_adjacent"], values) for values in drawn]
    ideal = 2 * stats.t.ppf(0.975, n - 1) * stats.sem(drawn, axis=1)
    assert np.mean([e.high - e.low for e in found]) / ideal.mean() < widest


def test_differences_between_videos_are_in_the_interval_of_all_videos():
    """Each video's difference is known to a hair and the videos differ: of them in general little is known."""
    random = np.random.default_rng(0)
    wide, narrow = [], []
    for _ in range(400):
        videos = [(d + 0.01 * random.standard_normal(11), np.zeros(11)) for d in random.standard_normal(4)]
        wide.append(difference_over_videos(METRICS["ssim_adjacent"], videos))
        narrow.append(difference_on_clips(METRICS["ssim_adjacent"], videos))
    assert 92.5 <= coverage(wide, 0.0) <= 97.5
    assert coverage(narrow, 0.0) < 10


# --- known answers --------------------------------------------------------------------------------------


def draws(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 0.01, n)


@pytest.mark.parametrize(
    ("name", "reduce"), [("warping_error", np.mean), ("temporal_error", lambda x: np.sqrt(np.mean(x)))]
)
def test_an_estimate_is_the_value_within_its_interval(name, reduce):
    values = draws(30)
    one = estimate(METRICS[name], values.tolist())
    assert one.value == pytest.approx(reduce(values), rel=1e-12)
    assert 0 < one.low < one.value < one.high
    assert one.n == 30
    assert estimate(METRICS[name], values.tolist()) == one, "the same bit for bit"


def test_intervals_shrink_with_the_root_of_the_number_of_frames():
    few, many = (estimate(METRICS["warping_error"], draws(n).tolist()) for n in (400, 6400))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.4)


@pytest.mark.parametrize("count", [1, 5])
def test_few_frames_have_no_interval(count):
    assert estimate(METRICS["warping_error"], [0.25] * count) == Estimate(0.25, None, None, count)
    pair = ([0.5] * count, [0.25] * count)
    assert paired_difference(METRICS["warping_error"], *pair) == Estimate(0.25, None, None, count)


def test_means_need_enough_of_each_clip_or_of_several_videos():
    metric = METRICS["warping_error"]
    short, long = (([0.3 + 0.01 * k for k in range(n)], [0.2] * n) for n in (5, 6))
    assert difference_on_clips(metric, [short, long]).low is None, "a short clip does not tell how well it is known"
    assert difference_over_videos(metric, [short, long]).low is not None, "as a video it counts like any other"
    assert difference_over_videos(metric, [long]).low is None, "one video tells nothing about others"
    assert difference_over_videos(metric, [([0.5], [0.25])] * 3).low is None, "three samples in all"


def test_the_mean_over_videos_is_student_s_t_of_one_difference_for_each():
    random = np.random.default_rng(3)
    videos = [(draws(n, seed=n), draws(n, seed=n + 50)) for n in (11, 30, 7, 23)]
    random.shuffle(videos)
    each = [math.sqrt(np.mean(first)) - math.sqrt(np.mean(second)) for first, second in videos]
    e = difference_over_videos(METRICS["temporal_error"], videos)
    assert (e.value, e.p, e.n) == (
        pytest.approx(np.mean(each)),
        pytest.approx(stats.ttest_1samp(each, 0).pvalue),
        71,
    )
    assert (e.low, e.high) == pytest.approx(stats.t.interval(0.95, 3, loc=np.mean(each), scale=stats.sem(each)))


def test_the_same_frames_do_not_differ_at_all():
    values = draws(12).tolist()
    assert paired_difference(METRICS["temporal_error"], values, values) == Estimate(0.0, 0.0, 0.0, 12, p=1.0)


def test_no_error_at_all_is_known_without_doubt():
    nothing = [0.0] * 12
    assert estimate(METRICS["temporal_error"], nothing) == Estimate(0.0, 0.0, 0.0, 12)
    assert paired_difference(METRICS["temporal_error"], nothing, draws(12).tolist()).high < 0


def test_a_small_steady_difference_shows_through_a_large_common_variance():
    scene = 10 * draws(40)  # how hard the frames are, for both alike
    first, second = scene + 0.004, scene + np.random.default_rng(5).normal(0, 0.002, 40)
    metric = METRICS["warping_error"]
    apart = [estimate(metric, list(values)) for values in (first, second)]
    assert apart[1].high > apart[0].low, "on their own, the intervals overlap"
    difference = paired_difference(metric, list(first), list(second))
    assert difference.value == pytest.approx(first.mean() - second.mean())
    assert 0 < difference.low < difference.value < difference.high
    back = paired_difference(metric, list(second), list(first))
    assert (back.value, back.low, back.high) == pytest.approx((-difference.value, -difference.high, -difference.low))


def test_the_difference_of_errors_is_that_of_their_roots():
    first, second = draws(20, 1), draws(20, 2)
    difference = paired_difference(METRICS["temporal_error"], first.tolist(), second.tolist())
    assert difference.value == pytest.approx(math.sqrt(first.mean()) - math.sqrt(second.mean()), rel=1e-12)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_influences_are_how_far_a_sample_moves_the_value(name):
    """Known answer: the derivative of the value by each sample, times n, by moving the sample a little."""
    metric, values, step = METRICS[name], draws(9), 1e-7
    moved = [metric.reduce(values + step * (np.arange(9) == k)) - metric.reduce(values) for k in range(9)]
    slopes = 9 * np.array(moved) / step
    influence = metric.influence(values)
    assert np.diff(influence) == pytest.approx(slopes[0] * np.diff(values), rel=1e-4)


def test_paired_samples_must_be_of_one_length():
    with pytest.raises(ValueError, match="one length, got 3 and 2"):
        paired_difference(METRICS["temporal_error"], [1, 2, 3], [1, 2])
