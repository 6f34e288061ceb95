"""Batches for every step, prepared by other processes, and how long the training waited for them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from multiprocessing.process import BaseProcess
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from reconet_bench.core import machine
from reconet_bench.core.errors import DataError
from reconet_bench.methods.base import Batch
from reconet_bench.training.crops import Crop, TrainingCrops
from reconet_bench.training.distributed import Group
from reconet_bench.training.settings import TrainingSettings

#: Largest number of processes that load data for one GPU, and batches that each of them keeps ready.
_MOST_WORKERS, _AHEAD = 16, 4


class Loader:
    """This process's part of the batch of every step, from step ``start`` on.

    Attributes:
        waited: seconds spent waiting for data since it was last set to zero. A GPU continues to work during this time,
            so for a GPU it is an upper bound of its idle time.
    """

    def __init__(
        self, settings: TrainingSettings, data: TrainingCrops, start: int, device: torch.device, group: Group
    ) -> None:
        self.waited = 0.0
        self._device, self._steps = device, range(start, settings.steps)
        workers = worker_count(settings, device)
        with _no_advice():
            self._loader: DataLoader[Crop] = DataLoader(
                cast(Dataset[Crop], data),
                batch_size=settings.batch,
                sampler=_Part(settings, start, group),
                num_workers=workers,
                pin_memory=device.type == "cuda",
                prefetch_factor=_AHEAD if workers else None,
                worker_init_fn=_begin_worker if workers else None,
                # Clips hold caches that cannot be sent to a new process.
                multiprocessing_context="fork" if workers else None,
            )

    def __iter__(self) -> Generator[tuple[int, Batch]]:
        """Number and batch of each step; closing the iterator ends the processes."""
        before = multiprocessing.active_children()
        with _no_advice():
            batches = iter(self._loader)
        helpers = [process for process in multiprocessing.active_children() if process not in before]
        # They ignore SIGTERM, by which Python ends child processes at exit; without this it would wait for ever.
        end = functools.partial(_end, batches, helpers)
        atexit.register(end)
        try:
            yield from self._batches(batches)
        finally:
            end()
            atexit.unregister(end)

    def _batches(self, batches: Iterator[Crop]) -> Iterator[tuple[int, Batch]]:
        for step in self._steps:
            began = time.perf_counter()
            try:
                batch = Batch(*next(batches)).to(self._device)
            except DataError as error:
                # An error from another process has its whole traceback in front.
                raise DataError(
                    str(error).strip().splitlines()[-1].removeprefix(f"{DataError.__module__}.DataError: ")
                ) from None
            self.waited += time.perf_counter() - began
            yield step, batch


def _end(batches: Iterator[Crop], helpers: list[BaseProcess]) -> None:
    """Ask the processes behind ``batches`` to end, and kill those that do not."""
    if helpers:
        cast(Any, batches)._shutdown_workers()
    for process in helpers:
        if process.is_alive():
            process.kill()
            process.join()


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """No warning for more workers than cores: the user asked for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def worker_count(settings: TrainingSettings, device: torch.device) -> int:
    """Number of processes that load data: as the settings say, else enough to keep a GPU busy, and none on a CPU.

    On a CPU they would take cores from the training. On Windows and macOS, which cannot fork processes, data is loaded
    between the steps.
    """
    if sys.platform in ("win32", "darwin"):
        return 0
    if settings.workers is not None:
        return settings.workers
    # torchrun starts one process for each GPU of a machine; they share its cores.
    cores = machine.usable_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_WORKERS, cores - 1)) if device.type == "cuda" else 0


def _begin_worker(number: int) -> None:
    # One thread each, so that they do not compete for the cores.
    cv2.setNumThreads(0)
    # A terminal or batch system signals the whole group. Only the training answers; it needs data for its last step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Part(Sampler[int]):
    """Numbers of the samples of a process: its own ``batch`` of the ``batch · world`` samples of every step."""

    def __init__(self, settings: TrainingSettings, start: int, group: Group) -> None:
        self.steps, self.batch, self.group = range(start, settings.steps), settings.batch, group

    def __len__(self) -> int:
        return len(self.steps) * self.batch

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            first = (step * self.group.world + self.group.rank) * self.batch
            yield from range(first, first + self.batch)
