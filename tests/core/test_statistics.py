"""Intervals and p values against independent computations; whether they hold is in tests/metrics/test_statistics.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from reconet_bench.core.statistics import (
    FEWEST,
    MeanError,
    error_of_mean,
    error_of_series,
    error_of_values,
    holm,
    interval,
)


def ends(values, error: MeanError) -> tuple[float, float]:
    return interval(float(np.mean(values)), error.half_width)


def test_independent_values_have_the_interval_and_p_value_of_student():
    values = [0.3, 0.5, 0.1, 0.45]
    error = error_of_values(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert ends(values, error) == pytest.approx(expected, rel=1e-12)
    assert error.p_value(float(np.mean(values))) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-12)


def test_two_values_have_one_degree_of_freedom():
    """Known answer: Student's t with one degree of freedom reaches 12.706 standard errors."""
    assert ends([1.0, 3.0], error_of_values([1.0, 3.0])) == pytest.approx((2 - 12.7062, 2 + 12.7062), rel=1e-5)


def test_a_mean_of_independent_means_is_that_of_welch():
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, 5), random.normal(3, 4, 9)
    error = error_of_mean([error_of_values(first), error_of_values(second)])
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert error.freedom == pytest.approx(theirs.df, rel=1e-12)
    low, high = theirs.confidence_interval()
    assert 2 * error.half_width == pytest.approx((high - low) / 2, rel=1e-12)
    assert error.p_value((first.mean() - second.mean()) / 2) == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize("series", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_series_is_taken_as_autoregressive(seed, series):
    """Known answer: the correlation by hand, and the variance of the mean from the whole matrix of correlations."""
    values = np.random.default_rng(seed).normal(size=15).cumsum() * 0.5 + np.random.default_rng(seed).normal(size=15)
    n = len(values)
    mean = sum(values) / n
    squares = sum((x - mean) ** 2 for x in values)
    lag = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(values)) / squares
    rho = min(max(lag + (1 + 4 * lag) / n + (2.5 + 3 * lag) / (n * series**2), 0), 0.9)
    matrix = np.array([[rho ** abs(i - j) for j in range(n)] for i in range(n)])
    of_mean = matrix.mean()  # variance of the mean, for values of variance 1
    of_value = squares / (n * (1 - of_mean))  # the expected squares about the mean are n (1 - of_mean) variances
    error = error_of_series(values, series)
    assert error.error == pytest.approx(math.sqrt(of_value * of_mean), rel=1e-9)
    assert error.freedom == pytest.approx(max(1 / of_mean - 1, 3), rel=1e-9)
    assert error.half_width == pytest.approx(stats.t.ppf(0.975, error.freedom) * error.error, rel=1e-9)


def test_values_that_alternate_have_the_interval_of_independent_ones():
    """A negative correlation is not used to narrow an interval."""
    values = np.array([1.0, 2.0] * 8)
    assert ends(values, error_of_series(values)) == pytest.approx(ends(values, error_of_values(values)), rel=1e-12)


def test_the_more_alike_neighbours_are_the_wider_is_the_interval():
    calm, trend = np.random.default_rng(1).permutation(12), np.arange(12)
    assert error_of_series(trend).half_width > 4 * error_of_series(calm).half_width


def test_a_series_of_equal_values_has_no_error():
    error = error_of_series(np.full(8, 0.25))
    assert error.half_width == 0
    assert error.p_value(0.25) == 0
    assert error.p_value(0.0) == 1


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_the_scale_of_the_values_does_not_matter(scale):
    values = np.random.default_rng(2).normal(3, 1, 11)
    small, large = error_of_series(values), error_of_series(values * scale)
    assert large.half_width == pytest.approx(scale * small.half_width, rel=1e-9)
    assert large.p_value(scale) == pytest.approx(small.p_value(1.0), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("n", [FEWEST, 11, 49])
def test_interval_and_p_value_agree(n, count):
    """Where zero is on the end of the 95 % interval, p is 5 %; further away it is smaller."""
    random = np.random.default_rng(n)
    error = error_of_mean([error_of_series(random.normal(size=n).cumsum(), count) for _ in range(count)])
    assert error.p_value(error.half_width) == pytest.approx(0.05, rel=1e-9)
    assert error.p_value(-2 * error.half_width) < 0.05 < error.p_value(0.9 * error.half_width)


def test_an_interval_of_an_error_is_symmetric_in_ratio():
    assert interval(0.2, 0.1) == pytest.approx((0.1, 0.3))
    low, high = interval(0.2, 0.1, positive=True)
    assert (0.2 / low, high / 0.2) == pytest.approx((math.exp(0.5), math.exp(0.5)))
    assert interval(0.0, 0.0, positive=True) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # p.adjust(p, "holm") of R
        ([0.04, None, 0.01], [0.04, None, 0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([None], [None]),
        ([], []),
    ],
)
def test_holm(raw, corrected):
    assert holm(raw) == [None if p is None else pytest.approx(p) for p in corrected]


def test_holm_rejects_what_its_procedure_rejects():
    """From the smallest on, each p is held against 5 % over the number of those that are left, until one fails."""
    for seed in range(30):
        raw = list(np.random.default_rng(seed).uniform(0, 0.05, 9))
        rejected = set()
        for left, place in zip(range(9, 0, -1), np.argsort(raw), strict=True):
            if raw[place] >= 0.05 / left:
                break
            rejected.add(int(place))
        assert {place for place, p in enumerate(holm(raw)) if p < 0.05} == rejected
