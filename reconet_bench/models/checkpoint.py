"""Checkpoints: safetensors with everything needed to run and to judge a model; never a pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.methods.base import METHODS
from reconet_bench.models.finding import (
    SHIPPED_LICENCE,
    SUFFIX,
    find_checkpoint,
    is_onnx,
    shipped_folder,
    shipped_models,
)
from reconet_bench.networks.base import DEFAULT_NETWORK
from reconet_bench.networks.vgg import STYLE_TAPS

__all__ = [
    "SUFFIX",
    "Checkpoint",
    "find_checkpoint",
    "is_onnx",
    "load_checkpoint",
    "model_name",
    "save_checkpoint",
    "shipped_folder",
    "shipped_models",
]

#: Version of the layout below; readers accept this and all before it.
FORMAT = 1


@dataclass
class Checkpoint:
    """A trained network with the style it was trained on.

    Attributes:
        network: in evaluation mode, frames in [0, 1] to frames in [0, 1].
        method: name of the method that trained it.
        style: name of the style.
        style_targets: Gram matrix of each style tap, so that ``style_distance`` never needs the painting; at unit
            scale, whatever the training optimised against.
        info: training facts: steps, size, seed, weights, data, command, versions, commit, …
        licence: of the weights, where they are given away under one, as SPDX calls it.
    """

    network: nn.Module
    method: str
    style: str
    style_targets: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    licence: str = ""

    @property
    def name(self) -> str:
        """Method, network (unless it is the dissertation's) and style in one word."""
        return model_name(self.method, self.kind, self.style)

    @property
    def kind(self) -> str:
        """Name of its network; the dissertation's in files of earlier versions."""
        return str(self.info.get("network", DEFAULT_NETWORK))


def model_name(method: str, network: str, style: str) -> str:
    """``reconet-lite-wave``; the network is left out if it is the dissertation's, and the style if there is none."""
    return "-".join(part for part in (method, "" if network == DEFAULT_NETWORK else network, style) if part)


def save_checkpoint(path: Path, checkpoint: Checkpoint, dtype: torch.dtype = torch.float16) -> None:
    """Write atomically; ``dtype`` is that of the stored weights (they load as float32)."""
    tensors = {f"network.{key}": value.to(dtype) for key, value in checkpoint.network.state_dict().items()}
    tensors |= {f"style.{name}": gram.to(dtype) for name, gram in checkpoint.style_targets.items()}
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise ModelError(f"not saved: '{name}' is not finite as {dtype}")
    metadata = {
        "format": str(FORMAT),
        "method": checkpoint.method,
        "style": checkpoint.style,
        "info": json.dumps(checkpoint.info, sort_keys=True),
    }
    write_tensors(path, tensors, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelError: missing, broken, not a checkpoint of this package, from a newer version, or not finite.
    """
    tensors, metadata = read_tensors(path)
    if "method" not in metadata or "format" not in metadata:
        raise ModelError(f"{path}: not a reconet-bench checkpoint (no method in its metadata)")
    try:
        version, info = int(metadata["format"]), json.loads(metadata.get("info", "{}"))
    except ValueError:
        raise ModelError(f"{path}: broken checkpoint metadata (format '{metadata['format']}')") from None
    if version > FORMAT:
        raise ModelError(f"{path}: checkpoint format {version} is newer than this version reads ({FORMAT}): upgrade")
    try:
        network = METHODS[metadata["method"]].network(info.get("options"), info.get("network", DEFAULT_NETWORK))
    except UnknownName as error:
        raise ModelError(f"{path}: {error}") from None
    weights = {
        key.removeprefix("network."): value.float() for key, value in tensors.items() if key.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: weights do not fit the network of '{metadata['method']}': {str(error).splitlines()[-1].strip()}"
        ) from None
    if not all(value.isfinite().all() for value in weights.values()):
        raise ModelError(f"{path}: weights are not finite")
    style = {name: tensors[f"style.{name}"].float() for name in STYLE_TAPS if f"style.{name}" in tensors}
    licence = SHIPPED_LICENCE if Path(path).resolve().parent == shipped_folder() else ""
    return Checkpoint(network.eval(), metadata["method"], metadata.get("style", ""), style, info, licence)
