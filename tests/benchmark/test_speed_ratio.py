"""Speeds as ratios: pairs of rounds, intervals that cover, and rounds until they are narrow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from reconet_bench.benchmark import timing as timing_module
from reconet_bench.benchmark.calm_rounds import calm_rounds
from reconet_bench.benchmark.error_change import ErrorChange
from reconet_bench.benchmark.speed_ratio import RESOLVED_WITHIN, speed_ratio
from reconet_bench.benchmark.speed_records import speed_rows
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Samples, Timing
from reconet_bench.core.cpu_load import Span
from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.runtimes.base import Parity


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
        if work.__name__ == "warm_up":
            timing = Timing("it", "cpu", "fp32", 1, 0.0)
            timing.samples = {"device": Samples()}
            return timing
        taken = next(self.seconds)
        self.clock.now += taken
        return {"device": [taken] * 3}, Span(), []


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


class Restarting(Steady):
    """A session whose speed depends on its process: each start draws it anew, and each turn a little."""

    load_seconds, build_seconds = 0.5, 0.0

    def __init__(self, clock, rng, seconds, starts):
        super().__init__(clock, [seconds])
        self.rng, self.seconds_here, self.spread, self.started = rng, seconds, starts, 0
        self.factor = float(np.exp(rng.normal(0, starts)))

    def restart(self):
        self.started += 1
        self.factor = float(np.exp(self.rng.normal(0, self.spread)))

    def ask(self, work, *arguments):
        if work.__name__ == "start":
            return 3
        if work.__name__ == "warm_up":
            return super().ask(work, *arguments)
        taken = self.seconds_here * self.factor * float(np.exp(self.rng.normal(0, 0.01)))
        self.clock.now += taken
        return {"device": [taken] * 3}, Span(), []


def coverage(monkeypatch, restarts) -> float:
    """How many of many runs have an interval that covers the ratio over all processes, which is 2."""
    rng, covered, repeats = np.random.default_rng(11), 0, 300
    options = TimingOptions(6, boundaries=("device",), reference="torch", restarts=restarts)
    for _ in range(repeats):
        clock = Clock()
        monkeypatch.setattr(timing_module, "perf_counter", clock)
        sessions = {"torch": Restarting(clock, rng, 1.0, 0.04), "own": Restarting(clock, rng, 0.5, 0.02)}
        timings = measure(sessions, [np.zeros((8, 8, 3), np.uint8)], options)
        assert sessions["own"].started == (5 if restarts else 0), "the first round has the processes that are there"
        ratio = speed_ratio(*(timings[name].samples["device"].rounds for name in ("own", "torch")))
        covered += ratio.low <= 2 <= ratio.high
    return covered / repeats


def test_an_interval_over_processes_holds_for_the_next_run_and_one_within_a_process_does_not(monkeypatch):
    assert coverage(monkeypatch, restarts=True) > 0.92
    assert coverage(monkeypatch, restarts=False) < 0.6


def test_what_takes_long_to_start_is_started_once(monkeypatch):
    clock, rng = Clock(), np.random.default_rng(1)
    monkeypatch.setattr(timing_module, "perf_counter", clock)
    sessions = {"torch": Restarting(clock, rng, 1.0, 0.0), "own": Restarting(clock, rng, 0.5, 0.0)}
    sessions["own"].build_seconds = 1.6
    measure(sessions, [np.zeros((8, 8, 3), np.uint8)], TimingOptions(3, boundaries=("device",), restarts=True))
    assert (sessions["torch"].started, sessions["own"].started) == (2, 0)


def test_a_session_that_does_not_start_again_costs_its_row_alone(monkeypatch):
    clock, rng, failed = Clock(), np.random.default_rng(1), {}
    monkeypatch.setattr(timing_module, "perf_counter", clock)
    sessions = {"torch": Restarting(clock, rng, 1.0, 0.0), "own": Restarting(clock, rng, 0.5, 0.0)}

    def broken():
        raise RuntimeUnavailable("worker process died")

    sessions["own"].restart = broken
    options = TimingOptions(3, boundaries=("device",), restarts=True)
    timings = measure(sessions, [np.zeros((8, 8, 3), np.uint8)], options, on_failure=failed.__setitem__)
    assert list(timings) == ["torch"]
    assert str(failed["own"]) == "worker process died"


def spans(*shares):
    return [Span(share * 0.5, 0.5) for share in shares]


def test_rounds_in_which_others_took_the_processor_do_not_count():
    assert calm_rounds([spans(0, 0, 0.5, 0, 0), spans(0, 0.08, 0, 0.3, 0)], 3) == [0, 1, 4]
    assert calm_rounds([spans(0, 0, 0.5, 0, 0), spans(0, 0.08, 0, 0.3, 0)], 4) == [0, 1, 2, 3, 4], "too few are left"
    assert calm_rounds([spans(0.5, 0.45, 0.55, 0.5)], 2) == [0, 1, 2, 3], "what others always take is no reason"
    assert calm_rounds([[Span()] * 3], 1) == [0, 1, 2], "unknown on this system"
    assert calm_rounds([], 1) == []


class Disturbed(Steady):
    """A session that is slower while others take the processor: every third turn."""

    def ask(self, work, *arguments):
        found = super().ask(work, *arguments)
        if work.__name__ == "warm_up":
            return found
        taken, _, motion = found
        busy = taken["device"][0] > 1.5
        return taken, Span(0.9 if busy else 0.0, 2.0), motion


def test_disturbed_rounds_are_left_out_of_all_rows_alike_and_told(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing_module, "perf_counter", clock)
    sessions = {"torch": Disturbed(clock, [1.0, 1.0, 3.0]), "own": Steady(clock, [0.5])}
    options = TimingOptions(4, boundaries=("device",), reference="torch", budget=100.0)
    timings = measure(sessions, [np.zeros((8, 8, 3), np.uint8)], options)
    own, base = (timings[name] for name in ("own", "torch"))
    assert base.samples["device"].median == 1.0
    assert len(own.samples["device"].rounds) == len(base.samples["device"].rounds) == len(own.turns) >= 4
    assert own.left_out == base.left_out == 1
    row = speed_rows(own, base, Parity(0.0, 99.0, 4), ErrorChange(None, 0))["speed_up"]
    assert (row.value, row.note) == (2.0, "1 more round left out: other programs took the processor")
