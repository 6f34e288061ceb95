"""Trainings on a cluster whose nodes see the same folders: each writes where it would here, and can go on elsewhere."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from reconet_bench.core.files import path_digests
from reconet_bench.core.place import Call, Place

#: A file in a run folder that asks the training in it to stop.
STOP = ".stop"
#: Seconds between two looks for it.
_LOOK = 1.0
_DIE_WITH_PARENT = 1


class ClusterRunner:
    """Runs each training on some node; see :class:`~reconet_bench.training.processes.Runner`.

    Args:
        threads: CPU threads, and cores, of each.
        gpu: whether each takes a GPU.
    """

    def __init__(self, place: Place, threads: int, gpu: bool) -> None:
        self._place, self._threads, self._gpu = place, threads, gpu
        self._runs: set[Path] = set()
        self._asked = False

    def check(self, words: Sequence[str], folder: Path) -> None:
        """Look whether all nodes see the folder, and what the words of a command name.

        Raises:
            DataError, RuntimeUnavailable: one does not.
        """
        named = [Path(part) for word in words for part in {word, word.rpartition("=")[2]} if part]
        mark = folder / ".seen"
        mark.write_text(uuid.uuid4().hex)
        try:
            paths = [*(path.resolve() for path in named if path.exists()), mark.resolve()]
            self._place.check(partial(path_digests, paths), self._threads)
        finally:
            mark.unlink()

    def run(self, command: Sequence[str], log: TextIO) -> int | None:
        """Run a command to its end; returns its exit code, or ``None`` if a signal came before it began."""
        if self._asked:
            return None
        file = Path(log.name).resolve()
        (file.parent / STOP).unlink(missing_ok=True)
        self._runs.add(file.parent)
        call = Call(
            f"the training in {file.parent}",
            "",
            run_training,
            (list(command[1:]), file, Path.cwd(), self._threads),
            self._threads,
            self._gpu,
        )
        try:
            ((_, _, code),) = self._place.each([call])
        finally:
            self._runs.remove(file.parent)
            (file.parent / STOP).unlink(missing_ok=True)
        return int(code)

    def signal(self, number: int) -> None:
        """Ask all running trainings to save their state and stop."""
        self._asked = True
        for run in list(self._runs):
            (run / STOP).touch()


def run_training(words: Sequence[str], log: Path, folder: Path, threads: int) -> int:
    """Runs on a node: a command of Python, which ends with this process; returns its exit code.

    Args:
        log: gets what it prints.
        folder: to run in.
    """
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform.startswith("linux") else None,
        )
        while True:
            try:
                return process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                if (log.parent / STOP).exists():
                    process.send_signal(signal.SIGTERM)
                    return process.wait()


def _end_with_parent() -> None:
    """A worker that is killed takes its training along, which saves its state: it goes on elsewhere."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
