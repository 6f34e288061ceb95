"""``MODEL.toml``: constants become part of the file; whatever is wrong is one line that says what the file expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from reconet_bench import cli, load_model
from reconet_bench.core.errors import ModelError, ReconetBenchError
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.description import read_description
from reconet_bench.models.description_draft import draft
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.models.onnx_constants import with_constants
from reconet_bench.models.painting import paint

FRAME = ["b", 3, "h", "w"]


def conditioned(path: Path) -> Path:
    """A frame in; out comes frame · (1 − Σ 0.1·w) + offset, where w has five numbers, times a scale of any size."""
    value, shapes = helper.make_tensor_value_info, {"frame": FRAME, "w": [5], "offset": [1, 3, 1, 1]}
    nodes = [
        helper.make_node("Mul", ["w", "tenth"], ["small"]),
        helper.make_node("ReduceSum", ["small"], ["sum"], keepdims=0),
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32(1))),
        helper.make_node("Sub", ["one", "sum"], ["gain"]),
        helper.make_node("Mul", ["frame", "gain"], ["mixed"]),
        helper.make_node("Add", ["mixed", "offset"], ["stylised"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conditioned",
        [value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [value("stylised", TensorProto.FLOAT, FRAME)],
        [numpy_helper.from_array(np.float32(0.1), "tenth")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


RANGES = '[frame]\ninput_range = "0..1"\noutput_range = "0..1"\n'


def described(
    folder: Path, inputs: str = 'frame = "frame"\nw = { one_hot = 2 }\noffset = 0', rest: str = RANGES
) -> Path:
    if not (folder / "net.onnx").exists():
        conditioned(folder / "net.onnx")
    path = folder / "model.toml"
    path.write_text(f'name = "conditioned"\nonnx = "net.onnx"\n[inputs]\n{inputs}\n{rest}')
    return path


def run(path: Path, frame: np.ndarray, runtime: str = "onnxruntime") -> np.ndarray:
    with load_model(str(path), runtime, threads=1) as model:
        return model(frame)


@pytest.fixture
def frame() -> np.ndarray:
    return to_uint8(synthetic_clip("stroll", (48, 64), 2).frame(0))[0]


@pytest.mark.parametrize(
    ("w", "gain"),
    [
        ("{ one_hot = 2 }", 0.9),
        ("0.25", 1 - 0.1 * 1.25),
        ("[1, 0, 0.5, 0, 0]", 1 - 0.1 * 1.5),
        ('"vector.npy"', 1 - 0.1 * 3),
        ('{ onnx = "predict.onnx", image = "painting.png" }', None),
    ],
)
def test_every_form_of_a_value(tmp_path: Path, frame: np.ndarray, w: str, gain: float | None) -> None:
    np.save(tmp_path / "vector.npy", np.array([[1, 0, 0, 1, 1]]))
    painting = np.full((40, 60, 3), (51, 102, 153), np.uint8)
    write_image(tmp_path / "painting.png", painting)
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["vector"]),
    ]
    shape = numpy_helper.from_array(np.array([1, 5]), "shape")
    graph = helper.make_graph(nodes, "predict", [value("image", TensorProto.FLOAT, [1, 16, 16, 3])],
                              [value("vector", TensorProto.FLOAT, [1, 5])], [shape])  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "predict.onnx"
    )
    path = described(tmp_path, f'frame = "frame"\nw = {w}\noffset = [0.0, 0.1, -0.1]')
    gain = gain if gain is not None else 1 - 0.1 * 5 * 0.4
    expected = np.rint((frame / 255 * gain + (0, 0.1, -0.1)).clip(0, 1) * 255).astype(int)
    for runtime in ("onnxruntime", "openvino"):
        assert np.abs(run(path, frame, runtime).astype(int) - expected).max() <= 1


def test_what_depends_on_constants_alone_is_computed_once(tmp_path: Path) -> None:
    values = {"w": np.arange(5.0), "offset": np.zeros((1, 3, 1, 1))}
    made = onnx.load(str(with_constants(conditioned(tmp_path / "net.onnx"), values, tmp_path / "made.onnx")))
    assert [node.op_type for node in made.graph.node] == ["Mul", "Add"]
    assert [value.name for value in made.graph.input] == ["frame"]
    onnx.checker.check_model(made, full_check=True)
    x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    before = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    after = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    feeds = {"w": np.arange(5, dtype=np.float32), "offset": np.zeros((1, 3, 1, 1), np.float32)}
    assert np.array_equal(before.run(None, {"frame": x, **feeds})[0], after.run(None, {"frame": x})[0])


def test_it_is_a_model_wherever_one_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = described(tmp_path)
    write_image(tmp_path / "in.png", np.full((40, 56, 3), 200, np.uint8))
    cli.main(["stylize", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--model", str(path)])
    sweep = ["sweep", str(path), "--sizes", "48x32", "--runtimes", "onnxruntime", "--rounds", "1"]
    cli.main([*sweep, "--output", str(tmp_path / "sweep")])
    compare = ["compare", "--models", str(path), "--videos", "stroll", "--size", "64x48", "--frames", "3"]
    options = ["--runtimes", "onnxruntime", "--rounds", "0", "--no-pictures", "--stabilise", "blend"]
    cli.main([*compare, *options, "-o", str(tmp_path / "run")])
    shown = capsys.readouterr().out
    assert "conditioned" in shown
    assert "conditioned+blend" in shown


def test_a_painting_gives_the_style(tmp_path: Path, stand_in_weights: Path) -> None:
    write_image(tmp_path / "painting.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path = described(tmp_path)
    path.write_text('style = "painting.png"\n' + path.read_text())
    with workspace() as folder:
        model = load_by_name(str(path), Path(folder))
        paint([model], 64, stand_in_weights)
    assert model.style == "painting"
    assert set(model.style_targets) == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}


INPUTS = 'frame = "frame"\nw = { one_hot = 2 }\noffset = 0'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('onx = "net.onnx"', "unknown key in .*model.toml 'onx': did you mean 'onnx'"),
        ('onnx = "net.onnx"\nname = 3', "name must be a text"),
        ('name = "x"', "give either onnx = .* or python ="),
        ('onnx = "gone.onnx"', "onnx: file not found: .*gone.onnx"),
        ('onnx = "net.onnx"\nstyle = "gone.png"', "style: file not found"),
        ("onnx = net", "not valid TOML"),
        ('onnx = "net.onnx"\n[inputs]\nw = 1', "does not say which input takes the frame"),
        ('onnx = "net.onnx"\n[inputs]\nframe = "frame"\nw = "frame"', "two inputs are \"frame\": frame and w"),
        ('onnx = "net.onnx"\n[inputs]\nframe = "frame"\nw = 1', "nothing is said of input 'offset'.*'w' 5 float32"),
        ('onnx = "net.onnx"\n[inputs]\nframe = "frame"\nq = 1\nw = 1\noffset = 0', "has no input 'q'; its inputs"),
        ('onnx = "net.onnx"\n@w = { one_hot = 5 }', "one_hot must be from 0 to 4, got 5"),
        ('onnx = "net.onnx"\n@w = [1, 2]', "'w' 5 float32 was given 2 numbers"),
        ('onnx = "net.onnx"\n@w = [1, "a"]', "the list must hold numbers only"),
        ('onnx = "net.onnx"\n@w = "gone.npy"', "file not found: .*gone.npy"),
        ('onnx = "net.onnx"\n@w = "bad.npy"', "not a readable .npy file"),
        ('onnx = "net.onnx"\n@w = "nan.npy"', "contains NaN"),
        ('onnx = "net.onnx"\n@w = "x.txt"', "not a .npy file; give a number, a list"),
        ('onnx = "net.onnx"\n@w = true', "input 'w': give a number, a list"),
        ('onnx = "net.onnx"\n@w = { one_hot = 1, size = 3 }', "unknown key 'size'"),
        ('onnx = "net.onnx"\n@w = { onnx = "net.onnx" }', "'onnx' needs 'image'"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[frame]\nlayout = "NWHC"', "unknown layout 'NWHC'"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[frame]\ninput_range = "0-1"', "unknown value range '0-1'"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[frame]\nmultiple = 0', "multiple must be a whole number"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[frame]\nsize = 384', r"size must be \[width, height\]"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[frame]\noutput = "y"', "has no output 'y'; it has: stylised"),
        ('onnx = "net.onnx"\n[state]\nw = "stylized"', "state 'w' must be a table"),
        ('onnx = "net.onnx"\n[state]\nw = { from = "stylized", frst = "zeros" }', "'frst': did you mean 'first'"),
        ('onnx = "net.onnx"\n[state]\nw = { from = "stylized", first = "ones" }', "unknown 'first' of state 'w'"),
        ('onnx = "net.onnx"\n[state]\nw = { from = "out" }', "needs its shape"),
        ('onnx = "net.onnx"\n[state]\nw = { from = "out", shape = [1, "k"] }', "give numbers"),
        ('onnx = "net.onnx"\n[state]\nw = { from = "traceable", warp = true }', "lies on the current frame already"),
        (f'onnx = "net.onnx"\n[inputs]\n{INPUTS}\n[state]\nz = {{ from = "stylized" }}', "has no input 'z'"),
        ('onnx = "net.onnx"\n[arguments]\nx = 1', r"\[arguments\] is for models in Python"),
        ('python = "gone.py:make"', "Python file not found"),
        ('python = "make.py"', "python must be"),
        ('python = "make.py:other"', "has no 'other'; it has: make"),
        ('python = "no_such_package.module:make"', "there is no Python module 'no_such_package.module'"),
        ('python = "broken.py:make"', "broken.py, line 1: not valid Python"),
        ('python = "make.py:make"\n[inputs]\nframe = "frame"', r"a model in Python has no \[inputs\]"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    conditioned(tmp_path / "net.onnx")
    (tmp_path / "bad.npy").write_bytes(b"numpy")
    np.save(tmp_path / "nan.npy", np.array([np.nan] * 5))
    (tmp_path / "make.py").write_text("def make():\n    return None\n")
    (tmp_path / "broken.py").write_text("def make(:\n")
    path = tmp_path / "model.toml"
    path.write_text(text.replace("@", '[inputs]\nframe = "frame"\noffset = 0\n'))
    with pytest.raises(ReconetBenchError, match=said) as error, workspace() as folder:
        load_by_name(str(path), Path(folder), guess=False)
    assert "\n" not in str(error.value)
    with pytest.raises(SystemExit) as end:
        cli.main(["stylize", "x.png", "-o", str(tmp_path / "o.png"), "--model", str(path)])
    assert end.value.code == 2


def test_ranges_that_are_not_said_are_asked_for_in_the_file(tmp_path: Path) -> None:
    path = described(tmp_path, rest="")
    said = r"model.toml, \[frame\]: several value ranges.*input_range = "
    with pytest.raises(ModelError, match=said), workspace() as folder:
        load_by_name(str(path), Path(folder), guess=False)


def test_options_for_onnx_files_do_not_count_beside_a_description(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = described(tmp_path)
    write_image(tmp_path / "in.png", np.full((40, 56, 3), 200, np.uint8))
    words = ["stylize", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--model", str(path)]
    with pytest.raises(SystemExit):
        cli.main([*words, "--input-range", "0..1"])
    assert "belongs into its [frame]" in capsys.readouterr().err


def test_a_network_of_one_size_says_so_in_its_rows(tmp_path: Path) -> None:
    from reconet_bench.core.doubts import Doubt

    path = described(tmp_path, rest=f"{RANGES}size = [64, 32]\nmultiple = 4\n")
    with workspace() as folder:
        source = load_by_name(str(path), Path(folder)).source
    assert (source.height, source.width, source.multiple) == (32, 64, 4)
    assert source.adaptations(48, 48) == (Doubt.RESIZED,)


def test_inputs_of_a_file_are_named_where_there_is_no_description(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="frame, w, offset; describe the others: reconet-bench inspect"),
        workspace() as folder,
    ):
        load_by_name(str(conditioned(tmp_path / "net.onnx")), Path(folder))


def test_inspect_writes_a_description_to_start_from_and_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    conditioned(tmp_path / "net.onnx")
    cli.main(["inspect", "net.onnx"])
    shown = capsys.readouterr()
    assert "'w' 5 float32" in shown.out
    assert "Written: net.toml, a description to start from" in shown.out
    assert 'input_range = "0..1"' in shown.out
    assert (tmp_path / "net-readings.png").is_file()
    text = (tmp_path / "net.toml").read_text()
    assert 'onnx = "net.onnx"' in text
    assert '"w" = { one_hot = 0 }' in text
    (tmp_path / "net.toml").write_text(text.replace("# input_range", "input_range").replace("# output_r", "output_r"))
    cli.main(["inspect", "net.onnx"])
    assert "net.toml is there already and stays as it is" in capsys.readouterr().err
    cli.main(["inspect", "net.toml"])
    with workspace() as folder:
        assert load_by_name("net.toml", Path(folder), guess=False).source.name == "net"


def test_a_draft_tells_state_from_constants(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    ends = {"frame": FRAME, "previous": FRAME, "mask": ["b", 1, "h", "w"], "motion": ["b", 2, "h", "w"], "code": [1, 7]}
    ends["memory"] = ["b", 16, "a", "c"]
    inputs = [value(name, TensorProto.FLOAT, shape) for name, shape in ends.items()]
    outputs = [value("out", TensorProto.FLOAT, FRAME), value("memory_out", TensorProto.FLOAT, ["b", 16, "a", "c"])]
    nodes = [helper.make_node("Identity", ["frame"], ["out"]), helper.make_node("Identity", ["memory"], ["memory_out"])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "n.onnx")
    target = tmp_path / "n.toml"
    target.write_text(draft(tmp_path / "n.onnx", target))
    read = read_description(target)
    assert read.facts.image == "frame"
    assert read.constants == {"code": {"one_hot": 0}}
    assert {one.name: one.source for one in read.facts.state} == {
        "previous": "stylized",
        "mask": "traceable",
        "motion": "flow",
        "memory": "memory_out",
    }
    assert read.facts.state[-1].shape == (1, 16, "h/4", "w/4")
