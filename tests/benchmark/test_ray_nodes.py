"""Two real nodes of a Ray cluster on this machine: one is lost, or its disk is full, and the run goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import Nodes, begun, said

from reconet_bench.report.run import load_run

pytestmark = pytest.mark.process

WORDS = ["compare", "--methods", "reconet", "identity", "--videos", "stroll", "lantern", "carousel", "rush"]
WORDS += ["--size", "64x48", "--frames", "7", "--device", "cpu", "--threads", "1", "--rounds", "0"]
WORDS += ["--runtimes", "torch", "onnxruntime"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def rows(run: Path) -> list[tuple[object, ...]]:
    return [(r.model, r.video, r.runtime, r.metric, r.value, r.ci_low, r.ci_high, r.n) for r in load_run(run).records]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The same comparison without Ray."""
    folder = tmp_path_factory.mktemp("here")
    said(begun(folder, *WORDS, "-o", "run"))
    return folder / "run"


def test_a_node_that_is_lost_costs_time_alone(here, tmp_path):
    with Nodes("", "") as nodes:
        process = begun(tmp_path, *WORDS, "-o", "run", "--on", "ray", address=nodes.address)
        records = tmp_path / "run" / "records.jsonl"
        while process.poll() is None and not records.exists():
            time.sleep(0.05)
        assert process.poll() is None, "it was over before a node could be lost"
        nodes.lose()
        said(process)
    assert rows(tmp_path / "run") == rows(here)
    for name in ("frames.csv", "differences.csv", "summary.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (here / name).read_bytes(), name


def test_what_a_full_disk_stops_is_done_on_another_node(here, tmp_path, tiny_disk):
    with Nodes(tiny_disk, "") as nodes:
        said(begun(tmp_path, *WORDS, "-o", "run", "--on", "ray", address=nodes.address))
    assert rows(tmp_path / "run") == rows(here)


def test_where_all_disks_are_full_it_ends_in_one_line(tmp_path, tiny_disk):
    with Nodes(tiny_disk) as nodes:
        process = begun(tmp_path, *WORDS, "-o", "run", "--on", "ray", address=nodes.address)
        text = process.communicate(timeout=400)[1]
    assert process.returncode == 2
    *_, line = text.splitlines()  # progress comes before
    assert "Traceback" not in text
    assert line.startswith("reconet-bench: ")
    assert "No space left on device" in line
    assert "(on node " in line
