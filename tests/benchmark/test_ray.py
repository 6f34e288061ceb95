"""A comparison on Ray: the numbers of one that runs here, to the last bit, whatever is lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reconet_bench import cli
from reconet_bench.core.cluster import Cluster, NodeFacts, check_same
from reconet_bench.core.errors import DataError, RuntimeUnavailable
from reconet_bench.core.images import write_image
from reconet_bench.core.sent_files import SentFile
from reconet_bench.data.fingerprints import fingerprint, fingerprints
from reconet_bench.data.selection import Selection
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import checkpoint_model
from reconet_bench.models.loading import Model
from reconet_bench.models.sent_model import SentModel
from reconet_bench.report.run import load_run
from reconet_bench.report.run_folder import JOURNAL
from reconet_bench.runtimes.python_model import PythonModel

WORDS = ["compare", "--methods", "reconet", "johnson", "identity", "--videos", "stroll", "lantern", "carousel", "rush"]
WORDS += ["--size", "64x48", "--frames", "7", "--device", "cpu", "--threads", "1", "--rounds", "0"]
WORDS += ["--runtimes", "torch", "onnxruntime"]
#: Files that are the same if all numbers are; that of the run's beginning is in the others.
SAME = ("frames.csv", "differences.csv", "summary.csv")


class Command:
    """A command in a process of its own, by whose mark its Ray workers are known."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.mark = uuid.uuid4().hex
        environ = {**os.environ, "RECONET_BENCH_TEST_MARK": self.mark}
        environ.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconet_bench.cli", *words],
            cwd=folder,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def working(self) -> Iterator[int]:
        """Processes that are at a task now."""
        for entry in Path("/proc").iterdir():
            try:
                busy = entry.name.isdigit() and b"ray::run_" in (entry / "cmdline").read_bytes()
                if busy and self.mark.encode() in (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue

    def end(self) -> str:
        """What it said, when it has ended well."""
        said = self.process.communicate()[1]
        assert self.process.returncode == 0, said
        return said


def rows(run: Path) -> list[tuple[object, ...]]:
    return [(r.model, r.video, r.runtime, r.metric, r.value, r.ci_low, r.ci_high, r.n) for r in load_run(run).records]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The same comparison without Ray."""
    folder = tmp_path_factory.mktemp("here")
    Command(folder, *WORDS, "-o", "run").end()
    return folder / "run"


@pytest.mark.process
def test_it_is_the_run_that_it_would_be_here_though_a_worker_is_killed(here, tmp_path):
    pytest.importorskip("ray")
    command = Command(tmp_path, *WORDS, "-o", "run", "--on", "ray")
    records = tmp_path / "run" / "records.jsonl"
    while command.process.poll() is None and not (records.exists() and (busy := list(command.working()))):
        time.sleep(0.05)
    os.kill(busy[0], signal.SIGKILL)
    command.end()
    assert rows(tmp_path / "run") == rows(here)
    for name in SAME:
        assert (tmp_path / "run" / name).read_bytes() == (here / name).read_bytes(), name
    pictures = [
        {path.relative_to(run): path.read_bytes() for path in (run / "pictures").rglob("*.webp")}
        for run in (here, tmp_path / "run")
    ]
    assert pictures[0] == pictures[1] != {}
    facts = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert len(facts["nodes"]) == 1


@pytest.mark.process
def test_a_driver_that_is_killed_goes_on_where_it_was(here, tmp_path):
    pytest.importorskip("ray")
    command = Command(tmp_path, *WORDS, "-o", "run", "--on", "ray")
    journal = tmp_path / "run" / JOURNAL
    while command.process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 3):
        time.sleep(0.05)
    assert command.process.poll() is None
    command.process.kill()
    command.process.communicate()
    finished = len(journal.read_text().splitlines()) - 1
    assert 3 <= finished < 12
    Command(tmp_path, "compare", "--resume", "run", "--on", "ray").end()
    assert rows(tmp_path / "run") == rows(here)
    for name in SAME:
        assert (tmp_path / "run" / name).read_bytes() == (here / name).read_bytes(), name


@pytest.mark.process
def test_every_speed_names_the_node_that_it_was_timed_on(tmp_path):
    pytest.importorskip("ray")
    words = "compare --methods reconet --videos stroll --size 96x64 --frames 3 --threads 1 --rounds 2 --speed-budget 0"
    Command(tmp_path, *words.split(), "--runtimes", "torch", "onnxruntime", "-o", "run", "--on", "ray").end()
    run = load_run(tmp_path / "run")
    (node,) = run.provenance["nodes"]
    assert {record.node for record in run.records if record.video} == {""}
    timed = [record for record in run.records if not record.video]
    assert {record.node for record in timed} == {node}
    assert {(record.runtime, record.metric) for record in timed} >= {
        (runtime, metric) for runtime in ("torch", "onnxruntime") for metric in ("speed_up", "parity_psnr", "load_time")
    }
    assert run.timings


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--on", "ray://127.0.0.1:9"], "no Ray cluster answers at 127.0.0.1:9: "),
        (["--on", "spark"], "'spark': give ray, or ray://HOST:PORT"),
        (["--on", "ray://head"], "give ray, or ray://HOST:PORT"),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main([*WORDS, *words, "-o", "run"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeUnavailable, match="Ray is not installed: pip install"), Cluster():
        pass


FACTS = NodeFacts({"reconet-bench": "1.0", "torch": "2.9"}, "c0ffee", "cpu", "", {"stroll": "sha256:1"})


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ({"versions": {"reconet-bench": "0.9", "torch": "2.9"}}, "node far has reconet-bench 0.9, and here is 1.0"),
        ({"versions": {"reconet-bench": "1.0"}}, "node far has torch none, and here is 2.9"),
        ({"commit": "bead"}, "node far has another commit of reconet-bench"),
        ({"needs": {"stroll": "no such folder: x"}}, "node far does not have stroll as it is here: no such folder: x"),
        ({"needs": {"stroll": "sha256:2"}}, "does not have stroll as it is here: something else of that name is there"),
    ],
)
def test_a_node_that_would_give_other_numbers_is_named(there, says):
    check_same(FACTS, "far", FACTS)
    with pytest.raises((RuntimeUnavailable, DataError), match=says):
        check_same(FACTS, "far", replace(FACTS, **there))


def test_a_clip_is_known_by_what_is_in_it(tmp_path, monkeypatch):
    """What is looked at on a node is the clip that it finds by its name, from wherever it runs."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("a/film", 10), ("b/film", 20)):
        for number in (1, 2):
            image = np.full((40, 56, 3), value + number, np.uint8)
            write_image(tmp_path / name / f"{number}.png", image)
    (first,) = Selection().found(["a/film"]).values()
    absolute, (other,) = first.absolute(), Selection().found(["b/film"]).values()
    monkeypatch.chdir(tmp_path / "b")
    assert fingerprints([absolute])["film (DIS flow)"].startswith("sha256:")
    assert fingerprints([first])["film (DIS flow)"] != fingerprints([absolute])["film (DIS flow)"]
    monkeypatch.chdir(tmp_path)
    assert fingerprint(first.clip()) == fingerprint(absolute.clip()) != fingerprint(other.clip())


def test_a_model_travels_with_what_its_runtimes_take(seeded: Checkpoint, exported: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    model = Model(replace(checkpoint_model(seeded, tmp_path), onnx=lambda: exported), "reconet", "")
    assert SentModel.of(model, ["torch"]).onnx is None
    sent = SentModel.of(model, ["torch", "onnxruntime"])
    received = sent.received()
    assert received.source.onnx() != model.source.onnx()
    assert received.source.onnx().read_bytes() == model.source.onnx().read_bytes()
    assert received.source.network is model.source.network
    file = SentFile.of(model.source.onnx())
    file.received().write_bytes(b"cut")
    assert file.received().read_bytes() == file.content, "what was cut short is written again"


def test_a_model_in_python_stays_here(seeded: Checkpoint, tmp_path):
    model = Model(checkpoint_model(seeded, tmp_path), "reconet", "")
    python = replace(model, source=replace(model.source, python=PythonModel.__new__(PythonModel)))
    with pytest.raises(DataError, match="is a model in Python, which runs on this machine alone"):
        SentModel.of(python, ["torch"])
