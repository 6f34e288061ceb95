"""``study field`` from end to end, on a tiny trunk: what it writes, resumes, refuses, and how it ends early."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import picture

from reconet_bench import cli
from reconet_bench.commands.study_field_start import STUDY_FILE
from reconet_bench.core.images import write_image
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.report.equal_style import FILES
from reconet_bench.training import field_pace, field_study, processes


def trained(command: list[str], log) -> int:
    """A training in this process, which has imported PyTorch already."""
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            cli.main(command[command.index("train") :])
        except SystemExit as end:
            return int(end.code)
    return 0


class Here:
    """Runs trainings in this process; those in ``broken`` fail."""

    begun: ClassVar[list[str]] = []
    broken: ClassVar[tuple[str, ...]] = ()

    def __init__(self, places):
        pass

    def run(self, command, log):
        name = Path(command[command.index("-o") + 1]).name
        self.begun.append(name)
        if name in self.broken:
            log.write("reconet-bench: loss term 'style' is nan at step 1: lower the learning rate\n")
            return 2
        return trained([*command, "log_every=1"], log)

    def signal(self, number):
        raise AssertionError("no signal came")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory, stand_in_weights) -> Path:
    """A network trained for two steps, its painting beside it."""
    folder = tmp_path_factory.mktemp("trunk")
    write_image(folder / "wave.png", picture(0, (0.0, 0.0), (64, 64)))
    words = ["train", "--preset", "lite", "--method", "johnson", "--style", str(folder / "wave.png")]
    words += ["--vgg", str(stand_in_weights), "--steps", "2", "--size", "32", "--style-size", "64", "--device", "cpu"]
    with (folder / "log").open("w") as log:
        assert trained([*words, "--precision", "fp32", "-o", str(folder / "run")], log) == 0
    shutil.copy(folder / "run" / "johnson-lite-wave.safetensors", folder)
    return folder / "johnson-lite-wave.safetensors"


@pytest.fixture
def words(trunk, stand_in_weights, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    tiny = ["--size", "32", "--precision", "fp32", "--stored-crops", "4", "--video-size", "32x32", "--frames", "7"]
    return ["study", "field", "--trunk", str(trunk), "--vgg", str(stand_in_weights), *tiny, "-o", "out"]


@pytest.fixture
def here(monkeypatch) -> Iterator[type[Here]]:
    monkeypatch.setattr(processes, "Processes", Here)
    monkeypatch.setattr(field_pace, "Processes", Here)
    monkeypatch.setattr(Here, "begun", [])
    return Here


def rows(name: str) -> list[dict[str, str]]:
    with (Path("out") / name).open(newline="") as file:
        return list(csv.DictReader(file))


def written() -> dict[Path, int]:
    """When each file of a point was written."""
    return {path: path.stat().st_mtime_ns for path in Path("out/points").rglob("*") if path.is_file()}


def test_a_study_trains_measures_and_compares(words, here, capsys):
    cli.main([*words, "--steps", "2", "--points", "2", "--methods", "xu2021"])
    printed = capsys.readouterr()
    assert here.begun[:2] == ["johnson", "xu2021-x1"]
    assert len(here.begun) == 3
    assert all((Path("out") / name).is_file() for name in FILES)
    table, points = rows("table.csv"), rows("points.csv")
    assert {row["method"] for row in table} == {"johnson", "xu2021"}
    assert {row["metric"] for row in table} >= {"temporal_error", "temporal_error_long", "style_distance"}
    assert [row["method"] for row in points] == ["trunk", "johnson", "xu2021", "xu2021"]
    models = [load_checkpoint(field_study.trained_model(Path("out") / "points" / name)) for name in here.begun]
    for model in models:
        assert (model.info["steps"], model.info["size"], model.info["seed"]) == (2, 32, 0)
        assert model.info["trunk"]["step"] == 2
        assert model.info["data"] == models[0].info["data"], "the same crops for all"
    weights = [model.info["weights"]["frame_difference"] for model in models[1:]]
    assert [float(row["factor"]) for row in points[2:]] == [1.0, weights[1] / weights[0]]
    # Every number of the table is that of a trained point.
    for row in table:
        assert any(row["value"] == point[row["metric"]] for point in points if point["method"] == row["method"])
    assert "xu2021" in printed.out
    assert "Written to out: summary.md, table.csv, points.csv, differences.csv, pareto.png" in printed.out
    # Once more: all is there.
    before = written()
    cli.main([*words, "--points", "2", "--methods", "xu2021"])
    assert len(here.begun) == 3
    assert written() == before
    assert rows("points.csv") == points


def test_a_failed_method_is_named_and_the_others_are_told(words, here, monkeypatch, capsys):
    monkeypatch.setattr(here, "broken", ("xu2021-x1",))
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--steps", "1", "--points", "1", "--methods", "xu2021", "huang2017"])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert "study field: xu2021-x1: reconet-bench: loss term 'style' is nan at step 1" in printed.err
    assert {row["method"] for row in rows("table.csv") if row["value"]} == {"johnson", "huang2017"}
    assert "loss term 'style' is nan" in (Path("out") / "summary.md").read_text()
    # What failed is tried again.
    monkeypatch.setattr(here, "broken", ())
    cli.main([*words, "--points", "1", "--methods", "xu2021", "huang2017"])
    assert here.begun.count("xu2021-x1") == 2
    assert {row["method"] for row in rows("table.csv") if row["value"]} == {"johnson", "xu2021", "huang2017"}


def test_minutes_choose_the_steps(words, here, monkeypatch, capsys):
    pace = field_pace.Pace({"johnson": 0.5, "xu2021": 1.0}, 4.0)
    monkeypatch.setattr(field_pace, "measure_pace", lambda *given: pace)
    monkeypatch.setattr(field_study, "run_field", lambda found, *rest: stop(found[0].recipe["steps"]))

    def stop(steps: int) -> None:
        raise KeyboardInterrupt(f"{steps} steps")

    with pytest.raises(SystemExit):
        cli.main([*words, "--minutes", "2", "--points", "2", "--methods", "xu2021"])
    steps = json.loads((Path("out") / STUDY_FILE).read_text())["steps"]
    assert f"{steps} steps" in capsys.readouterr().err
    assert 0.5 * steps + 2 * steps + 12 <= 0.85 * 120
    assert steps > 10
    # The steps stay when it is run again with another time.
    with pytest.raises(SystemExit):
        cli.main([*words, "--minutes", "9", "--points", "2", "--methods", "xu2021"])
    assert f"{steps} steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trunk", "nowhere.safetensors"], "model file not found: nowhere.safetensors"),
        (["--trunk", "model.onnx"], "model.onnx is an ONNX file: a trunk is a checkpoint"),
        (["--trunk", "broken.safetensors"], "broken.safetensors"),
        (["--network", "small"], "the trunk is a 'lite' network: give --network lite"),
        (["--network", "light"], "unknown network 'light': did you mean 'lite'"),
        (["--methods", "xu2020"], "unknown method 'xu2020': did you mean 'xu2021'"),
        (["--methods", "identity"], "method 'identity' has nothing to train"),
        (["--style-image", "none.png"], "cannot read image none.png"),
        (["--vgg", "none.safetensors"], "no such file: none.safetensors"),
        (["--textures", "none"], "no such folder: none"),
        (["--precision", "fp99"], "unknown precision 'fp99'"),
        (["--points", "0"], "argument --points: '0': give a whole number, at least 1"),
        (["--size", "16"], "argument --size: '16': give a whole number, at least 32"),
        (["--frames", "3"], "argument --frames: '3': give a whole number, at least 7"),
        (["--minutes", "0"], "argument --minutes: '0': give a number above 0"),
        (["--video-size", "8"], "argument --video-size: '8'"),
        (["-o", "theirs"], "output folder theirs is not empty and is not a previous field study"),
        (["-o", "wave.png"], "is not a writable folder"),
        (["--", "--steps", "3"], "study field has options of its own: nothing can follow --"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(words, capsys, tmp_path, more, message):
    write_image(tmp_path / "wave.png", picture(0, (0.0, 0.0), (64, 64)))
    for name in ("model.onnx", "broken.safetensors", "theirs/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--steps", "2", *more])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_painting_that_is_not_there_is_asked_for(words, trunk, tmp_path, capsys):
    shutil.copy(trunk, tmp_path / "alone.safetensors")
    changed = ["alone.safetensors" if word == str(trunk) else word for word in words]
    # One of the same name is not the trunk's painting.
    write_image(tmp_path / "wave.png", picture(1, (5.0, 0.0), (64, 64)))
    with pytest.raises(SystemExit):
        cli.main([*changed, "--steps", "2"])
    said = capsys.readouterr().err
    assert "the painting of the trunk (wave.png) is neither here nor beside alone.safetensors: give it by" in said


def test_another_painting_is_told_and_the_trunk_is_no_point_of_it(words, here, tmp_path, capsys):
    write_image(tmp_path / "dots.png", picture(3, (9.0, 4.0), (64, 64)))
    cli.main([*words, "--style-image", "dots.png", "--steps", "1", "--points", "1", "--methods", "xu2021"])
    assert "dots.png is not the painting that the trunk was trained on" in capsys.readouterr().err
    assert [row["method"] for row in rows("points.csv")] == ["johnson", "xu2021"]
    assert not (Path("out") / "trunk.json").exists()


def test_a_folder_goes_on_with_its_own_study_alone(words, here, capsys):
    cli.main([*words, "--steps", "1", "--points", "1", "--methods", "xu2021"])
    for more, message in (
        (["--steps", "2"], "out holds a study with 1 steps, now 2: choose another --output"),
        (["--size", "48"], "out holds a study with size 32, now 48: choose another --output"),
        (["--frames", "8"], "out holds a study with clips 32x32, 7 frames, now 32x32, 8 frames"),
        (["--seed", "1"], "out holds a study with seed 0, now 1"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main([*words, "--points", "1", "--methods", "xu2021", *more])
        assert message in capsys.readouterr().err
    (Path("out") / STUDY_FILE).write_text("{")
    with pytest.raises(SystemExit):
        cli.main([*words, "--points", "1"])
    assert "is not the file of a field study" in capsys.readouterr().err


def begun(words: list[str], *more: str) -> subprocess.Popen[str]:
    """The study as a user runs it."""
    command = [sys.executable, "-m", "reconet_bench.cli", *words, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(there: Path, process: subprocess.Popen[str], seconds: float = 240) -> None:
    ends = time.monotonic() + seconds
    while not there.exists() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.1)
    assert there.exists(), process.communicate()[1] if process.poll() is not None else "it takes too long"


@pytest.mark.process
def test_a_study_that_is_killed_goes_on(words, trunk):
    """SIGKILL to the study and to what it trains, in the midst of the second point."""
    more = ("--steps", "110", "--points", "2", "--methods", "xu2021")
    points = Path("out") / "points"
    with begun(words, *more) as study:
        until(points / "xu2021-x1" / "state.safetensors", study)
        study.kill()
        command = ["pgrep", "-f", "--", f"{trunk} .*points/xu2021-x1"]
        (training,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(training), signal.SIGKILL)
        study.communicate()
    assert study.returncode == -signal.SIGKILL
    assert not (Path("out") / "table.csv").exists()
    finished = field_study.trained_model(points / "johnson")
    before = finished.stat().st_mtime_ns
    step = int(read_tensors(points / "xu2021-x1" / "state.safetensors")[1]["step"])
    with begun(words, *more) as study:
        _, said = study.communicate(timeout=400)
    assert study.returncode == 0, said
    assert finished.stat().st_mtime_ns == before, "what was finished is not trained again"
    resumed = (points / "xu2021-x1" / "curves.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in resumed] == [*range(5, 111, 5)], "each step once"
    assert step < 110
    assert {row["method"] for row in rows("table.csv")} == {"johnson", "xu2021"}
    assert len([row for row in rows("points.csv") if row["method"] == "xu2021"]) == 2


@pytest.mark.process
def test_ctrl_c_ends_a_study_cleanly(words):
    with begun(words, "--steps", "100000", "--points", "2", "--methods", "xu2021", "--jobs", "2") as study:
        until(Path("out") / "points" / "xu2021-x1" / "state.safetensors", study)
        study.send_signal(signal.SIGINT)
        _, said = study.communicate(timeout=120)
    assert study.returncode == 2
    assert said.splitlines()[-1] == (
        "reconet-bench: study field: stopped: the results so far are in out; run the same command again to continue"
    )
    for name in ("johnson", "xu2021-x1"):
        assert "continue with --resume" in (Path("out") / "points" / name / "log.txt").read_text()


@pytest.mark.clock
def test_the_minutes_are_kept(words):
    """The steps are chosen so that all points fit; on a slower machine the study ends in time."""
    began = time.monotonic()
    with begun(words, "--minutes", "3", "--points", "2", "--methods", "xu2021") as study:
        _, said = study.communicate(timeout=300)
    assert time.monotonic() - began < 180, said
    assert study.returncode == 0, said
    assert "measuring the pace of this machine" in said
    facts = json.loads((Path("out") / STUDY_FILE).read_text())
    assert facts["steps"] >= 10
    assert facts["costs"].keys() == {"johnson", "xu2021"}
    measured = {row["method"]: bool(row["value"]) for row in rows("table.csv")}
    notes = {row["method"]: row["note"] for row in rows("table.csv")}
    assert measured["johnson"]
    assert len(rows("points.csv")) == 4 or "points: the time was over" in notes["xu2021"]
    assert not (Path("out") / "pilot").exists()
