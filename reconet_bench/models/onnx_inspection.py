"""ONNX files of others: what values, layout, size and names they take, read from the file or found by running it.

What a file says of itself counts most (our own metadata, or the ``Image.*`` properties of ONNX's
MetadataProps.md), then what its graph shows (a tanh at the end, a division by 255 at the start).
What is left is found by showing it a photograph in each value range; a picture that is no picture,
or two ranges that both give one, are reported with the option that settles it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.images import scikit_image_texture
from reconet_bench.core.ops import BYTE, IMAGENET, RANGES, SIGNED, UNIT, ValueRange, from_uint8, resize_frame
from reconet_bench.core.provenance import external_files
from reconet_bench.models.onnx_graph import Clues, clues, range_of
from reconet_bench.runtimes.base import ModelSource
from reconet_bench.runtimes.onnx_forms import first_line

if TYPE_CHECKING:
    import onnx

#: Side of the photograph that a file is tried on, pixels, and the size multiples tried in turn.
PROBE_SIZE = 128
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
LAYOUTS = ("NCHW", "NHWC")
#: A picture has at least this standard deviation, and at most this share of its values at or beyond black and white.
FLAT, SATURATED = 0.02, 0.5
#: What a file fixes its first or last side at below this are channels.
_FEWEST_ROWS = 8
#: Mean difference from which on two pictures are not the same.
_DIFFERENT = 0.02


@dataclass(frozen=True)
class OnnxFormat:
    """What the user says of ONNX files: names of :data:`~reconet_bench.core.ops.RANGES`, a layout; empty = not said."""

    input_range: str = ""
    output_range: str = ""
    layout: str = ""

    def __post_init__(self) -> None:
        for name in filter(None, (self.input_range, self.output_range)):
            range_of(name, "value range")
        if self.layout and self.layout not in LAYOUTS:
            raise UnknownName("layout", self.layout, LAYOUTS)

    def __bool__(self) -> bool:
        return bool(self.input_range or self.output_range or self.layout)


ANY_FORMAT = OnnxFormat()


class _ImageInput(NamedTuple):
    """The input of an ONNX that takes the frame."""

    name: str
    layout: str
    dtype: type[np.float32] | type[np.float16] | type[np.uint8]
    height: int | None
    width: int | None
    batch: int | None


def inspect_onnx(
    path: Path, hints: OnnxFormat = ANY_FORMAT, report: Callable[[str], None] = lambda text: None
) -> ModelSource:
    """What an image-to-image ONNX file expects: told, read from the file, or found by running it on a photograph.

    The file has one 4-D float input with three channels and an output of the same shape; further
    inputs have defaults. Or both are 8-bit frames (N, H, W, 3), as ``reconet-bench export --all`` writes them.
    Found by running it (ONNX Runtime, CPU): which output that is; the multiple
    that height and width must be of (the smallest at which the output has the size of the frame);
    the value ranges where nobody says them.

    Args:
        hints: what the user says; it counts more than what the file says.
        report: told in one line if the ranges are a doubtful guess or give no picture, and which option helps.

    Raises:
        ModelError: missing, not ONNX, not image to image, not three channels, without its external data, or no numbers.
    """
    path = Path(path)
    file = _read(path)
    found = clues(file, path)
    image = _image_input(path, file.graph, hints.layout or found.layout)
    probe = _Probe(path, image)
    ranges = _ranges(path, probe, hints, found, report)
    return ModelSource(
        path.stem,
        None,
        lambda: path,
        multiple=probe.multiple,
        minimum=probe.multiple // 2 + 1,  # reflection adds at most one pixel less than there are
        input_range=ranges[0],
        output_range=ranges[1],
        layout=image.layout,
        input_name=image.name,
        output_name=probe.output,
        height=image.height,
        width=image.width,
        batch=image.batch,
        precision=found.precision,
    )


def _read(path: Path) -> onnx.ModelProto:
    """The file, without weights that lie in a file of their own (which must be there)."""
    import onnx

    if not path.is_file():
        raise ModelError(f"model file not found: {path}")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's decoding errors have no public base
        model = onnx.ModelProto()
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model, or truncated ({path.stat().st_size} bytes)")
    for place in external_files(model):
        if not (path.parent / place).is_file():
            raise ModelError(f"{path}: its weights file '{place}' is missing: put it beside the model")
    return model


def _image_input(path: Path, graph: onnx.GraphProto, layout: str) -> _ImageInput:
    """The one input without a default, if it is a frame; ``layout`` is what is said of it, or empty."""
    import onnx

    defaults = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in defaults]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(
            f"{path}: not image to image: it must have exactly one input without a default value, but has {names}"
        )
    name, kind = inputs[0].name, inputs[0].type.tensor_type
    if (form := inputs[0].type.WhichOneof("value")) not in (None, "tensor_type"):
        raise ModelError(f"{path}: not image to image: input '{name}' is a {form.removesuffix('_type')}, not a tensor")
    types: dict[int, type[np.float32] | type[np.float16] | type[np.uint8]]
    types = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.UINT8: np.uint8}
    if kind.elem_type not in types:
        found = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise ModelError(
            f"{path}: input '{name}' has type {found}, but a frame is FLOAT, FLOAT16 or UINT8: "
            "export it with float input"
        )
    dims = [dim.dim_value or None for dim in kind.shape.dim]
    shown = "x".join(str(dim or "?") for dim in dims) or "a scalar"
    if len(dims) != 4 or dims[0] not in (None, 1):
        raise ModelError(
            f"{path}: not image to image: input '{name}' has shape {shown}, but a frame is 1x3xHxW or 1xHxWx3"
        )
    dtype = types[kind.elem_type]
    channels = dict(zip(LAYOUTS, (dims[1], dims[3]), strict=True))
    fits = [one for one in LAYOUTS if channels[one] == 3] or [
        one for one in LAYOUTS if channels[one] is None and one == layout
    ]
    if fits and layout not in ("", *fits):
        raise ModelError(
            f"{path}: input '{name}' has shape {shown}, which is {fits[0]}: --layout {layout} does not fit"
        )
    if fits:
        chosen = layout or fits[0]
        if dtype is np.uint8 and chosen != "NHWC":
            raise ModelError(
                f"{path}: input '{name}' has shape {shown} and type UINT8, but 8-bit frames are 1xHxWx3: "
                "export it so, or with float input"
            )
        height, width = (dims[2], dims[3]) if chosen == "NCHW" else (dims[1], dims[2])
        return _ImageInput(name, chosen, dtype, height, width, dims[0])
    # So few rows or columns no picture has: these are its channels.
    if fixed := next((count for count in channels.values() if count is not None and count < _FEWEST_ROWS), None):
        raise ModelError(f"{path}: input '{name}' has shape {shown} with {fixed} channels, but a frame has three")
    dynamic = "; if the file does not say where, give --layout NCHW or NHWC" if None in channels.values() else ""
    raise ModelError(
        f"{path}: input '{name}' has shape {shown}, but a frame has three channels, first or last{dynamic}"
    )


class _Probe:
    """A file in ONNX Runtime on the CPU, shown a photograph.

    Attributes:
        output: name of the stylised frame.
        multiple: height and width must be multiples of it.
        eight_bits: whether frames go in and come out as 8 bits.
    """

    def __init__(self, path: Path, image: _ImageInput) -> None:
        self._image, self._session = image, _open(path)
        height, width = image.height or PROBE_SIZE, image.width or PROBE_SIZE
        self._size = (height, width)
        try:
            outputs = self._outputs(BYTE if image.dtype is np.uint8 else UNIT, height, width)
        except ModelError as error:
            raise ModelError(f"{path}: cannot run on a frame of {width}x{height} pixels: {error}") from None
        output = next((name for name, value in outputs.items() if value.shape == (1, 3, height, width)), None)
        if output is None:
            got = ", ".join(f"'{name}' {value.shape}" for name, value in outputs.items())
            raise ModelError(f"{path}: not image to image: a frame of {width}x{height} pixels gives {got or 'nothing'}")
        if (image.dtype is np.uint8) != (outputs[output].dtype == np.uint8):
            raise ModelError(
                f"{path}: the input is {image.dtype.__name__} and the output {outputs[output].dtype}: "
                "both must be 8-bit, or both float"
            )
        self.output, self.eight_bits = output, image.dtype is np.uint8
        self.multiple = self._size_multiple(path)

    def _outputs(self, values: ValueRange, height: int, width: int) -> dict[str, np.ndarray]:
        """All tensors that come out for a photograph of the size asked for, as NCHW where they are frames."""
        frame = values.encode(resize_frame(from_uint8(scikit_image_texture("astronaut")), height, width)).numpy()
        channels_last = self._image.layout == "NHWC"
        if self._image.dtype is np.uint8:
            frame = frame.round().clip(0, 255)
        if channels_last:
            frame = frame.transpose(0, 2, 3, 1)
        try:
            results = self._session.run(None, {self._image.name: np.ascontiguousarray(frame, self._image.dtype)})
        except Exception as error:
            raise ModelError(first_line(error)) from None
        named = zip((one.name for one in self._session.get_outputs()), results, strict=True)
        arrays = {name: value for name, value in named if isinstance(value, np.ndarray)}
        return {
            name: value.transpose(0, 3, 1, 2) if channels_last and value.ndim == 4 else value
            for name, value in arrays.items()
        }

    def _size_multiple(self, path: Path) -> int:
        """The smallest multiple at which the output has the size of the frame."""
        for multiple in MULTIPLES:
            # Odd multiples, another for each side, so that no rounder number lets a frame through by accident.
            size = (self._image.height or PROBE_SIZE + multiple, self._image.width or PROBE_SIZE + 3 * multiple)
            with contextlib.suppress(ModelError):
                if self._outputs(UNIT, *size)[self.output].shape == (1, 3, *size):
                    return multiple
        raise ModelError(
            f"{path}: not image to image: the output never has the size of the frame "
            f"(multiples up to {MULTIPLES[-1]} were tried)"
        )

    def show(self, values: ValueRange) -> np.ndarray:
        """What comes out, ``(1, 3, H, W)`` float32, for the photograph in ``values``."""
        return self._outputs(values, *self._size)[self.output].astype(np.float32)


class _Trial(NamedTuple):
    """A pair of ranges and the picture they give; ``fault`` says why it is none."""

    input: ValueRange
    output: ValueRange
    picture: np.ndarray
    fault: str


def _ranges(
    path: Path, probe: _Probe, hints: OnnxFormat, found: Clues, report: Callable[[str], None]
) -> tuple[ValueRange, ValueRange]:
    """The value ranges of input and output; a doubtful choice is reported."""
    if probe.eight_bits:
        if {hints.input_range, hints.output_range} - {"", BYTE.name}:
            raise ModelError(
                f"{path}: takes 8-bit frames, whose range is {BYTE.name}: leave --input-range and --output-range out"
            )
        return BYTE, BYTE
    known_in = RANGES.get(hints.input_range) or found.input_range
    known_out = RANGES.get(hints.output_range) or found.output_range
    trials = [_try(probe, values, known_out) for values in (UNIT, BYTE, SIGNED, IMAGENET)]
    if all(trial.fault == _NOT_FINITE for trial in trials):
        raise ModelError(
            f"{path}: the network returned NaN or infinity for a test photograph in every value range tried"
        )
    possible = [trial for trial in trials if known_in in (None, trial.input)]
    # Sane pictures first; among those, networks mostly give what they take.
    best = min(possible, key=lambda trial: (bool(trial.fault), trial.input != trial.output))
    others = [trial.input.name for trial in trials if trial.input != best.input and not trial.fault]
    ranges = f"input {best.input.name} and output {best.output.name}"
    if best.fault:
        advice = (
            f"give --input-range {' or '.join(others)}"
            if others
            else "give the --input-range and --output-range that it was trained with"
        )
        report(f"{path.name}: read as {ranges}, a test photograph comes out {best.fault}: {advice}")
    elif known_in is None and (
        rivals := [t.input.name for t in possible if t is not best and not t.fault and _far(t, best)]
    ):
        report(
            f"{path.name}: does not say its value range; read as {ranges}; "
            f"if the pictures look wrong, give --input-range {' or '.join(rivals)}"
        )
    return best.input, best.output


_NOT_FINITE = "as no number"


def _try(probe: _Probe, values: ValueRange, known_out: ValueRange | None) -> _Trial:
    raw = probe.show(values)
    if not np.isfinite(raw).all():
        return _Trial(values, known_out or UNIT, raw, _NOT_FINITE)
    output = known_out or _looks_like(raw)
    picture = output.decode(torch.from_numpy(np.ascontiguousarray(raw))).numpy()
    extreme = float(((picture <= 0.002) | (picture >= 0.998)).mean())
    contrast = float(picture.clip(0, 1).std(axis=(0, 2, 3)).max())
    fault = ""
    if extreme > SATURATED:
        fault = f"{100 * extreme:.0f} % black or white"
    elif contrast < FLAT:
        fault = "as one even colour"
    return _Trial(values, output, picture, fault)


def _looks_like(raw: np.ndarray) -> ValueRange:
    """The range that outputs lie in, a few strays aside."""
    low, high = (float(value) for value in np.percentile(raw, (0.5, 99.5)))
    if low < -8 or high > 4:
        return BYTE
    if low < -1.2 and high > 1.2:
        return IMAGENET
    return SIGNED if low < -0.15 else UNIT


def _far(a: _Trial, b: _Trial) -> bool:
    return float(np.abs(a.picture.clip(0, 1) - b.picture.clip(0, 1)).mean()) > _DIFFERENT


def _open(path: Path) -> Any:
    """The file in ONNX Runtime on the CPU, quiet even when it fails."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        raise ModelError(f"{path}: onnxruntime cannot load it: {first_line(error)}") from None
