"""A model as ONNX in every form: fp32, fp16, int8, and with 8-bit frames; each with how close it is to PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from reconet_bench.checkpoint import Checkpoint
from reconet_bench.data.files import atomic_path
from reconet_bench.errors import ModelError
from reconet_bench.export import INPUT, export_onnx, photograph
from reconet_bench.ops import from_uint8
from reconet_bench.runtimes.base import Parity
from reconet_bench.runtimes.variants import (
    calibration_frames,
    eight_bit_frames,
    first_line,
    half_precision,
    quantized,
)

if TYPE_CHECKING:
    import onnx


def _int8(path: Path, size: tuple[int, int] | None) -> bytes:
    return quantized(path, INPUT, (from_uint8(frame).numpy() for frame in calibration_frames(*(size or ()))))


#: What is made of the fp32 file, which may have one size alone, by the ending of its name.
FORMS: dict[str, Callable[[Path, tuple[int, int] | None], bytes]] = {
    "fp16": lambda path, _: half_precision(path), "int8": _int8, "uint8": lambda path, _: eight_bit_frames(path),
}  # fmt: skip


#: What a form says of its frames, in place of what the fp32 file says.
_FRAMES = {
    "fp16": "RGB frames in [0, 1], fp16", "int8": "RGB frames in [0, 1], int8 convolutions",
    "uint8": "RGB frames of 8 bits, 0 to 255, channels last",
}  # fmt: skip


def _described(content: bytes, name: str, plain: onnx.ModelProto) -> bytes:
    """A form that says what it is, and else what the fp32 file says: converters write themselves into it, or leave things out."""
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


def export_form(checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None = None) -> Form:
    """Write the fp32 file alone; arguments and errors are those of :func:`export_all`."""
    path = export_onnx(checkpoint, path, size)
    return Form(path, "fp32", file_parity(checkpoint, path, photograph(size)))


def export_all(checkpoint: Checkpoint, path: Path, size: tuple[int, int] | None = None) -> Iterator[Form]:
    """Write ``FILE.onnx`` and beside it ``FILE-fp16.onnx``, ``FILE-int8.onnx`` and ``FILE-uint8.onnx``, one after the other.

    ``uint8`` takes and gives ``(N, H, W, 3)`` uint8: the conversion to and from floats runs on the device.

    Args:
        size: the only height and width that they take, in batches of one; any by default.

    Raises:
        DataError: ``size`` is smaller than the network takes.
        ModelError: the network cannot be exported in that form.
    """
    yield export_form(checkpoint, path, size)
    import onnx

    image, plain = photograph(size), onnx.load(path)
    for name, make in FORMS.items():
        target = path.with_name(f"{path.stem}-{name}{path.suffix}")
        with atomic_path(target) as temporary:
            temporary.write_bytes(_described(make(path, size), name, plain))
        yield Form(target, name, file_parity(checkpoint, target, image))


def file_parity(checkpoint: Checkpoint, path: Path, image: np.ndarray | None = None) -> Parity:
    """An export in ONNX Runtime on the CPU against PyTorch fp32 eager.

    Args:
        path: an export in any form.
        image: ``(H, W, 3)`` uint8; by default :func:`~reconet_bench.export.photograph`.

    Raises:
        ModelError: it does not run.
    """
    if image is None:
        image = photograph()
    with torch.inference_mode():
        expected = checkpoint.network.float().eval()(from_uint8(image)).clamp(0, 1).numpy()
    got = _run(path, image)
    if not np.isfinite(got).all():
        raise ModelError(f"{path}: its output is not finite")
    difference = np.abs(got.astype(np.float64) - expected)
    error = float(np.square(difference).mean())
    return Parity(float(difference.max()), 10 * float(np.log10(1 / error)) if error else float("inf"), 1)


def _run(path: Path, image: np.ndarray) -> np.ndarray:
    """What an export makes of a frame, as ``(1, 3, H, W)`` float in [0, 1]."""
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
        (y,) = session.run(None, {source.name: ways[source.type](image)})
    except Exception as error:  # its exceptions have no common base but Exception
        raise ModelError(f"{path}: onnxruntime cannot run it: {first_line(error)}") from None
    frames: np.ndarray = from_uint8(y).numpy() if y.dtype == np.uint8 else np.clip(y.astype(np.float32), 0, 1)
    return frames
