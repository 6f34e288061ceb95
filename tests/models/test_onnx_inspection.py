"""ONNX files of others: understood, or refused in one line that names the option that helps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from clips import make_clip, scene
from onnx import TensorProto, helper, numpy_helper

import reconet_bench
from reconet_bench import cli
from reconet_bench.core import errors
from reconet_bench.core.images import read_image, scikit_image_texture, write_image
from reconet_bench.core.ops import BGR, BYTE, CAFFE, IMAGENET, RANGES, SIGNED, UNIT, ValueRange, from_uint8
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models
from reconet_bench.models.export import cached_export
from reconet_bench.models.loading import load_by_name
from reconet_bench.models.onnx_graph import clues, precision
from reconet_bench.models.onnx_inspection import OnnxFormat, inspect_onnx
from reconet_bench.runtimes.base import RUNTIMES


def graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    x: tuple[int, list],
    outputs: dict[str, list],
    weights: dict[str, np.ndarray] | None = None,
    extra: list[onnx.ValueInfoProto] | None = None,
) -> Path:
    """A small ONNX file: input ``x`` of a type and shape, outputs by name and shape."""
    inputs = [helper.make_tensor_value_info("x", *x), *(extra or [])]
    results = [helper.make_tensor_value_info(name, x[0], shape) for name, shape in outputs.items()]
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, results, tensors),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


IMAGE = (TensorProto.FLOAT, [1, 3, "h", "w"])
SIGMOID = [helper.make_node("Sigmoid", ["x"], ["y"])]


def test_our_own_export_is_understood(exported: Path) -> None:
    model = inspect_onnx(exported)
    assert (model.name, model.network, model.onnx()) == ("reconet", None, exported)
    assert (model.multiple, model.input_range, model.output_range, model.layout) == (1, UNIT, UNIT, "NCHW")
    assert (model.input_name, model.output_name, model.height, model.width) == ("frame", "stylised", None, None)


def test_a_model_of_a_peer_is_understood(shared_data: Path) -> None:
    path = shared_data / "peers" / "johnson_wave.onnx"
    if not path.is_file():
        pytest.skip("peers/johnson_wave.onnx is not among the shared data")
    model = inspect_onnx(path)
    assert (model.multiple, model.minimum, model.input_range, model.output_range, model.layout) == (
        4,
        3,
        UNIT,
        UNIT,
        "NCHW",
    )
    assert (model.input_name, model.output_name) == ("image", "stylized")
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        got = session(scikit_image_texture("astronaut")[:99, :131])
    assert got.shape == (99, 131, 3)
    assert got.std() > 20


@pytest.mark.parametrize("cell", [(1, 1), (2, 2), (8, 8), (16, 16), (32, 32), (64, 64), (4, 1), (1, 4)])
def test_the_size_multiple_is_found(tmp_path: Path, cell: tuple[int, int]) -> None:
    multiple = max(cell)
    nodes = [
        helper.make_node("MaxPool", ["x"], ["small"], kernel_shape=cell, strides=cell),
        helper.make_node("Resize", ["small", "", "scales"], ["y"]),
    ]
    scales = np.array([1, 1, *cell], np.float32)
    model = inspect_onnx(graph(tmp_path / "m.onnx", nodes, IMAGE, {"y": ["n", 3, "a", "b"]}, {"scales": scales}))
    assert (model.multiple, model.minimum) == (multiple, multiple // 2 + 1)


def test_a_fixed_size_is_read_from_the_file(tmp_path: Path) -> None:
    model = inspect_onnx(
        graph(tmp_path / "m.onnx", SIGMOID, (TensorProto.FLOAT, [1, 3, 30, 50]), {"y": [1, 3, 30, 50]})
    )
    assert (model.height, model.width, model.multiple) == (30, 50, 1)


def test_the_image_is_found_among_outputs_and_defaults(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalMaxPool", ["x"], ["top"]), helper.make_node("Mul", ["x", "gain"], ["y"])]
    gain = [helper.make_tensor_value_info("gain", TensorProto.FLOAT, [])]
    path = graph(
        tmp_path / "m.onnx",
        nodes,
        IMAGE,
        {"top": [1, 3, 1, 1], "y": IMAGE[1]},
        {"gain": np.array(0.5, np.float32)},
        gain,
    )
    assert (inspect_onnx(path).input_name, inspect_onnx(path).output_name) == ("x", "y")


def refused(path: Path) -> str:
    with pytest.raises(errors.ModelError) as caught:
        inspect_onnx(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_no_onnx_file_is_refused(tmp_path: Path, exported: Path) -> None:
    assert refused(tmp_path / "none.onnx") == f"model file not found: {tmp_path / 'none.onnx'}"
    assert "model file not found" in refused(tmp_path)
    for name, content in {
        "text": b"version https://git-lfs",
        "empty": b"",
        "cut": exported.read_bytes()[:100_000],
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        assert f"not an ONNX model, or truncated ({len(content)} bytes)" in refused(tmp_path / f"{name}.onnx")


def test_what_is_not_image_to_image_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    flat = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    assert "not image to image: a frame of 128x128 pixels gives 'y' (1, 3)" in refused(
        graph(path, flat, IMAGE, {"y": [1, 3]})
    )
    half = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    assert "gives 'y' (1, 3, 64, 64)" in refused(graph(path, half, IMAGE, {"y": [1, 3, "a", "b"]}))
    vector = graph(path, SIGMOID, (TensorProto.FLOAT, [1, 7]), {"y": [1, 7]})
    assert "input 'x' has shape 1x7, but a frame is 1x3xHxW" in refused(vector)
    grey = graph(path, SIGMOID, (TensorProto.FLOAT, [1, 1, "h", "w"]), {"y": [1, 1, "h", "w"]})
    assert "input 'x' has shape 1x1x?x? with 1 channels, but a frame has three" in refused(grey)
    whole = graph(path, [helper.make_node("Neg", ["x"], ["y"])], (TensorProto.INT64, IMAGE[1]), {"y": IMAGE[1]})
    assert "input 'x' has type INT64, but a frame is FLOAT, FLOAT16, DOUBLE or UINT8" in refused(whole)
    pair = [helper.make_node("Add", ["x", "style"], ["y"])]
    extra = [helper.make_tensor_value_info("style", *IMAGE)]
    assert "exactly one input without a default value, but has x, style" in refused(
        graph(path, pair, IMAGE, {"y": IMAGE[1]}, None, extra)
    )
    reshape = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    stuck = graph(path, reshape, IMAGE, {"y": [1, 3, 7, 7]}, {"s": np.array([1, 3, 7, 7])})
    assert "cannot run on a frame of 128x128 pixels" in refused(stuck)
    unknown = graph(path, [helper.make_node("Nonsense", ["x"], ["y"])], IMAGE, {"y": IMAGE[1]})
    assert "onnxruntime cannot load it" in refused(unknown)
    assert capfd.readouterr().err == ""


def test_outputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    nothing = [helper.make_node("Div", ["x", "zero"], ["q"]), helper.make_node("Sub", ["q", "q"], ["y"])]
    path = graph(tmp_path / "m.onnx", nothing, IMAGE, {"y": IMAGE[1]}, {"zero": np.array(0, np.float32)})
    assert "returned NaN or infinity for a test photograph in every value range" in refused(path)


def test_weights_that_lie_elsewhere_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    model = onnx.load(graph(path, nodes, IMAGE, {"y": IMAGE[1]}, {"w": np.full((1, 3, 1, 1), 0.5, np.float32)}))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert inspect_onnx(path).output_name == "y"
    (tmp_path / "weights.bin").unlink()
    assert "its weights file 'weights.bin' is missing: put it beside the model" in refused(path)


@pytest.mark.parametrize("part", ["opset", "ir"])
def test_a_file_of_a_later_format_is_refused(part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = graph(tmp_path / "m.onnx", SIGMOID, IMAGE, {"y": IMAGE[1]})
    model = onnx.load(path)
    if part == "opset":
        model.opset_import[0].version = 999
    else:
        model.ir_version = 999
    path.write_bytes(model.SerializeToString())
    what, remedy = {
        "opset": ("opset", "export it with opset 18"),
        "ir": ("IR version", "save it with an earlier onnx"),
    }[part]
    said = refused(path).removeprefix(f"{path}: onnxruntime cannot load it: ")
    newest = re.fullmatch(
        rf"{what} 999, but onnxruntime {re.escape(onnxruntime.__version__)} reads up to (\d+): "
        rf"{remedy}, or update onnxruntime",
        said,
    )
    assert newest, said
    if part == "opset":
        model.opset_import[0].version = int(newest[1])
    else:
        model.ir_version = int(newest[1])
    path.write_bytes(model.SerializeToString())
    assert inspect_onnx(path).output_name == "y", "it does not read what it says it does"
    assert capfd.readouterr().err == ""


def test_messages_name_no_source_of_the_runtime(tmp_path: Path) -> None:
    reshape = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    stuck = refused(graph(tmp_path / "m.onnx", reshape, IMAGE, {"y": [1, 3, 7, 7]}, {"s": np.array([1, 3, 7, 7])}))
    assert "cannot be reshaped" in stuck
    assert not re.search(r"onnxruntime/|::|\.(h|cc):", stuck), stuck


def test_what_is_no_tensor_and_what_has_other_channels_is_said(tmp_path: Path) -> None:
    frames = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, IMAGE[1])
    y = helper.make_tensor_value_info("y", *IMAGE)
    file = helper.make_graph([helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0)], "g", [frames], [y])
    onnx.save(helper.make_model(file, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "s.onnx")
    assert refused(tmp_path / "s.onnx").endswith("input 'x' is a sequence, not a tensor")
    for shape, count in {(1, 1, "h", "w"): 1, (1, "h", "w", 4): 4}.items():
        said = refused(graph(tmp_path / "m.onnx", SIGMOID, (TensorProto.FLOAT, list(shape)), {"y": list(shape)}))
        assert said.endswith(f"with {count} channels, but a frame has three")
    strip = [1, 512, "w", "c"]
    assert "give --layout NCHW or NHWC" in refused(
        graph(tmp_path / "m.onnx", SIGMOID, (TensorProto.FLOAT, strip), {"y": strip})
    )


def product(kind: int, quantised: str = "", cast: int = 0) -> onnx.GraphProto:
    """A convolution with weights of a type, stored or cast; ``quantised`` factors come out of a DequantizeLinear."""
    weight = numpy_helper.from_array(np.zeros((3, 3, 1, 1), helper.tensor_dtype_to_np_dtype(kind)), "w")
    nodes = [helper.make_node("DequantizeLinear", [name, "s"], [f"{name}_real"]) for name in quantised]
    if cast:
        nodes.append(helper.make_node("Cast", ["w"], ["w_real"], to=cast))
    factors = [f"{name}_real" if name in quantised or (name == "w" and cast) else name for name in "xw"]
    x, y = (helper.make_tensor_value_info(name, *IMAGE) for name in "xy")
    return helper.make_graph([*nodes, helper.make_node("Conv", factors, ["y"])], "g", [x], [y], [weight])


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (product(TensorProto.FLOAT), "fp32"),
        (product(TensorProto.FLOAT16), "fp16"),
        (product(TensorProto.FLOAT16, cast=TensorProto.FLOAT), "fp32"),
        (product(TensorProto.INT8, "xw"), "int8"),
        (product(TensorProto.INT8, "w"), "fp32"),
    ],
)
def test_the_precision_is_that_of_the_products(made: onnx.GraphProto, expected: str) -> None:
    """Weights that are only stored in fewer bits are computed with in fp32."""
    assert precision(made) == expected


def test_a_file_of_one_frame_at_once_takes_no_batch(tmp_path: Path) -> None:
    model = inspect_onnx(graph(tmp_path / "m.onnx", SIGMOID, IMAGE, {"y": IMAGE[1]}))
    assert model.batch == 1
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        with pytest.raises(
            errors.ModelError, match="accepts batches of 1 only, got 2 frames: export it with a dynamic batch"
        ):
            session(np.zeros((2, 16, 16, 3), np.uint8))
        assert session(np.zeros((1, 16, 16, 3), np.uint8)).shape == (1, 16, 16, 3)


# --- value ranges and layouts ---------------------------------------------------------------------------

#: Contrast of the curve below: a network that is fed another range than its own answers flat or saturated.
STEEP = 4.0


def curve(image: np.ndarray) -> np.ndarray:
    """What the files below do to a frame ``(H, W, 3)`` in [0, 1]: an S-curve, which has no meaning outside."""
    return 1 / (1 + np.exp(-STEEP * (image - 0.5)))


def tone_curve(
    path: Path,
    taken: ValueRange,
    given: ValueRange,
    layout: str = "NCHW",
    shape: list | None = None,
    hide: bool = True,
    **facts: str,
) -> Path:
    """:func:`curve` as an ONNX that takes and gives the ranges asked for.

    Args:
        hide: scale by a convolution, as a trained first layer does, so that no constant of the graph tells the range.
        facts: metadata.
    """
    to_one, from_one = (np.diag(np.array(v, np.float32)) for v in (taken.std, 1 / np.array(given.std)))
    shift = np.array(taken.mean, np.float32)
    out_shift = (-np.array(given.mean) / np.array(given.std)).astype(np.float32)
    if taken.bgr:
        to_one = to_one[:, ::-1]
    if given.bgr:
        from_one, out_shift = from_one[::-1], out_shift[::-1].copy()
    to_one, from_one = to_one.reshape(3, 3, 1, 1), from_one.reshape(3, 3, 1, 1)
    weights = {
        "a": to_one * STEEP,
        "b": (shift - 0.5).astype(np.float32) * STEEP,
        "c": from_one.astype(np.float32),
        "d": out_shift,
    }
    nodes = [
        helper.make_node("Conv", ["n", "a", "b"], ["l"]),
        helper.make_node("Sigmoid", ["l"], ["s"]),
        helper.make_node("Conv", ["s", "c", "d"], ["m"]),
    ]
    if layout == "NHWC":
        nodes = [
            helper.make_node("Transpose", ["x"], ["n"], perm=[0, 3, 1, 2]),
            *nodes,
            helper.make_node("Transpose", ["m"], ["y"], perm=[0, 2, 3, 1]),
        ]
    else:
        nodes = [helper.make_node("Identity", ["x"], ["n"]), *nodes, helper.make_node("Identity", ["m"], ["y"])]
    shape = shape or ([1, 3, "h", "w"] if layout == "NCHW" else [1, "h", "w", 3])
    model = onnx.load(graph(path, nodes, (TensorProto.FLOAT, shape), {"y": shape}, weights))
    helper.set_model_props(model, facts)
    onnx.save(model, path)
    return path


def right(model, path: Path | None = None) -> bool:
    """Whether a photograph comes out as :func:`curve` says."""
    image = scikit_image_texture("astronaut")[:60, :80]
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        return float(np.abs(session(image) / 255 - curve(image / 255)).max()) < 0.01


def inspected(path: Path, **hints: str):
    said: list[str] = []
    return inspect_onnx(path, OnnxFormat(**hints), said.append), said


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("taken", RANGES)
def test_every_range_and_layout_is_right_where_it_is_said(tmp_path, taken, layout):
    path = tone_curve(tmp_path / "m.onnx", RANGES[taken], RANGES[taken], layout)
    model, said = inspected(path, input_range=taken, output_range=taken)
    assert (model.layout, said) == (layout, [])
    assert right(model)


@pytest.mark.parametrize("taken", RANGES)
@pytest.mark.parametrize("key", ["value_range", "Image.NominalPixelRange", "input_range"])
def test_metadata_are_believed(tmp_path, taken, key):
    names = {"0..1": "Normalized_0_1", "0..255": "NominalRange_0_255", "-1..1": "Normalized_1_1"}
    if key.startswith("Image") and taken not in names:
        pytest.skip("ONNX has no word for ImageNet's range")
    facts = {key: names[taken] if key.startswith("Image") else taken}
    if key == "input_range":
        facts["output_range"] = "0..1"
    path = tone_curve(tmp_path / "m.onnx", RANGES[taken], UNIT if key == "input_range" else RANGES[taken], **facts)
    model, said = inspected(path)
    assert (model.input_range.name, said) == (taken, [])
    assert right(model)


@pytest.mark.parametrize(
    ("taken", "given"), [(UNIT, UNIT), (BYTE, BYTE), (SIGNED, SIGNED), (IMAGENET, IMAGENET), (UNIT, BYTE), (BYTE, UNIT)]
)
def test_without_a_word_the_range_is_found_or_the_doubt_is_told(tmp_path, taken, given):
    """Flat or saturated pictures rule ranges out; where two remain, the other one is named."""
    path = tone_curve(tmp_path / "my net.onnx", taken, given)
    model, said = inspected(path)
    if model.input_range != taken:
        assert not right(model)
        (line,) = said
        assert line.startswith("my net.onnx: does not say its value range; read as ")
        assert taken.name in line.split("give --input-range")[1]
        model, said = inspected(path, input_range=taken.name)
        assert said == []
    assert model.output_range == given
    assert right(model)


def test_the_range_up_to_255_is_found_by_trying(tmp_path):
    """In any other range the picture is one even colour."""
    model, said = inspected(tone_curve(tmp_path / "m.onnx", BYTE, BYTE))
    assert (model.input_range, model.output_range, said) == (BYTE, BYTE, [])


@pytest.mark.parametrize(
    ("taken", "wrong", "what"),
    [
        ("0..255", "0..1", "even colour"),
        ("0..255", "-1..1", "even colour"),
        ("0..1", "0..255", "% black or white"),
        ("-1..1", "0..255", "% black or white"),
    ],
)
def test_a_wrong_range_is_noticed_whoever_said_it(tmp_path, taken, wrong, what):
    path = tone_curve(tmp_path / "m.onnx", RANGES[taken], RANGES[taken])
    _, (line,) = inspected(path, input_range=wrong)
    assert what in line
    assert taken in line.split("give --input-range")[1]
    _, (line,) = inspected(tone_curve(path, RANGES[taken], RANGES[taken], input_range=wrong))
    assert what in line


def test_a_network_that_normalises_for_itself_needs_no_word(tmp_path):
    """Behind an instance norm all ranges are one: nothing to ask, whatever the range."""
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "one", "zero"], ["n"]),
        helper.make_node("Sigmoid", ["n"], ["y"]),
    ]
    _, said = inspected(graph(tmp_path / "m.onnx", nodes, IMAGE, {"y": IMAGE[1]}, {"one": ones, "zero": zeros}))
    assert said == []


@pytest.mark.parametrize(
    ("first", "constant", "expected"),
    [
        ("Div", 255.0, BYTE),
        ("Div", 127.5, BYTE),
        ("Mul", 1 / 255, BYTE),
        ("Mul", 255.0, UNIT),
        ("Sub", IMAGENET.mean, UNIT),
        ("Sub", tuple(255 * np.array(IMAGENET.mean)), BYTE),
        ("Add", 0.5, None),
        ("Mul", 0.7, None),
        ("Sub", 1.0, None),
    ],
)
def test_the_first_operator_tells_what_goes_in(tmp_path, first, constant, expected):
    value = np.array(constant, np.float32).reshape((1, 3, 1, 1) if np.size(constant) == 3 else ())
    shape, nodes = (
        [1, 3, "h", "w"],
        [
            helper.make_node("Shape", ["x"], ["size"]),
            helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 2, 3]),
            helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(value)),
            helper.make_node(first, ["t", "k"], ["y"]),
        ],
    )
    path = graph(tmp_path / "m.onnx", nodes, (TensorProto.FLOAT, shape), {"y": shape})
    assert clues(onnx.load(path), path).input_range == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (helper.make_node("Tanh", ["x"], ["o"]), SIGNED),
        (helper.make_node("Sigmoid", ["x"], ["o"]), UNIT),
        (helper.make_node("Relu", ["x"], ["o"]), None),
        (helper.make_node("Clip", ["x", "low", "white"], ["o"]), BYTE),
        (helper.make_node("Clip", ["x", "low", "one"], ["o"]), UNIT),
        (helper.make_node("Clip", ["x", "minus", "one"], ["o"]), SIGNED),
        (helper.make_node("Clip", ["x", "low"], ["o"]), None),
    ],
)
def test_the_last_operator_tells_what_comes_out(tmp_path, node, expected):
    numbers = {"low": 0, "white": 255, "one": 1, "minus": -1}
    nodes = [node, helper.make_node("Transpose", ["o"], ["y"], perm=[0, 1, 2, 3])]
    path = graph(
        tmp_path / "m.onnx", nodes, IMAGE, {"y": IMAGE[1]}, {k: np.array(v, np.float32) for k, v in numbers.items()}
    )
    assert clues(onnx.load(path), path).output_range == expected


def test_channels_that_are_not_fixed_need_a_layout(tmp_path):
    path = tone_curve(tmp_path / "m.onnx", UNIT, UNIT, "NHWC", [1, "a", "b", "c"])
    assert "give --layout NCHW or NHWC" in refused(path)
    model, _ = inspected(path, layout="NHWC", input_range="0..1")
    assert model.layout == "NHWC"
    assert right(model)
    file = onnx.load(path)
    helper.set_model_props(file, {"layout": "NHWC"})
    onnx.save(file, path)
    model, _ = inspected(path)
    assert model.layout == "NHWC"


def test_a_layout_or_order_that_cannot_be_is_refused(tmp_path):
    path = tone_curve(tmp_path / "m.onnx", UNIT, UNIT)
    with pytest.raises(
        errors.ModelError, match=r"input 'x' has shape 1x3x\?x\?, which is NCHW: --layout NHWC does not fit"
    ):
        inspected(path, layout="NHWC")
    facts = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "Normalized_0_1"}
    assert "say bgr8, but frames are RGB" in refused(tone_curve(path, UNIT, UNIT, **facts))
    model, said = inspected(tone_curve(path, BGR, BGR, **{"Image.BitmapPixelFormat": "Bgr8"}))
    assert (model.input_range, model.output_range, said) == (BGR, BGR, [])
    assert right(model)
    with pytest.raises(errors.UnknownName, match=r"unknown value range '0\.\.2': did you mean"):
        OnnxFormat(input_range="0..2")
    with pytest.raises(errors.UnknownName, match="unknown layout 'CHWN'"):
        OnnxFormat(layout="CHWN")


@pytest.mark.parametrize("values", RANGES.values(), ids=lambda values: values.name)
def test_encoding_and_decoding_are_each_others_inverse(values):
    frame = from_uint8(scene(0))
    ends = {"0..1": (0, 1), "0..255": (0, 255), "-1..1": (-1, 1), "imagenet": (-2.118, 2.64)}
    ends |= {"bgr": (0, 255), "caffe": (-103.939, 131.32)}
    ends = ends[values.name]
    white, black = (float(values.encode(frame * 0 + level)[0, 0 if level == 0 else 2, 0, 0]) for level in (1, 0))
    assert black == pytest.approx(ends[0], abs=1e-3) or values is IMAGENET
    assert white == pytest.approx(ends[1], abs=0.4)
    assert (values.decode(values.encode(frame)) - frame).abs().max() < 1e-6


@pytest.mark.parametrize("given", [UNIT, SIGNED, BYTE], ids=lambda values: values.name)
@pytest.mark.parametrize("taken", [UNIT, SIGNED, IMAGENET, CAFFE], ids=lambda values: values.name)
def test_what_measures_never_goes_by_a_guess(tmp_path, taken, given):
    """Nothing but the picture tells the range here: the right one is taken, or is among the choices."""
    if taken is CAFFE:
        given = CAFFE  # one way alone it is not to be told from 0..255
    path = tone_curve(tmp_path / "m.onnx", taken, given)
    with pytest.raises(errors.ModelError, match="several readings give a picture: give --input-range") as caught:
        inspect_onnx(path, guess=False)
    assert f"--input-range {taken.name} --output-range {given.name}" in str(caught.value)
    model = inspect_onnx(path, OnnxFormat(taken.name, given.name), guess=False)
    assert right(model)


def test_a_tanh_behind_colours_from_0_to_1_is_read_so(tmp_path):
    """A guess, which a picture with more structure of the photograph supports: networks mostly give what they take."""
    model, (line,) = inspected(tone_curve(tmp_path / "m.onnx", UNIT, SIGNED))
    assert (model.input_range, model.output_range) == (UNIT, SIGNED)
    assert right(model)
    assert "if the pictures look wrong, give --input-range -1..1 --output-range -1..1" in line


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(CAFFE.mean[::-1], BGR), (CAFFE.mean, BYTE), ((0.5, 0.5, 0.5), BYTE)],
)
def test_the_order_of_means_tells_the_order_of_channels(tmp_path, mean, expected):
    weights = {"mean": np.reshape(255 * np.array(mean), (1, 3, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Sub", ["x", "mean"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])]
    path = graph(tmp_path / "m.onnx", nodes, IMAGE, {"y": IMAGE[1]}, weights)
    assert clues(onnx.load(path), path).input_range == expected


@pytest.mark.parametrize(
    ("scale", "shift", "expected"),
    [
        (150.0, 127.5, BYTE),  # Engstrom's fast-style-transfer
        (150.0, 0.0, CAFFE),  # Johnson's fast-neural-style
        (0.5, 0.5, UNIT),
        (127.5, 127.5, BYTE),
        (7.0, 3.0, None),
    ],
)
def test_a_tanh_that_is_scaled_tells_the_output(tmp_path, scale, shift, expected):
    weights = {"a": np.array(scale, np.float32), "b": np.array(shift, np.float32)}
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Mul", ["t", "a"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["y"]),
    ]
    path = graph(tmp_path / "m.onnx", nodes, IMAGE, {"y": IMAGE[1]}, weights)
    assert clues(onnx.load(path), path).output_range == expected


# --- a shipped model in every convention ----------------------------------------------------------------

#: Conventions that files come in: what goes in and what comes out.
CONVENTIONS = {
    "0..1, tanh": (UNIT, SIGNED),
    "-1..1": (SIGNED, SIGNED),
    "ImageNet": (IMAGENET, IMAGENET),
    "ImageNet in": (IMAGENET, UNIT),
    "0..1 in, 0..255 out": (UNIT, BYTE),
    "0..255": (BYTE, BYTE),
    "Caffe": (CAFFE, CAFFE),
    "BGR less its mean in, BGR out": (CAFFE, BGR),
}


def wrapped(exported: Path, path: Path, taken: ValueRange, given: ValueRange, clip: bool = False) -> Path:
    """Our own export as others write theirs: it takes and gives other ranges, and says nothing of it.

    Args:
        clip: bound the frames between the network and what follows, as many files do.
    """
    model = onnx.load(exported)
    graph, before, after = model.graph, [], []

    def constant(name: str, value: object) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def channels(name: str, values: tuple[float, ...], bgr: bool) -> str:
        return constant(name, np.array(values[::-1] if bgr else values).reshape(1, 3, 1, 1))

    graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "reversed"))
    name = "taken"
    if taken.name != "0..1":
        # number * std + mean; of colours up to 255, the mean is added first, as people write it.
        if taken.std[0] == 1 / 255:
            if any(taken.mean):
                mean = channels("mean_in", tuple(255 * value for value in taken.mean), taken.bgr)
                before.append(helper.make_node("Add", [name, mean], [name := "plus_mean"]))
            before.append(helper.make_node("Div", [name, constant("white_in", 255.0)], [name := "divided"]))
        else:
            std, mean = channels("std_in", taken.std, taken.bgr), channels("mean_in", taken.mean, taken.bgr)
            before.append(helper.make_node("Mul", [name, std], [name := "times_std"]))
            before.append(helper.make_node("Add", [name, mean], [name := "plus_mean"]))
        if taken.bgr:
            before.append(helper.make_node("Gather", [name, "reversed"], [name := "rgb_in"], axis=1))
        # Past this, numbers that no frame in the right range has; so that the wrong range shows.
        limits = [constant("zero", 0.0), constant("one", 1.0)]
        before.append(helper.make_node("Clip", [name, *limits], [name := "clipped_in"]))
    for node in graph.node:
        node.input[:] = [name if value == "frame" else value for value in node.input]
    name = "stylised"
    if clip:
        limits = [constant("low", 0.0), constant("high", 1.0)]
        after.append(helper.make_node("Clip", [name, *limits], [name := "clipped"]))
    if given.bgr:
        after.append(helper.make_node("Gather", [name, "reversed"], [name := "bgr_out"], axis=1))
    if given.std[0] == 1 / 255:
        after.append(helper.make_node("Mul", [name, constant("white_out", 255.0)], [name := "levels"]))
        if any(given.mean):
            mean = channels("mean_out", tuple(255 * value for value in given.mean), given.bgr)
            after.append(helper.make_node("Sub", [name, mean], [name := "less_mean"]))
    elif given.name != "0..1":
        std, mean = channels("std_out", given.std, given.bgr), channels("mean_out", given.mean, given.bgr)
        after.append(helper.make_node("Sub", [name, mean], [name := "less_mean"]))
        after.append(helper.make_node("Div", [name, std], [name := "by_std"]))
    after.append(helper.make_node("Identity", [name], ["given"]))
    nodes = [*before, *graph.node, *after]
    del graph.node[:], model.metadata_props[:]
    graph.node.extend(nodes)
    graph.input[0].name = "taken"
    graph.output[0].name = "given"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a shipped model."""
    checkpoint = load_checkpoint(shipped_models()["reconet-starry_night"])
    return cached_export(checkpoint, tmp_path_factory.mktemp("painter") / "painter.onnx")


def psnr(model, expected: np.ndarray) -> float:
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        got = session(scikit_image_texture("astronaut")[100:228, 100:260])
    return float(10 * np.log10(255**2 / np.square(got.astype(float) - expected).mean().clip(1e-9)))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_shipped_model_in_the_conventions_of_others_gives_its_picture(convention, clip, painter, tmp_path):
    with RUNTIMES["onnxruntime"].load(inspect_onnx(painter), "cpu", 1) as session:
        expected = session(scikit_image_texture("astronaut")[100:228, 100:260]).astype(float)
    path = wrapped(painter, tmp_path / "theirs.onnx", *CONVENTIONS[convention], clip)
    said: list[str] = []
    model = inspect_onnx(path, report=said.append, guess=False)
    assert psnr(model, expected) > 50, (model.input_range.name, model.output_range.name, said)
    assert said == []


# --- from the command line ------------------------------------------------------------------------------


def test_stylize_takes_the_ranges_from_the_command_line(tmp_path, capsys):
    write_image(tmp_path / "a.png", scene(0))
    path = tone_curve(tmp_path / "m.onnx", SIGNED, SIGNED, "NHWC")
    words = [
        "stylize",
        tmp_path / "a.png",
        "-o",
        tmp_path / "b.png",
        "--model",
        path,
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    cli.main([*map(str, words), "--input-range", "-1..1", "--output-range=-1..1", "--layout", "nhwc"])
    assert np.abs(read_image(tmp_path / "b.png") / 255 - curve(scene(0) / 255)).max() < 0.01
    assert capsys.readouterr().err == ""
    cli.main([*map(str, words), "--input-range", "0..255"])
    assert "m.onnx: read as input 0..255" in (warned := capsys.readouterr().err)
    assert "-1..1" in warned.split("give --input-range")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input-range", "0..2"], "unknown value range '0..2'"),
        (["--layout", "HWC"], "unknown layout 'HWC'"),
        (["--layout", "NHWC"], "--layout NHWC does not fit"),
        (
            ["--model", "reconet-starry_night", "--input-range", "-1..1"],
            "'reconet-starry_night' is a checkpoint and needs no --input-range",
        ),
    ],
)
def test_wrong_words_are_one_line(tmp_path, capsys, words, message):
    make_clip(tmp_path / "a.mp4")
    model = tone_curve(tmp_path / "m.onnx", UNIT, UNIT)
    with pytest.raises(SystemExit) as caught:
        cli.main(["stylize", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "b.mp4"), "--model", str(model), *words])
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "b.mp4").exists()


def test_compare_and_sweep_take_them_too(tmp_path, capsys):
    path = tone_curve(tmp_path / "m.onnx", SIGNED, UNIT)
    words = ["--input-range", "-1..1", "--output-range", "0..1", "--device", "cpu"]
    cli.main(
        [
            "compare",
            "--models",
            str(path),
            "--videos",
            "stroll",
            "--size",
            "56x40",
            "--frames",
            "2",
            "--runtimes",
            "onnxruntime",
            "--rounds",
            "0",
            "--no-pictures",
            "--threads",
            "1",
            *words,
            "-o",
            str(tmp_path / "run"),
            "--save-frames",
        ]
    )
    content, frame = (
        read_image(tmp_path / "run" / "frames" / model / "stroll" / "onnxruntime" / "0001.png")
        for model in ("identity", "m")
    )
    assert np.abs(frame / 255 - curve(content / 255)).max() < 0.01
    cli.main(
        [
            "sweep",
            str(path),
            "--sizes",
            "64",
            "--runtimes",
            "onnxruntime",
            "--threads",
            "1",
            "--rounds",
            "1",
            *words,
            "-o",
            str(tmp_path / "sweep"),
        ]
    )
    assert "m.onnx" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["compare", "--methods", "identity", "--videos", "stroll", "--input-range", "0..1"])
    assert "give one by --models" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["compare", "--videos", "stroll", "--models"], ["sweep"]])
def test_what_measures_stops_where_several_readings_give_a_picture(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    path = tone_curve(tmp_path / "m.onnx", SIGNED, SIGNED)
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, str(path)])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "several readings give a picture" in said
    assert "--input-range -1..1 --output-range -1..1" in said
    assert said.count("\n") == 1
    assert [found.name for found in tmp_path.iterdir()] == ["m.onnx"]


def test_inspect_shows_the_readings_side_by_side(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tone_curve(tmp_path / "m.onnx", SIGNED, SIGNED)
    cli.main(["inspect", str(path)])
    said = capsys.readouterr().out
    assert "--input-range -1..1 --output-range -1..1" in said
    readings = said.count("--input-range")
    assert readings > 1
    picture = read_image(tmp_path / "m-readings.png")
    side = picture.shape[1] // (readings + 1)
    assert picture.shape[1] == side * (readings + 1)
    photograph, *columns = (picture[20:148, n * side + 4 : n * side + 132] for n in range(readings + 1))
    wanted = curve(photograph / 255) * 255
    assert min(np.abs(column - wanted).mean() for column in columns) < 2, "the right one is among them"
    cli.main(["inspect", str(path), "--input-range", "-1..1", "--output-range", "-1..1", "-o", "one.png"])
    assert capsys.readouterr().out.count("--input-range") == 1
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(path), "-o", "one.txt"])
    assert "the picture must end in one of .png" in capsys.readouterr().err


def test_python_takes_them_and_warns(tmp_path):
    path = tone_curve(tmp_path / "m.onnx", BYTE, BYTE)
    with reconet_bench.load_model(path, device="cpu", threads=1, input_range="0..255", layout="NCHW") as model:
        assert np.abs(model(scene(0)) / 255 - curve(scene(0) / 255)).max() < 0.01
    with pytest.warns(UserWarning, match=r"comes out as one even colour: give --input-range 0\.\.255"):
        reconet_bench.load_model(path, device="cpu", threads=1, input_range="0..1").close()


# --- 8-bit frames ---------------------------------------------------------------------------------------


def eight_bits(path: Path, shape: list[str | int], given: int = TensorProto.UINT8) -> Path:
    """A copy of what comes in, with bytes going in."""
    node = helper.make_node("Cast", ["x"], ["y"], to=given)
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, shape)
    y = helper.make_tensor_value_info("y", given, shape)
    onnx.save(
        helper.make_model(
            helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
        ),
        path,
    )
    return path


def test_8_bit_frames_are_bytes_channels_last_both_ways(tmp_path: Path) -> None:
    said: list[str] = []
    model = inspect_onnx(eight_bits(tmp_path / "bytes.onnx", ["n", "h", "w", 3]), report=said.append)
    assert (model.layout, model.input_range, model.output_range, said) == ("NHWC", BYTE, BYTE, [])
    first = inspect_onnx(eight_bits(tmp_path / "first.onnx", ["n", 3, "h", "w"]))
    assert (first.layout, first.input_range, first.output_range) == ("NCHW", BYTE, BYTE)
    with pytest.raises(errors.ModelError, match="the input is uint8 and the output float32: both must be 8-bit"):
        inspect_onnx(eight_bits(tmp_path / "half.onnx", ["n", "h", "w", 3], TensorProto.FLOAT))
    with pytest.raises(errors.ModelError, match=r"takes 8-bit frames, whose range is 0\.\.255: leave --input-range"):
        inspect_onnx(eight_bits(tmp_path / "bytes.onnx", ["n", "h", "w", 3]), OnnxFormat(input_range="0..1"))


def test_the_suffix_says_onnx_in_either_case(tmp_path):
    path = graph(tmp_path / "MINE.ONNX", SIGMOID, IMAGE, {"y": IMAGE[1]})
    model = load_by_name(str(path), tmp_path)
    assert (model.source.name, model.source.network) == ("MINE", None)
