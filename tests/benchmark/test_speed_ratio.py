"""Speeds as ratios: pairs of rounds, intervals that cover, and rounds until they are narrow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from reconet_bench.benchmark import timing as timing_module
from reconet_bench.benchmark.speed_ratio import RESOLVED_WITHIN, speed_ratio
from reconet_bench.benchmark.timing import TimingOptions, measure


def test_a_machine_that_slows_down_slows_both_and_the_ratio_is_exact():
    moods = (1.0, 1.7, 0.8, 1.2)
    reference = [[0.30 * mood, 0.31 * mood, 0.29 * mood] for mood in moods]
    own = [[0.10 * mood, 0.09 * mood, 0.11 * mood] for mood in moods]
    ratio = speed_ratio(own, reference)
    assert ratio.value == pytest.approx(3.0)
    assert ratio.low == pytest.approx(3.0)
    assert ratio.high == pytest.approx(3.0)
    assert (ratio.n, ratio.resolved) == (4, True)


def test_the_interval_is_students_t_of_the_logarithms():
    ratio = speed_ratio([[1.0], [1.0], [1.0]], [[2.0], [2.2], [1.8]])
    logarithms = np.log([2.0, 2.2, 1.8])
    half = 4.302653 * logarithms.std(ddof=1) / math.sqrt(3)
    assert ratio.value == pytest.approx(math.exp(logarithms.mean()))
    assert ratio.low == pytest.approx(math.exp(logarithms.mean() - half), rel=1e-5)
    assert ratio.high == pytest.approx(math.exp(logarithms.mean() + half), rel=1e-5)
    assert not ratio.resolved
    assert ratio.half_width == pytest.approx(ratio.high / ratio.value - 1)


def test_one_round_has_no_interval_and_is_not_resolved():
    ratio = speed_ratio([[0.5, 0.25, 1.0]], [[1.0]])
    assert (ratio.value, ratio.low, ratio.high, ratio.n, ratio.resolved) == (2.0, None, None, 1, False)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.08])
def test_intervals_cover_although_rounds_end_when_they_are_narrow(noise):
    """Stopping as soon as an interval is narrow favours intervals that are narrow by chance: how much does it cost?"""
    rng, covered, repeats, true = np.random.default_rng(5), 0, 1000, 1.8
    for _ in range(repeats):
        for rounds in itertools.count(5):
            if rounds == 5:
                reference = list(np.exp(rng.normal(0, noise, 5)))
                own = list(np.exp(rng.normal(0, noise, 5)) / true)
            else:
                reference.append(float(np.exp(rng.normal(0, noise))))
                own.append(float(np.exp(rng.normal(0, noise)) / true))
            ratio = speed_ratio([[value] for value in own], [[value] for value in reference])
            if ratio.resolved or rounds == 15:
                break
        covered += ratio.low <= true <= ratio.high
    assert 0.915 < covered / repeats < 0.975


class Steady:
    """A session handle whose frames take the given seconds, by a clock of the test's own."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, itertools.cycle(seconds)

    def ask(self, work, *arguments):
        if work.__name__ == "_warm_up":
            timing = timing_module.Timing("it", "cpu", "fp32", 1, 0.0)
            timing.samples = {"device": timing_module.Samples()}
            return timing
        taken = next(self.seconds)
        self.clock.now += taken
        return {"device": [taken] * 3}, timing_module.Span(), []


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def rounds_taken(monkeypatch, own, budget) -> int:
    clock = Clock()
    monkeypatch.setattr(timing_module, "perf_counter", clock)
    sessions = {"torch": Steady(clock, [1.0]), "own": Steady(clock, own)}
    options = TimingOptions(3, boundaries=("device",), reference="torch", budget=budget)
    timings = measure(sessions, [np.zeros((8, 8, 3), np.uint8)], options)
    assert len(timings["torch"].samples["device"].rounds) == len(timings["own"].samples["device"].rounds)
    return len(timings["own"].samples["device"].rounds)


def test_rounds_go_on_until_the_ratio_is_known_or_the_time_is_over(monkeypatch):
    assert rounds_taken(monkeypatch, [0.5], 100.0) == 3, "known after the fewest"
    assert rounds_taken(monkeypatch, [0.5, 0.51, 0.49], 1000.0) > 3
    assert rounds_taken(monkeypatch, [0.2, 0.8], 0.0) == 3, "no time for more"
    assert 10 <= rounds_taken(monkeypatch, [0.2, 0.8], 20.0) <= 15, "never known: as many as the time allows"
    assert RESOLVED_WITHIN == 0.03
