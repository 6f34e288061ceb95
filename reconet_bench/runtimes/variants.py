"""Other forms of an ONNX file: fp16, int8, and with 8-bit frames going in and out.

Each is made from the fp32 file and none is exact: parity says by how much.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconet_bench.data.synthetic import CLIPS, synthetic_clip
from reconet_bench.environment import cache_folder, model_checksum, versions
from reconet_bench.errors import ModelError
from reconet_bench.ops import to_uint8

if TYPE_CHECKING:
    import onnx

#: What stays in fp32: statistics of an instance norm overflow above 65,504, and a Resize has scales to keep.
_FULL_PRECISION = ("InstanceNormalization", "Resize")
#: Frames that int8 is calibrated on: side in pixels, and how many of each built-in clip, evenly spread over ``_LENGTH``.
_SIDE, _PER_CLIP, _LENGTH = 256, 3, 9


def half_precision(path: Path) -> bytes:
    """An ONNX file in fp16, input and output too; norms and resizes stay in fp32.

    Raises:
        ModelError: it cannot be converted.
    """
    import onnx
    from onnxruntime.transformers import float16

    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *_FULL_PRECISION]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for each weight that fp16 rounds to its smallest number
            converted = float16.convert_float_to_float16(onnx.load(str(path)), op_block_list=blocked)
    except Exception as error:  # a converter's errors have no common base
        raise ModelError(f"{path}: cannot be converted to fp16: {first_line(error)}") from None
    data: bytes = converted.SerializeToString()
    return data


def calibration_frames(height: int | None = None, width: int | None = None) -> list[np.ndarray]:
    """Frames ``(H, W, 3)`` uint8 of the built-in clips, of all that are rendered: what ranges of int8 are taken from.

    Args:
        height, width: where the model takes no other size.
    """
    size = (height or _SIDE, width or _SIDE)
    clips = [synthetic_clip(name, size, _LENGTH) for name in CLIPS if name != "motorcycle"]
    return [to_uint8(clip.frame(index))[0] for clip in clips for index in range(0, _LENGTH, _LENGTH // _PER_CLIP)]


def quantized(path: Path, input_name: str, inputs: Sequence[np.ndarray]) -> bytes:
    """An ONNX file whose convolutions are int8: static quantisation, as QuantizeLinear and DequantizeLinear.

    Weights by channel, activations by tensor, ranges from the largest values seen. The first and the
    last convolution stay as they are: they see the picture itself, and cost little.

    Args:
        inputs: tensors as the file takes them.

    Raises:
        ModelError: it cannot be quantised.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            tensor = next(self._left, None)
            return None if tensor is None else {input_name: tensor}

    model = onnx.load(str(path))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if not convolutions:
        raise ModelError(f"{path}: has no convolutions to quantise")
    for number, node in enumerate(convolutions):
        node.name = node.name or f"conv_{number}"
    ends = [convolutions[0].name, convolutions[-1].name]
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            target = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                model, str(target), Reader(), per_channel=True, op_types_to_quantize=["Conv"], nodes_to_exclude=ends,
                activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            )  # fmt: skip
            return target.read_bytes()
    except Exception as error:
        raise ModelError(f"{path}: cannot be quantised to int8: {first_line(error)}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what quantisers print, log and draw on the way; their errors are exceptions."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def nncf_quantized(graph: Any, inputs: Sequence[np.ndarray], path: Path) -> Any:
    """An OpenVINO model in int8 by NNCF's post-training quantisation; the first and last convolution are left.

    Args:
        graph: ``openvino.Model``.
        inputs: tensors as it takes them.
        path: of the file it came from, for messages.

    Raises:
        ModelError: it cannot be quantised.
    """
    with _quiet():
        import nncf

        convolutions = [op.get_friendly_name() for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]
        if not convolutions:
            raise ModelError(f"{path}: has no convolutions to quantise")
        ends = nncf.IgnoredScope(names=sorted({convolutions[0], convolutions[-1]}))
        try:
            return nncf.quantize(graph, nncf.Dataset(list(inputs)), subset_size=len(inputs), ignored_scope=ends)
        except Exception as error:
            raise ModelError(f"{path}: cannot be quantised to int8: {first_line(error)}") from None


def kept(kind: str, path: Path, **facts: str) -> Path:
    """Where a form of an ONNX file that takes long to make is kept; another for any other file, version or fact.

    Args:
        kind: of form: a folder below the cache.
        facts: what else it depends on, such as the GPU.
    """
    key = {"model": model_checksum(path), "versions": dict(sorted(versions().items())), **facts}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / digest[:32]


def eight_bit_frames(path: Path) -> bytes:
    """An export with frames as players have them: ``(N, H, W, 3)`` uint8 in and out, converted inside the graph.

    Args:
        path: of our own export in fp32: NCHW in [0, 1].
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    (frame,), (stylised,) = graph.input, graph.output
    _rename(graph, {frame.name: f"{frame.name}_float", stylised.name: f"{stylised.name}_float"})
    before = [
        helper.make_node("Cast", [frame.name], ["frame_levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["frame_levels", "white"], ["frame_unit"]),
        helper.make_node("Transpose", ["frame_unit"], [f"{frame.name}_float"], perm=[0, 3, 1, 2]),
    ]
    after = [
        helper.make_node("Clip", [f"{stylised.name}_float", "zero", "one"], ["stylised_unit"]),
        helper.make_node("Mul", ["stylised_unit", "white"], ["stylised_levels"]),
        helper.make_node("Round", ["stylised_levels"], ["stylised_rounded"]),  # half to even, as ops.to_uint8
        helper.make_node("Cast", ["stylised_rounded"], ["stylised_bytes"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["stylised_bytes"], [stylised.name], perm=[0, 2, 3, 1]),
    ]
    for name, value in {"white": 255.0, "zero": 0.0, "one": 1.0}.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    for value_info in (frame, stylised):
        batch, _, height, width = (dim.dim_param or dim.dim_value for dim in value_info.type.tensor_type.shape.dim)
        shape: list[str | int | None] = [batch, height, width, 3]
        value_info.CopyFrom(helper.make_tensor_value_info(value_info.name, TensorProto.UINT8, shape))
    for fact in model.metadata_props:
        changed = {"value_range": "0..255", "layout": "NHWC"}
        fact.value = changed.get(fact.key, fact.value)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Tensors by other names wherever a node reads or writes them."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def first_line(error: Exception) -> str:
    """The first line of an error of ONNX Runtime and its kin, without its code."""
    return str(error).strip().partition("\n")[0].split(" : ")[-1]
