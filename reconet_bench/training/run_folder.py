"""The run folder of a training: the saved state and the loss curves.

``state.safetensors`` holds network, optimiser and step: what ``--resume`` reads. ``curves.csv``
holds every loss term, weighted, over the steps, and the total that is optimised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reconet_bench.core import provenance
from reconet_bench.core.errors import TrainingError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.networks.base import DEFAULT_NETWORK
from reconet_bench.networks.vgg import find_weights
from reconet_bench.report.loss_curves import PACE, TOTAL
from reconet_bench.training.crops import TrainingCrops
from reconet_bench.training.precision import Precision
from reconet_bench.training.settings import TrainingSettings

STATE_FILE = "state.safetensors"
CURVES_FILE = "curves.csv"
#: The complete recipe of the run: a preset that repeats it.
RECIPE_FILE = "recipe.toml"


def fingerprint(settings: TrainingSettings, data: TrainingCrops, processes: int, precision: str) -> dict[str, object]:
    """Facts that a resumed run must share with the interrupted one, and that a checkpoint keeps.

    It reads the painting and the loss network's file, so a run calls it once, at the start.

    Args:
        precision: the actual number format: ``auto`` differs between machines.
    """
    names = (
        "method",
        "network",
        "steps",
        "batch",
        "learning_rate",
        "optimizer",
        "schedule",
        "milestones",
        "decay",
        "warm_up",
        "style_size",
        "style_levels",
        "seed",
        "scale",
    )
    weights, options = settings.check()
    return {
        **{name: getattr(settings, name) for name in names},
        "precision": precision,
        "processes": processes,
        "style": provenance.checksum(settings.style),
        "weights": weights,
        "options": options,
        "size": getattr(data, "size", None),
        "data": data.describe(),
        **({"data_files": digest} if (digest := data.digest()) else {}),
        "loss_network": provenance.checksum(vgg) if (vgg := find_weights(settings.vgg)) else None,
    }


def _trunk(path: Path, metadata: Mapping[str, str]) -> dict[str, object]:
    """Facts about the training that a branch starts from."""
    before = json.loads(metadata.get("info") or metadata["settings"])
    names = ("method", "weights", "learning_rate", "seed", "data", "trunk")
    step = int(metadata["step"]) if "step" in metadata else before.get("steps")
    return {"step": step, "state": provenance.checksum(path), **{n: before[n] for n in names if n in before}}


def save_state(
    folder: Path,
    facts: Mapping[str, object],
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    sums: Mapping[str, Any],
) -> None:
    """Write network, optimiser and step. Weights that are not finite are refused, so the last good state stays.

    Args:
        sums: of the loss terms since the last row of the curves.
    """
    tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in network.state_dict().items()}
    if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise TrainingError(
            f"'{bad[0]}' is not finite after step {step}: {last_state(folder)}; lower the learning rate"
        )
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    metadata = {"step": str(step), "settings": json.dumps(facts, sort_keys=True), "sums": json.dumps(sums)}
    if scaler := precision.state():
        metadata["scaler"] = json.dumps(scaler)
    write_tensors(folder / STATE_FILE, tensors, metadata)


def load_state(
    folder: Path, facts: dict[str, object], network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
) -> tuple[int, dict[str, Any]]:
    """Restore the folder's state; returns its step (0 if there is none) and the sums saved with it.

    Args:
        facts: :func:`fingerprint` of this run, which must agree with the state. Gets the ``trunk`` of the state,
            because the trunk itself may have changed since, or may be deleted.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return 0, {}
    tensors, metadata = read_state(path)
    saved, wanted = json.loads(metadata["settings"]), json.loads(json.dumps(facts))
    # An older version lacks newer switches: they had their default value.
    saved["options"] = {**METHODS[wanted["method"]].options, **saved.get("options", {})}
    if saved.get("precision") == "auto":
        del saved["precision"]  # older versions did not record the actual format
    for name, value in wanted.items():
        # A state of an older version may lack a name; the names it has must agree.
        if name in saved and saved[name] != value:
            what = (
                "its photographs, footage or flow weights were different"
                if name == "data_files"
                else f"{name} was {saved[name]}, now {value}"
            )
            raise TrainingError(f"{path} belongs to another run: {what}; choose another --output")
    if "trunk" in saved:
        facts["trunk"] = saved["trunk"]
    _restore(tensors, network, optimizer)
    precision.restore(json.loads(metadata.get("scaler", "{}")))
    return int(metadata["step"]), json.loads(metadata.get("sums", "{}"))


def branch(
    settings: TrainingSettings, facts: dict[str, object], network: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    """Start from another training; returns the step to continue from, and adds the ``trunk`` to ``facts``."""
    place = settings.branch_from or Path()
    path = place if place.is_file() else place / STATE_FILE
    tensors, metadata = read_tensors(path)
    if path == place:
        checkpoint = load_checkpoint(path)
        weights = checkpoint.network.state_dict()
        _check_layers(path, {"method": checkpoint.method, **checkpoint.info}, facts, weights, network)
        network.load_state_dict(weights)
        facts["trunk"] = _trunk(path, metadata)
        return 0
    if not int(metadata.get("step", settings.steps)) < settings.steps:
        raise TrainingError(
            f"{settings.branch_from} is not an unfinished run of fewer than {settings.steps} steps: raise --steps"
        )
    before = json.loads(metadata["settings"])
    if (was := before.get("optimizer", settings.optimizer)) != settings.optimizer:
        raise TrainingError(
            f"{path}: the trunk was trained with {was}, whose state {settings.optimizer} cannot use: "
            f"add --optimizer {was}, or branch from the trunk's checkpoint"
        )
    _check_layers(path, before, facts, _weights(tensors), network)
    _restore(tensors, network, optimizer)
    facts["trunk"] = _trunk(path, metadata)
    return int(metadata["step"])


def _check_layers(
    path: Path, before: Mapping[str, Any], facts: Mapping[str, Any], weights: Mapping[str, Tensor], network: nn.Module
) -> None:
    """Raise TrainingError if the trunk's weights are of another network than the one to train."""
    expected = network.state_dict()
    if {name: value.shape for name, value in weights.items()} == {name: v.shape for name, v in expected.items()}:
        return
    if (kind := before.get("network", DEFAULT_NETWORK)) != facts["network"]:
        raise TrainingError(
            f"{path}: the trunk is a '{kind}' network and this run trains '{facts['network']}': add --network {kind}, "
            "or branch from another trunk"
        )
    was, now = before.get("method"), facts["method"]
    options = {**METHODS[now].options, **before.get("options", {})}
    switched = [
        f"options.{name}={json.dumps(options[name])}"
        for name, value in facts["options"].items()
        if options[name] != value
    ]
    same = f"--set {' '.join(switched)}" if was == now else f"--method {was}"
    raise TrainingError(
        f"{path}: the network of the trunk ({was}) has other layers than that of this run ({now}): "
        f"add {same}, or branch from another trunk"
    )


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}


def _restore(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network.load_state_dict(_weights(tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, slot = key.split(".")
            # The fused optimiser needs its state in the same memory layout as the weights.
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            state.setdefault(int(index), {})[slot] = value.contiguous(memory_format=layout)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def last_state(folder: Path) -> str:
    """What is saved, as part of a message; raises TrainingError if the file is not the state of a training."""
    path = folder / STATE_FILE
    return f"step {read_state(path)[1]['step']} is saved in {path}" if path.is_file() else "nothing was saved yet"


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a state; raises TrainingError if the file is not a state, DataError if it is broken."""
    tensors, metadata = read_tensors(path)
    if not metadata.keys() >= {"step", "settings"}:
        raise TrainingError(f"{path} is not the state of a training: choose another --output")
    return tensors, metadata


def append_curves(
    folder: Path, step: int, terms: dict[str, float], total: float, steps_per_second: float, waiting: float
) -> None:
    """Add a row: means of the weighted terms and the total, and the speed, since the previous row."""
    path = folder / CURVES_FILE
    values = {
        **{name: f"{value:.6g}" for name, value in (terms | {TOTAL: total}).items()},
        PACE[0]: f"{steps_per_second:.4g}",
        PACE[1]: f"{waiting:.4f}",
    }
    # A run started by an older version has no columns for the speed or the total.
    known = path.read_text().partition("\n")[0].split(",") if path.exists() else []
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(
            file, known or ["step", *values], restval="", extrasaction="ignore", lineterminator="\n"
        )
        if not known:
            writer.writeheader()
        writer.writerow({"step": step, **values})


def trim_curves(folder: Path, step: int) -> None:
    """Drop rows after ``step``: those of an interrupted run, which will be computed again."""
    path = folder / CURVES_FILE
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines(keepends=True) or [""]
    # A killed run may leave half a row; it is after the saved step anyway.
    kept = [
        row
        for row in rows
        if row.endswith("\n") and row.split(",", 1)[0].isdigit() and int(row.split(",", 1)[0]) <= step
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("".join([header, *kept]))
    if not kept:
        path.unlink()
