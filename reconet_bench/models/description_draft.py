"""A ``MODEL.toml`` to start from, written from what an ONNX file shows of its inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from reconet_bench.models.onnx_constants import described, free_inputs, shape_of
from reconet_bench.models.onnx_inspection import read_onnx

if TYPE_CHECKING:
    import onnx

#: What an input of so many channels and any size probably takes.
_STATE = {
    1: '{ from = "traceable" }',
    2: '{ from = "flow" }',
    3: '{ from = "stylized", first = "zeros" }',
}
_REST = """
[frame]                        # what is left out is read from the file, or found by trying
# input_range = "0..1"         # 0..1, 0..255, -1..1, imagenet, caffe or bgr
# output_range = "0..1"
# layout = "NCHW"
# multiple = 4                 # sides are padded to multiples of it, and cropped after
# size = [384, 384]            # [width, height], for a network of one size: frames are resized
"""


def ends(path: Path) -> tuple[list[str], list[str]]:
    """Inputs without a default, and outputs, each with its shape and type in words.

    Raises:
        ModelError: missing, or not ONNX.
    """
    graph = read_onnx(path).graph
    return [described(value) for value in free_inputs(graph)], [described(value) for value in graph.output]


def card(path: Path) -> dict[str, str]:
    """What the metadata of a file say, by key; a value that is JSON is taken apart.

    Raises:
        ModelError: missing, or not ONNX.
    """
    said: dict[str, str] = {}
    for entry in read_onnx(path).metadata_props:
        try:
            parts = json.loads(entry.value) if entry.value.startswith("{") else None
        except ValueError:
            parts = None
        if isinstance(parts, dict):
            said |= {
                f"{entry.key}: {key}": value if isinstance(value, str) else json.dumps(value)
                for key, value in parts.items()
            }
        else:
            said[entry.key] = entry.value
    return said


def draft(path: Path, target: Path) -> str:
    """The text of a description of an ONNX file, to be saved as ``target``; guesses are marked as such.

    Raises:
        ModelError: missing, or not ONNX.
    """
    graph = read_onnx(path).graph
    inputs = free_inputs(graph)
    frame = next((value for value in inputs if _channels(value) == 3), inputs[0] if inputs else None)
    constants: list[str] = []
    state: list[str] = []
    for value in inputs:
        if value is frame:
            continue
        key, facts = json.dumps(value.name), described(value)
        channels = _channels(value)
        if channels in _STATE:
            state.append(f"{key} = {_STATE[channels]}  # {facts}: a guess")
        elif _is_map(value):
            state.append(f"{key} = {_hidden(value, graph)}  # {facts}: a guess")
        else:
            constants.append(f"{key} = {{ one_hot = 0 }}  # {facts}: a guess")
    lines = [
        f"name = {json.dumps(path.stem)}",
        f"onnx = {json.dumps(_beside(path, target))}",
        '# style = "painting.jpg"      # for style_distance',
        "",
        "[inputs]",
        *([f'{json.dumps(frame.name)} = "frame"'] if frame is not None else []),
        *constants,
    ]
    if constants:
        lines += [
            '# forms: a number, a list, "vector.npy", { one_hot = 3 },',
            '# { onnx = "predict.onnx", image = "painting.jpg" }',
        ]
    lines += ["", *_REST.strip().splitlines()]
    if state:
        lines += ["", "[state]                        # inputs that are fed from the frame before", *state]
    return "\n".join(lines) + "\n"


def _channels(value: onnx.ValueInfoProto) -> int | None:
    """Channels of what may be a picture, a mask or a flow; ``None`` for anything else."""
    sides = shape_of(value)
    if len(sides) != 4 or not _is_map(value):
        return None
    return next((int(side) for side in (sides[1], sides[3]) if side in (1, 2, 3)), None)


def _is_map(value: onnx.ValueInfoProto) -> bool:
    """Whether it has four axes, two of them free or longer than any vector's."""
    sides = shape_of(value)
    return len(sides) == 4 and sum(isinstance(side, str) or side >= 8 for side in sides) >= 2


def _hidden(value: onnx.ValueInfoProto, graph: onnx.GraphProto) -> str:
    """A state that is fed from the output of the same number of channels."""
    sides = shape_of(value)
    like = [one.name for one in graph.output if len(shape_of(one)) == 4 and shape_of(one)[1] == sides[1]]
    source = like[0] if like else graph.output[-1].name
    free = iter(("h/4", "w/4"))
    batch = sides[0] if isinstance(sides[0], int) else 1
    shape = [batch, *(side if isinstance(side, int) else next(free, "w/4") for side in sides[1:])]
    return f"{{ from = {json.dumps(source)}, shape = {json.dumps(shape)} }}"


def _beside(path: Path, target: Path) -> str:
    """The path as it is written in the description, which is read relative to its own folder."""
    folder = target.resolve().parent
    whole = path.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
