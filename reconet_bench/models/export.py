"""Checkpoint to ONNX; other forms of it, and how close each is, are in :mod:`reconet_bench.models.export_formats`.

An export takes frames of any size and batch by itself: padding to a multiple of four and the crop
are inside the graph. Or it takes one frame of one size, for runtimes that want all shapes fixed. It is one file
without external data, and its metadata say what it is.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from reconet_bench.core.errors import DataError, ModelError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.images import scikit_image_texture
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.ops import from_uint8, resize_frame, to_uint8
from reconet_bench.core.provenance import versions
from reconet_bench.models.checkpoint import Checkpoint, is_onnx
from reconet_bench.models.deploy import DEPLOY, PLAIN, rewrite
from reconet_bench.models.finding import KeptExport, export_code, remember_export
from reconet_bench.networks.base import StyleNetwork, smallest_frame
from reconet_bench.runtimes.artifact_cache import recall, remember
from reconet_bench.runtimes.base import ModelSource

if TYPE_CHECKING:
    import onnx

#: ONNX Runtime's CUDA provider had no Pad kernel for opsets 19 to 23 in some releases.
OPSET = 18
#: Layout version of the metadata that an export carries.
FORMAT = 1
INPUT, OUTPUT = "frame", "stylised"
#: Training facts that an export carries; those that tell of the machine stay in the checkpoint.
TRAINING = (
    *("data", "steps", "size", "batch", "processes", "seed", "optimizer", "learning_rate", "schedule", "precision"),
    *("weights", "scale", "options", "style_file", "style_size", "loss_network", "trunk"),
)
#: Exports that the cache keeps, the newest ones.
KEPT = 24


def weights_checksum(network: nn.Module) -> str:
    """SHA-256 of names, shapes and float32 values of all weights, as ``sha256:<hex>``."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        array = value.detach().float().cpu().contiguous().numpy()
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.astype("<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"


def export_onnx(checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None = None, form: str = PLAIN) -> Path:
    """Write the network of ``checkpoint`` as ONNX, atomically; ``frame`` → ``stylised``, (N, 3, H, W) in [0, 1].

    Args:
        size: the only height and width that it takes, in batches of one; any by default.
        form: of :mod:`reconet_bench.models.deploy`.

    Returns:
        ``path``.

    Raises:
        DataError: ``path`` is a folder or has another suffix than .onnx; ``size`` is smaller than the network takes.
        ModelError: the exporter took the network apart: an instance norm is no longer one node. Or the network has
            nothing that the deploy form rewrites.
    """
    import onnx

    _check_target(Path(path))
    least = smallest_frame(checkpoint.network)
    if size is not None and min(size) < least:
        raise DataError(f"frame of {size[1]}x{size[0]} pixels is too small: at least {least} a side")
    # On the CPU and in a copy: neither the device nor the mode of the caller's network may change.
    network = copy.deepcopy(checkpoint.network).cpu().float().eval()
    any_size = torch.export.Dim.DYNAMIC
    # An odd example: with a multiple of four the exporter could take the padding for a constant nothing.
    example = torch.rand(2, 3, 37, 50) if size is None else torch.rand(1, 3, *size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about its own internals; its errors are exceptions
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            optimize=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},) if size is None else None,
        )
    if program is None:
        raise ModelError(f"{path}: torch.onnx returned no program for '{checkpoint.name}'")
    model = program.model_proto
    _check_norms(model, network, path)
    made = rewrite(model, checkpoint.name) if form == DEPLOY else {}
    _describe(model, checkpoint, size, made)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return Path(path)


def _check_target(path: Path) -> None:
    """Said before the work: where an export cannot be written, or could not be loaded back from."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name the file, such as {path / 'model.onnx'}")
    if not is_onnx(path):
        raise DataError(f"{path}: an export must end in .onnx: name it {path.with_suffix('.onnx')}")


def _check_norms(model: onnx.ModelProto, network: nn.Module, path: Path) -> None:
    """Some exporter versions made a training-mode batch norm of an instance norm: right, and three times slower."""
    expected = sum(isinstance(module, nn.InstanceNorm2d) for module in network.modules())
    found = sum(node.op_type == "InstanceNormalization" for node in model.graph.node)
    if found != expected:
        raise ModelError(
            f"{path}: not written: torch {torch.__version__} exported only {found} of {expected} instance norms "
            "as one node; "
            "use another torch version"
        )


def _describe(
    model: onnx.ModelProto, checkpoint: Checkpoint, size: tuple[int, int] | None, made: Mapping[str, int]
) -> None:
    """Names and metadata for people; the exporter's own notes (with source paths of this machine) go.

    Args:
        made: rewrites, and how often each was made.
    """
    graph = model.graph
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for initializer in graph.initializer:
        del initializer.metadata_props[:]
    # Symbolic shapes of intermediates: nobody needs them, and they name dimensions that are renamed here.
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:], model.functions[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        batch, _, height, width = value.type.tensor_type.shape.dim
        if size is None:
            batch.dim_param, height.dim_param, width.dim_param = "batch", "height", "width"
    graph.name = f"reconet_bench_{checkpoint.name}"
    style = f" in the style '{checkpoint.style}'" if checkpoint.style else ""
    taken = (
        f"any size from {smallest_frame(checkpoint.network)} pixels" if size is None else f"{size[1]}x{size[0]} pixels"
    )
    model.doc_string = f"Video style transfer, method '{checkpoint.method}'{style}. RGB frames in [0, 1], {taken}."
    model.producer_name, model.producer_version = "reconet-bench", versions()["reconet-bench"]
    facts = {
        "method": checkpoint.method,
        "network": checkpoint.kind if isinstance(checkpoint.network, StyleNetwork) else "",
        "style": checkpoint.style,
        "licence": checkpoint.licence,
        "training": _training(checkpoint),
        "format": str(FORMAT),
        "commit": str(checkpoint.info.get("commit", "")),
        "weights": weights_checksum(checkpoint.network),
        "form": "fp32",
        "value_range": "0..1",
        "layout": "NCHW",
        "rewrites": ", ".join(f"{name} x{count}" for name, count in made.items()),
    }
    for key, value in facts.items():
        if value:
            model.metadata_props.add(key=key, value=value)


def _training(checkpoint: Checkpoint) -> str:
    """:data:`TRAINING` as JSON, as far as they are known."""
    known = {key: checkpoint.info[key] for key in TRAINING if checkpoint.info.get(key) is not None}
    return json.dumps(known, sort_keys=True) if known else ""


def cached_export(checkpoint: Checkpoint, path: Path) -> Path:
    """:func:`export_onnx`, or a copy of an earlier export of the same weights by the same code and versions.

    Exports are kept in ``onnx`` of the cache folder. Each file begins with its checksum, so a
    damaged one is noticed and exported again.
    """
    place = cache_folder() / "onnx" / _export_name(checkpoint)
    content = recall(place)
    if content is None:
        export_onnx(checkpoint, path)
        content = Path(path).read_bytes()
        remember(place, content)
        with contextlib.suppress(OSError):
            for old in sorted(place.parent.glob("*.onnx.sum"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
                old.unlink(missing_ok=True)
        return Path(path)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _export_name(checkpoint: Checkpoint) -> str:
    """A name by all that an export depends on: weights, what is written about them, the code, and versions."""
    digest = hashlib.sha256(weights_checksum(checkpoint.network).encode())
    digest.update(
        repr(
            (
                *(checkpoint.method, checkpoint.style, checkpoint.licence, _training(checkpoint)),
                *(str(checkpoint.info.get("commit", "")), OPSET, FORMAT),
            )
        ).encode()
    )
    for part in export_code():
        digest.update(part)
    return f"{digest.hexdigest()[:32]}.onnx.sum"


def checkpoint_model(checkpoint: Checkpoint, folder: Path, name: str = "", file: Path | None = None) -> ModelSource:
    """The checkpoint for any runtime; its ONNX comes into ``folder`` when a runtime first asks for it.

    Args:
        name: of the model, and of the file; the checkpoint's own by default.
        file: that the checkpoint was loaded from; its export is then found again without loading it.
    """
    name = name or checkpoint.name
    path = Path(folder) / f"{name}.onnx"
    exported: list[Path] = []
    minimum = smallest_frame(checkpoint.network)

    def onnx_file() -> Path:
        if not exported:
            exported.append(cached_export(checkpoint, path))
            if file is not None:
                remember_export(file, KeptExport(_export_name(checkpoint), minimum))
        return exported[0]

    return ModelSource(name, checkpoint.network, onnx_file, minimum=minimum, exported=True)


def photograph(size: tuple[int, int] | None = None) -> np.ndarray:
    """A frame ``(H, W, 3)`` uint8 to compare on, of ``size``; by default of 151x127, which needs padding and crop."""
    whole = scikit_image_texture("astronaut")
    if size is None:
        return np.ascontiguousarray(whole[:254:2, :301:2])
    resized: np.ndarray = to_uint8(resize_frame(from_uint8(whole), *size))[0]
    return resized
