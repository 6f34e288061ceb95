"""Whatever ``export`` writes runs in every runtime that takes ONNX, at odd sizes, and says what it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from browser import CHROMIUM

from reconet_bench import cli
from reconet_bench.core.ops import from_uint8
from reconet_bench.models import export_formats
from reconet_bench.models.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from reconet_bench.models.deploy import DEPLOY, PLAIN
from reconet_bench.models.export import cached_export
from reconet_bench.models.export_formats import proof_frames
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.runtimes import onnx_forms
from reconet_bench.runtimes.base import RUNTIMES, parity_of
from reconet_bench.web import ort

MODEL = "reconet-lite-starry_night"
#: The lowest PSNR of a form against PyTorch fp32, dB.
FORMS = {"fp32": 100.0, "fp16": 50.0, "int8": 30.0, "uint8": 55.0, "uint8-fp16": 50.0}
SIZE = (37, 45)
#: Where the files of ONNX Runtime Web are; tests have a cache folder of their own.
WEB_FILES = ort.folder()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(find_checkpoint(MODEL))


@pytest.fixture(scope="module", params=[PLAIN, DEPLOY])
def files(
    request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Every file that ``export --all`` writes; the exporter runs once for both forms."""
    folder = tmp_path_factory.mktemp(request.param)
    plain = cached_export(checkpoint, folder.parent / "plain.onnx")
    with pytest.MonkeyPatch.context() as patch:
        program = type("Program", (), {"model_proto": onnx.load(plain)})
        patch.setattr(torch.onnx, "export", lambda *_, **__: program)
        patch.setattr(onnx_forms, "_SIDE", 64)
        made = export_formats.export_all(checkpoint, folder / "net.onnx", form=request.param)
        return {form.name: form.path for form in made}


def psnr(checkpoint: Checkpoint, path: Path, runtime: str) -> float:
    """How close a file is to its network in PyTorch, on a photograph of odd size."""
    frame = np.ascontiguousarray(proof_frames()[0][: SIZE[0], : SIZE[1]])
    with torch.no_grad():
        expected = checkpoint.network(from_uint8(frame)).clamp(0, 1).numpy()
    with RUNTIMES[runtime].load(inspect_onnx(path), "cpu", 1) as session:
        return parity_of([expected], [session.floats(frame)]).psnr


@pytest.mark.quantisation
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_file_runs_at_an_odd_size(
    files: dict[str, Path], checkpoint: Checkpoint, form: str, runtime: str
) -> None:
    if reason := RUNTIMES[runtime].missing():
        pytest.skip(reason)
    assert psnr(checkpoint, files[form], runtime) > FORMS[form]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one or set RECONET_BENCH_CHROMIUM")
@pytest.mark.skipif(ort.missing() is not None, reason=ort.missing() or "")
@pytest.mark.parametrize("form", FORMS)
def test_every_file_runs_in_the_browser(
    files: dict[str, Path], checkpoint: Checkpoint, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(WEB_FILES))
    assert psnr(checkpoint, files[form], "onnxruntime-web:wasm") > FORMS[form]


@pytest.mark.process
@pytest.mark.parametrize("form", [PLAIN, DEPLOY])
def test_a_file_of_one_size_becomes_one_for_ncnn(checkpoint: Checkpoint, form: str, tmp_path: Path) -> None:
    ncnn, pnnx = pytest.importorskip("ncnn"), pytest.importorskip("pnnx")
    export_formats.export_form(checkpoint, tmp_path / "net.onnx", SIZE, form)
    shape = f"inputshape=[1,3,{SIZE[0]},{SIZE[1]}]"
    subprocess.run([pnnx.EXEC_PATH, "net.onnx", shape, "fp16=0"], cwd=tmp_path, check=True, capture_output=True)
    frame = from_uint8(np.ascontiguousarray(proof_frames()[0][: SIZE[0], : SIZE[1]]))
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(tmp_path / "net.ncnn.param")) == net.load_model(str(tmp_path / "net.ncnn.bin")) == 0
    extractor = net.create_extractor()
    pixels = np.ascontiguousarray(frame[0].numpy())  # ncnn reads its memory, and does not keep it
    extractor.input("in0", ncnn.Mat(pixels).clone())
    failed, got = extractor.extract("out0")
    with torch.no_grad():
        expected = checkpoint.network(frame)[0].numpy()
    assert failed == 0
    assert np.abs(np.array(got) - expected).max() < 1e-4


def test_a_file_carries_its_card(checkpoint: Checkpoint, tmp_path: Path) -> None:
    facts = {
        entry.key: entry.value for entry in onnx.load(cached_export(checkpoint, tmp_path / "a.onnx")).metadata_props
    }
    assert (facts["method"], facts["network"], facts["style"]) == ("reconet", "lite", "starry_night")
    assert (facts["licence"], facts["value_range"], facts["layout"], facts["form"]) == ("MIT", "0..1", "NCHW", "fp32")
    training = json.loads(facts["training"])
    assert training["steps"] == checkpoint.info["steps"] == 1500
    assert training["data"] == checkpoint.info["data"]
    assert not training.keys() & {"command", "cpu", "gpu", "versions"}, "that tells of the machine"


def test_inspect_shows_the_card(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cached_export(checkpoint, tmp_path / "a.onnx")
    cli.main(["inspect", "a.onnx"])
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("method reconet", "network lite", "licence MIT", "training: steps 1500", "value_range 0..1"):
        assert words in printed


def test_metadata_of_others_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = onnx.helper.make_tensor_value_info("frame", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["frame"], ["y"])], "g", [frame], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.helper.set_model_props(model, {"author": "somebody", "broken": "{not json", "list": "[1, 2]"})
    onnx.save(model, tmp_path / "a.onnx")
    monkeypatch.chdir(tmp_path)
    cli.main(["inspect", "a.onnx"])
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("author somebody", "broken {not json", "list [1, 2]"):
        assert words in printed


def test_a_checkpoint_of_ones_own_has_no_licence(checkpoint: Checkpoint, tmp_path: Path) -> None:
    copied = tmp_path / "mine.safetensors"
    copied.write_bytes(find_checkpoint(MODEL).read_bytes())
    assert (load_checkpoint(copied).licence, checkpoint.licence) == ("", "MIT")
