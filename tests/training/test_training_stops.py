"""How a training ends early: an interrupt, a full disk, no memory; and what is there to go on from."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TranslationClip
from training_runs import curves, network_state, same, windows

from reconet_bench.core.errors import DataError, TrainingError
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.methods.reconet import ReCoNetMethod
from reconet_bench.training.crops import ClipCrops
from reconet_bench.training.loop import train
from reconet_bench.training.run_folder import STATE_FILE
from reconet_bench.training.signals import stopping


def in_a_process(settings, folder: Path, before: str, **change: object) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own, as the command line would end it."""
    values = {
        "steps": 6,
        "style_size": 64,
        "device": "cpu",
        "precision": "fp32",
        "save_every": 2,
        "log_every": 1,
        "sample_every": 0,
        **change,
    }
    code = f"""
        import os, resource, signal, sys
        from pathlib import Path
        sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]
        from training_runs import TrainingSettings, train, windows
        from reconet_bench.core.errors import ReconetBenchError
        folder = Path({str(folder)!r})
        def report(progress):
            pass
        {textwrap.indent(textwrap.dedent(before), " " * 8).strip()}
        style, vgg = Path({str(settings.style)!r}), Path({str(settings.vgg)!r})
        settings = TrainingSettings("reconet", style, vgg=vgg, **{values!r})
        try:
            train(settings, windows(), folder, resume=True, report=report)
        except (ReconetBenchError, KeyboardInterrupt) as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(words, capture_output=True, text=True, check=False, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves_it(settings, tmp_path, number):
    def ask(progress):
        if progress.step == 3:
            signal.raise_signal(number)

    quick, folder = replace(settings, sample_every=0), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught:
        train(quick, windows(), folder, report=ask)
    assert str(caught.value) == f"stopped at step 3: step 3 is saved in {folder / STATE_FILE}; continue with --resume"
    whole, path = train(quick, windows(), tmp_path / "whole"), train(quick, windows(), folder, resume=True)
    assert same(network_state(whole), network_state(path))
    assert curves(folder) == curves(tmp_path / "whole")


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_stops(settings, tmp_path, number, workers):
    """It goes to the whole group, as from a terminal: the processes that load data get it too."""
    ask = f"""
        def report(progress):
            if progress.step == 3:
                os.killpg(0, {int(number)})
    """
    done = in_a_process(settings, tmp_path / "run", ask, workers=workers)
    assert done.returncode == 2
    assert (
        f"stopped at step 3: step 3 is saved in {tmp_path / 'run' / STATE_FILE}; continue with --resume" in done.stderr
    )
    whole = train(replace(settings, sample_every=0), windows(), tmp_path / "whole")
    path = train(replace(settings, sample_every=0), windows(), tmp_path / "run", resume=True)
    assert same(network_state(whole), network_state(path))
    assert [row["step"] for row in curves(tmp_path / "run")] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.process
@pytest.mark.parametrize("seconds", [0, 3600])
def test_a_program_ends_though_data_are_being_loaded(seconds):
    """Python waits at exit for its child processes: those that load, even if stuck, must not outlive it."""
    code = f"""
        import sys, time
        from pathlib import Path
        import torch
        sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]
        from conftest import TranslationClip
        from training_runs import TrainingSettings
        from reconet_bench.training.crops import ClipCrops
        from reconet_bench.training.distributed import Group
        from reconet_bench.training.loader import Loader

        class Stuck(ClipCrops):
            def __getitem__(self, index):
                time.sleep(bool(index) * {seconds})
                return super().__getitem__(index)

        settings = TrainingSettings("reconet", Path("wave.png"), steps=9, batch=1, workers=1)
        batches = iter(Loader(settings, Stuck(32, 0, [TranslationClip()]), 0, torch.device("cpu"), Group()))
        print(next(batches)[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_second_signal_does_not_wait():
    before = signal.getsignal(signal.SIGINT)  # a shell lets what it runs in the background ignore it
    with stopping() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before, "signals are given back"


def test_in_another_thread_signals_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stopping() as stop:
            seen.append((signal.getsignal(signal.SIGTERM) is before, stop.asked))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


@contextlib.contextmanager
def largest_file(size: int):
    """The system's own limit on what a file of this process may hold stands for a full disk."""
    import resource  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_last_good_state_and_says_so(settings, tmp_path):
    """It is full in the midst of the second state."""
    quick, state = replace(settings, sample_every=0), tmp_path / "run" / STATE_FILE
    with contextlib.ExitStack() as full:

        def report(progress):
            if progress.step == 3:
                full.enter_context(largest_file(state.stat().st_size // 2))

        with pytest.raises(TrainingError) as caught:
            train(quick, windows(), tmp_path / "run", report=report)
    assert (
        str(caught.value)
        == f"File too large ({state}): step 2 is saved in {state}; fix this, then continue with --resume"
    )
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["curves.csv", STATE_FILE], "no half a file"
    tensors, metadata = read_tensors(state)
    assert metadata["step"] == "2"
    assert all(value.isfinite().all() for value in tensors.values())
    whole = train(quick, windows(), tmp_path / "whole")
    assert same(network_state(whole), network_state(train(quick, windows(), tmp_path / "run", resume=True)))


def test_a_picture_that_finds_no_room_costs_no_steps(settings, tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".png" and path.parent.name == "samples":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrainingError) as caught:
        train(replace(settings, steps=3, save_every=2, sample_every=2), windows(), tmp_path / "run")
    picture, state = tmp_path / "run" / "samples" / "step_000002.png", tmp_path / "run" / STATE_FILE
    assert (
        str(caught.value)
        == f"No space left on device ({picture}): step 2 is saved in {state}; fix this, then continue with --resume"
    )
    assert not list(picture.parent.iterdir())


def test_a_disk_that_is_full_from_the_first_state_on(settings, tmp_path):
    with largest_file(100_000), pytest.raises(TrainingError) as caught:
        train(replace(settings, sample_every=0), windows(), tmp_path / "run")
    assert (
        str(caught.value) == f"File too large ({tmp_path / 'run' / STATE_FILE}): nothing was saved yet; "
        "fix this, then continue with --resume"
    )
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["curves.csv"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), None])
def test_too_little_memory_says_what_to_lower(settings, tmp_path, monkeypatch, error):
    objective = ReCoNetMethod.objective
    calls = []

    def greedy(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            if error is not None:
                raise error
            torch.empty(1 << 60, dtype=torch.uint8)  # what the CPU allocator says by itself
        return objective(self, *arguments)

    monkeypatch.setattr(ReCoNetMethod, "objective", greedy)
    with pytest.raises(TrainingError) as caught:
        train(replace(settings, sample_every=0), windows(), tmp_path / "run")
    state = tmp_path / "run" / STATE_FILE
    assert str(caught.value) == f"out of memory: lower --size (32) or --batch (1); step 2 is saved in {state}"
    assert read_tensors(state)[1]["step"] == "2"


def test_an_error_of_another_kind_is_not_dressed_up(settings, tmp_path, monkeypatch):
    def broken(self, *arguments):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(ReCoNetMethod, "objective", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(settings, windows(), tmp_path / "run")


class Broken(ClipCrops):
    """Data that end in an error at the third sample."""

    def __getitem__(self, index):
        if index == 2:
            raise DataError("frame_0003.png: not a readable image")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_data_are_one_line_from_whichever_process(settings, tmp_path, workers):
    with pytest.raises(DataError) as caught:
        train(replace(settings, workers=workers), Broken(32, 0, [TranslationClip((2.0, 1.0))]), tmp_path / "run")
    assert str(caught.value) == "frame_0003.png: not a readable image"


def test_losses_that_stay_on_the_device_name_the_step_that_broke(tmp_path):
    """A GPU's losses are looked at every few steps; the step named is the one that was not finite."""
    from reconet_bench.training.distributed import Group
    from reconet_bench.training.progress import LossMeter

    meter = LossMeter(tmp_path, Group(), torch.device("cuda"))
    for step in range(5, 9):
        meter.add(step, {"content": torch.tensor(float(step)), "style": torch.tensor(2.0)})
    means, count = meter.take()
    assert (means, count) == ({"content": 6.5, "style": 2.0}, 4)
    for step in range(9, 13):
        meter.add(step, {"content": torch.tensor(1.0), "style": torch.tensor(float("inf") if step >= 11 else 1.0)})
    with pytest.raises(
        TrainingError, match="loss term 'style' is inf at step 11: nothing was saved yet; lower the learning rate"
    ):
        meter.settle()
    many = LossMeter(tmp_path, Group(), torch.device("cuda"))
    for step in range(1, 16):
        many.add(step, {"content": torch.tensor(float("nan"))})
    with pytest.raises(TrainingError, match="at step 1: "):
        many.add(16, {"content": torch.tensor(0.0)})
