"""ONNX files of others: what values, layout, size and names they take, read from the file or found by running it.

What a file says of itself counts most (our own metadata, or the ``Image.*`` properties of ONNX's
MetadataProps.md), then what its graph shows (a tanh at the end, a division by 255 at the start).
What is left is found by showing it a photograph in each value range; a picture that is no picture,
or two ranges that both give one, are reported with the option that settles it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.ops import BYTE, RANGES
from reconet_bench.core.provenance import external_files
from reconet_bench.core.size import Size
from reconet_bench.models.onnx_constants import free_inputs
from reconet_bench.models.onnx_graph import Clues, clues, range_of
from reconet_bench.models.onnx_probe import NOTHING_SAID, FrameFacts, ImageInput, OnnxProbe
from reconet_bench.models.onnx_readings import Ranges, Reading, choose, readings
from reconet_bench.runtimes.base import ModelSource

if TYPE_CHECKING:
    import onnx

LAYOUTS = ("NCHW", "NHWC")
#: What a file fixes its first or last side at below this are channels.
_FEWEST_ROWS = 8


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


def inspect_onnx(
    path: Path,
    hints: OnnxFormat = ANY_FORMAT,
    report: Callable[[str], None] = lambda text: None,
    guess: bool = True,
    facts: FrameFacts = NOTHING_SAID,
) -> ModelSource:
    """What an image-to-image ONNX file expects: told, read from the file, or found by running it on a photograph.

    The file has one input with three channels, first or last, with or without an axis for the number of frames, and an
    output of the same shape and type: float, half, double or 8 bits. Further inputs have defaults.
    Found by running it (ONNX Runtime, CPU): which output that is; the multiple
    that height and width must be of (the smallest at which the output has the size of the frame);
    the value ranges where nobody says them.

    Args:
        hints: what the user says; it counts more than what the file says.
        report: told in one line if the ranges are a doubtful guess or give no picture, and which option helps.
        guess: whether ranges may be guessed; what measures must not guess.
        facts: what else is said of the file, see :mod:`reconet_bench.models.description`.

    Raises:
        ModelError: missing, not ONNX, not image to image, not three channels, without its external data, or no
            numbers; or several pairs of ranges give a picture, and none may be guessed.
    """
    path = Path(path)
    image, found, probe = _opened(path, hints, facts)
    known = _known(path, probe, hints, found)
    if probe.eight_bits:
        ranges = BYTE, BYTE
    else:
        best = choose(path, probe, known).settle(path, report, guess, facts.called)
        ranges = best.input, best.output
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
        batched=image.batched,
        precision=found.precision,
        state=facts.state,
    )


def candidates(
    path: Path, hints: OnnxFormat = ANY_FORMAT, facts: FrameFacts = NOTHING_SAID
) -> tuple[np.ndarray, list[Reading]]:
    """A photograph ``(1, 3, H, W)`` in [0, 1], and what it becomes in each pair of ranges that may be meant.

    The pair that :func:`inspect_onnx` takes comes first. A file with 8-bit frames has one reading alone.

    Raises:
        ModelError: as :func:`inspect_onnx`.
    """
    _, found, probe = _opened(path, hints, facts)
    known = _known(path, probe, hints, found)
    if probe.eight_bits:
        return probe.photograph, readings(probe, Ranges(BYTE, BYTE), only_known=True)
    chosen = choose(path, probe, known)
    return probe.photograph, [chosen.best, *chosen.rivals]


def _opened(path: Path, hints: OnnxFormat, facts: FrameFacts) -> tuple[ImageInput, Clues, OnnxProbe]:
    """The input for the frame, what the file says, and the file in ONNX Runtime."""
    file = read_onnx(path)
    found = clues(file, path)
    image = _image_input(path, file.graph, hints.layout or found.layout, facts)
    if facts.size is not None:
        sides = Size(image.height or facts.size.height, image.width or facts.size.width)
        if sides != facts.size:
            raise ModelError(f"{path}: takes frames of {sides} only, but {facts.size} was asked for")
        image = image._replace(height=sides.height, width=sides.width)
    if facts.state and not image.batched:
        raise ModelError(f"{path}: a network with state needs a batch axis: export it with frames 1x3xHxW")
    return image, found, OnnxProbe(path, image, facts)


def read_onnx(path: Path) -> onnx.ModelProto:
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


def _image_input(path: Path, graph: onnx.GraphProto, layout: str, facts: FrameFacts) -> ImageInput:
    """The one input without a default, if it is a frame; ``layout`` is what is said of it, or empty."""
    import onnx

    state = {one.name for one in facts.state}
    inputs = [value for value in free_inputs(graph) if value.name not in state and facts.image in ("", value.name)]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(
            f"{path}: not image to image: it must have exactly one input without a default value, but has {names}"
            + (f"; describe the others: reconet-bench inspect {path} writes a file to start from" if inputs else "")
        )
    name, kind = inputs[0].name, inputs[0].type.tensor_type
    if (form := inputs[0].type.WhichOneof("value")) not in (None, "tensor_type"):
        raise ModelError(f"{path}: not image to image: input '{name}' is a {form.removesuffix('_type')}, not a tensor")
    types: dict[int, type[np.float32] | type[np.float16] | type[np.float64] | type[np.uint8]]
    types = {
        onnx.TensorProto.FLOAT: np.float32,
        onnx.TensorProto.FLOAT16: np.float16,
        onnx.TensorProto.DOUBLE: np.float64,
        onnx.TensorProto.UINT8: np.uint8,
    }
    if kind.elem_type not in types:
        found = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise ModelError(
            f"{path}: input '{name}' has type {found}, but a frame is FLOAT, FLOAT16, DOUBLE or UINT8: "
            "export it with float input"
        )
    dims = [dim.dim_value or None for dim in kind.shape.dim]
    shown = "x".join(str(dim or "?") for dim in dims) or "a scalar"
    batched = len(dims) == 4
    if len(dims) == 3:
        dims.insert(0, 1)
    if len(dims) != 4:
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
        height, width = (dims[2], dims[3]) if chosen == "NCHW" else (dims[1], dims[2])
        return ImageInput(name, chosen, dtype, height, width, dims[0], batched)
    # So few rows or columns no picture has: these are its channels.
    if fixed := next((count for count in channels.values() if count is not None and count < _FEWEST_ROWS), None):
        raise ModelError(f"{path}: input '{name}' has shape {shown} with {fixed} channels, but a frame has three")
    dynamic = "; if the file does not say where, give --layout NCHW or NHWC" if None in channels.values() else ""
    raise ModelError(
        f"{path}: input '{name}' has shape {shown}, but a frame has three channels, first or last{dynamic}"
    )


def _known(path: Path, probe: OnnxProbe, hints: OnnxFormat, found: Clues) -> Ranges:
    """What is said of the ranges, by the user or by the file."""
    if probe.eight_bits and {hints.input_range, hints.output_range} - {"", BYTE.name}:
        raise ModelError(
            f"{path}: takes 8-bit frames, whose range is {BYTE.name}: leave --input-range and --output-range out"
        )
    return Ranges(
        RANGES.get(hints.input_range) or found.input_range, RANGES.get(hints.output_range) or found.output_range
    )
