"""The search for the weight of equal style, on curves whose answer is known, and with the noise of training."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconet_bench.training.field_plan import (
    BAND,
    CLOSEST,
    PLANNED,
    STEP,
    Trial,
    equal_style,
    next_factor,
    steps_that_fit,
)


def searched(curve: Callable[[float], float], points: int) -> list[Trial]:
    """The trials of a search on a known curve: style distance over the baseline's, by factor."""
    trials: list[Trial] = []
    while (factor := next_factor(trials, points)) is not None:
        assert factor not in [trial.factor for trial in trials], "no point is trained twice"
        trials.append(Trial(factor, curve(factor)))
    return trials


def rising(edge: float, slope: float = 0.1, base: float = 1.0) -> Callable[[float], float]:
    """A curve that is ``base`` for small factors, and reaches the band's end at ``edge``."""
    scale = (1 + BAND - base) / edge**slope
    return lambda factor: base + scale * factor**slope


def test_a_search_begins_at_the_weight_it_was_given_and_goes_by_the_step():
    assert next_factor([], 4) == 1.0
    assert next_factor([Trial(1.0, 1.0)], 4) == STEP
    assert next_factor([Trial(1.0, 1.1)], 4) == 1 / STEP
    assert next_factor([Trial(1.0, 1.1), Trial(1 / STEP, 1.05)], 4) == 1 / STEP**2
    # Where the style is far off, a step is two at once.
    assert next_factor([Trial(1.0, 1.3)], 4) == 1 / STEP**2
    assert next_factor([Trial(1.0, 1.3), Trial(1 / STEP**2, 1.1)], 4) == 1 / STEP**3


def test_a_bracket_is_halved_on_a_logarithmic_scale():
    assert next_factor([Trial(1.0, 1.0), Trial(4.0, 1.2)], 4) == pytest.approx(2.0)
    assert next_factor([Trial(1.0, 1.0), Trial(4.0, 1.2), Trial(2.0, 1.02)], 4) == pytest.approx(math.sqrt(8))
    # More stylised than the band is no reason to go down.
    assert next_factor([Trial(1.0, 0.8)], 4) == STEP
    assert next_factor([Trial(1.0, 0.8), Trial(4.0, 1.2)], 4) == pytest.approx(2.0)


def test_a_search_ends_with_its_points_or_a_close_bracket():
    assert next_factor([Trial(1.0, 1.0)], 1) is None
    assert next_factor([Trial(1.0, 1.0), Trial(CLOSEST * 0.99, 1.2)], 9) is None
    assert next_factor([Trial(1.0, 1.0), Trial(CLOSEST * 1.01, 1.2)], 9) is not None


@pytest.mark.parametrize("edge", [0.02, 0.3, 0.99, 1.7, 4.0, 30.0, 700.0])
@pytest.mark.parametrize("slope", [0.1, 0.5])
def test_the_largest_weight_of_equal_style_is_found(edge, slope):
    trials = searched(rising(edge, slope, base=0.98), 14)
    chosen = equal_style(trials)
    assert chosen is not None
    assert chosen.fits
    assert edge / CLOSEST <= chosen.factor <= edge


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-3, 1e3), st.floats(0.05, 2.0), st.floats(0.5, 1.02), st.integers(1, 8))
def test_of_the_points_within_the_band_the_one_with_the_largest_weight_is_reported(edge, slope, base, points):
    trials = searched(rising(edge, slope, base), points)
    assert 1 <= len(trials) <= points
    chosen = equal_style(trials)
    assert chosen in trials, "what is reported was trained"
    fitting = [trial.factor for trial in trials if trial.fits]
    if fitting:
        assert chosen.factor == max(fitting)
    else:
        assert all(abs(chosen.miss) <= abs(trial.miss) for trial in trials)
        assert chosen.miss


@settings(deadline=None, max_examples=200)
@given(st.floats(0.05, 20), st.integers(0, 10_000))
def test_noise_of_training_leaves_the_search_sound(edge, seed):
    """One per cent of noise: every factor is new, and the answer lies where noise lets it."""
    noise, true = np.random.default_rng(seed), rising(edge, 0.3, base=0.9)
    trials = searched(lambda factor: true(factor) * float(np.exp(noise.normal(0, 0.01))), 8)
    chosen = equal_style(trials)
    if chosen is not None and chosen.fits:
        assert true(chosen.factor) <= (1 + BAND) * math.exp(0.05)
        assert true(chosen.factor) >= (1 - BAND) * math.exp(-0.05)


def test_a_method_that_never_reaches_the_style_says_by_how_much():
    trials = searched(lambda factor: 1.2 + 0.01 * math.log(factor), 4)
    assert [trial.factor for trial in trials] == [1, 1 / 16, 1 / 256, 1 / 4096]
    chosen = equal_style(trials)
    assert chosen == trials[-1]
    assert chosen.miss == pytest.approx(chosen.ratio - 1.03)
    passed = equal_style([Trial(1.0, 0.8), Trial(4.0, 0.9)])
    assert (passed.factor, passed.miss) == (4.0, pytest.approx(-0.07))
    assert equal_style([]) is None


@pytest.mark.parametrize(("ratio", "fits"), [(1.0, True), (1.029, True), (0.971, True), (1.031, False), (0.969, False)])
def test_equal_is_within_three_per_cent(ratio, fits):
    assert Trial(1.0, ratio).fits is fits


def test_steps_are_those_that_fit_into_the_time():
    costs, points = {"johnson": 0.5, "reconet": 1.0}, {"johnson": 1, "reconet": 4}
    steps = steps_that_fit(1000.0, costs, points, 10.0)
    assert steps == math.floor((1000 * PLANNED - 50) / 4.5)
    assert 50 + steps * 4.5 <= 1000 * PLANNED < 50 + (steps + 1) * 4.5
    assert steps_that_fit(20.0, costs, points, 10.0) < 0
