"""Short training runs: their data, how to interrupt one, and what they leave in their folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from conftest import TranslationClip

from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.report.loss_curves import PACE, TOTAL
from reconet_bench.training.crops import ClipCrops
from reconet_bench.training.loop import train
from reconet_bench.training.progress import TrainingProgress
from reconet_bench.training.run_folder import CURVES_FILE
from reconet_bench.training.settings import TrainingSettings


def windows(seed: int = 0, size: int = 32) -> ClipCrops:
    return ClipCrops(size, seed, [TranslationClip((2.0, 1.0))])


def network_state(path: Path) -> dict[str, torch.Tensor]:
    return {key: value for key, value in read_tensors(path)[0].items() if key.startswith("network.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def curves(folder: Path) -> list[dict[str, str]]:
    """The rows of loss terms; the pace is another one every time."""
    with (folder / CURVES_FILE).open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in (TOTAL, *PACE)} for row in csv.DictReader(file)]


def stop_at(step: int, error: type[BaseException] = KeyboardInterrupt):
    """A report callback that interrupts once ``step`` has been reported."""

    def report(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise error

    return report


def broken_off(settings: TrainingSettings, folder: Path, step: int) -> None:
    """Start a run and interrupt it after ``step``."""
    with pytest.raises(KeyboardInterrupt):
        train(settings, windows(), folder, report=stop_at(step))


def told_of(path: Path, **change: object) -> None:
    """Change what a state says that it belongs to; ``None`` takes a name away."""
    tensors, metadata = read_tensors(path)
    saved = {key: value for key, value in {**json.loads(metadata["settings"]), **change}.items() if value is not None}
    write_tensors(path, tensors, {**metadata, "settings": json.dumps(saved)})
