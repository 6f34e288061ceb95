"""Inputs of an ONNX file that stay the same for all frames: they become constants of the file.

The file that remains has the frame as its only input beside its state, so that every runtime runs it, quantises it and
checks it like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reconet_bench.core.errors import ModelError
from reconet_bench.models.onnx_probe import open_quietly
from reconet_bench.runtimes.onnx_errors import first_line

if TYPE_CHECKING:
    import onnx


def free_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs without a default value."""
    defaults = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in defaults]


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    """The shape of an input or output: numbers, and names of what is free (``"?"`` where it has none)."""
    return [dim.dim_value or dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim]


def type_of(value: onnx.ValueInfoProto) -> np.dtype:
    """The type of an input's numbers."""
    import onnx

    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def described(value: onnx.ValueInfoProto) -> str:
    """``'style_weights' 26 float32``: for messages."""
    shape = "x".join(map(str, shape_of(value))) or "a single number"
    return f"'{value.name}' {shape} {type_of(value)}"


def fitted(value: onnx.ValueInfoProto, numbers: np.ndarray, path: Path) -> np.ndarray:
    """Numbers in the shape and type of an input; one number fills it.

    Raises:
        ModelError: as many do not fit.
    """
    declared, kind = shape_of(value), type_of(value)
    if numbers.ndim == 0:
        if any(isinstance(side, str) for side in declared):
            raise ModelError(f"{path}: input {described(value)} has no fixed shape: give all its numbers, not one")
        return np.full([int(side) for side in declared], numbers, kind)
    sides = [side if isinstance(side, int) else -1 for side in declared]
    fixed = int(np.prod([side for side in sides if side > 0]))
    if sides.count(-1) > 1 and len(sides) == numbers.ndim:
        fits = all(side in (-1, got) for side, got in zip(sides, numbers.shape, strict=True))
        target = list(numbers.shape)
    else:
        fits = sides.count(-1) <= 1 and (numbers.size % fixed == 0 if -1 in sides else numbers.size == fixed)
        target = sides
    if not fits:
        got = "x".join(map(str, numbers.shape))
        raise ModelError(f"{path}: input {described(value)} was given {numbers.size} numbers ({got})")
    return np.ascontiguousarray(numbers.reshape(target), kind)


def with_constants(path: Path, values: Mapping[str, np.ndarray], target: Path) -> Path:
    """The file with inputs replaced by constants, as ``target``; the weights are in it.

    What depends on these constants alone is computed once, here, and not at every frame.

    Raises:
        ModelError: it has no such input, or a value does not fit.
    """
    import onnx

    model = onnx.load(str(path))
    inputs = {value.name: value for value in free_inputs(model.graph)}
    fixed = {name: fitted(inputs[name], numbers, path) for name, numbers in values.items()}
    _fold(model, fixed, path)
    for name in values:
        model.graph.input.remove(inputs[name])
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target))
    return target


def _fold(model: onnx.ModelProto, fixed: Mapping[str, np.ndarray], path: Path) -> None:
    """Replace what the nodes that see only constants, ``fixed`` among them, give to others by its values.

    Left to a runtime, such nodes run at every frame, and OpenVINO cannot compile a quantised convolution of a constant.
    """
    from onnx import numpy_helper

    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    constant |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    ours = set(fixed)
    folded: list[onnx.NodeProto] = []
    for node in graph.node:  # in the order of computation, as ONNX demands
        names = [name for name in node.input if name]
        inner = any(attribute.HasField("g") for attribute in node.attribute)
        if not inner and ours.intersection(names) and all(name in ours or name in constant for name in names):
            ours.update(name for name in node.output if name)
            folded.append(node)
    needed = [output.name for output in graph.output]
    kept = [node for node in graph.node if node not in folded]
    needed += [name for node in kept for name in node.input]
    made = {name for node in folded for name in node.output}
    wanted = [name for name in dict.fromkeys(needed) if name in made]
    read = {name for node in folded for name in node.input}
    part = [node for node in graph.node if node in folded or (node.op_type == "Constant" and node.output[0] in read)]
    known = dict(fixed) | dict(zip(wanted, _computed(model, part, fixed, wanted, path), strict=True))
    read, all_read = {*needed, *(name for node in kept for name in node.input)}, _has_graphs(kept)
    del graph.node[:]
    graph.node.extend(node for node in kept if node.op_type != "Constant" or node.output[0] in read or all_read)
    weights = [tensor for tensor in graph.initializer if tensor.name in read or all_read]
    del graph.initializer[:]
    made_now = [numpy_helper.from_array(known[name], name) for name in known if name in read]
    graph.initializer.extend([*weights, *made_now])


def _has_graphs(nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether a node holds a graph of its own, which may read any tensor."""
    return any(attribute.HasField("g") for node in nodes for attribute in node.attribute)


def _computed(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    fixed: Mapping[str, np.ndarray],
    wanted: Sequence[str],
    path: Path,
) -> list[np.ndarray]:
    """The values of tensors that ``nodes`` compute from ``fixed`` and the weights of the model, by ONNX Runtime."""
    import onnx

    if not wanted:
        return []
    values = [onnx.numpy_helper.from_array(numbers, name) for name, numbers in fixed.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    part = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "constants", [], outputs, [*weights, *values]),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    session = open_quietly(part.SerializeToString(), str(path))
    try:
        found: list[np.ndarray] = session.run(list(wanted), {})
    except Exception as error:  # its exceptions have no common base but Exception
        raise ModelError(f"{path}: onnxruntime cannot run it: {first_line(error)}") from None
    return found
