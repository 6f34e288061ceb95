"""What an ONNX file says: value ranges and layout, by its metadata or its first and last operators; its precision."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.ops import BYTE, RANGES, SIGNED, UNIT, ValueRange

if TYPE_CHECKING:
    import onnx

#: ``Image.NominalPixelRange`` of https://onnx.ai/onnx/repo-docs/MetadataProps.html, in lower case.
_NOMINAL = {"nominalrange_0_255": BYTE, "normalized_0_1": UNIT, "normalized_1_1": SIGNED}
#: Operators that leave values as they are.
_NEUTRAL = frozenset({"Identity", "Transpose", "Cast", "Slice", "Pad", "Reshape", "Resize", "DepthToSpace"})
#: Operators that the precision of a file is read from, and those that are int8 by themselves.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_INTEGER_PRODUCTS = frozenset({"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger"})
#: Types of ONNX (``TensorProto.DataType``) that are computed in.
_FLOATS = {1: "fp32", 10: "fp16", 16: "bf16"}
#: Constants larger than this are made for values up to 255.
_BYTES = 20.0


class Clues(NamedTuple):
    """What a file tells; ``None`` or empty where it does not."""

    input_range: ValueRange | None
    output_range: ValueRange | None
    layout: str
    precision: str


def range_of(name: str, what: str) -> ValueRange:
    """A value range by name; raises UnknownName."""
    if name not in RANGES:
        raise UnknownName(what, name, RANGES)
    return RANGES[name]


def clues(model: onnx.ModelProto, path: Path) -> Clues:
    """What metadata say, else what the graph shows.

    Raises:
        ModelError: the metadata say that it takes no RGB.
    """
    said = {entry.key.lower(): entry.value.strip() for entry in model.metadata_props}
    pixels = said.get("image.bitmappixelformat", "rgb8").lower()
    if pixels != "rgb8":
        raise ModelError(f"{path}: its metadata say {pixels}, but frames are RGB: export it for RGB")
    both = RANGES.get(said.get("value_range", "")) or _NOMINAL.get(said.get("image.nominalpixelrange", "").lower())
    constants = _constants(model.graph)
    return Clues(
        RANGES.get(said.get("input_range", "")) or both or _taken(model.graph, constants),
        RANGES.get(said.get("output_range", "")) or both or _given(model.graph, constants),
        said.get("layout", "").upper() if said.get("layout", "").upper() in ("NCHW", "NHWC") else "",
        precision(model.graph),
    )


def precision(graph: onnx.GraphProto) -> str:
    """Type of most convolutions and matrix products: ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``.

    Int8 is a product whose factors both come out of a DequantizeLinear, which runtimes fuse with it, or an operator for
    integers. Without products it is the type of the input; what a runtime makes of it is for the runtime to prove.
    """
    makers = {name: node for node in graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kinds: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _PRODUCTS and len(node.input) > 1:
            factors = [_maker(name, makers) for name in node.input[:2]]
            if all(maker is not None and maker.op_type == "DequantizeLinear" for maker in factors):
                kinds["int8"] += 1
            else:
                kinds[_FLOATS.get(_type(node.input[1], makers, types), "fp32")] += 1
        elif node.op_type in _INTEGER_PRODUCTS:
            kinds["int8"] += 1
    if kinds:
        return kinds.most_common(1)[0][0]
    taken = next((value for value in graph.input if value.name not in types), None)
    return _FLOATS.get(taken.type.tensor_type.elem_type, "fp32") if taken else "fp32"


def _maker(name: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The node that a tensor comes from, past those that only move values."""
    node = makers.get(name)
    for _ in range(len(makers)):
        if node is None or node.op_type not in _NEUTRAL - {"Cast"} or not node.input:
            break
        node = makers.get(node.input[0])
    return node


def _type(name: str, makers: dict[str, onnx.NodeProto], types: dict[str, int]) -> int:
    """ONNX's number for the type of a weight, stored or cast; 0 where it is not known."""
    node = makers.get(name)
    if node is None:
        return types.get(name, 0)
    facts = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Constant" and "value" in facts:
        return int(facts["value"].t.data_type)
    return int(facts["to"].i) if node.op_type == "Cast" and "to" in facts else 0


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Small constants by name, float64; weights are not looked at."""
    from onnx import numpy_helper
    from onnx.external_data_helper import uses_external_data

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and node.output:
                tensors[node.output[0]] = attribute.t
    found = {}
    for name, tensor in tensors.items():
        if np.prod(tensor.dims) <= 4 and not uses_external_data(tensor):
            with contextlib.suppress(Exception):  # a damaged file; whether it runs is for the runtime to say
                found[name] = numpy_helper.to_array(tensor).astype(np.float64)
    return {name: value for name, value in found.items() if value.size}


def _given(graph: onnx.GraphProto, constants: dict[str, np.ndarray]) -> ValueRange | None:
    """What the last operator lets out, where there is one output."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name) if len(graph.output) == 1 else None
    seen = 0
    while node is not None and node.op_type in _NEUTRAL and node.input and seen < len(graph.node):
        node, seen = makers.get(node.input[0]), seen + 1
    if node is None:
        return None
    if node.op_type == "Clip":
        limits = [float(constants[name].ravel()[0]) for name in node.input[1:] if name in constants]
        limits = limits or [attribute.f for attribute in sorted(node.attribute, key=lambda one: one.name, reverse=True)]
        known = {(0.0, 1.0): UNIT, (0.0, 255.0): BYTE, (-1.0, 1.0): SIGNED}
        return known.get((limits[0], limits[1])) if len(limits) == 2 else None
    return {"Sigmoid": UNIT, "HardSigmoid": UNIT, "Tanh": SIGNED}.get(node.op_type)


def _taken(graph: onnx.GraphProto, constants: dict[str, np.ndarray]) -> ValueRange | None:
    """What the first operators are made for, where they scale or shift by a constant."""
    given = {tensor.name for tensor in graph.initializer}
    name = next((value.name for value in graph.input if value.name not in given), "")
    node: onnx.NodeProto | None = None
    for _ in graph.node:
        users = [one for one in graph.node if name in one.input and one.op_type != "Shape"]
        if len(users) != 1:
            return None
        node = users[0]
        if node.op_type not in _NEUTRAL or not node.output:
            break
        name = node.output[0]
    if node is None:
        return None
    constant = next((constants[other] for other in node.input if other != name and other in constants), None)
    if node.op_type not in ("Sub", "Add", "Mul", "Div") or constant is None:
        return None
    size = float(np.abs(constant).max())
    if node.op_type == "Mul":
        return BYTE if size < 1 / _BYTES else UNIT if size > 200 else None
    if size > _BYTES:
        return BYTE
    # ImageNet's means and deviations, or a half: made for colours up to 1.
    return UNIT if constant.size == 3 and 0.2 < size < 0.6 else None
