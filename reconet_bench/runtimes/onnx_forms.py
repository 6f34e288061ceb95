"""Other forms of an ONNX file: fp16, int8, and with 8-bit frames going in and out.

Each is made from the fp32 file and none is exact: parity says by how much.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.synthetic import RENDERED, synthetic_clip
from reconet_bench.runtimes.onnx_errors import first_line

if TYPE_CHECKING:
    import onnx

    from reconet_bench.runtimes.model_source import ModelSource

#: What stays in fp32: statistics of an instance norm overflow above 65,504, and a Resize has scales to keep.
_FULL_PRECISION = ("InstanceNormalization", "Resize")
#: Frames that int8 is calibrated on: side in pixels, and how many of each built-in clip, evenly spread.
_SIDE, _PER_CLIP, _LENGTH = 256, 3, 9


def half_precision(path: Path, called: str = "") -> bytes:
    """An ONNX file in fp16, input and output too; norms and resizes stay in fp32.

    Args:
        called: what messages call the file: its path by default.

    Raises:
        ModelError: it cannot be converted.
    """
    import onnx
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *_FULL_PRECISION]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for each weight that fp16 rounds to its smallest number
            converted = float16.convert_float_to_float16(onnx.load(str(path)), op_block_list=blocked)
        # It puts its casts at the end, where no checker and not every runtime takes them.
        OnnxModel.graph_topological_sort(converted.graph)
    except Exception as error:  # a converter's errors have no common base
        raise ModelError(f"{called or path}: cannot be converted to fp16: {first_line(error)}") from None
    data: bytes = converted.SerializeToString()
    return data


#: Operations of OpenVINO that stay floats in int8 forms: of sums, and of norms.
FLOAT_OPERATIONS = ("Add", "Subtract", "Multiply", "Divide", "MVN")


def calibration_frames(height: int | None = None, width: int | None = None) -> Iterator[np.ndarray]:
    """Frames ``(H, W, 3)`` uint8 of the built-in clips, rendered on demand; int8 ranges are calibrated on them.

    Args:
        height, width: where the model takes no other size.
    """
    size = (height or _SIDE, width or _SIDE)
    for name in RENDERED:
        clip = synthetic_clip(name, size, _LENGTH)
        yield from (to_uint8(clip.frame(index))[0] for index in range(0, _LENGTH, _LENGTH // _PER_CLIP))


def calibration(model: ModelSource) -> str:
    """All that the ranges of ``model`` in int8 depend on beside its file: frames, and how they are fed to it."""
    fed = f"{model.input_range.name} {model.layout} {model.multiple}"
    return f"{_PER_CLIP} of {_LENGTH} at {model.width or _SIDE}x{model.height or _SIDE}, {fed}"


def refuse_twice(model: ModelSource, variant: str, runtime: str) -> None:
    """Raise RuntimeUnavailable where ``variant`` is int8 and the file is int8 as it is written."""
    if variant == model.precision == "int8":
        raise RuntimeUnavailable(f"{model.called} is an int8 file already: use {runtime}")


def quantized(path: Path, input_name: str, inputs: Iterable[np.ndarray], called: str = "") -> bytes:
    """An ONNX file whose convolutions are int8: static quantisation, as QuantizeLinear and DequantizeLinear.

    Weights by channel, activations by tensor, ranges from the largest values seen. The first and the
    last convolution stay as they are: they see the picture itself, and cost little.

    Args:
        inputs: tensors as the file takes them.
        called: what messages call the file: its path by default.

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

    called = called or str(path)
    model = onnx.load(str(path))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if not convolutions:
        raise ModelError(f"{called}: has no convolutions to quantise")
    for number, node in enumerate(convolutions):
        node.name = node.name or f"conv_{number}"
    ends = [convolutions[0].name, convolutions[-1].name]
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            target = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                model,
                str(target),
                Reader(),
                per_channel=True,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=ends,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            return target.read_bytes()
    except Exception as error:
        raise ModelError(f"{called}: cannot be quantised to int8: {first_line(error)}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what quantisers print, log and draw on the way; their errors are exceptions."""
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def nncf_quantized(graph: Any, inputs: Iterable[np.ndarray], called: str) -> Any:
    """An OpenVINO model in int8 by NNCF's post-training quantisation: its convolutions but for the first and the last.

    Sums, norms and what belongs to them stay floats: of the dissertation's network, sums of 8 bits in the residual
    blocks alone took 11 dB.

    Args:
        graph: ``openvino.Model``.
        inputs: tensors as it takes them.
        called: what messages call the file that it came from.

    Raises:
        ModelError: it cannot be quantised.
    """
    with _quiet():
        import nncf

        convolutions = [op.get_friendly_name() for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]
        if not convolutions:
            raise ModelError(f"{called}: has no convolutions to quantise")
        frames = list(inputs)
        ends = sorted({convolutions[0], convolutions[-1]})
        floats = nncf.IgnoredScope(names=ends, types=list(FLOAT_OPERATIONS), validate=False)
        try:
            return nncf.quantize(graph, nncf.Dataset(frames), subset_size=len(frames), ignored_scope=floats)
        except Exception as error:
            raise ModelError(f"{called}: cannot be quantised to int8: {first_line(error)}") from None


def eight_bit_frames(content: bytes) -> bytes:
    """An export with frames as players have them: ``(N, H, W, 3)`` uint8 in and out, converted inside the graph.

    Args:
        content: our own export in fp32 or fp16, NCHW in [0, 1]. The 8-bit levels are computed in fp32 either way.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    graph = model.graph
    (frame,), (stylised,) = graph.input, graph.output
    _rename(graph, {frame.name: f"{frame.name}_float", stylised.name: f"{stylised.name}_float"})
    before = [
        helper.make_node("Cast", [frame.name], ["frame_levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["frame_levels", "white"], ["frame_unit"]),
        # To and from the graph's own floats; where these are fp32, runtimes drop it.
        helper.make_node("Cast", ["frame_unit"], ["frame_last"], to=frame.type.tensor_type.elem_type),
        helper.make_node("Transpose", ["frame_last"], [f"{frame.name}_float"], perm=[0, 3, 1, 2]),
    ]
    after = [
        helper.make_node("Cast", [f"{stylised.name}_float"], ["stylised_full"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["stylised_full", "zero", "one"], ["stylised_unit"]),
        helper.make_node("Mul", ["stylised_unit", "white"], ["stylised_levels"]),
        helper.make_node("Round", ["stylised_levels"], ["stylised_rounded"]),  # half to even, as ops.to_uint8
        # The cast last: TensorRT has 8 bits at a network's ends alone.
        helper.make_node("Transpose", ["stylised_rounded"], ["stylised_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["stylised_last"], [stylised.name], to=TensorProto.UINT8),
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
