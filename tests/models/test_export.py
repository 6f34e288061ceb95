"""Exports run at any size and equal PyTorch."""

from __future__ import annotations

import copy
import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from reconet_bench import cli
from reconet_bench.core import errors
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.models import export as export_module
from reconet_bench.models import export_formats, finding
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import checkpoint_model, export_onnx, weights_checksum
from reconet_bench.models.export_formats import Form, export_all, export_form, file_parity
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.networks.base import Identity
from reconet_bench.runtimes import onnx_forms
from reconet_bench.runtimes.base import RUNTIMES, Parity


@pytest.fixture(scope="module")
def checkpoint(seeded: Checkpoint) -> Checkpoint:
    return seeded


# --- our own exports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 40, 56), (2, 3, 33, 47), (3, 3, 16, 17), (1, 3, 19, 64)])
def test_the_export_takes_any_size_and_batch(exported: Path, checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    frame = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    (got,) = session.run(["stylised"], {"frame": frame.numpy()})
    with torch.no_grad():
        expected = checkpoint.network(frame).numpy()
    assert got.shape == shape
    assert np.abs(got - expected).max() < 1e-4
    assert expected.std() > 0.01, "a flat picture would prove nothing"


def test_the_graph_is_what_it_should_be(exported: Path, checkpoint: Checkpoint) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("InstanceNormalization") == 15
    assert operators.count("Conv") == 16
    assert "BatchNormalization" not in operators
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    for value, name in ((model.graph.input[0], "frame"), (model.graph.output[0], "stylised")):
        assert value.name == name
        dims = value.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, "height", "width"]
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "method": "reconet",
        "network": "reconet",
        "style": "seeded",
        "format": "1",
        "commit": "c0ffee",
        "form": "fp32",
        "weights": weights_checksum(checkpoint.network),
        "value_range": "0..1",
        "layout": "NCHW",
    }
    assert model.producer_name == "reconet-bench"


def test_the_export_is_one_file_that_tells_nothing_of_this_machine(exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["reconet.onnx"]
    content = exported.read_bytes()
    assert str(Path(export_module.__file__).parent).encode() not in content
    assert b"stack_trace" not in content


def test_the_checksum_is_that_of_the_weights(checkpoint: Checkpoint) -> None:
    network = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.fill_(0.5)
    by_hand = b"bias(1,)" + np.float32(0.5).tobytes() + b"weight(1, 1, 1, 1)" + np.float32(2).tobytes()
    assert weights_checksum(network) == f"sha256:{hashlib.sha256(by_hand).hexdigest()}"
    other = copy.deepcopy(checkpoint.network)
    assert weights_checksum(other) == weights_checksum(checkpoint.network)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    assert weights_checksum(other) != weights_checksum(checkpoint.network)


def test_parity_with_pytorch(exported: Path, checkpoint: Checkpoint) -> None:
    close = file_parity(checkpoint, exported)
    assert 0 < close.max_abs < 1e-4
    assert 90 < close.psnr < float("inf")
    other = Checkpoint(copy.deepcopy(checkpoint.network), "reconet", "other")
    with torch.no_grad():
        list(other.network.parameters())[-1][0] += 0.1
    far = file_parity(other, exported, [np.random.default_rng(0).integers(0, 256, (17, 21, 3), dtype=np.uint8)])
    assert far.max_abs > 0.01
    assert far.psnr < 40


def test_identity_exports_too(tmp_path: Path) -> None:
    checkpoint = Checkpoint(Identity(), "identity", "")
    path = export_onnx(checkpoint, tmp_path / "identity.onnx")
    assert "style" not in {entry.key for entry in onnx.load(path).metadata_props}
    assert file_parity(checkpoint, path).max_abs == 0
    with RUNTIMES["onnxruntime"].load(checkpoint_model(checkpoint, tmp_path), "cpu", 1) as session:
        image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
        assert np.array_equal(session(image), image)


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = Identity().train().double()
    export_onnx(Checkpoint(network, "identity", ""), tmp_path / "a.onnx")
    assert network.training


def test_a_norm_that_the_exporter_took_apart_is_refused(
    exported: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(exported)
    next(node for node in model.graph.node if node.op_type == "InstanceNormalization").op_type = "BatchNormalization"
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: type("Program", (), {"model_proto": model}))
    with pytest.raises(errors.ModelError, match=r"a\.onnx: not written: .* 14 of 15 instance norms") as caught:
        export_onnx(checkpoint, tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_exports_when_first_asked_and_only_then(
    checkpoint: Checkpoint, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        export_module, "export_onnx", lambda _, path: (calls.append(path), shutil.copy(exported, path))[0] or path
    )
    model = checkpoint_model(checkpoint, tmp_path)
    assert calls == []
    assert model.onnx() == model.onnx() == tmp_path / "reconet-seeded.onnx"
    assert calls == [tmp_path / "reconet-seeded.onnx"]
    assert model.minimum == 16


# --- exports that are kept ------------------------------------------------------------------------------


class Exporter:
    """Counts exports, each of which gives another file, as a broken machine would."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def __call__(self, checkpoint: Checkpoint, path: Path) -> Path:
        content = f"export {len(self.written)} of {checkpoint.name}".encode() * 1000
        self.written.append(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Exporter:
    exporter = Exporter()
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(export_module, "export_onnx", exporter)
    return exporter


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "onnx").iterdir())


def test_an_export_is_made_once(checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter) -> None:
    for number in range(3):
        path = checkpoint_model(copy.deepcopy(checkpoint), tmp_path / str(number)).onnx()
        assert path == tmp_path / str(number) / "reconet-seeded.onnx"
        assert path.read_bytes() == exporter.written[0]
    assert len(exporter.written) == len(kept(tmp_path)) == 1


def test_whatever_an_export_depends_on_makes_another(
    checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_model(checkpoint, tmp_path / "a").onnx()
    other = copy.deepcopy(checkpoint)
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[0] += 1e-6
    checkpoint_model(other, tmp_path / "b").onnx()
    checkpoint_model(Checkpoint(checkpoint.network, "reconet", "another style"), tmp_path / "c").onnx()
    monkeypatch.setattr(finding, "versions", lambda: {"reconet-bench": "9.9"})
    checkpoint_model(checkpoint, tmp_path / "d").onnx()
    assert len(exporter.written) == len(kept(tmp_path)) == 4


@pytest.mark.parametrize("length", [0, 10, 64, 65, 5000, -1])
def test_a_kept_export_that_was_cut_off_is_made_anew(
    checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter, length: int
) -> None:
    checkpoint_model(checkpoint, tmp_path / "a").onnx()
    (place,) = kept(tmp_path)
    place.write_bytes(place.read_bytes()[:length])
    assert checkpoint_model(checkpoint, tmp_path / "b").onnx().read_bytes() == exporter.written[1]
    assert checkpoint_model(checkpoint, tmp_path / "c").onnx().read_bytes() == exporter.written[1]


def test_runs_side_by_side_all_get_whole_files(checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter) -> None:
    """Some while another writes, some after: no mixture, no rest."""
    with ThreadPoolExecutor(8) as pool:
        paths = list(
            pool.map(lambda n: export_module.cached_export(checkpoint, tmp_path / str(n) / "a.onnx"), range(40))
        )
    assert all(path.read_bytes() in exporter.written for path in paths)
    assert len(kept(tmp_path)) == 1
    assert all(not entry.name.startswith(".") for entry in tmp_path.rglob("*"))


def test_without_a_place_to_keep_it_the_export_still_comes(
    checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert checkpoint_model(checkpoint, tmp_path / "a").onnx().read_bytes() == exporter.written[0]


def test_only_the_newest_are_kept(
    checkpoint: Checkpoint, tmp_path: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "KEPT", 3)
    for number in range(5):
        checkpoint_model(Checkpoint(checkpoint.network, "reconet", f"style{number}"), tmp_path / str(number)).onnx()
    assert len(kept(tmp_path)) == 3


def test_a_real_export_read_back_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    first, second = (
        export_module.cached_export(Checkpoint(Identity(), "identity", ""), tmp_path / name)
        for name in ("a.onnx", "b.onnx")
    )
    assert first.read_bytes() == second.read_bytes()
    onnx.checker.check_model(onnx.load(second), full_check=True)


# --- every form -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forms(checkpoint: Checkpoint, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Form]:
    """All forms of the export, int8 calibrated on small frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            export_formats, "export_onnx", lambda checkpoint, path, size, form: Path(shutil.copy(exported, path))
        )
        patch.setattr(onnx_forms, "_SIDE", 64)
        return {form.name: form for form in export_all(checkpoint, tmp_path_factory.mktemp("forms") / "net.onnx")}


def test_every_form_is_a_file_with_its_parity(forms: dict[str, Form]) -> None:
    assert [form.path.name for form in forms.values()] == [
        "net.onnx",
        "net-fp16.onnx",
        "net-int8.onnx",
        "net-uint8.onnx",
        "net-uint8-fp16.onnx",
    ]
    assert {path.name for path in forms["fp32"].path.parent.iterdir()} == {form.path.name for form in forms.values()}
    assert forms["fp32"].parity.max_abs < 1e-4
    assert 1e-5 < forms["fp16"].parity.max_abs < 0.05
    assert 20 < forms["int8"].parity.psnr < 60
    # All that differs is the rounding to 8 bits.
    assert 0.9 * 0.5 / 255 < forms["uint8"].parity.max_abs < 0.5 / 255 + 1e-4
    assert (
        forms["fp16"].parity.max_abs
        < forms["uint8-fp16"].parity.max_abs + 1e-4
        < forms["fp16"].parity.max_abs + 1 / 255
    )
    assert {form.parity.frames for form in forms.values()} == {4}


#: Operators that ONNX Runtime computes on CUDA at opset 18: its docs/OperatorKernels.md.
ON_CUDA = {
    "Add",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "InstanceNormalization",
    "Mod",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Shape",
    "Slice",
    "Squeeze",
    "Tanh",
    "Transpose",
}


@pytest.mark.parametrize("name", ["fp32", "fp16", "uint8", "uint8-fp16"])
def test_nothing_in_it_is_for_the_cpu_alone(forms: dict[str, Form], name: str) -> None:
    assert {node.op_type for node in onnx.load(forms[name].path).graph.node} <= ON_CUDA


@pytest.mark.parametrize("name", ["uint8", "uint8-fp16"])
def test_8_bits_are_at_the_ends_alone(forms: dict[str, Form], name: str) -> None:
    """TensorRT takes and gives them, and computes nothing in them."""
    graph = onnx.load(forms[name].path).graph
    kinds = {
        entry.name: entry.type.tensor_type.elem_type
        for entry in onnx.shape_inference.infer_shapes(onnx.load(forms[name].path)).graph.value_info
    }
    assert onnx.TensorProto.UINT8 not in kinds.values()
    ends = [
        node.op_type for node in graph.node if {graph.input[0].name, graph.output[0].name} & {*node.input, *node.output}
    ]
    assert ends == ["Cast", "Cast"]


def test_8_bit_frames_go_in_and_out_at_any_size_and_batch(forms: dict[str, Form], checkpoint: Checkpoint) -> None:
    session = onnxruntime.InferenceSession(str(forms["uint8"].path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 47, 3), dtype=np.uint8)
    (got,) = session.run(["stylised"], {"frame": images})
    with torch.no_grad():
        expected = to_uint8(checkpoint.network(from_uint8(images)))
    assert got.dtype == np.uint8
    assert got.shape == images.shape
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert (got == expected).mean() > 0.999
    facts = {entry.key: entry.value for entry in onnx.load(forms["uint8"].path).metadata_props}
    assert (facts["layout"], facts["value_range"]) == ("NHWC", "0..255")


def test_int8_has_int8_weights_and_both_ends_as_they_were(forms: dict[str, Form]) -> None:
    nodes = onnx.load(forms["int8"].path).graph.node
    made = {output: node for node in nodes for output in node.output}
    kinds = [
        "" if node.input[1] not in made else made[node.input[1]].op_type for node in nodes if node.op_type == "Conv"
    ]
    assert kinds == ["", *["DequantizeLinear"] * 14, ""]
    assert forms["int8"].path.stat().st_size < 0.5 * forms["fp32"].path.stat().st_size


def test_every_form_says_what_it_is_and_where_it_comes_from(forms: dict[str, Form], checkpoint: Checkpoint) -> None:
    frames = {
        "fp32": "in [0, 1]",
        "fp16": "in [0, 1], fp16",
        "int8": "in [0, 1], int8 convolutions",
        "uint8": "of 8 bits, 0 to 255, channels last",
        "uint8-fp16": "of 8 bits, 0 to 255, channels last, fp16",
    }
    for name, form in forms.items():
        model = onnx.load(form.path)
        onnx.checker.check_model(model, full_check=True)
        facts = {entry.key: entry.value for entry in model.metadata_props}
        assert (facts["form"], facts["weights"], model.producer_name) == (
            name,
            weights_checksum(checkpoint.network),
            "reconet-bench",
        )
        assert f"RGB frames {frames[name]}, any size" in model.doc_string
        assert inspect_onnx(form.path).precision == {"uint8": "fp32", "uint8-fp16": "fp16"}.get(name, name)


@pytest.mark.parametrize(
    ("name", "says"),
    [("", "is a folder: name the file, such as "), ("a.pt", "an export must end in .onnx: name it .*a.onnx$")],
)
def test_where_it_cannot_be_written_is_said_before_the_work(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setattr(torch.onnx, "export", None)
    with pytest.raises(errors.DataError, match=says):
        export_onnx(checkpoint, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_onnx_already_and_what_changes_the_output(
    checkpoint: Checkpoint, exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", str(exported), "-o", "b.onnx"])
    printed = capsys.readouterr().err
    assert (caught.value.code, printed.count("\n")) == (2, 1)
    assert "is an ONNX file already: give a checkpoint" in printed
    made = [Form(exported, name, Parity(0.1, psnr, 1)) for name, psnr in {"fp32": 130.0, "int8": 34.4}.items()]
    monkeypatch.setattr(export_formats, "export_all", lambda *_: made)
    cli.main(["export", "reconet-starry_night", "-o", str(exported), "--all"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "PSNR 34.4 dB; changed output" in printed
    assert printed.count("changed output") == 1


@pytest.fixture(scope="module")
def fixed(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Form]:
    """All forms for one size, which is no multiple of four."""
    return {form.name: form for form in export_all(checkpoint, tmp_path_factory.mktemp("fixed") / "net.onnx", (33, 50))}


def test_every_form_can_be_of_one_size(fixed: dict[str, Form]) -> None:
    for name, form in fixed.items():
        graph = onnx.load(form.path).graph
        expected = [1, 33, 50, 3] if name.startswith("uint8") else [1, 3, 33, 50]
        for value in (*graph.input, *graph.output):
            assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == expected, name
        model = inspect_onnx(form.path)
        assert (model.height, model.width, model.batch) == (33, 50, 1)
    assert "Shape" not in {node.op_type for node in onnx.load(fixed["fp32"].path).graph.node}
    assert fixed["fp32"].parity.max_abs < 1e-4
    assert fixed["uint8"].parity.max_abs < 0.5 / 255 + 1e-4
    assert 20 < fixed["int8"].parity.psnr < 60


def test_the_plain_file_alone_can_be_of_one_size(checkpoint: Checkpoint, tmp_path: Path) -> None:
    form = export_form(checkpoint, tmp_path / "net.onnx", (33, 50))
    assert 0 < form.parity.max_abs < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_size_that_the_network_cannot_take_is_said(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(errors.DataError, match="frame of 40x8 pixels is too small: at least 16 a side"):
        export_onnx(checkpoint, tmp_path / "small.onnx", (8, 40))
    assert list(tmp_path.iterdir()) == []
