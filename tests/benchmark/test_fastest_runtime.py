"""The runtime that ``auto`` stands for: the fastest whose frames are the reference's, tried once and remembered."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reconet_bench.benchmark import fastest_runtime, runtime_pool
from reconet_bench.benchmark.fastest_runtime import choose_runtime
from reconet_bench.benchmark.timing import TimingOptions
from reconet_bench.core import errors
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.size import Size
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.pytorch import TorchSession
from reconet_bench.runtimes.selection import Resources
from reconet_bench.runtimes.worker import open_all

SIZE = Size(32, 48)
CPU = Resources("cpu", 1)


def quick(rounds: int) -> TimingOptions:
    """Short turns, end to end."""
    return TimingOptions(rounds, 0.03, ("end_to_end",), warmup_seconds=0.1)


class Soften(nn.Module):
    """Something quick that depends on its neighbours."""

    def forward(self, frame: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(frame, 3, 1, 1, count_include_pad=False)


class Altered(TorchSession):
    """PyTorch that takes longer, or gives another picture."""

    seconds, slower, shift, flicker = 0.0, 1.0, 0.0, 0.0

    def infer(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        self.seconds *= self.slower
        self.flicker = -self.flicker
        return super().infer(x) + self.shift + self.flicker


class Made(Runtime):
    """Opens such sessions and notes that it did; at the top of a module, as a worker needs it."""

    summary, from_network = "made for a test", True

    def __init__(self, name: str, opened: list[str], **alterations: float) -> None:
        self.name, self.opened, self.alterations = name, opened, alterations

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        self.opened.append(self.name)
        session = Altered(model, model.network, device, threads)
        vars(session).update(self.alterations, runtime=self.name)
        return session


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model() -> Model:
    return Model(ModelSource("soft", Soften(), Path), "reconet", "", checksum="sha256:soft")


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """PyTorch slowed down, PyTorch under another name, and others of another picture; all in this process, which
    starts sooner. Opened so far.
    """
    opened: list[str] = []
    list(RUNTIMES)  # all found, before any is added
    alterations = {
        "torch": {"seconds": 0.02},
        "quick": {"seconds": 0.004},
        "slower": {"seconds": 0.04},
        "another": {"shift": 0.1},
        "flickers": {"flicker": 0.009},
        "overflows": {"shift": float("inf")},
    }
    for name, how in alterations.items():
        monkeypatch.setitem(RUNTIMES._plugins, name, Made(name, opened, **how))
    monkeypatch.setattr(
        runtime_pool,
        "load_apart",
        lambda name, source, resources: RUNTIMES[name].load(source, resources.device, resources.threads),
    )
    monkeypatch.setattr(runtime_pool, "open_all", lambda *arguments: open_all(*arguments[:-1], apart=False))
    for name, value in {"_TRIAL": quick(1), "_FINAL": quick(3), "_PATIENCE": 0.0}.items():
        monkeypatch.setattr(fastest_runtime, name, value)
    return opened


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else runs on the machine of this test has no say in it."""
    monkeypatch.setattr(fastest_runtime, "doubts", lambda timing: [])


NAMES = ["torch", "quick", "slower", "another", "flickers"]


def test_the_fastest_that_passes_the_gate_is_chosen_and_the_reason_given(model: Model, runtimes: list[str]) -> None:
    choice = choose_runtime(model, SIZE, CPU, candidates=NAMES)
    assert choice.name == "quick"
    assert not choice.remembered
    assert list(choice.milliseconds) == ["quick", "torch", "slower"], "not in order, or of those that failed"
    assert 4 <= choice.milliseconds["quick"] < choice.milliseconds["torch"]
    assert choice.reason.startswith("quick: fastest of 3 that pass the parity gate at 48x32: ")
    assert " × torch, PSNR inf dB, ΔE(V) +0.00 %; then torch " in choice.reason
    assert "\n" not in choice.reason
    # A tenth brighter everywhere is 20 dB; flicker of 0.9 % passes 40 dB and does not pass E(V).
    assert choice.passed_over["another"].startswith("changed output (PSNR 20.")
    assert choice.passed_over["flickers"].startswith("changed output (PSNR 4")


def test_it_is_measured_once_for_all_that_it_depends_on(
    model: Model, runtimes: list[str], calm: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(
        size: Size = SIZE, threads: int = 1, of: Model = model, names: list[str] = NAMES[:2]
    ) -> fastest_runtime.Choice:
        return choose_runtime(of, size, Resources("cpu", threads), candidates=names)

    first = choose()
    assert runtimes
    runtimes.clear()
    again = choose()
    assert (again.name, again.milliseconds, again.remembered) == (first.name, first.milliseconds, True)
    assert again.reason.startswith(first.reason)
    assert str(cache) in again.reason
    assert runtimes == [], "a runtime was opened to recall what is known"
    other = Model(model.source, "reconet", "", checksum="sha256:other")
    for change in ({"size": (32, 64)}, {"threads": 2}, {"of": other}, {"names": ["torch"]}):
        assert not choose(**change).remembered, change
    monkeypatch.setattr(fastest_runtime, "versions", lambda: {"torch": "another"})
    assert not choose().remembered


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_broken_memory_is_measured_again(
    text: str, model: Model, runtimes: list[str], calm: None, cache: Path
) -> None:
    choose_runtime(model, SIZE, CPU, candidates=["quick"])
    (path,) = cache.rglob("*.json")
    assert json.loads(path.read_text())["choice"]["name"] == "quick"
    path.write_text(text)
    assert not choose_runtime(model, SIZE, CPU, candidates=["quick"]).remembered
    assert choose_runtime(model, SIZE, CPU, candidates=["quick"]).remembered


def test_a_model_without_a_checksum_and_a_cache_that_cannot_be_written_are_no_error(
    model: Model, runtimes: list[str], calm: None, cache: Path
) -> None:
    nameless = Model(model.source, "reconet", "")
    choose_runtime(nameless, SIZE, CPU, candidates=["quick"])
    assert not cache.exists()
    cache.write_text("a file where the folder would be")
    for _ in range(2):
        assert not choose_runtime(model, SIZE, CPU, candidates=["quick"]).remembered


def test_nothing_that_passes_is_an_error_that_says_why(model: Model, runtimes: list[str]) -> None:
    with pytest.raises(
        errors.RuntimeUnavailable, match=r"no runtime passes for 'soft' on cpu: another: changed output \(PSNR 20"
    ):
        choose_runtime(model, SIZE, CPU, candidates=["another", "torch:cuda"])


def test_a_reference_that_fails_is_said_of_itself(
    model: Model, runtimes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_pool, "reference_runtime", lambda model: ("overflows", None))
    with pytest.raises(errors.ModelError, match="'soft' in overflows: the output contains NaN or infinity"):
        choose_runtime(model, SIZE, CPU, candidates=["quick"])
    assert runtimes == ["overflows"]


def test_a_choice_between_unstable_timings_says_so_and_is_tried_anew(
    model: Model, runtimes: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that gets slower frame by frame has rounds that differ, whatever the machine does."""
    monkeypatch.setitem(RUNTIMES._plugins, "tires", Made("tires", runtimes, seconds=0.001, slower=1.02))
    choice = choose_runtime(model, SIZE, CPU, candidates=["tires", "slower"])
    assert choice.name == "tires"
    assert "unstable" in choice.doubt
    assert choice.reason.endswith(f"; doubtful, so not remembered and tried anew next time: {choice.doubt}")
    assert not list(cache.rglob("*.json"))
    runtimes.clear()
    assert not choose_runtime(model, SIZE, CPU, candidates=["tires", "slower"]).remembered
    assert "tires" in runtimes


def test_a_doubtful_run_off_is_done_again_while_there_is_time(
    model: Model, runtimes: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([["other work took 40 % of the processor meanwhile"]])
    monkeypatch.setattr(fastest_runtime, "doubts", lambda timing: next(told, []))
    monkeypatch.setattr(fastest_runtime, "_PATIENCE", 60.0)
    choice = choose_runtime(model, SIZE, CPU, candidates=["quick"])
    assert (choice.doubt, next(told, None)) == ("", None), "the first run-off was believed, or never asked about"
    assert choose_runtime(model, SIZE, CPU, candidates=["quick"]).remembered


def test_only_what_was_timed_in_the_run_off_can_be_chosen(
    model: Model, runtimes: list[str], calm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is quick at first and slow in the run-off is still not beaten by one that had no part in it."""
    monkeypatch.setitem(RUNTIMES._plugins, "torch", Made("torch", runtimes, seconds=0.1))
    timed: list[list[str]] = []
    measure = fastest_runtime.measure

    def once_slow(sessions: dict[str, Session], *arguments: object, **options: object) -> object:
        timed.append(list(sessions))
        if len(timed) == 3:  # two first trials, then the run-off
            vars(sessions["quick"])["seconds"] = 0.2
        return measure(sessions, *arguments, **options)

    monkeypatch.setattr(fastest_runtime, "measure", once_slow)
    choice = choose_runtime(model, SIZE, CPU, candidates=["quick", "torch"])
    assert timed == [["quick"], ["torch"], ["quick"]]
    assert choice.name == "quick"
    assert choice.milliseconds["quick"] > choice.milliseconds["torch"]
    assert list(choice.milliseconds) == ["quick", "torch"]
    assert float(choice.reason.partition("ms a frame, ")[2].partition(" × torch")[0]) > 1, "first trial beside run-off"


def test_what_breaks_off_among_the_last_is_passed_over(
    model: Model, runtimes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two as fast as each other go into the second trial, where one cannot be loaded again."""
    monkeypatch.setitem(RUNTIMES._plugins, "twin", Made("twin", runtimes, seconds=0.004))
    load = RUNTIMES["twin"].open

    def once(*where: object) -> Session:
        if runtimes.count("twin"):
            raise errors.ModelError("not a second time")
        return load(*where)

    monkeypatch.setattr(RUNTIMES["twin"], "open", once)
    monkeypatch.setattr(fastest_runtime, "FINALISTS_WITHIN", 1000.0)  # however busy the machine is
    choice = choose_runtime(model, SIZE, CPU, candidates=["quick", "twin"])
    assert choice.name == "quick"
    assert choice.passed_over == {"twin": "not a second time"}


def test_where_every_finalist_breaks_off_the_next_fastest_are_timed(
    model: Model, runtimes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = RUNTIMES["quick"].open

    def once(*where: object) -> Session:
        if "quick" in runtimes:
            raise errors.RuntimeUnavailable("not enough memory")
        return load(*where)

    monkeypatch.setattr(RUNTIMES["quick"], "open", once)
    choice = choose_runtime(model, SIZE, CPU, candidates=["quick", "torch"])
    assert choice.name == "torch"
    assert choice.passed_over == {"quick": "not enough memory"}
    assert runtimes.count("torch") == 3, "as the reference, in the first trial, and in a run-off of its own"


def test_real_runtimes_are_tried_in_processes_of_their_own(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(*_: object) -> None:
        raise AssertionError("loaded in the process that chooses")

    monkeypatch.setattr(Runtime, "load", here)
    monkeypatch.setattr(fastest_runtime, "_PATIENCE", 0.0)
    said: list[str] = []
    choice = choose_runtime(model, SIZE, CPU, said.append, ["torch", "torch:channels-last"])
    assert set(choice.milliseconds) == {"torch", "torch:channels-last"}
    assert choice.name == min(choice.milliseconds, key=choice.milliseconds.__getitem__)
    assert said[:2] == ["trying torch", "trying torch:channels-last"]


def test_the_cache_is_where_the_user_or_the_platform_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("RECONET_BENCH_CACHE")
    if sys.platform != "linux":
        return  # platformdirs knows the place of every system
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "reconet-bench"
