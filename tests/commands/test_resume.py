"""A comparison that was stopped goes on: the same rows as if it had not been, and nothing measured twice."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconet_bench import cli
from reconet_bench.benchmark.quality_pass import QualityPass
from reconet_bench.benchmark.speed_pass import SpeedPass
from reconet_bench.models.checkpoint import Checkpoint, save_checkpoint
from reconet_bench.report.run import load_run
from reconet_bench.report.run_folder import FILES, JOURNAL

SIZE = ["--size", "56x40", "--frames", "3", "--device", "cpu", "--threads", "1"]
WORDS = [
    "compare",
    "--videos",
    "stroll",
    "lantern",
    *SIZE,
    "--rounds",
    "0",
    "--runtimes",
    "torch",
    "torch:channels-last",
]
#: What each model is measured on, in order.
PLACES = [(model, clip) for model in ("reconet-seeded", "identity") for clip in ("stroll", "lantern")]
#: Files whose bytes are the same if nothing but the time differs: that of the run's beginning is in the records.
SAME = ("records.jsonl", "records.csv", "frames.csv", "differences.csv", "summary.csv")


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., None]:
    """Runs a command as if it had been typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))

    def command(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["reconet-bench", *map(str, words)])
        cli.main([str(word) for word in words])

    return command


@pytest.fixture
def fails(run, capsys) -> Callable[..., str]:
    """Runs a command that fails: one line, exit code 2, and nothing changed; gives the line."""

    def command(*words: object) -> str:
        before = contents(Path())
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            run(*words)
        said = capsys.readouterr().err
        assert caught.value.code == 2
        assert said.count("\n") == 1, said
        assert contents(Path()) == before
        return said

    return command


@pytest.fixture
def model(seeded: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "reconet-seeded.safetensors", seeded)
    return tmp_path / "reconet-seeded.safetensors"


@pytest.fixture
def measured(monkeypatch) -> list[tuple[str, str]]:
    """Model and clip of everything that is measured, as it is."""
    seen: list[tuple[str, str]] = []
    whole = QualityPass.measure

    def measure(self, opened, clip, style):
        seen.append((opened.name, clip.title))
        return whole(self, opened, clip, style)

    monkeypatch.setattr(QualityPass, "measure", measure)
    return seen


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(first: Path, second: Path) -> None:
    """Both hold the same files, and the same numbers to the last bit."""
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (first, second)]
    assert names[0] == names[1]
    for name in SAME:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_run_that_is_killed_at_any_moment_goes_on(run, fails, model, measured, monkeypatch):
    """Copies of the folder, taken before each task, are what kill -9 leaves then."""
    counted = QualityPass.measure

    def copied(self, opened, clip, style):
        shutil.copytree("run", f"killed-{len(measured)}")
        return counted(self, opened, clip, style)

    monkeypatch.setattr(QualityPass, "measure", copied)
    words = [*WORDS, "--models", str(model), "-o", "run", "--save-frames"]
    run(*words)
    monkeypatch.setattr(QualityPass, "measure", counted)
    assert measured == PLACES
    assert not Path("run", JOURNAL).exists()
    assert "not a run folder of compare" in fails("compare", "--resume", "killed-0")
    for number in (1, 2, 3):
        killed = Path(f"killed-{number}")
        with (killed / JOURNAL).open("a") as journal, (killed / "frames.csv").open("a") as frames:
            journal.write('{"task": {"model": "reco')  # it was writing just then
            frames.write("reconet-see")
        measured.clear()
        run("compare", "--resume", killed)
        assert measured == PLACES[number:]
        same(killed, Path("run"))
        facts = json.loads((killed / "provenance.json").read_text())
        assert facts["interrupted"] is False
        assert shlex.split(facts["command"])[1:] == words
    assert "nothing to go on with: the run is complete" in fails("compare", "--resume", "run")


def test_a_run_that_is_interrupted_twice_goes_on_twice(run, model, measured, monkeypatch, capsys):
    run(*WORDS, "--models", model, "-o", "whole")
    counted = QualityPass.measure

    def stopped(self, opened, clip, style):
        if len(measured) == 2:
            raise KeyboardInterrupt
        return counted(self, opened, clip, style)

    monkeypatch.setattr(QualityPass, "measure", stopped)
    for words in ([*WORDS, "--models", model, "-o", "run"], ["compare", "--resume", "run"]):
        measured.clear()
        if words[1] == "--resume":
            measured.append(("", ""))
        with pytest.raises(SystemExit):
            run(*words)
        assert "the results so far are in run: go on with --resume run" in capsys.readouterr().err
        assert {*FILES, JOURNAL, "pictures"} <= {path.name for path in Path("run").iterdir()}
    monkeypatch.setattr(QualityPass, "measure", counted)
    measured.clear()
    run("compare", "--resume", "run", "--json")
    assert measured == PLACES[3:]
    assert len(json.loads(capsys.readouterr().out)) == len(load_run(Path("whole")).records)
    rows = [
        [(r.model, r.video, r.runtime, r.metric, r.value, r.ci_low) for r in load_run(Path(name)).records]
        for name in ("run", "whole")
    ]
    assert rows[0] == rows[1]
    assert Path("run", "frames.csv").read_bytes() == Path("whole", "frames.csv").read_bytes()


@pytest.fixture
def stopped_run(run, model, monkeypatch, capsys) -> Path:
    """A run that was interrupted before its second clip."""
    counted = QualityPass.measure

    def stopped(self, opened, clip, style):
        if clip.title == "lantern":
            raise KeyboardInterrupt
        return counted(self, opened, clip, style)

    with monkeypatch.context() as patch:
        patch.setattr(QualityPass, "measure", stopped)
        with pytest.raises(SystemExit):
            run(*WORDS, "--models", model, "-o", "run")
    capsys.readouterr()
    return Path("run")


def test_what_contradicts_the_run_is_refused_and_what_says_the_same_is_not(fails, run, stopped_run, seeded, model):
    for words, flag in {
        ("--rounds", "5"): "--rounds",  # which is the default, and not that of the run
        ("--videos", "rush"): "--videos",
        ("--pass", "final"): "--pass",
        ("-o", "other"): "--output",
    }.items():
        line = fails("compare", "--resume", stopped_run, *words)
        assert f"{flag} is not what the run was begun with: leave it out" in line
    assert "not a run folder of compare" in fails("compare", "--resume", "elsewhere")
    run("compare", "--resume", stopped_run, "--rounds", "0", "--size", "56x40", "-o", "run")
    assert load_run(stopped_run).clips == ["stroll", "lantern"]


@pytest.mark.parametrize(
    ("fact", "value", "says"),
    [
        ("versions", {"torch": "1.0"}, "the run was begun with torch 1.0, and here is "),
        ("commit", "0" * 40, "the run was begun with commit 000000000000 of reconet-bench"),
        ("loss_network", "sha256:0", "the loss network is another one"),
        ("threads", 7, "the run was begun with 7 threads, and here are 1"),
        ("models", {"reconet-seeded": "sha256:0"}, "the model reconet-seeded has changed"),
        ("videos", {"stroll": {"frames": 9}}, "stroll has changed"),
    ],
)
def test_what_has_changed_since_is_refused(fails, stopped_run, fact, value, says):
    path = stopped_run / "provenance.json"
    facts = json.loads(path.read_text())
    facts[fact] = {**facts[fact], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(facts))
    line = fails("compare", "--resume", stopped_run)
    assert says in line
    assert line.endswith(": start another run\n")


def test_frames_that_have_changed_are_refused(fails, stopped_run):
    path = stopped_run / JOURNAL
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(json.dumps({**json.loads(line), "pixels": "sha256:0"}) for line in lines)]))
    assert "the frames of stroll have changed" in fails("compare", "--resume", stopped_run)


def test_another_machine_may_go_on_with_quality_and_says_so(run, stopped_run, capsys):
    path = stopped_run / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cpu": "Babbage"}))
    run("compare", "--resume", stopped_run)
    assert "the processor of the run was Babbage, and here it is" in capsys.readouterr().err


def test_speeds_of_two_machines_are_not_mixed(fails, stopped_run):
    path = stopped_run / "provenance.json"
    facts = json.loads(path.read_text())
    command = facts["command"].replace("--rounds 0", "--rounds 1")
    path.write_text(json.dumps({**facts, "cpus": 512, "command": command}))
    line = fails("compare", "--resume", stopped_run)
    assert "the number of cores of the run was 512" in line
    assert "speeds of two machines are not compared" in line


@pytest.mark.process
def test_a_killed_command_goes_on_and_finished_timings_are_kept(run, tmp_path, model, monkeypatch):
    """Killed while the second frame size is timed: the timing of the first is not repeated."""
    for name, size in {"stroll": "96x64", "lantern": "48x32"}.items():
        run("render", name, "-o", "rendered", "--size", size, "--frames", "3")
    clips = [tmp_path / "rendered" / "training" / "clean" / name for name in ("stroll", "lantern")]
    words = ["compare", "--models", model, "--videos", *clips, *SIZE[4:], "--rounds", "2", "--speed-budget", "2"]
    words += ["--runtimes", "torch", "onnxruntime", "-o", "run"]
    process = subprocess.Popen([sys.executable, "-m", "reconet_bench.cli", *map(str, words)], cwd=tmp_path)
    journal = tmp_path / "run" / JOURNAL
    try:
        while process.poll() is None and not (journal.exists() and '"clip": ""' in journal.read_text()):
            time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    timings = tmp_path / "run" / "timings.csv"
    before = timings.read_text().splitlines()
    timed: list[str] = []
    whole = SpeedPass.run

    def counted(self, opened, size, first):
        timed.append(str(size))
        whole(self, opened, size, first)

    monkeypatch.setattr(SpeedPass, "run", counted)
    run("compare", "--resume", "run")
    assert timed == ["48x32"]
    after = timings.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(set(after)) == len(after)
    records = load_run(tmp_path / "run").records
    rows = [(r.model, r.video, r.runtime, r.height, r.metric) for r in records]
    assert len(set(rows)) == len(rows)
    assert {r.height for r in records if r.metric == "load_time" and r.value} == {64, 32}
