"""Training with several processes, started by ``torchrun``; a single process is a group of one.

Each process trains on its own part of every step's batch and the gradients are averaged, so N
processes with batch B take the steps of one process with batch N·B.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import TrainingError


@dataclass(frozen=True)
class Group:
    """The processes of a training.

    Attributes:
        rank: number of this process; process 0 writes and reports.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module with its gradients averaged over the group."""
        if self.world == 1:
            return module
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def mean(self, values: Tensor) -> Tensor:
        """Values averaged over the group."""
        if self.world == 1:
            return values
        torch.distributed.all_reduce(values)
        return values / self.world

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        if self.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return bool(flags)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            torch.distributed.barrier()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Join the processes that ``torchrun`` started; without it, a group of one.

    Raises:
        TrainingError: the other processes cannot be reached.
    """
    world = processes()
    if world == 1:
        yield Group()
        return
    try:
        if device.type == "cuda":
            # Otherwise NCCL guesses the device from the rank, which is wrong on a second machine.
            torch.cuda.set_device(device)
            torch.distributed.init_process_group("nccl", device_id=device)
        else:
            torch.distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"cannot join {world} processes: {str(error).splitlines()[0]}; start them with torchrun"
        ) from None
    try:
        yield Group(torch.distributed.get_rank(), world)
    finally:
        torch.distributed.destroy_process_group()


def processes() -> int:
    """How many processes train together; known before they have joined."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes and reports; known before they have joined."""
    return int(os.environ.get("RANK", "0")) == 0


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process, if several processes run on a machine with GPUs.

    Raises:
        TrainingError: the user gave one GPU for all processes, or there are more processes than GPUs.
    """
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    if device.index is not None and processes() > 1:
        raise TrainingError(
            f"each process needs its own GPU, but --device {device} names one for all: use --device cuda"
        )
    rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= gpus:
        raise TrainingError(
            f"process {rank + 1} of this machine has no GPU, since there are only {gpus}: lower --nproc-per-node"
        )
    return torch.device("cuda", rank) if device.index is None else device
