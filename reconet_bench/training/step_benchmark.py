"""Speed of a recipe's training step compared with that of a plain loop, measured in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time

import numpy as np
import torch

from reconet_bench.core import machine
from reconet_bench.methods.base import METHODS, Batch, LossContext
from reconet_bench.training.crops import TrainingCrops
from reconet_bench.training.loop import prepare_loss_network
from reconet_bench.training.precision import Precision
from reconet_bench.training.settings import TrainingSettings
from reconet_bench.training.signals import one_line
from reconet_bench.training.step import TrainStep, compiled, make_optimizer

#: The plain loop: fp32, eager, channels first, PyTorch's default optimiser.
PLAIN = "plain fp32"
#: Number of different batches that the steps use in turn.
_BATCHES = 4


@dataclass
class Pace:
    """Seconds of each step of one training loop.

    Attributes:
        rounds: seconds of each step, one list per turn.
    """

    name: str
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds per step."""
        return float(np.median([value for one in self.rounds for value in one]))

    @property
    def turns(self) -> list[float]:
        """Median of each turn, seconds."""
        return [float(np.median(one)) for one in self.rounds]


@dataclass(frozen=True)
class Comparison:
    """Times of both loops; their ratio is taken within each round.

    Attributes:
        first: seconds of the recipe's first step, in which ``torch.compile`` compiles.
        precision: number format of the recipe.
    """

    plain: Pace
    ours: Pace
    first: float
    precision: str

    @property
    def ratios(self) -> list[float]:
        """Time of the plain loop over that of the recipe, per round."""
        return [slow / fast for slow, fast in zip(self.plain.turns, self.ours.turns, strict=True)]


def compare_steps(
    settings: TrainingSettings,
    data: TrainingCrops,
    rounds: int = 7,
    steps: int = 3,
    report: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Time training steps of ``settings`` and of the plain loop on the same batches, in interleaved rounds.

    Both have the same network, objective, loss network, batches and kind of optimiser; they differ in number format,
    memory layout, compilation and the optimiser's kernels. Loading data is not timed.

    Args:
        rounds: turns of each loop; the loop that is second in one round is first in the next.
        steps: timed steps in a turn, after one that is not timed.
    """
    device = machine.pick_device(settings.device)
    batches = [_batch(settings, data, number, device) for number in range(_BATCHES)]
    with one_line(data.size, settings.batch, settings.compile, lambda: "nothing is trained by --benchmark"):
        report(f"warming up: {PLAIN}")
        plain = _stepper(replace(settings, precision="fp32", compile=False), device, plain=True)
        plain(batches[0])
        report("warming up: the recipe")
        ours = _stepper(settings, device)
        first = _time(ours, batches[0], device)
        paces = (Pace(PLAIN), Pace("this recipe"))
        turns = list(zip((plain, ours), paces, strict=True))
        for number in range(rounds):
            report(f"round {number + 1} of {rounds}")
            for step, pace in turns if number % 2 else turns[::-1]:
                pace.rounds.append(_turn(step, batches, steps, device))
    return Comparison(*paces, first, Precision.of(settings.precision, device).name)


def step_seconds(settings: TrainingSettings, data: TrainingCrops, steps: int = 4) -> float:
    """Seconds of a training step, mean of ``steps`` after one that is not counted; loading data is not timed."""
    device = machine.pick_device(settings.device)
    batches = [_batch(settings, data, number, device) for number in range(_BATCHES)]
    with one_line(data.size, settings.batch, settings.compile, lambda: "nothing was trained yet"):
        return float(np.mean(_turn(_stepper(settings, device), batches, steps, device)))


def processor_seconds(
    candidates: Mapping[str, TrainingSettings], data: TrainingCrops, rounds: int = 5
) -> dict[str, float]:
    """Processor seconds of a training step of each candidate, median of steps that take turns; loading is not counted.

    They are those of all threads of this process, so other programs on the machine hardly change them.
    """
    first = next(iter(candidates.values()))
    device = machine.pick_device(first.device)
    batches = [_batch(first, data, number, device) for number in range(_BATCHES)]
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    with one_line(data.size, first.batch, first.compile, lambda: "nothing was trained yet"):
        steppers = {name: _stepper(settings, device) for name, settings in candidates.items()}
        for number in range(-1, rounds):
            for name, step in steppers.items():
                began = process_time()
                _time(step, batches[number % _BATCHES], device)
                if number >= 0:  # the first one allocates
                    taken[name].append(process_time() - began)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _stepper(settings: TrainingSettings, device: torch.device, plain: bool = False) -> Callable[[Batch], object]:
    """A function that runs one training step."""
    precision = Precision.of(settings.precision, device)
    weights, options = settings.check()
    perceptual, style = prepare_loss_network(settings, device, precision)
    torch.manual_seed(settings.seed)
    method = METHODS[settings.method]
    network = method.network(options, settings.network).to(device)
    context = LossContext(perceptual, style, torch.Generator().manual_seed(settings.seed), options)
    if plain:
        perceptual.to(memory_format=torch.contiguous_format)
        kind = torch.optim.Adamax if settings.optimizer == "adamax" else torch.optim.Adam
        optimizer: torch.optim.Optimizer = kind(network.parameters(), lr=settings.learning_rate)
    else:
        network = network.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(settings, network)
    forward = method.training_module(network)
    if settings.compile:
        forward, context = compiled(forward, context)
    return TrainStep(method, forward, optimizer, context, weights, precision)


def _batch(settings: TrainingSettings, data: TrainingCrops, number: int, device: torch.device) -> Batch:
    crops = [data[number * settings.batch + place] for place in range(settings.batch)]
    return Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True))).to(device)


def _turn(step: Callable[[Batch], object], batches: Sequence[Batch], steps: int, device: torch.device) -> list[float]:
    """Seconds of each of ``steps`` steps; a first step, after the other loop's turn, is not counted."""
    gc.collect()
    step(batches[-1])
    return [_time(step, batches[number % len(batches)], device) for number in range(steps)]


def _time(step: Callable[[Batch], object], batch: Batch, device: torch.device) -> float:
    began = perf_counter()
    step(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - began
