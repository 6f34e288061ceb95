"""``study structure`` from end to end, on tiny trainings: what it writes, keeps, refuses, and how it ends early."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import picture

from reconet_bench import cli
from reconet_bench.benchmark import structure_speed
from reconet_bench.benchmark.structure_speed import CandidateSpeed
from reconet_bench.commands.study_structure_start import STUDY_FILE
from reconet_bench.core.images import write_image
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.report.structure_table import FILES
from reconet_bench.training import processes, step_benchmark
from reconet_bench.training.field_study import trained_model


class Here:
    """Runs trainings in this process, which has imported PyTorch already; those in ``broken`` fail."""

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
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                cli.main([*command[command.index("train") :], "log_every=1"])
            except SystemExit as end:
                return int(end.code)
        return 0

    def signal(self, number):
        raise AssertionError("no signal came")


@pytest.fixture
def here(monkeypatch) -> Iterator[type[Here]]:
    """Two steps for each candidate, whatever this machine does in the time."""
    monkeypatch.setattr(processes, "Processes", Here)
    monkeypatch.setattr(Here, "begun", [])
    costs = {"lite": 1.0, "lite-zeros": 1.0, "lite-3-blocks": 0.5}
    monkeypatch.setattr(step_benchmark, "processor_seconds", lambda found, data: {name: costs[name] for name in found})
    return Here


@pytest.fixture
def timed(monkeypatch) -> list[str]:
    """Runtimes in the order in which they were timed; each time another number, and no process."""
    asked: list[str] = []

    def time_candidates(sources, runtime, frames, rounds, report):
        asked.append(runtime)
        return {name: CandidateSpeed(float(len(asked) + place), 1 + place, 1, 2) for place, name in enumerate(sources)}

    monkeypatch.setattr(structure_speed, "time_candidates", time_candidates)
    return asked


@pytest.fixture
def words(stand_in_weights, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "wave.png", picture(0, (0.0, 0.0), (64, 64)))
    tiny = ["--size", "32", "--precision", "fp32", "--stored-crops", "4", "--video-size", "32x32", "--frames", "7"]
    speed = ["--runtimes", "onnxruntime", "--rounds", "2", "--speed-size", "32x16", "--cpu-minutes", str(2.5 / 60)]
    style = ["--style-image", "wave.png", "--vgg", str(stand_in_weights)]
    return ["study", "structure", *style, *tiny, *speed, "--candidates", "lite-3-blocks", "-o", "out"]


def rows() -> list[dict[str, str]]:
    with Path("out/table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.process
def test_a_study_trains_for_equal_time_measures_and_times(words, here, capsys):
    cli.main([*words, "--video-size", "224x224"])
    assert here.begun == ["lite", "lite-3-blocks"]
    assert all((Path("out") / name).is_file() for name in FILES)
    lite, changed = rows()
    assert [lite["candidate"], changed["candidate"]] == ["lite", "lite-3-blocks"]
    assert [lite["steps"], changed["steps"]] == ["2", "5"], "half the cost of a step: as many steps as fit"
    for row in (lite, changed):
        run = Path("out/candidates") / row["candidate"]
        model = load_checkpoint(trained_model(run))
        assert (model.kind, model.method, model.info["steps"]) == (row["candidate"], "reconet", int(row["steps"]))
        assert sum(p.numel() for p in model.network.parameters()) == int(row["parameters"])
        assert json.loads((run / "measured.json").read_text())["values"].keys() >= {"temporal_error", "carpet"}
        assert float(row["temporal_error"]) > 0
        assert float(row["onnxruntime_ms"]) > 0
    assert float(lite["onnxruntime_ratio"]) == 1
    assert (
        float(changed["onnxruntime_low"]) <= float(changed["onnxruntime_ratio"]) <= float(changed["onnxruntime_high"])
    )
    assert "Written to out: summary.md, table.csv, structures.png" in capsys.readouterr().out


def test_what_is_done_is_kept(words, here, timed):
    cli.main(words)
    first, kept = rows(), {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*") if path.name not in FILES}
    cli.main(words)
    assert here.begun == ["lite", "lite-3-blocks"]
    assert rows() == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_times_alone_can_be_taken_anew(words, here, timed):
    cli.main(words)
    first = rows()
    Path("out/speed.json").unlink()
    cli.main(words)
    assert here.begun == ["lite", "lite-3-blocks"]
    assert [row["temporal_error"] for row in rows()] == [row["temporal_error"] for row in first]
    assert [row["onnxruntime_ms"] for row in rows()] == ["2", "3"]


def test_another_candidate_is_trained_and_all_are_timed_anew(words, here, timed):
    cli.main(words)
    cli.main([*words, "--candidates", "lite-3-blocks", "lite-zeros"])
    assert here.begun == ["lite", "lite-3-blocks", "lite-zeros"]
    assert [row["candidate"] for row in rows()] == ["lite", "lite-3-blocks", "lite-zeros"]
    assert timed == ["onnxruntime"] * 2


def test_a_failed_training_costs_its_row_alone(words, here, timed, monkeypatch, capsys):
    monkeypatch.setattr(here, "broken", ("lite-3-blocks",))
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "loss term 'style' is nan at step 1" in capsys.readouterr().err
    lite, changed = rows()
    assert lite["temporal_error"]
    assert not changed["temporal_error"]
    assert float(changed["onnxruntime_ms"]) > 0
    assert "lite-3-blocks: not trained yet, or its training failed" in Path("out/summary.md").read_text()
    monkeypatch.setattr(here, "broken", ())
    cli.main(words)
    assert here.begun == ["lite", "lite-3-blocks", "lite-3-blocks"]
    assert all(row["temporal_error"] for row in rows())


def test_an_interrupted_study_keeps_its_rows(words, here, timed, monkeypatch, capsys):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("reconet_bench.benchmark.structure_speed.time_candidates", stop)
        with pytest.raises(SystemExit):
            cli.main(words)
    assert "stopped: the results so far are in out; run the same command again to continue" in capsys.readouterr().err
    assert all(row["temporal_error"] for row in rows())
    cli.main(words)
    assert all(row["onnxruntime_ms"] for row in rows())
    assert here.begun == ["lite", "lite-3-blocks"]


def test_a_folder_belongs_to_its_settings(words, here, timed, capsys):
    cli.main(words)
    with pytest.raises(SystemExit):
        cli.main([*words, "--cpu-minutes", "1"])
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "processor minutes" in one]
    assert "out holds a study with processor minutes" in line
    assert "choose another --output" in line
    assert json.loads((Path("out") / STUDY_FILE).read_text())["processor minutes"] != 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--candidates", "lite-4-blocks"], "unknown network 'lite-4-blocks': did you mean 'lite-3-blocks'"),
        (["--runtimes", "onnx-runtime"], "unknown runtime 'onnx-runtime': did you mean 'onnxruntime'"),
        (["--style-image", "none.png"], "cannot read image none.png"),
        (["--vgg", "none.safetensors"], "no such file: none.safetensors"),
        (["--textures", "none"], "no such folder: none"),
        (["--precision", "fp99"], "unknown precision 'fp99'"),
        (["--cpu-minutes", "0"], "argument --cpu-minutes: '0': give a number above 0"),
        (["--rounds", "1"], "argument --rounds: '1': give a whole number, at least 2"),
        (["--speed-size", "8"], "argument --speed-size: '8'"),
        (["--trunk", "lite"], "--trunk belongs to study field"),
        (["-o", "theirs"], "output folder theirs is not empty and is not a previous structure study"),
        (["--", "--steps", "3"], "study structure has options of its own: nothing can follow --"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(words, capsys, tmp_path, more, message):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, *more])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_study_without_a_painting_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["study", "structure"])
    assert "study structure needs a painting: give --style-image FILE" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["study", "field", "--cpu-minutes", "3"])
    assert "--cpu-minutes belongs to study structure" in capsys.readouterr().err
