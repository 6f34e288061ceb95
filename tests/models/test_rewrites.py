"""Each rewrite gives what the nodes gave before, up to rounding, borders and odd sizes too; all else stays as it is."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

from reconet_bench.models.rewrites.base import REWRITES, EditableGraph

#: fp32 rounds to this of the largest value here, which is near 10.
ROUNDING = 2e-5
SIZES = [(2, 2), (3, 2), (4, 7), (9, 5), (16, 33)]


def convolution(outputs: int, inputs: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(outputs + kernel)
    return random.normal(size=(outputs, inputs, kernel, kernel)).astype(np.float32), random.normal(size=outputs).astype(
        np.float32
    )


def graph_of(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """A graph from ``x`` to ``y`` of any size."""
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", None, f"{name}_rows", f"{name}_columns"])
        for name in "xy"
    ]
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "test", ends[:1], ends[1:], values),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def rewritten(name: str, model: onnx.ModelProto) -> int:
    graph = EditableGraph(model)
    found = REWRITES[name].apply(graph)
    graph.finish()
    onnx.checker.check_model(model, full_check=True)
    return found


def run(model: onnx.ModelProto, x: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def picture(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(size[0]))


# --- enlarge-later --------------------------------------------------------------------------------------


def enlargement(
    scale: float = 2.0,
    mode: str = "linear",
    coordinates: str = "half_pixel",
    border: str = "reflect",
    stride: int = 1,
    also: str = "",
) -> onnx.ModelProto:
    """Enlargement, border and a convolution from 5 to 3 channels; ``also`` reads a tensor in the middle."""
    weights, bias = convolution(3, 5, 3)
    nodes = [
        helper.make_node(
            "Resize", ["x", "", "scales"], ["large"], mode=mode, coordinate_transformation_mode=coordinates
        ),
        helper.make_node("Pad", ["large", "sides"], ["padded"], mode=border),
        helper.make_node("Conv", ["padded", "weights", "bias"], ["y"], kernel_shape=[3, 3], strides=[stride] * 2),
    ]
    if also:
        nodes.append(helper.make_node("Relu", [also], ["unused"]))
    return graph_of(
        nodes,
        scales=np.array([1, 1, scale, scale], np.float32),
        sides=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        weights=weights,
        bias=bias,
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_enlargement_may_come_later(size: tuple[int, int]) -> None:
    model, x = enlargement(), picture(5, size)
    assert rewritten("enlarge-later", model) == 1
    weights, bias = (torch.from_numpy(one).double() for one in convolution(3, 5, 3))
    large = F.interpolate(x.double(), scale_factor=2, mode="bilinear", align_corners=False)
    expected = F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), weights, bias)
    got = run(model, x)
    assert got.shape == expected.shape
    difference = (got - expected).abs()
    assert difference.max() < ROUNDING
    for edge in (difference[:, :, 0], difference[:, :, -1], difference[..., 0], difference[..., -1]):
        assert edge.max() < ROUNDING
    assert expected.std() > 1, "a flat picture would prove nothing"


def test_without_care_for_the_border_its_outermost_pixels_would_differ() -> None:
    """What the rewrite would give without the edges that it computes by themselves."""
    x = picture(5, (9, 5)).double()
    weights = torch.from_numpy(convolution(3, 5, 3)[0]).double()
    large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    difference = (
        F.conv2d(F.pad(large, (1, 1, 1, 1), mode="replicate"), weights)
        - F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), weights)
    ).abs()
    assert difference[:, :, 1:-1, 1:-1].max() == 0
    assert difference.max() > 1


def test_the_enlarged_picture_is_no_longer_made() -> None:
    model = enlargement()
    rewritten("enlarge-later", model)
    nodes = list(model.graph.node)
    assert [node.op_type for node in nodes].count("ConvTranspose") == 1
    slices = {node.output[0] for node in nodes if node.op_type == "Slice"}
    assert {node.input[0] for node in nodes if node.op_type == "Resize"} < slices
    assert {one.name for one in model.graph.initializer} <= {name for node in nodes for name in node.input}


@pytest.mark.parametrize(
    "other",
    [
        {"scale": 3.0},
        {"mode": "nearest", "coordinates": "asymmetric"},
        {"coordinates": "align_corners"},
        {"border": "edge"},
        {"stride": 2},
        {"also": "large"},
        {"also": "padded"},
    ],
)
def test_another_enlargement_stays_as_it_is(other: dict[str, object]) -> None:
    model = enlargement(**other)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert rewritten("enlarge-later", model) == 0
    assert list(onnx.load_from_string(before).graph.node) == list(model.graph.node)


# --- pixels-in-blocks -----------------------------------------------------------------------------------


def large_kernel(outputs: int = 3, kernel: int = 9, **attributes: object) -> onnx.ModelProto:
    weights, bias = convolution(outputs, 4, kernel)
    node = helper.make_node("Conv", ["x", "weights", "bias"], ["y"], kernel_shape=[kernel, kernel], **attributes)
    return graph_of([node], weights=weights, bias=bias)


@pytest.mark.parametrize("kernel", [5, 9])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("size", [(2, 2), (4, 10), (16, 6)])
def test_pixels_may_be_computed_in_blocks(outputs: int, kernel: int, size: tuple[int, int]) -> None:
    model, x = large_kernel(outputs, kernel), picture(4, (size[0] + kernel - 1, size[1] + kernel - 1))
    assert rewritten("pixels-in-blocks", model) == 1
    assert [node.op_type for node in model.graph.node] == ["Conv", "DepthToSpace"]
    weights, bias = (torch.from_numpy(one).double() for one in convolution(outputs, 4, kernel))
    expected = F.conv2d(x.double(), weights, bias)
    got = run(model, x)
    assert got.shape == expected.shape == (2, outputs, *size)
    assert (got - expected).abs().max() < ROUNDING
    assert expected.std() > 1, "a flat picture would prove nothing"


@pytest.mark.parametrize(
    "other",
    [
        {"outputs": 12},
        {"kernel": 3},
        {"strides": [2, 2]},
        {"dilations": [2, 2]},
        {"pads": [4, 4, 4, 4]},
        {"auto_pad": "SAME_UPPER"},
    ],
)
def test_another_convolution_stays_as_it_is(other: dict[str, object]) -> None:
    model = large_kernel(**other)  # type: ignore[arg-type]
    assert rewritten("pixels-in-blocks", model) == 0
    assert [node.op_type for node in model.graph.node] == ["Conv"]


def test_a_convolution_without_a_bias_or_with_weights_from_elsewhere() -> None:
    weights, _ = convolution(3, 4, 5)
    x = picture(4, (8, 6))
    bare = graph_of([helper.make_node("Conv", ["x", "weights"], ["y"])], weights=weights)
    before = run(bare, x)
    assert rewritten("pixels-in-blocks", bare) == 1
    assert (run(bare, x) - before).abs().max() < ROUNDING
    computed = graph_of(
        [helper.make_node("Abs", ["weights"], ["made"]), helper.make_node("Conv", ["x", "made"], ["y"])],
        weights=weights,
    )
    assert rewritten("pixels-in-blocks", computed) == 0
