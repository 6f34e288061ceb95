"""The light networks: their size, any size of frame, trainable by every method, and the same in ONNX."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from reconet_bench.core.errors import UnknownName
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reconet_bench.models.export import export_onnx
from reconet_bench.networks.base import NETWORKS, NetworkOptions, StyleNetwork, smallest_frame
from reconet_bench.networks.candidates import CANDIDATES, CHANGED
from reconet_bench.networks.layers import PairMean, ReflectionPad
from reconet_bench.networks.lite import LiteNetwork, LiteShape

LIGHT = ("lite", "small")


def build(name: str, **options: object) -> StyleNetwork:
    torch.manual_seed(0)
    return NETWORKS[name].build(NetworkOptions(**options)).eval()


@pytest.mark.parametrize(("name", "parameters"), [("reconet", 1_679_235), ("lite", 427_020), ("small", 202_476)])
def test_a_network_is_as_large_as_it_says(name, parameters):
    assert sum(p.numel() for p in build(name).parameters()) == parameters


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 19), (31, 18), (44, 58)])
def test_any_size_goes_in_and_the_same_comes_out(name, height, width):
    network, frame = build(name), torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = network(frame)
        torch.testing.assert_close(network(frame[1:]), out[1:], atol=1e-5, rtol=0)
    assert out.shape == frame.shape
    assert 0 <= out.min() < out.max() <= 1
    assert smallest_frame(network) == 16


@pytest.mark.parametrize("upsample", ["bilinear", "sub-pixel"])
def test_a_shape_has_the_upsampling_that_it_names(upsample):
    network = LiteNetwork(LiteShape(8, 8, 1, 3, upsample)).eval()
    assert network(torch.rand(1, 3, 20, 24)).shape == (1, 3, 20, 24)
    with pytest.raises(ValueError, match="upsample must be bilinear or sub-pixel, got 'nearest'"):
        LiteShape(upsample="nearest")


@pytest.mark.parametrize(("padding", "reflected"), [("reflect", 14), ("reflect-ends", 2), ("zeros", 0)])
def test_a_shape_reflects_where_it_says(padding, reflected):
    network = LiteNetwork(LiteShape(padding=padding)).eval()
    assert sum(isinstance(module, ReflectionPad) for module in network.modules()) == reflected
    zeros = sum(isinstance(module, nn.Conv2d) and module.padding != (0, 0) for module in network.modules())
    assert reflected + zeros == 14, "every convolution keeps the size in one way or the other"
    assert network(torch.rand(1, 3, 17, 19)).shape == (1, 3, 17, 19)
    with pytest.raises(ValueError, match="padding must be reflect, reflect-ends or zeros, got 'mirror'"):
        LiteShape(padding="mirror")


def test_each_candidate_changes_one_thing():
    for shape, _ in CHANGED.values():
        changed = {name for name, value in vars(shape).items() if value != vars(LiteShape())[name]}
        assert len(changed) == 1 or changed == {"half", "quarter"}, "both widths are one thing"
    assert {NETWORKS[name].shape for name in CANDIDATES} == {
        LiteShape(),
        LiteShape(24, 48, 4),
        *(s for s, _ in CHANGED.values()),
    }


def test_the_mean_of_pairs_removes_a_pattern_of_period_two_and_keeps_an_even_area():
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(10), indexing="ij")
    board = ((rows + columns) % 2).float()[None, None]
    mean = PairMean()(board)
    assert mean.shape == board.shape
    assert (mean[..., 1:, 1:] == 0.5).all()
    flat = torch.full((1, 3, 5, 7), 0.3)
    torch.testing.assert_close(PairMean()(flat), flat)
    x = torch.rand(1, 1, 4, 5)
    by_hand = (x[..., 2, 3] + x[..., 1, 3] + x[..., 2, 2] + x[..., 1, 2]) / 4
    torch.testing.assert_close(PairMean()(x)[..., 2, 3], by_hand)


@pytest.mark.parametrize("method", sorted(name for name, method in METHODS.items() if method.trainable))
def test_every_method_trains_every_network_and_its_checkpoint_says_which(method, tmp_path):
    torch.manual_seed(1)
    network = METHODS[method].network(kind="small")
    save_checkpoint(
        tmp_path / "model.safetensors", Checkpoint(network.half().float(), method, "wave", {}, {"network": "small"})
    )
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert (loaded.kind, loaded.name) == ("small", f"{method}-small-wave")
    frame = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(loaded.network(frame), network.eval()(frame))


def test_an_older_checkpoint_has_the_network_of_the_dissertation():
    assert Checkpoint(build("reconet"), "reconet", "wave").kind == "reconet"
    assert Checkpoint(build("reconet"), "reconet", "wave").name == "reconet-wave"


def test_unknown_networks_are_named():
    with pytest.raises(UnknownName, match="unknown network 'light': did you mean 'lite'"):
        METHODS["johnson"].network(kind="light")


@pytest.mark.compiler
def test_its_export_takes_any_size_and_gives_its_frames(tmp_path):
    network = build("lite")
    path = export_onnx(Checkpoint(network, "reconet", "wave", info={"network": "lite"}), tmp_path / "lite.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for height, width in ((37, 50), (64, 48), (16, 90)):
        frame = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = network(frame).numpy()
        (found,) = session.run(None, {"frame": frame.numpy()})
        assert np.abs(found - expected).max() < 1e-4
