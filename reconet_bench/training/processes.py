"""Trainings as processes side by side, each with its share of the machine."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO

import torch

from reconet_bench.core.machine import usable_cpus


class Runner(Protocol):
    """Runs trainings: processes, or in a test anything that writes a run folder."""

    def run(self, command: Sequence[str], log: TextIO) -> int | None:
        """Run a command to its end; returns its exit code, or ``None`` if a signal came before it began."""

    def signal(self, number: int) -> None:
        """Pass a signal on to all running processes."""


class Processes:
    """Runs each training in its own process, with its own share of threads and GPUs; signals reach all of them.

    Args:
        places: environment variables of each place.
    """

    def __init__(self, places: Sequence[Mapping[str, str]]) -> None:
        self._places = list(places)
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.RLock()  # a second signal may come while the first is handed on
        self._asked = False

    def signal(self, number: int) -> None:
        """Pass a signal on to all running processes."""
        with self._lock:
            self._asked = True
            for process in self._processes:
                process.send_signal(number)

    def run(self, command: Sequence[str], log: TextIO) -> int | None:
        """Run a command to its end; returns its exit code, or ``None`` if a signal came before it began."""
        with self._lock:
            if self._asked:
                return None
            place = self._places.pop()
            # A separate session: a signal from the terminal would otherwise come twice, which means to stop at once.
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **place},
                start_new_session=True,
            )
            self._processes.add(process)
        code = process.wait()
        with self._lock:
            self._processes.remove(process)
            self._places.append(place)
        return code


def places(jobs: int, arguments: Sequence[str]) -> list[dict[str, str]]:
    """Environment variables of each of ``jobs``: its share of CPU threads, and its own GPU if there are enough."""
    if jobs == 1:
        return [{}]
    threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, usable_cpus() // jobs))}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = seen.split(",") if seen else [str(number) for number in range(torch.cuda.device_count())]
    if len(gpus) < 2 or any("cuda:" in word for word in arguments):
        return [threads] * jobs
    return [{**threads, "CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(jobs)]
