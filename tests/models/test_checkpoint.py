"""Checkpoints: what is saved loads, and everything else is refused with one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.models import finding
from reconet_bench.models.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    shipped_folder,
    shipped_models,
)
from reconet_bench.networks.base import Identity
from reconet_bench.networks.reconet import ReCoNet


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    sizes = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512}
    grams = {name: torch.rand(size, size, generator=generator) / size for name, size in sizes.items()}
    return Checkpoint(ReCoNet(), "reconet", "wave", grams, {"steps": 7, "weights": {"style": 3e4}, "gpu": None})


@pytest.fixture
def saved(trained, tmp_path):
    path = tmp_path / "models" / "reconet-wave.safetensors"
    save_checkpoint(path, trained)
    return path


def rewrite(path, tensors=None, drop=(), **metadata):
    """The same checkpoint with other tensors or metadata."""
    old, facts = read_tensors(path)
    facts = {key: value for key, value in {**facts, **metadata}.items() if key not in drop}
    write_tensors(path, {**old, **(tensors or {})}, facts)


def refused(path) -> str:
    """The one-line message with which a file is refused."""
    with pytest.raises(ModelError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip_in_full_precision_is_exact(trained, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", trained, torch.float32)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert (loaded.method, loaded.style, loaded.name) == ("reconet", "wave", "reconet-wave")
    assert loaded.info == trained.info
    assert not loaded.network.training
    for one, other in (
        (loaded.network.state_dict(), trained.network.state_dict()),
        (loaded.style_targets, trained.style_targets),
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_shipped_precision_is_half_and_close_enough(trained, saved):
    assert {tensor.dtype for tensor in load_file(saved).values()} == {torch.float16}
    assert saved.stat().st_size < 2 * (1_679_235 + 64**2 + 128**2 + 256**2 + 512**2) + 20_000
    loaded = load_checkpoint(saved)
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    frame = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (loaded.network(frame) - trained.network.eval()(frame)).abs().max() < 2e-3
    for name, gram in trained.style_targets.items():
        torch.testing.assert_close(loaded.style_targets[name], gram, rtol=1e-3, atol=1e-7)


def test_a_method_without_weights_or_style_can_be_saved_too(tmp_path):
    path = tmp_path / "identity.safetensors"
    save_checkpoint(path, Checkpoint(Identity(), "identity", ""))
    loaded = load_checkpoint(path)
    assert (loaded.name, loaded.style_targets, loaded.info) == ("identity", {}, {})
    assert isinstance(loaded.network, Identity)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    assert "not a readable safetensors file" in refused(saved)


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.safetensors")


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    assert "not a reconet-bench checkpoint (no method in its metadata)" in refused(path)


def test_a_newer_format_is_refused(saved):
    rewrite(saved, format="2")
    assert "checkpoint format 2 is newer than this version reads (1): upgrade" in refused(saved)


@pytest.mark.parametrize("change", [{"format": "one"}, {"info": "{"}])
def test_broken_metadata_is_refused(saved, change):
    rewrite(saved, **change)
    assert "broken checkpoint metadata" in refused(saved)


def test_an_unknown_method_is_refused(saved):
    rewrite(saved, method="reconnet")
    assert "unknown method 'reconnet': did you mean 'reconet'?" in refused(saved)


def test_weights_of_another_shape_or_name_are_refused(saved):
    name = "network.decoder.5.bias"
    assert name in load_file(saved)
    rewrite(saved, {name: torch.zeros(4)})
    assert "weights do not fit the network of 'reconet'" in refused(saved)
    rewrite(saved, {name: torch.zeros(3), "network.extra": torch.zeros(1)})
    assert "weights do not fit" in refused(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_both_ways(trained, saved, value, tmp_path):
    rewrite(saved, {"network.decoder.5.bias": torch.tensor([0.0, value, 0.0])})
    assert "weights are not finite" in refused(saved)
    network = ReCoNet()
    torch.nn.init.constant_(network.decoder[5].bias, value)
    target = tmp_path / "new" / "bad.safetensors"
    with pytest.raises(ModelError, match=r"not saved: 'network\.decoder\.5\.bias' is not finite"):
        save_checkpoint(target, Checkpoint(network, "reconet", "wave"))
    assert not target.exists()


def test_a_weight_beyond_half_precision_is_not_saved_as_infinity(tmp_path):
    network = ReCoNet()
    torch.nn.init.constant_(network.decoder[5].bias, 70000.0)
    with pytest.raises(ModelError, match=r"is not finite as torch\.float16"):
        save_checkpoint(tmp_path / "a.safetensors", Checkpoint(network, "reconet", "wave"))
    save_checkpoint(tmp_path / "a.safetensors", Checkpoint(network, "reconet", "wave"), torch.float32)


class Boom:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_a_pickle_is_refused_and_never_run(tmp_path, name):
    torch.save({"state": Boom()}, tmp_path / name)
    assert "not a readable safetensors file" in refused(tmp_path / name)


def test_shipped_models_are_found_by_name(saved, monkeypatch):
    monkeypatch.setattr(finding, "shipped_folder", lambda: saved.parent)
    assert shipped_models() == {"reconet-wave": saved}
    assert find_checkpoint("reconet-wave") == saved
    with pytest.raises(UnknownName, match=r"unknown model 'reconet-wafe': did you mean 'reconet-wave'\?"):
        find_checkpoint("reconet-wafe")


def test_a_path_is_taken_as_it_is(saved, monkeypatch):
    assert find_checkpoint(str(saved)) == saved
    monkeypatch.chdir(saved.parent)
    assert find_checkpoint(saved.name).samefile(saved)
    for name in ("none.safetensors", "runs/none", "none.onnx", "NONE.ONNX"):
        with pytest.raises(ModelError, match=f"model file not found: {name}"):
            find_checkpoint(name)


def test_what_ships_loads_and_is_named_after_what_it_is():
    assert shipped_folder().name == "models"
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        assert loaded.name == name
        assert set(loaded.style_targets) == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}
        # What a model says of its making names no place on the machine that made it.
        words = [*str(loaded.info.get("command", "")).replace("=", " ").split(), str(loaded.info.get("style_file", ""))]
        assert not [word for word in words if Path(word).is_absolute()]
