"""The clock, on a session whose duration is known: a fake clock where it counts, the real one for the overhead."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reconet_bench.benchmark import timing, turns
from reconet_bench.benchmark.error_change import ErrorChange
from reconet_bench.benchmark.speed_records import doubts, gate, speed_rows
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Samples
from reconet_bench.core import cpu_load, errors
from reconet_bench.core.doubts import Doubt
from reconet_bench.runtimes.base import ModelSource, Parity, Session

UPLOAD, RUN, WAIT, DOWNLOAD = 0.001, 0.002, 0.040, 0.0005
FRAMES = [np.full((4, 6, 3), value, np.uint8) for value in range(5)]


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Scripted(Session):
    """Every step takes a known time; what it did is in ``log``, across sessions in order."""

    runtime = "scripted"
    load_seconds = 0.25

    def __init__(
        self, clock: Clock, log: list | None = None, name: str = "a", waits: list[float] | None = None
    ) -> None:
        super().__init__(ModelSource(name, None, lambda: None), torch.device("cpu"), 1)
        self.clock, self.log, self.waits = clock, [] if log is None else log, list(waits or [])
        self.pending = False
        self.collector: list[bool] = []

    def upload(self, image):
        self.clock.sleep(UPLOAD)
        return image

    def run(self, x):
        self.clock.sleep(RUN)
        self.pending = True
        self.log.append((self.model.name, int(x[0, 0, 0])))
        self.collector.append(gc.isenabled())
        return x

    def synchronize(self) -> None:
        if self.pending:
            self.clock.sleep(self.waits.pop(0) if self.waits else WAIT)
        self.pending = False

    def download(self, y):
        assert not self.pending, "downloaded before it was synchronised"
        self.clock.sleep(DOWNLOAD)
        return y

    def infer(self, x):
        raise NotImplementedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    for module in (timing, turns):
        monkeypatch.setattr(module, "perf_counter", lambda: fake.now)
    return fake


def test_each_boundary_times_what_lies_between_its_ends(clock: Clock) -> None:
    result = measure({"a": Scripted(clock)}, FRAMES, TimingOptions(rounds=2, seconds=0.5))["a"]
    assert result.samples["device"].seconds == pytest.approx(RUN + WAIT)
    assert result.samples["end_to_end"].seconds == pytest.approx(UPLOAD + RUN + WAIT + DOWNLOAD)
    assert result.samples["device"].fps == pytest.approx(1 / 0.042)
    assert result.first_frame == pytest.approx(UPLOAD + RUN + WAIT + DOWNLOAD)
    assert (result.runtime, result.device, result.precision, result.threads) == ("scripted", "cpu", "fp32", 1)
    assert result.load_seconds == 0.25
    assert result.stable


def test_a_turn_lasts_as_long_as_asked_and_has_three_frames_at_least(clock: Clock) -> None:
    long = measure({"a": Scripted(clock)}, FRAMES, TimingOptions(rounds=3, seconds=0.5, boundaries=("device",)))[
        "a"
    ].samples["device"]
    assert [len(one) for one in long.rounds] == [12, 12, 12]  # 11 frames of 42 ms are 0.462 s
    short = measure({"a": Scripted(clock)}, FRAMES, TimingOptions(rounds=1, seconds=0.0, boundaries=("device",)))[
        "a"
    ].samples["device"]
    assert [len(one) for one in short.rounds] == [3]


def test_a_session_that_starts_anew_runs_its_first_frames_before_its_turn(clock: Clock) -> None:
    session = Scripted(clock)
    session.restart = lambda: session.log.append(("restart", 0))
    found = measure({"a": session}, FRAMES, TimingOptions(rounds=3, seconds=0.0, restarts=True))["a"]
    log = [name for name, _ in session.log]
    after = [list(group) for name, group in itertools.groupby(log) if name != "restart"]
    assert log.count("restart") == 2
    assert [len(group) for group in after] == [found.warmup_frames + 1 + 3, 3 + 3, 3 + 3]
    assert [len(one) for one in found.samples["end_to_end"].rounds] == [3, 3, 3]


def test_sessions_take_turns_in_changing_order_with_fresh_frames(clock: Clock) -> None:
    log: list[tuple[str, int]] = []
    sessions = {name: Scripted(clock, log, name) for name in "abc"}
    turns: list[tuple[str, int, int]] = []
    measure(sessions, FRAMES, TimingOptions(3, 0.0, ("device",)), on_progress=lambda *step: turns.append(step))
    assert "".join(name for name, _, _ in turns) == "abcabcbcacab"
    assert [(done, total) for _, done, total in turns] == [(n, 12) for n in range(12)]
    assert [frame for _, frame in log] == [n % 5 for n in range(len(log))]
    after_warmup = "".join(name for name, _ in log)[-36:]
    assert after_warmup == "".join(name * 4 for name in "abcbcacab")  # one uncounted frame and three counted


def test_warm_up_ends_when_frames_take_equal_time_and_is_not_counted(clock: Clock) -> None:
    tuning = [3.0, 2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.1]
    session = Scripted(clock, waits=tuning)
    result = measure(
        {"a": session}, FRAMES, TimingOptions(rounds=2, seconds=0.2, boundaries=("device",), warmup_seconds=60)
    )["a"]
    assert result.first_frame == pytest.approx(UPLOAD + RUN + 3.0 + DOWNLOAD)
    assert result.warm
    assert result.warmup_frames > len(tuning)
    assert result.samples["device"].seconds == pytest.approx(RUN + WAIT)


def test_what_never_settles_is_cut_off_and_said(clock: Clock) -> None:
    slower = [0.1 * 1.2**n for n in range(300)]
    result = measure(
        {"a": Scripted(clock, waits=slower)}, FRAMES, TimingOptions(2, 0.1, ("device",), warmup_seconds=5)
    )["a"]
    assert not result.warm
    assert not result.stable
    assert (
        sum(slower[1 : result.warmup_frames - 1])
        < 5
        <= sum(slower[1 : result.warmup_frames]) + RUN * result.warmup_frames
    )


def test_slow_frames_get_warm_too(clock: Clock) -> None:
    result = measure(
        {"a": Scripted(clock, waits=[10.0] * 100)}, FRAMES, TimingOptions(2, 0.0, ("device",), warmup_seconds=5)
    )["a"]
    assert result.warm
    assert result.warmup_frames == 1 + 6


def test_the_collector_is_off_while_measuring_and_on_again_after(clock: Clock) -> None:
    assert gc.isenabled()
    session = Scripted(clock)
    measure({"a": session}, FRAMES, TimingOptions(rounds=1, seconds=0.0, boundaries=("device",)))
    assert session.collector[-3:] == [False] * 3
    assert gc.isenabled()


def test_statistics_come_from_the_samples() -> None:
    """Quartiles of 1..9 by linear interpolation are 3, 5, 7 (Hyndman and Fan 1996, type 7)."""
    samples = Samples([[9.0, 1.0, 8.0], [2.0, 7.0, 3.0], [6.0, 4.0, 5.0]])
    assert samples.median == 5
    assert samples.fps == 0.2
    assert samples.spread == pytest.approx((7 - 3) / 5)
    assert samples.p90 == pytest.approx(8.2)
    assert samples.p99 == pytest.approx(8.92)


@pytest.mark.parametrize(
    ("rounds", "stable"),
    [
        ([[1.0] * 5, [1.05] * 5, [1.09] * 5], True),
        ([[1.0] * 5, [1.05] * 5, [1.2] * 5], False),
        ([[1.0, 1.0, 9.0], [1.0, 1.0, 7.0]], True),
        ([[1.0] * 5], False),
    ],
)
def test_stable_means_that_rounds_agree(rounds: list[list[float]], stable: bool) -> None:
    assert Samples(rounds).stable is stable


@pytest.mark.clock
def test_the_harness_adds_less_than_two_percent() -> None:
    """A frame of known duration on the real clock; the best of many, because other work only ever adds."""

    def work(seconds: float) -> None:
        """Who sleeps wakes late, on a processor that slept too."""
        end = time.perf_counter() + (seconds == WAIT) * WAIT
        while time.perf_counter() < end:
            pass

    session = Scripted(SimpleNamespace(sleep=work), waits=[])
    best = measure({"a": session}, FRAMES, TimingOptions(rounds=2, seconds=0.3))["a"]
    for samples in best.samples.values():
        assert WAIT <= samples.seconds.min() < 1.02 * WAIT


STAT = """cpu  999 999 999 999 999 999 999 999 0 0
cpu0 {0} 10 20 500 7 1 2 3 40 0
cpu1 100 10 20 500 7 1 2 3 40 0
cpu77 {0} 10 20 500 7 1 2 3 40 0
intr 1 2 3
"""


def test_what_others_take_of_the_processor_is_what_is_left_of_its_work(tmp_path, monkeypatch) -> None:
    """Two cores for two seconds: 3 s of work, 1 s of it our own; what other cores do does not count."""
    stat = tmp_path / "stat"
    monkeypatch.setattr(cpu_load, "_STAT", stat)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    own, now = iter((5.0, 6.0)), iter((70.0, 72.0))
    monkeypatch.setattr(cpu_load, "process_time", lambda: next(own))
    monkeypatch.setattr(cpu_load, "perf_counter", lambda: next(now))
    stat.write_text(STAT.format(100))
    before = cpu_load.moment()
    assert before == (70.0, 2 * 1.36, 5.0, 2)
    stat.write_text(STAT.format(400))
    span = before.until(cpu_load.moment())
    assert span == (pytest.approx(2.0), 4.0)
    assert span.share == pytest.approx(0.5)
    assert span.and_then(cpu_load.Span(0.0, 4.0)).share == pytest.approx(0.25)
    assert cpu_load.Span(0.5, 0.9).share is None, "too short for the kernel's ticks"
    assert cpu_load.Span(0.5, 1.0).share == 0.5
    for text in ("", "cpu0 1 2", "cpu0 a b c d e f g h"):
        stat.write_text(text)
        own, now = iter([5.0]), iter([70.0])
        found = cpu_load.moment()
        assert found is None or before.until(found).others == 0
    stat.unlink()
    assert cpu_load.moment() is None
    assert before.until(None).share is None


def test_the_work_of_others_is_said_beside_the_speed(clock: Clock, monkeypatch) -> None:
    """Each turn of four: others have three of the ten seconds of core time."""
    moments = itertools.cycle((cpu_load.Moment(0.0, 0.0, 0.0, 2), cpu_load.Moment(5.0, 5.0, 2.0, 2)))
    monkeypatch.setattr(turns, "moment", lambda: next(moments))
    busy = measure({"a": Scripted(clock)}, FRAMES, TimingOptions(rounds=4, seconds=0.1))["a"]
    assert busy.processor == (12.0, 40.0)
    assert doubts(busy) == [Doubt.BUSY]
    others = speed_rows(busy, None, Parity(0.0, 100.0, 4), ErrorChange(None))["other_work"]
    assert (others.value, others.unit) == (30, "%")
    monkeypatch.setattr(turns, "moment", lambda: None)
    assert doubts(measure({"a": Scripted(clock)}, FRAMES, TimingOptions(rounds=4, seconds=0.1))["a"]) == []


@pytest.mark.clock
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's own count")
def test_another_process_at_work_is_seen() -> None:
    before = cpu_load.moment()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"], check=True)
    assert before is not None
    assert before.until(cpu_load.moment()).others > 0.8


def test_peak_memory_is_what_the_session_took(clock: Clock) -> None:
    class Hungry(Scripted):
        def run(self, x):
            np.ones(64 * 2**20, np.uint8)  # touched, and given back at once
            return super().run(x)

    np.ones(128 * 2**20, np.uint8)  # an earlier peak, which is nobody's
    lean, hungry = (
        measure({"a": kind(clock)}, FRAMES, TimingOptions(1, 0.0))["a"].peak_memory for kind in (Scripted, Hungry)
    )
    assert lean is not None
    assert hungry is not None
    assert lean < 16 * 2**20
    assert 60 * 2**20 < hungry - lean < 80 * 2**20


@pytest.mark.parametrize("frames", [[], [np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)]])
def test_frames_must_be_of_one_size(clock: Clock, frames: list[np.ndarray]) -> None:
    with pytest.raises(errors.DataError, match=r"frames of one size, got (none|4x6, 6x4)"):
        measure({"a": Scripted(clock)}, frames)


def test_unknown_boundaries_and_no_rounds_are_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match=r"boundaries must be among .* got \['disk'\]"):
        TimingOptions(boundaries=("device", "disk"))
    with pytest.raises(ValueError, match="rounds must be 1 or more, got 0"):
        TimingOptions(rounds=0)


@pytest.mark.parametrize(
    ("psnr", "change", "passes"),
    [
        (40.0, None, True),
        (39.9, None, False),
        (60.0, 2.0, True),
        (60.0, -2.0, True),
        (60.0, 2.1, False),
        (60.0, -2.1, False),
        (float("inf"), 0.0, True),
    ],
)
def test_a_runtime_keeps_the_picture_from_40_db_and_within_two_percent_of_flicker(psnr, change, passes):
    assert gate(Parity(0.01, psnr, 4), change) == (None if passes else Doubt.CHANGED_OUTPUT)
