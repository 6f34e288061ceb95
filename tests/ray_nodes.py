"""Real nodes of a Ray cluster on this machine, and commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A cluster whose head runs no tasks, in a process of its own: the disk of each node, if it has one for itself, are the
#: arguments. It says its address, loses its first node at a word, and ends with its input.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
server = {"ray_client_server_port": int(sys.argv[1])} if sys.argv[1] else {}
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, **server})
disks = [{"TMPDIR": disk, "RECONET_BENCH_CACHE": disk} if disk else {} for disk in sys.argv[2:]]
nodes = [cluster.add_node(**node, env_vars=disk) for disk in disks]
cluster.wait_for_nodes()
print("at", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(0), allow_graceful=False)
    print("lost", flush=True)
cluster.shutdown()
"""


class Nodes:
    """A cluster; see :data:`CLUSTER`.

    Args:
        client: port of its client server, if it has one.
        path: where Python looks first there.
    """

    def __init__(self, *disks: object, client: int | None = None, path: Path | None = None) -> None:
        pytest.importorskip("ray")
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(client or ""), *map(str, disks)],
            env={**os.environ, **({"PYTHONPATH": str(path)} if path else {})},
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


def begun(folder: Path, *words: str, address: str = "", out: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    environ = {**os.environ, "RAY_ADDRESS": address}
    if not address:
        del environ["RAY_ADDRESS"]
    command = [sys.executable, "-m", "reconet_bench.cli", *words]
    return subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """What a command said that ended well."""
    text = process.communicate(timeout=400)[1]
    assert process.returncode == 0, text
    return text
