"""Studies: every setting trains, a table stands at the end, and a broken study goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TranslationClip, picture
from ray_nodes import Nodes, begun, said

from reconet_bench import cli
from reconet_bench.core import place
from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.core.images import read_image, write_image
from reconet_bench.core.machine import usable_cpus
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.networks.base import Identity
from reconet_bench.training.cluster_runner import STOP, ClusterRunner
from reconet_bench.training.crops import ClipCrops
from reconet_bench.training.presets import load_recipe
from reconet_bench.training.processes import Processes, places
from reconet_bench.training.progress_pictures import MARGIN, sample_strip
from reconet_bench.training.studies import STUDIES, _train, run_study


class Here:
    """Trains in this process, which has imported PyTorch already."""

    def run(self, command, log):
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                cli.main(command[command.index("train") :])
            except SystemExit as end:
                return end.code
        return 0

    def signal(self, number):
        raise AssertionError("no signal came")


@pytest.fixture
def arguments(tmp_path, stand_in_weights) -> list[str]:
    style = tmp_path / "wave.png"
    write_image(style, picture(0, (0.0, 0.0), (64, 64)))
    return [
        "--style",
        str(style),
        "--vgg",
        str(stand_in_weights),
        "--steps",
        "2",
        "--size",
        "32",
        "--style-size",
        "64",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--set",
        "sample_every=1",
    ]


def test_a_study_trains_its_settings_and_writes_a_table(arguments, tmp_path):
    folder = tmp_path / "study"
    said: list[str] = []
    table = run_study("optimizers", arguments, folder, report=said.append, runner=Here())
    assert list(table["setting"]) == ["adam", "adamax"]
    infos = [load_checkpoint(folder / name / "reconet-wave.safetensors").info for name in table["setting"]]
    assert [info["optimizer"] for info in infos] == ["adam", "adamax"]
    assert {key for key in infos[0] if infos[0][key] != infos[1][key]} <= {"optimizer", "command"}
    assert (table[["content", "style", "temporal_short", "temporal_long"]] > 0).all(axis=None)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "summary.csv"), table)
    assert "adamax" in (folder / "summary.md").read_text()
    # The losses are unweighted: the curve's own, over the weight.
    curve = pd.read_csv(folder / "adam" / "curves.csv").iloc[-1]
    assert table["style"][0] == pytest.approx(curve["style"] / infos[0]["weights"]["style"], rel=1e-6)
    run_study("optimizers", arguments, folder, report=said.append, runner=Here())
    assert said[-2:] == ["adam: already done", "adamax: already done"]
    assert (folder / "curves.png").is_file(), "a short run has its rows too"


def test_a_folder_does_not_pass_off_old_numbers_as_those_of_other_options(arguments, tmp_path):
    folder = tmp_path / "study"
    run_study("epochs", arguments, folder, runner=Here())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for changed in ([*arguments, "--seed", "1"], arguments[:-2]):
        with pytest.raises(TrainingError) as caught:
            run_study("epochs", changed, folder, runner=Here())
        assert str(caught.value).startswith(f"{folder / 'run'} was trained with other options (--style ")
        assert str(caught.value).endswith("choose another --output")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # What an older version left does not say what it was trained with.
    (folder / "run" / "done").write_text("")
    with pytest.raises(TrainingError, match="not recorded"):
        run_study("epochs", arguments, folder, runner=Here())


def test_what_epochs_add_is_one_picture(arguments, tmp_path):
    run_study("epochs", arguments, tmp_path / "study", runner=Here())
    picture = read_image(tmp_path / "study" / "epochs.png")
    assert picture.shape == (2 * 32, MARGIN + 4 * 32, 3)  # two steps, one above the other
    labels, picture = picture[:, :MARGIN], picture[:, MARGIN:]
    assert not np.array_equal(labels[:32], labels[32:])
    assert not np.array_equal(picture[:32, 32:64], picture[32:, 32:64])
    np.testing.assert_array_equal(picture[:32, :32], picture[32:, :32])


def test_a_failed_setting_is_named_and_the_others_stay(arguments, tmp_path):
    with pytest.raises(
        TrainingError, match=r"study optimizers: adam, adamax: [^;]*No such file[^;]*; run the same command again"
    ):
        run_study("optimizers", [*arguments, "--style", str(tmp_path / "none.png")], tmp_path / "study", runner=Here())
    with pytest.raises(UnknownName, match="did you mean 'weights'"):
        run_study("weight", arguments, tmp_path / "study")


def test_one_that_the_system_killed_is_called_so(tmp_path):
    """The last line of its log is one of progress."""
    running = Processes([{}])
    running.run = lambda command, log: log.write("125/500  content 1.2\n") and -signal.SIGKILL
    reason = _train(STUDIES["optimizers"].settings[0], [], tmp_path, running, lambda text: None)
    assert reason == "killed by SIGKILL, as the system does when memory runs out: lower --size, --batch or --jobs"


def test_jobs_share_threads_and_gpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cpus() // 3))}
    assert places(1, []) == [{}]
    assert places(3, []) == [{**threads, "CUDA_VISIBLE_DEVICES": gpu} for gpu in ("3", "5", "3")]
    assert places(3, ["--device", "cuda:1"]) == [threads] * 3
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert places(2, []) == [{}, {}]


class Stopped:
    """Is sent a signal in the midst of the first setting, as a process gets it, and trains no other."""

    def __init__(self):
        self.begun, self.told, self.numbers = [], threading.Event(), []

    def run(self, command, log):
        if self.numbers:
            return None
        self.begun.append(command[-1])
        os.kill(os.getpid(), signal.SIGTERM)
        assert self.told.wait(10)
        return 2

    def signal(self, number):
        self.numbers.append(number)
        self.told.set()


@pytest.mark.process
def test_a_study_on_a_cluster_is_the_study_that_it_would_be_here(arguments, tmp_path, monkeypatch):
    words = ["study", "optimizers", "--threads", "1"]
    with Nodes("", "") as nodes:
        said(begun(tmp_path, *words, "-o", "there", "--on", "ray", "--", *arguments, address=nodes.address))
    said(begun(tmp_path, *words, "-o", "here", "--", *arguments))
    assert (tmp_path / "there" / "summary.csv").read_bytes() == (tmp_path / "here" / "summary.csv").read_bytes()
    for setting in ("adam", "adamax"):
        (model,) = (path for path in (tmp_path / "there" / setting).glob("*.safetensors") if path.stem != "state")
        ours, theirs = (load_checkpoint(tmp_path / place / setting / model.name).network for place in ("here", "there"))
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)
        assert not list((tmp_path / "there").rglob(STOP))


def test_a_cluster_asks_running_trainings_to_stop_and_begins_no_other(tmp_path):
    script = "import time, signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('on'); "
    script += "sys.stdout.flush(); time.sleep(60)"
    runner, log = ClusterRunner(place.Here(), 1, False), tmp_path / "log.txt"
    codes: list[int | None] = []
    with log.open("a") as file:
        thread = threading.Thread(target=lambda: codes.append(runner.run([sys.executable, "-c", script], file)))
        thread.start()
        while "on" not in log.read_text():
            time.sleep(0.05)
        runner.signal(signal.SIGTERM)
        thread.join()
        assert codes == [7]
        assert runner.run([sys.executable, "-c", script], file) is None
    assert not (tmp_path / STOP).exists()


def test_a_stopped_study_hands_the_signal_on_and_says_how_to_go_on(tmp_path):
    runner = Stopped()
    with pytest.raises(KeyboardInterrupt) as caught:
        run_study("optimizers", [], tmp_path, runner=runner)
    assert str(caught.value) == (
        f"study optimizers: stopped: the results so far are in {tmp_path}; run the same command again to continue"
    )
    assert (runner.begun, runner.numbers) == (["optimizer=adam"], [signal.SIGTERM])
    assert not (tmp_path / "summary.csv").exists()


def test_a_process_gets_its_place_and_the_signal_and_no_other_begins(tmp_path):
    """A shell stands for the training: it starts at once."""
    processes = Processes([{"PLACE": "third"}])
    codes: list[int | None] = []
    script = f"trap 'exit 7' TERM; echo $PLACE; touch {tmp_path / 'up'}; while :; do sleep 0.02; done"
    with (tmp_path / "log").open("w") as log:
        thread = threading.Thread(target=lambda: codes.append(processes.run(["sh", "-c", script], log)))
        thread.start()
        while not (tmp_path / "up").exists() and thread.is_alive():
            time.sleep(0.01)
        processes.signal(signal.SIGTERM)
        thread.join(30)
        codes.append(processes.run(["false"], log))
    assert codes == [7, None]
    assert (tmp_path / "log").read_text() == "third\n"


@pytest.mark.process
def test_a_study_trains_in_processes_of_its_own(arguments, tmp_path):
    table = run_study("optimizers", arguments, tmp_path / "study", jobs=2)
    assert list(table["setting"]) == ["adam", "adamax"]
    assert all(
        "reconet-wave.safetensors" in (tmp_path / "study" / name / "log.txt").read_text() for name in table["setting"]
    )


@pytest.mark.process
def test_a_signal_reaches_what_a_study_trains(arguments, tmp_path):
    """SIGTERM to the study alone: the training finishes its step, saves it and ends, and no other begins."""
    folder = tmp_path / "study"
    words = [
        *arguments[:4],
        "--size",
        "32",
        "--style-size",
        "64",
        "--device",
        "cpu",
        "--steps",
        "100000",
        "--set",
        "save_every=1",
        "sample_every=0",
    ]
    command = [sys.executable, "-m", "reconet_bench.cli", "study", "optimizers", "-o", str(folder), "--", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as study:
        ends = time.monotonic() + 240
        while not (folder / "adam" / "state.safetensors").exists() and study.poll() is None and time.monotonic() < ends:
            time.sleep(0.2)
        study.terminate()
        _, said = study.communicate(timeout=120)
    assert study.returncode == 2
    assert (
        f"study optimizers: stopped: the results so far are in {folder}; run the same command again to continue" in said
    )
    assert "continue with --resume" in (folder / "adam" / "log.txt").read_text().splitlines()[-1]
    assert not (folder / "adam" / "done").exists()
    assert not (folder / "adamax" / "state.safetensors").exists()


def test_the_settings_are_those_of_table_5_1():
    settings = STUDIES["weights"].settings
    assert len(settings) == 8
    for setting in settings:
        recipe = load_recipe("dissertation", setting.overrides)
        weights = recipe["weights"]
        assert (
            setting.label == f"st{weights['temporal_short']:g}-lt{weights['temporal_long']:g}-style{weights['style']:g}"
        )
    chosen = next(s for s in settings if s.published["style"] == 0.0001065)
    assert load_recipe("dissertation", chosen.overrides) == load_recipe("dissertation"), (
        "the setting the dissertation chose"
    )


def test_a_sample_shows_content_two_frames_and_their_difference():
    data = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    strip = sample_strip(Identity(), data, torch.device("cpu"))
    assert strip.shape == (32, 128, 3)
    np.testing.assert_array_equal(strip[:, :32], strip[:, 32:64])
    assert not np.array_equal(strip[:, 32:64], strip[:, 64:96])
    # An exact translation differs from itself by nothing: black where it is traced, grey elsewhere.
    colours = {tuple(colour) for colour in strip[:, 96:].reshape(-1, 3)}
    assert max(max(colour) for colour in colours if colour != (90, 90, 90)) < 40


def test_the_table_says_what_was_published():
    from reconet_bench.training.studies import _markdown

    table = pd.DataFrame([{"setting": "a", "style": 0.1, "published_style": 0.2}])
    assert "Table 5.1" in _markdown("weights", STUDIES["weights"], table)
    assert "Table 5.1" not in _markdown("optimizers", STUDIES["optimizers"], table)
