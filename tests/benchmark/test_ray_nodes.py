"""Two real nodes of a Ray cluster on this machine: one is lost, or its disk is full, and the run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconet_bench.report.run import load_run

pytestmark = pytest.mark.process

WORDS = ["compare", "--methods", "reconet", "identity", "--videos", "stroll", "lantern", "carousel", "rush"]
WORDS += ["--size", "64x48", "--frames", "7", "--device", "cpu", "--threads", "1", "--rounds", "0"]
WORDS += ["--runtimes", "torch", "onnxruntime"]
#: A cluster whose head runs no tasks, in a process of its own: the disk of each node, if it has one for itself, are the
#: arguments. It says its address, loses its first node at a word, and ends with its input.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
disks = [{"TMPDIR": disk, "RECONET_BENCH_CACHE": disk} if disk else {} for disk in sys.argv[1:]]
nodes = [cluster.add_node(**node, env_vars=disk) for disk in disks]
cluster.wait_for_nodes()
print("at", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(0), allow_graceful=False)
    print("lost", flush=True)
cluster.shutdown()
"""


class Nodes:
    """A cluster; see :data:`CLUSTER`."""

    def __init__(self, *disks: object) -> None:
        pytest.importorskip("ray")
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, *map(str, disks)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._told("at")

    def lose(self) -> None:
        """Kill the first node."""
        assert self._process.stdin
        self._process.stdin.write("lose\n")
        self._process.stdin.flush()
        self._told("lost")

    def _told(self, word: str) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError("no cluster")

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


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


def begun(folder: Path, *words: str, address: str = "") -> subprocess.Popen[str]:
    """A command in a process of its own."""
    environ = {**os.environ, "RAY_ADDRESS": address}
    if not address:
        del environ["RAY_ADDRESS"]
    command = [sys.executable, "-m", "reconet_bench.cli", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    """What a command said that ended well."""
    text = process.communicate(timeout=400)[1]
    assert process.returncode == 0, text
    return text


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
    (line,) = text.splitlines()
    assert line.startswith("reconet-bench: ")
    assert "No space left on device" in line
    assert "(on node " in line
