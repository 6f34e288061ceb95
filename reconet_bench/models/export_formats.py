"""A model as ONNX in every form: fp32, fp16, int8, and with 8-bit frames; each with how close it is to PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from reconet_bench.core.errors import ModelError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.deploy import PLAIN
from reconet_bench.models.export import INPUT, export_onnx, photograph
from reconet_bench.runtimes.base import Parity, parity_of
from reconet_bench.runtimes.onnx_errors import first_line
from reconet_bench.runtimes.onnx_forms import (
    calibration_frames,
    eight_bit_frames,
    half_precision,
    quantized,
)

if TYPE_CHECKING:
    import onnx


def _int8(path: Path, size: tuple[int, int] | None) -> bytes:
    return quantized(path, INPUT, (from_uint8(frame).numpy() for frame in calibration_frames(*(size or ()))))


#: What is made of the fp32 file, which may have one size alone, by the ending of its name.
FORMS: dict[str, Callable[[Path, tuple[int, int] | None], bytes]] = {
    "fp16": lambda path, _: half_precision(path),
    "int8": _int8,
    "uint8": lambda path, _: eight_bit_frames(path.read_bytes()),
    "uint8-fp16": lambda path, _: eight_bit_frames(half_precision(path)),
}


#: What a form says of its frames, in place of what the fp32 file says.
_FRAMES = {
    "fp16": "RGB frames in [0, 1], fp16",
    "int8": "RGB frames in [0, 1], int8 convolutions",
    "uint8": "RGB frames of 8 bits, 0 to 255, channels last",
    "uint8-fp16": "RGB frames of 8 bits, 0 to 255, channels last, fp16",
}


def _described(content: bytes, name: str, plain: onnx.ModelProto) -> bytes:
    """A form whose metadata say what it is, and else what the fp32 file says; converters leave things out."""
    import onnx

    model = onnx.load_from_string(content)
    model.doc_string = plain.doc_string.replace("RGB frames in [0, 1]", _FRAMES[name])
    model.producer_name, model.producer_version = plain.producer_name, plain.producer_version
    facts = {entry.key: entry.value for entry in (*plain.metadata_props, *model.metadata_props)}
    onnx.helper.set_model_props(model, facts | {"form": name})
    described: bytes = model.SerializeToString()
    return described


class Form(NamedTuple):
    """A file that was written, what it is, and how close its frames are to PyTorch fp32."""

    path: Path
    name: str
    parity: Parity


def export_form(checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None = None, form: str = PLAIN) -> Form:
    """Write the fp32 file alone; arguments and errors are those of :func:`export_all`."""
    path = export_onnx(checkpoint, path, size, form)
    return Form(path, "fp32", file_parity(checkpoint, path, proof_frames(size)))


def export_all(
    checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None = None, form: str = PLAIN
) -> Iterator[Form]:
    """Write ``FILE.onnx`` and beside it ``FILE-fp16.onnx`` and so on for each of :data:`FORMS`, one after the other.

    ``uint8`` and ``uint8-fp16`` take and give ``(N, H, W, 3)`` uint8; the device converts to and from floats.

    Args:
        size: the only height and width that they take, in batches of one; any by default.
        form: of :mod:`reconet_bench.models.deploy`.

    Raises:
        DataError: ``size`` is smaller than the network takes.
        ModelError: the network cannot be exported in that form.
    """
    yield export_form(checkpoint, path, size, form)
    import onnx

    frames, plain = proof_frames(size), onnx.load(path)
    for name, make in FORMS.items():
        target = path.with_name(f"{path.stem}-{name}{path.suffix}")
        with atomic_path(target) as temporary:
            temporary.write_bytes(_described(make(path, size), name, plain))
        yield Form(target, name, file_parity(checkpoint, target, frames))


def proof_frames(size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Frames to compare on: a photograph, and three adjacent frames of the built-in clip ``rush``."""
    clip = synthetic_clip("rush", size or (120, 160), 3)
    return [photograph(size), *(to_uint8(clip.frame(index))[0] for index in range(len(clip)))]


def file_parity(checkpoint: Checkpoint, path: Path, frames: Sequence[np.ndarray] = ()) -> Parity:
    """An export in ONNX Runtime on the CPU against PyTorch fp32 eager, frame by frame.

    Args:
        path: an export in any form.
        frames: ``(H, W, 3)`` uint8; by default :func:`proof_frames`.

    Raises:
        ModelError: it does not run.
    """
    frames = frames or proof_frames()
    network = checkpoint.network.float().eval()
    with torch.inference_mode():
        expected = [network(from_uint8(frame)).clamp(0, 1).numpy() for frame in frames]
    got = list(_run(path, frames))
    if not all(np.isfinite(frame).all() for frame in got):
        raise ModelError(f"{path}: its output contains NaN or infinity")
    return parity_of(expected, got)


def _run(path: Path, frames: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """What an export makes of each frame, as ``(1, 3, H, W)`` float in [0, 1]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "tensor(float)": lambda one: from_uint8(one).numpy(),
        "tensor(float16)": lambda one: from_uint8(one).numpy().astype(np.float16),
        "tensor(uint8)": partial(np.expand_dims, axis=0),
    }
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (source,) = session.get_inputs()
        outputs = [session.run(None, {source.name: ways[source.type](frame)})[0] for frame in frames]
    except Exception as error:  # its exceptions have no common base but Exception
        raise ModelError(f"{path}: onnxruntime cannot run it: {first_line(error)}") from None
    for y in outputs:
        yield from_uint8(y).numpy() if y.dtype == np.uint8 else np.clip(y.astype(np.float32), 0, 1)
