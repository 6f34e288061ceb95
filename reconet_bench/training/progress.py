"""Progress of a run: rows of ``curves.csv``, sample pictures, TensorBoard events, and a callback."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import TrainingError
from reconet_bench.report.loss_curves import TOTAL
from reconet_bench.training.distributed import Group
from reconet_bench.training.loader import Loader
from reconet_bench.training.run_folder import append_curves, last_state

#: Steps whose losses stay on a GPU before they are read: reading them waits for the GPU.
_UNSEEN = 16


@dataclass(frozen=True)
class TrainingProgress:
    """Progress to show to the user.

    Attributes:
        terms: weighted loss terms, means since the last row.
        waiting: share of the time since then that was spent waiting for data, 0 to 1.
    """

    step: int
    steps: int
    terms: dict[str, float]
    steps_per_second: float
    waiting: float = 0.0


class LossMeter:
    """Means of the loss terms since the last row. Losses of a few steps stay on a GPU, to avoid waiting for it.

    Args:
        sums: :meth:`sums` of the run that this one resumes, so that its next row covers all steps.
    """

    def __init__(self, folder: Path, group: Group, device: torch.device, sums: Mapping[str, Any] | None = None) -> None:
        self._folder, self._group = folder, group
        self._limit = _UNSEEN if device.type == "cuda" else 1
        self._unseen: list[Tensor] = []
        self._names: list[str] = []
        self._first = 0
        self._sums, self._count = np.zeros(0), 0
        if sums and sums["count"]:
            self._sums, self._count = np.array(sums["values"]), sums["count"]

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Add the weighted terms and the total of step ``step``, counted from 1; raises as :meth:`settle` does."""
        if not self._unseen:
            self._first, self._names = step, list(terms)
        self._unseen.append(torch.stack(list(terms.values())).double())
        if len(self._unseen) >= self._limit:
            self.settle()

    def settle(self) -> None:
        """Read the losses that were added.

        Raises:
            TrainingError: a term of a step is NaN or infinite.
        """
        if not self._unseen:
            return
        values = self._group.mean(torch.stack(self._unseen)).cpu().numpy()
        self._unseen = []
        for step, row in enumerate(values, self._first):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value):
                    raise TrainingError(
                        f"loss term '{name}' is {value} at step {step}: {last_state(self._folder)}; "
                        "lower the learning rate"
                    )
        self._sums = self._sums + values.sum(0) if self._count else values.sum(0)
        self._count += len(values)

    def sums(self) -> dict[str, Any]:
        """Sums since :meth:`take` was last called, as JSON data."""
        self.settle()
        return {"count": self._count, "values": self._sums.tolist()}

    def take(self) -> tuple[dict[str, float], int]:
        """Means of the terms, and number of steps, since the last call."""
        self.settle()
        means = dict(zip(self._names, (self._sums / max(self._count, 1)).tolist(), strict=True)), self._count
        self._count = 0
        return means


class ProgressLog:
    """Records the progress of a run; in a group of processes only the first one does.

    Args:
        start, steps: the step that the run continues from, and its last step.
        tensorboard: whether to write TensorBoard events into ``tensorboard/`` of the run folder.

    Raises:
        TrainingError: TensorBoard is not installed.
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        report: Callable[[TrainingProgress], None],
        tensorboard: bool = False,
    ) -> None:
        self._folder, self._steps, self._report = folder, steps, report
        self._since, self._clock = start, time.perf_counter()
        self._events = _events(folder, start) if tensorboard else None

    def row(self, step: int, means: dict[str, float], loader: Loader, learning_rate: float) -> None:
        """A row of the curves: means since the last, of the terms and of the total."""
        now = time.perf_counter()
        seconds, waited, loader.waited = now - self._clock, loader.waited, 0.0
        total, terms = means[TOTAL], {name: value for name, value in means.items() if name != TOTAL}
        progress = TrainingProgress(
            step, self._steps, terms, (step - self._since) / seconds, min(1.0, waited / seconds)
        )
        append_curves(self._folder, step, terms, total, progress.steps_per_second, progress.waiting)
        if self._events is not None:
            values = {
                **{f"loss/{name}": value for name, value in terms.items()},
                "loss/total": total,
                "pace/steps_per_second": progress.steps_per_second,
                "pace/waiting": progress.waiting,
                "learning_rate": learning_rate,
            }
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        self._since, self._clock = step, now
        self._report(progress)

    def picture(self, step: int, strip: np.ndarray) -> None:
        """A sample picture ``(H, W, 3)`` uint8, for TensorBoard; the file is written elsewhere."""
        if self._events is not None:
            self._events.add_image("sample", strip, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        if self._events is not None:
            self._events.close()


def check_tensorboard() -> None:
    """Raise TrainingError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise TrainingError(
            '--tensorboard needs TensorBoard, which is not installed: pip install "reconet-bench[tensorboard]"'
        )


def _events(folder: Path, start: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    # Events of an interrupted run after the step that this one continues from are dropped.
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
