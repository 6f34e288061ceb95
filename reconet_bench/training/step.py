"""One step of a training: the objective, its gradient and the optimiser; on a GPU as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import TrainingError
from reconet_bench.methods.base import METHODS, Batch, LossContext, Method
from reconet_bench.methods.flat_content import CARPET, repeating_pattern, with_flat_corner
from reconet_bench.networks.vgg import LossNetwork
from reconet_bench.report.loss_curves import TOTAL
from reconet_bench.training.precision import Precision
from reconet_bench.training.settings import TrainingSettings

#: Steps that run one by one before a CUDA graph is made of the next: libraries set themselves up in them.
_BEFORE_GRAPH = 4


@dataclass(frozen=True)
class TrainStep:
    """A step of the optimiser on one batch."""

    method: Method
    network: nn.Module
    optimizer: torch.optim.Optimizer
    context: LossContext
    weights: dict[str, float]
    precision: Precision

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Take the step.

        Returns:
            The weighted terms (the plain value if the weight is 0) and the total, detached.
        """
        with self.precision.autocast(batch.frames.device):
            terms = self.method.objective(self.network, batch, self.context)
            if CARPET in self.weights:
                terms[CARPET] = self._carpet(batch)
        weights = self.weights
        optimised = [
            weights[name] * term.float() for name, term in terms.items() if weights[name] and term.requires_grad
        ]
        if not optimised:
            without = ", ".join(name for name in terms if weights[name])
            raise TrainingError(
                f"there is nothing to optimise: with these options the weighted terms ({without}) have no gradient; "
                "give another term a weight"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.stack(optimised).sum()
        self.precision.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()
        return {
            **{name: (weights[name] or 1.0) * term.detach().float() for name, term in terms.items()},
            TOTAL: total.detach(),
        }

    def _carpet(self, batch: Batch) -> Tensor:
        """The pattern in what the network makes of flat content."""
        answer = self.network(with_flat_corner(batch.frames[:, 0]))
        stylised: Tensor = answer[0] if isinstance(answer, tuple) else answer  # some give features too
        return repeating_pattern(stylised.float())


def can_be_graphed(settings: TrainingSettings, device: torch.device, processes: int, precision: Precision) -> bool:
    """Whether a step is the same sequence of GPU operations every time, so that a CUDA graph can repeat it."""
    return (
        device.type == "cuda"
        and settings.graphs
        and not settings.compile
        and processes == 1
        and settings.optimizer == "adam"
        and not precision.scaler.is_enabled()  # it asks the GPU whether a gradient overflowed
        and not METHODS[settings.method].random  # random numbers come from the CPU, the same on every device
    )


def graphed_step(step: TrainStep) -> Callable[[Batch], dict[str, Tensor]]:
    """``step`` as a CUDA graph: the processor starts some thousand operations with one call instead of one by one.

    The first batches are taken one by one. All batches must have one shape. The losses that a call returns are
    overwritten by the next call.
    """
    graph, count = torch.cuda.CUDAGraph(), 0
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    fixed: Batch | None = None
    losses: dict[str, Tensor] = {}

    def run(batch: Batch) -> dict[str, Tensor]:
        nonlocal count, fixed, losses
        count += 1
        if count <= _BEFORE_GRAPH:
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                taken = step(batch)
            torch.cuda.current_stream().wait_stream(side)
            return taken
        if fixed is None:
            fixed = Batch(*(getattr(batch, field.name).clone() for field in fields(batch)))
            step.optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            # Other threads may use the GPU meanwhile: one of them loads the next batches.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                losses = step(fixed)
        for field in fields(batch):
            getattr(fixed, field.name).copy_(getattr(batch, field.name), non_blocking=True)
        graph.replay()
        return losses

    return run


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for parameters in optimizer.param_groups:
        if isinstance(parameters["lr"], Tensor):
            parameters["lr"].fill_(rate)
        else:
            parameters["lr"] = rate


def make_optimizer(settings: TrainingSettings, network: nn.Module, graphed: bool = False) -> torch.optim.Optimizer:
    """The optimiser of the settings; fused if PyTorch has it.

    Args:
        graphed: whether its step is part of a CUDA graph; the learning rate is then a number on the GPU.
    """
    if graphed:
        rate = torch.tensor(settings.learning_rate, device=next(network.parameters()).device)
        return torch.optim.Adam(network.parameters(), lr=rate, fused=True, capturable=True)
    if settings.optimizer == "adamax":
        return torch.optim.Adamax(network.parameters(), lr=settings.learning_rate)
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)


def compiled(forward: nn.Module, context: LossContext) -> tuple[nn.Module, LossContext]:
    """Network and loss network through ``torch.compile``, as one graph for the size of the training crops."""
    perceptual = cast(LossNetwork, torch.compile(context.perceptual, dynamic=False))
    return cast(nn.Module, torch.compile(forward, dynamic=False)), replace(context, perceptual=perceptual)
