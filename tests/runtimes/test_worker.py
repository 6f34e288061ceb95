"""Runtimes in processes of their own: the same frames, a clock that adds nothing, and deaths that cost one row."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TranslationClip
from torch import Tensor, nn

from reconet_bench.benchmark.compare import Plan, compare
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.core import errors
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session, session_parity
from reconet_bench.runtimes.pytorch import TorchSession
from reconet_bench.runtimes.selection import Resources
from reconet_bench.runtimes.worker import Worker, load_apart, open_all

CPU = Resources("cpu", 1)
FRAMES = [np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8) for seed in range(3)]
SECONDS = 0.05
#: Bytes that a session takes while loading and at its first frame, and seconds of that frame.
LOADED, KEPT, FIRST = 2**28, 2**27, 0.3


class Blur(nn.Module):
    def forward(self, frame: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(frame, 3, 1, 1)


class Steady(TorchSession):
    """A frame takes a known time, at work: who sleeps wakes late, on a processor that slept too."""

    def infer(self, x: Tensor) -> Tensor:
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            pass
        return x


class Killed(TorchSession):
    """Dies in the midst of its tenth frame, as of a system that has run out of memory."""

    frames = 0

    def infer(self, x: Tensor) -> Tensor:
        self.frames += 1
        if self.frames == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().infer(x)


class Narrow(TorchSession):
    """Has little more memory than it uses already."""

    def infer(self, x: Tensor) -> Tensor:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + 2**26
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return super().infer(x)


class Hoarding(TorchSession):
    """Takes and keeps memory while loading and at its first frame, which takes long and says where it ran."""

    def __init__(self, model: ModelSource, network: nn.Module, device: torch.device, threads: int) -> None:
        super().__init__(model, network, device, threads)
        self.kept = [np.ones(LOADED, np.uint8)]

    def infer(self, x: Tensor) -> Tensor:
        if len(self.kept) == 1:
            with self.building():
                time.sleep(FIRST)
            self.kept.append(np.ones(KEPT, np.uint8))
            self.placement = {"attic": 7}
        return super().infer(x)


class Refusing(TorchSession):
    """Finds out at its first frame that it cannot take the model."""

    def infer(self, x: Tensor) -> Tensor:
        raise errors.ModelError("no such layer")


class Endless(TorchSession):
    """Overflows, as half precision does."""

    def infer(self, x: Tensor) -> Tensor:
        return super().infer(x) * float("inf")


class Scribbling(TorchSession):
    """Writes where nothing can be written."""

    def infer(self, x: Tensor) -> Tensor:
        Path("/dev/null/frames").mkdir()
        return x


class Forming(TorchSession):
    """Makes a form first, which takes memory, and keeps it."""

    def __init__(self, model: ModelSource, network: nn.Module, device: torch.device, threads: int) -> None:
        super().__init__(model, network, device, threads)
        place = Path(os.environ["RECONET_BENCH_CACHE"]) / "form"
        if not place.is_file():
            self.made_form, self.maker = place, np.ones(LOADED, np.uint8)
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()


class Building(TorchSession):
    """Builds at its first frame, and keeps for later sessions what it has built."""

    def infer(self, x: Tensor) -> Tensor:
        place = Path(os.environ["RECONET_BENCH_CACHE"]) / f"built-{x.shape[-2]}"
        if not place.is_file():
            with self.building():
                time.sleep(FIRST)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        return super().infer(x)


class Made(Runtime):
    """PyTorch by way of another class of session."""

    summary, from_network = "made for a test", True

    def __init__(self, kind: type[TorchSession]) -> None:
        self.kind = kind

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return self.kind(model, model.network, device, threads)


@pytest.fixture(scope="module", autouse=True)
def made() -> Iterator[None]:
    """Workers get the runtime itself from here, so these need not be installed there."""
    list(RUNTIMES)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Steady, Killed, Narrow, Hoarding, Refusing, Endless, Scribbling, Forming, Building):
            patch.setitem(RUNTIMES._plugins, kind.__name__.lower(), Made(kind))
        yield


@pytest.fixture(scope="module")
def model() -> ModelSource:
    return ModelSource("blur", Blur(), Path)


@pytest.fixture(scope="module")
def worker(model: ModelSource) -> Iterator[Worker]:
    with Worker("torch") as started:
        yield started.load(model, "cpu", 1)


def fail(name: str, error: Exception) -> None:
    raise AssertionError(f"{name}: {error}")


def processor_seconds(session: Session) -> float:
    return time.process_time()


def divide(session: Session, by: int) -> float:
    return 1 / by


def environment(session: Session, name: str) -> str | None:
    return os.environ.get(name)


def test_a_worker_is_the_session_it_holds(worker: Worker, model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    with RUNTIMES["torch"].load(model, "cpu", 1) as here:
        assert np.array_equal(worker(FRAMES[0]), here(FRAMES[0]))
        assert session_parity(here, worker, FRAMES).max_abs == 0
        for fact in ("runtime", "device", "precision", "threads", "placement", "model"):
            assert getattr(worker, fact) == getattr(here, fact), fact
        assert worker.load_seconds > 0
    timing = measure({"torch": worker}, FRAMES, TimingOptions(2, 0.01))["torch"]
    assert [len(samples.rounds) for samples in timing.samples.values()] == [2, 2]
    monkeypatch.setenv("NEWLY", "set")
    with Worker("torch") as later:
        later.load(model, "cpu", 1)
        assert later.ask(environment, "NEWLY") == "set", "a worker has the parent's environment as it is now"
        # Python's preload hides it where it fails; PyTorch's import takes over a second of the processor.
        assert sys.platform != "linux" or later.ask(processor_seconds) < 0.8, "it has imported everything by itself"
    assert worker.ask(environment, "OMP_WAIT_POLICY") == os.environ.get("OMP_WAIT_POLICY"), "PASSIVE slows PyTorch"


def identity_of(session: Session) -> int:
    return os.getpid()


def test_a_worker_that_starts_anew_is_the_same_session_in_another_process(model: ModelSource) -> None:
    with Worker("torch") as one:
        one.load(model, "cpu", 1)
        before, frame = one.ask(identity_of), one(FRAMES[0])
        one.restart()
        assert one.ask(identity_of) != before
        assert not Path(f"/proc/{before}").exists(), "the old process has ended"
        assert (one.model, one.runtime, one.threads) == (model, "torch", 1)
        assert np.array_equal(one(FRAMES[0]), frame)
        timing = measure({"torch": one}, FRAMES, TimingOptions(3, 0.01, restarts=True))["torch"]
        assert [len(samples.rounds) for samples in timing.samples.values()] == [3, 3]


def test_mistakes_in_a_worker_are_errors_here_and_it_lives_on(worker: Worker) -> None:
    with pytest.raises(errors.DataError, match=r"a frame is \(H, W, 3\) uint8") as caught:
        worker(np.zeros((4, 4), np.uint8))
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match=r"(?s)in the worker of torch.*in divide.*ZeroDivisionError"):
        worker.ask(divide, 0)
    assert worker.ask(divide, 2) == 0.5


@pytest.mark.clock
def test_an_idle_worker_takes_no_cores(model: ModelSource) -> None:
    """Two threads: one alone has no pool that could spin."""
    with Worker("torch") as idle:
        idle.load(model, "cpu", 2)(np.zeros((256, 256, 3), np.uint8))
        time.sleep(0.1)
        before = idle.ask(processor_seconds)
        time.sleep(0.5)
        assert idle.ask(processor_seconds) - before < 0.02 * 0.5


def test_what_the_parent_does_is_no_memory_of_the_workers(model: ModelSource) -> None:
    """The parent hoards while the worker is being measured."""
    hoard: list[np.ndarray] = []
    begun = threading.Event()

    def fill() -> None:
        begun.wait(30)
        hoard.append(np.ones(2**29, np.uint8))

    thread = threading.Thread(target=fill)
    thread.start()
    with Worker("steady") as steady:
        steady.load(model, "cpu", 1)
        timing = measure(
            {"steady": steady}, FRAMES, TimingOptions(2, 0.1, ("device",)), on_progress=lambda *_: begun.set()
        )["steady"]
    thread.join()
    assert timing.peak_memory is not None
    assert timing.peak_memory < 2**28 < sum(one.nbytes for one in hoard)


def test_what_is_kept_counts_as_memory_and_only_the_first_frame_as_the_first(model: ModelSource) -> None:
    """Memory of loading and of the first frame, and its time, are the session's from its start."""
    with Worker("hoarding") as hoarding:
        hoarding.load(model, "cpu", 1)
        assert hoarding.load_memory is not None
        assert LOADED <= hoarding.load_memory < 2 * LOADED
        fresh = measure({"hoarding": hoarding}, FRAMES, TimingOptions(1, 0.0, ("device",)))["hoarding"]
        again = measure({"hoarding": hoarding}, FRAMES, TimingOptions(1, 0.0, ("device",)))["hoarding"]
    assert fresh.peak_memory is not None
    assert LOADED + KEPT <= fresh.peak_memory < 1.5 * (LOADED + KEPT)
    assert fresh.first_frame is not None
    assert fresh.first_frame >= FIRST
    assert (again.first_frame, again.peak_memory) == (None, None), "it had run frames before"


@pytest.mark.parametrize("writable", [True, False])
def test_who_makes_a_form_is_no_memory_of_who_runs_it(
    model: ModelSource, writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form is loaded in a new process; where it cannot be kept, the memory is not told."""
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache") if writable else "/dev/null/cache")
    with Worker("forming") as forming:
        forming.load(model, "cpu", 1)
        assert np.array_equal(forming(FRAMES[0]).shape, FRAMES[0].shape)
        if writable:
            assert forming.load_memory is not None
            assert forming.load_memory < LOADED / 4
        else:
            assert forming.load_memory is None


def test_what_the_system_refuses_is_said_in_one_line(model: ModelSource) -> None:
    with Worker("scribbling") as scribbling, pytest.raises(errors.RuntimeUnavailable) as caught:
        scribbling.load(model, "cpu", 1)(FRAMES[0])
    assert str(caught.value) == "Not a directory: /dev/null/frames"


@pytest.mark.compiler
def test_a_compiler_is_quiet_where_there_is_no_gpu() -> None:
    """In a new process: workers write where the first one's parent did when it started."""
    if reason := RUNTIMES["torch-compile"].missing():
        pytest.skip(reason)
    script = (
        "import numpy as np, pathlib, torch\n"
        "from reconet_bench.runtimes.base import ModelSource\n"
        "from reconet_bench.runtimes.worker import Worker\n"
        "with Worker('torch-compile') as compiled:\n"
        "    source = ModelSource('same', torch.nn.ReLU(), pathlib.Path)\n"
        "    compiled.load(source, 'cpu', 1)(np.zeros((32, 48, 3), np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CUDA_HOME": "/usr/local/cuda"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_no_process_starts_for_what_cannot_compute_here(model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconet_bench.runtimes.worker.Worker", None)
    with pytest.raises(errors.RuntimeUnavailable, match="torch:fp16 is for GPUs"):
        load_apart("torch:fp16", model, CPU)
    failed: list[str] = []
    with contextlib.ExitStack() as stack:
        assert (
            open_all(
                ["torch:fp16", "onnxruntime:graph"],
                model,
                CPU,
                stack,
                lambda name, error: failed.append(str(error)),
            )
            == {}
        )
    assert [reason.partition(" on a CPU")[0] for reason in failed] == [
        "torch:fp16 is for GPUs:",
        "onnxruntime:graph is for GPUs:",
    ]


def test_what_is_known_after_the_first_frame_alone_reaches_the_parent(model: ModelSource) -> None:
    with Worker("hoarding") as hoarding:
        hoarding.load(model, "cpu", 1)
        assert (hoarding.placement, hoarding.build_seconds) == ({}, 0)
        timing = measure({"hoarding": hoarding}, FRAMES, TimingOptions(1, 0.0, ("device",)))["hoarding"]
        assert hoarding.placement == timing.placement == {"attic": 7}
        assert hoarding.build_seconds == timing.build_seconds >= FIRST


@pytest.mark.parametrize("rounds", [0, 2])
def test_first_frame_and_peak_are_those_of_the_first_session(model: ModelSource, rounds: int) -> None:
    """Whatever the quality takes after them; at a second size there is none, which is said."""
    clips = [TranslationClip(length=3), TranslationClip(length=3, size=(48, 64), name="larger")]
    result = compare(Plan([Model(model, "mine", "")], clips, ["hoarding"], CPU, rounds))
    rows = {(record.metric, record.height): record for record in result.records if not record.video}
    if not rounds:
        assert not rows
        return
    first, second = (40, 48)
    assert rows["first_frame", first].value >= 1000 * FIRST
    assert rows["build_time", first].value >= FIRST
    assert rows["peak_memory", first].value >= (LOADED + KEPT) / 2**20
    for metric in ("first_frame", "peak_memory"):
        assert (rows[metric, second].value, rows[metric, second].note) == (
            None,
            "the session had already run another frame size",
        )
    assert (rows["threads", first].value, rows["threads", first].better) == (1, "reference")
    nodes = rows["compute_nodes", first]
    assert (nodes.value, nodes.note) == (7, "compute nodes all on attic")


def test_what_is_built_for_the_quality_counts_though_the_timed_session_finds_it(
    model: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    clips = [TranslationClip(length=3), TranslationClip(length=3, size=(48, 64), name="larger")]
    result = compare(Plan([Model(model, "mine", "")], clips, ["building"], CPU, 1))
    rows = {(record.metric, record.height): record for record in result.records if not record.video}
    assert rows["build_time", 40].value >= FIRST
    assert rows["first_frame", 40].value >= 1000 * FIRST
    assert rows["build_time", 48].value >= FIRST
    assert rows["latency_device", 40].value < 1000 * FIRST


@pytest.mark.clock
def test_one_that_is_killed_costs_its_row_and_a_worker_adds_no_time(model: ModelSource) -> None:
    """Frames of a known time, while another worker dies; best of many, whatever else runs here only ever adds."""
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        workers = open_all(["steady", "killed"], model, CPU, stack, fail)
        timings = measure(
            workers, FRAMES, TimingOptions(2, 0.3), on_failure=lambda name, error: failed.update({name: str(error)})
        )
        assert list(timings) == ["steady"]
        for samples in timings["steady"].samples.values():
            assert SECONDS <= samples.seconds.min() < 1.02 * SECONDS
            assert len(samples.rounds) == 2
        assert list(failed) == ["killed"]
        assert "killed by SIGKILL, as the system does when memory runs out" in failed["killed"]
        assert "\n" not in failed["killed"]
        with pytest.raises(errors.RuntimeUnavailable, match="worker process died"):
            workers["killed"](FRAMES[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is Linux's to set")
def test_a_frame_too_large_for_memory_is_said_in_one_line(model: ModelSource) -> None:
    with Worker("narrow") as narrow, pytest.raises(errors.RuntimeUnavailable) as caught:
        narrow.load(model, "cpu", 1)(np.zeros((4000, 4000, 3), np.uint8))
    assert str(caught.value) == (
        "torch has not enough memory on cpu for 'blur' at 4000x4000: use a smaller size or batch"
    )


def test_what_cannot_be_loaded_is_told_and_the_rest_is_there(model: ModelSource) -> None:
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        loaded = open_all(
            ["torch:fp16", "torch"], model, CPU, stack, lambda name, error: failed.update({name: str(error)})
        )
        assert list(loaded) == ["torch"]
        assert failed == {"torch:fp16": "torch:fp16 is for GPUs: on a CPU use torch:bf16"}


def test_a_comparison_goes_on_without_the_runtime_that_died(model: ModelSource) -> None:
    plan = Plan([Model(model, "mine", "")], [TranslationClip(length=3)], ["torch", "killed"], CPU, rounds=2)
    result = compare(plan)
    (skipped,) = result.skipped
    assert skipped.startswith("blur in killed: worker process died (killed by SIGKILL")
    assert {record.runtime for record in result.records if record.metric == "fps_device"} == {"torch"}
    assert {timed.runtime for timed in result.timings} == {"torch"}


@pytest.mark.parametrize(
    ("name", "says"), [("refusing", "no such layer"), ("endless", "the output contains NaN or infinity")]
)
@pytest.mark.parametrize("rounds", [0, 2])
def test_a_comparison_goes_on_without_the_runtime_that_cannot_take_the_model(
    model: ModelSource, name: str, says: str, rounds: int
) -> None:
    result = compare(Plan([Model(model, "mine", "")], [TranslationClip(length=3)], ["torch", name], CPU, rounds))
    (skipped,) = result.skipped
    assert skipped.startswith(f"blur in {name}: ")
    assert says in skipped
    assert {record.runtime for record in result.records} == {"torch"}
    with pytest.raises(errors.ModelError, match=f"no runtime runs 'blur': blur in {name}: "):
        compare(Plan([Model(model, "mine", "")], [TranslationClip(length=3)], [name], CPU, rounds))


def test_what_overflows_is_no_parity(model: ModelSource) -> None:
    """Clipped to white it would be one."""
    with RUNTIMES["torch"].load(model, "cpu", 1) as reference, RUNTIMES["endless"].load(model, "cpu", 1) as endless:
        with pytest.raises(errors.ModelError, match="contains NaN or infinity"):
            session_parity(reference, endless, FRAMES)
        with pytest.raises(errors.ModelError, match="contains NaN or infinity"):
            session_parity(endless, reference, FRAMES)
