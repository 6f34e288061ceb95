"""The deploy form of trained networks: the frames of the plain form, from a cheaper graph, wherever a model runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from reconet_bench import cli
from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.models import export as export_module
from reconet_bench.models import export_formats
from reconet_bench.models.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from reconet_bench.models.deploy import DEPLOY, rewrite
from reconet_bench.models.export import cached_export, export_onnx
from reconet_bench.models.export_formats import proof_frames
from reconet_bench.models.loading import load_all
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.networks.base import Identity
from reconet_bench.runtimes.base import RUNTIMES

#: Trained networks, and what of them is rewritten.
MODELS = {
    "reconet-starry_night": {"enlarge-later": 2, "pixels-in-blocks": 1},
    "reconet-lite-starry_night": {"enlarge-later": 1},
}


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    """A trained network, and its deploy form."""
    checkpoint = load_checkpoint(find_checkpoint(request.param))
    folder = tmp_path_factory.mktemp("deploy")
    model = onnx.load(cached_export(checkpoint, folder / "plain.onnx"))
    assert rewrite(model, request.param) == MODELS[request.param]
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{request.param}-deploy.onnx"
    onnx.save(model, path)
    return checkpoint, path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_its_frames_are_those_of_the_network_at_odd_sizes_too(trained: tuple[Checkpoint, Path], runtime: str) -> None:
    checkpoint, path = trained
    if reason := RUNTIMES[runtime].missing():
        pytest.skip(reason)
    photograph = proof_frames()[0]
    with RUNTIMES[runtime].load(inspect_onnx(path), "cpu", 1) as session:
        for height, width in ((16, 16), (17, 31), (126, 99)):
            frame = np.ascontiguousarray(photograph[:height, :width])
            with torch.no_grad():
                expected = checkpoint.network(from_uint8(frame))
            assert np.abs(session.floats(frame) - expected.clamp(0, 1).numpy()).max() < 2e-5
            levels = session(frame).astype(int) - to_uint8(expected)[0]
            assert np.abs(levels).max() <= 1
            assert (levels == 0).mean() > 0.999
            assert expected.std() > 0.05, "a flat picture would prove nothing"


def test_it_takes_batches(trained: tuple[Checkpoint, Path]) -> None:
    checkpoint, path = trained
    frames = np.stack([np.ascontiguousarray(frame[:33, :47]) for frame in proof_frames()[:2]])
    with RUNTIMES["onnxruntime"].load(inspect_onnx(path), "cpu", 1) as session, torch.no_grad():
        expected = to_uint8(checkpoint.network(from_uint8(frames)))
        assert np.abs(session(frames).astype(int) - expected).max() <= 1


def test_compare_finds_the_network_that_it_came_from(trained: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    _, path = trained
    model = load_all([str(path)], [], tmp_path)[0]
    assert model.source.name == path.stem
    assert model.origin is not None
    assert path.stem == f"{model.origin.name}-deploy"


@pytest.fixture
def plain_export(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter gives a file that is there already: it takes seconds."""
    model = onnx.load(exported)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: type("Program", (), {"model_proto": model}))


@pytest.mark.usefixtures("plain_export")
def test_the_command_writes_it_and_says_so(
    seeded: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "net.safetensors", seeded)
    cli.main(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.onnx"), "--form", "deploy"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "(deploy form, fp32, opset 18, dynamic batch, height and width;" in printed
    model = onnx.load(tmp_path / "net.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["rewrites"] == "enlarge-later x2, pixels-in-blocks x1"
    assert facts["weights"] == export_module.weights_checksum(seeded.network)
    assert "ConvTranspose" in {node.op_type for node in model.graph.node}


@pytest.mark.usefixtures("plain_export")
def test_by_default_the_network_stays_as_it_is(seeded: Checkpoint, tmp_path: Path) -> None:
    model = onnx.load(export_onnx(seeded, tmp_path / "net.onnx"))
    assert "rewrites" not in {entry.key for entry in model.metadata_props}
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}


@pytest.mark.usefixtures("plain_export")
def test_every_other_form_is_made_of_it(seeded: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats, "FORMS", {name: export_formats.FORMS[name] for name in ("fp16", "uint8")})
    forms = list(export_formats.export_all(seeded, tmp_path / "net.onnx", form=DEPLOY))
    assert [form.name for form in forms] == ["fp32", "fp16", "uint8"]
    for form in forms:
        model = onnx.load(form.path)
        assert "ConvTranspose" in {node.op_type for node in model.graph.node}
        assert "enlarge-later x2" in {entry.key: entry.value for entry in model.metadata_props}["rewrites"]
        assert form.parity.psnr > 50


def test_a_network_with_nothing_to_rewrite_is_said_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="the deploy form rewrites nothing"):
        export_onnx(Checkpoint(Identity(), "identity", ""), tmp_path / "a.onnx", form=DEPLOY)
    save_checkpoint(tmp_path / "same.safetensors", Checkpoint(Identity().eval(), "identity", ""))
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", str(tmp_path / "same.safetensors"), "-o", str(tmp_path / "a.onnx"), "--form", "deploy"])
    printed = capsys.readouterr().err
    assert (caught.value.code, printed.count("\n")) == (2, 1)
    assert "the deploy form rewrites nothing in this network: export it without --form deploy" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["same.safetensors"]


def test_an_unknown_form_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", "reconet-starry_night", "-o", "a.onnx", "--form", "deply"])
    printed = capsys.readouterr().err
    assert (caught.value.code, printed.count("\n")) == (2, 1)
    assert "invalid choice: 'deply' (choose from 'plain', 'deploy')" in printed
