"""What an ONNX file says: value ranges and layout, by its metadata or its first and last operators; its precision."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.ops import BGR, BYTE, RANGES, SIGNED, UNIT, ValueRange
from reconet_bench.models.onnx_ranges import NEUTRAL, ranges_told

if TYPE_CHECKING:
    import onnx

#: ``Image.NominalPixelRange`` of https://onnx.ai/onnx/repo-docs/MetadataProps.html, in lower case.
_NOMINAL = {"nominalrange_0_255": BYTE, "normalized_0_1": UNIT, "normalized_1_1": SIGNED}
#: Operators that the precision of a file is read from, and those that are int8 by themselves.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_INTEGER_PRODUCTS = frozenset({"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger"})
#: Types of ONNX (``TensorProto.DataType``) that are computed in.
_FLOATS = {1: "fp32", 10: "fp16", 11: "fp64", 16: "bf16"}


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
        ModelError: the metadata say that it takes no colours, or blue first in another range than up to 255.
    """
    said = {entry.key.lower(): entry.value.strip() for entry in model.metadata_props}
    both = RANGES.get(said.get("value_range", "")) or _NOMINAL.get(said.get("image.nominalpixelrange", "").lower())
    pixels = said.get("image.bitmappixelformat", "rgb8").lower()
    if pixels == "bgr8" and both in (None, BYTE):
        both = BGR
    elif pixels != "rgb8":
        raise ModelError(f"{path}: its metadata say {pixels}, but frames are RGB: export it for RGB")
    taken, given = ranges_told(model.graph)
    return Clues(
        RANGES.get(said.get("input_range", "")) or both or taken,
        RANGES.get(said.get("output_range", "")) or both or given,
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
        if node is None or node.op_type not in NEUTRAL - {"Cast"} or not node.input:
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
