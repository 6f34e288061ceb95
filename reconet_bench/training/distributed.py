"""Several processes, one training: what ``torchrun`` starts is joined here, and one process alone is a group of one.

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
        rank: number of this process; 0 is the one that writes and reports.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and reports."""
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
        """Whether the flag is up in any process; all get the same answer."""
        if self.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return bool(flags)

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            torch.distributed.barrier()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Join the processes that ``torchrun`` started; a group of one where it did not.

    Raises:
        TrainingError: the others cannot be reached.
    """
    world = processes()
    if world == 1:
        yield Group()
        return
    try:
        if device.type == "cuda":
            # Else NCCL guesses the device by the rank, which on a second machine is another than this process's.
            torch.cuda.set_device(device)
            torch.distributed.init_process_group("nccl", device_id=device)
        else:
            torch.distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"cannot join {world} processes: {str(error).splitlines()[0]}; start them by torchrun"
        ) from None
    try:
        yield Group(torch.distributed.get_rank(), world)
    finally:
        torch.distributed.destroy_process_group()


def processes() -> int:
    """How many processes train together, before or after the group stands."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes and reports, before or after the group stands."""
    return int(os.environ.get("RANK", "0")) == 0


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU, where there are several processes on a machine with GPUs.

    Raises:
        TrainingError: one GPU is named for all of them, or there are more processes than GPUs.
    """
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    if device.index is not None and processes() > 1:
        raise TrainingError(f"each process takes a GPU of its own, and all are told {device}: give --device cuda")
    rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= gpus:
        raise TrainingError(
            f"process {rank + 1} of this machine has no GPU of its own, there are {gpus}: lower --nproc-per-node"
        )
    return torch.device("cuda", rank) if device.index is None else device
