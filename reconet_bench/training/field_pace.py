"""How long the points of a field study take on this machine, measured before it begins."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.machine import usable_cpus
from reconet_bench.training.crops import TrainingCrops
from reconet_bench.training.field_objectives import Objective, with_steps
from reconet_bench.training.field_plan import FEWEST_STEPS, PLANNED, steps_that_fit
from reconet_bench.training.fleet import FleetModel, train_model
from reconet_bench.training.processes import Processes
from reconet_bench.training.settings import TrainingSettings
from reconet_bench.training.step_benchmark import step_seconds


def shares(jobs: int, threads: int | None) -> tuple[int, int]:
    """CPU threads of each of ``jobs`` trainings, and how many of them run as fast as one alone: as many as have cores.

    Args:
        threads: of each, if that is asked for; else as :func:`~reconet_bench.training.processes.places` shares them.
    """
    own = os.environ.get("OMP_NUM_THREADS", "")
    each = threads or (int(own) if own.isdigit() and int(own) else max(1, usable_cpus() // jobs))
    return each, max(1, min(jobs, usable_cpus() // each))


@dataclass(frozen=True)
class Pace:
    """Seconds that trainings take when nothing trains beside them.

    Attributes:
        steps: of a step, by method.
        overhead: of a point beside its steps: starting a process, loading, measuring.
    """

    steps: dict[str, float]
    overhead: float

    def costs(self, steps: int) -> dict[str, float]:
        """Seconds of a whole point, by method."""
        return {name: self.overhead + steps * seconds for name, seconds in self.steps.items()}

    def steps_in(self, seconds: float, objectives: Sequence[Objective], points: int) -> int:
        """How many steps each point may have so that all of them fit.

        Args:
            seconds: for all, one after the other.

        Raises:
            TrainingError: not enough for a study; the message says how many minutes are.
        """
        counts = {one.name: points if one.terms else 1 for one in objectives}
        steps = steps_that_fit(seconds, self.steps, counts, self.overhead)
        if steps < FEWEST_STEPS:
            costs = self.costs(FEWEST_STEPS)
            least = sum(costs[name] * count for name, count in counts.items()) / PLANNED
            raise TrainingError(
                f"too little time for {sum(counts.values())} points: give at least {1 + (least / 60):.0f} minutes, "
                "fewer --points, fewer --methods or a smaller --size"
            )
        return steps


def measure_pace(
    objectives: Sequence[Objective],
    settings: Callable[[Objective], TrainingSettings],
    data: TrainingCrops,
    arguments: Sequence[str],
    folder: Path,
    judging: float,
) -> Pace:
    """Time some steps of each method in this process, and one whole training of one step in its own.

    Args:
        settings: of an objective.
        arguments: words of ``reconet-bench train`` for all.
        folder: gets a run folder for a moment.
        judging: seconds that measuring a point takes.

    Raises:
        TrainingError: the training failed, with its reason.
    """
    steps = {one.name: step_seconds(settings(one), data) for one in objectives}
    pilot = folder / "pilot"
    shutil.rmtree(pilot, ignore_errors=True)
    try:
        start = start_seconds(with_steps(objectives[0], 1).at(1.0), arguments, pilot)
    finally:
        shutil.rmtree(pilot, ignore_errors=True)
    return Pace(steps, start + judging)


def start_seconds(model: FleetModel, arguments: Sequence[str], folder: Path) -> float:
    """Seconds that a training takes beside its steps: those of one of a single step, in a process of its own.

    Args:
        model: of one step.
        arguments: words of ``reconet-bench train``.
        folder: gets its run folder.

    Raises:
        TrainingError: the training failed, with its reason.
    """
    began = time.monotonic()
    if reason := train_model(model, arguments, folder, Processes([{}])):
        raise TrainingError(f"a training of one step failed: {reason}")
    return time.monotonic() - began
