"""The loss network: taps, Gram matrices, scale-free activations, and what is said of wrong weights.

The stand-in has random weights: these tests are of the plumbing. Those with ImageNet weights run where the data is.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import write_stand_in
from safetensors.torch import load_file, save_file

from reconet_bench.core.errors import DataError, MetricUnavailable, ModelError
from reconet_bench.core.images import scikit_image_texture, write_image
from reconet_bench.core.ops import from_uint8, resize_frame
from reconet_bench.networks import vgg
from reconet_bench.networks.vgg import STYLE_TAPS, LossNetwork, content_distance, gram, gram_distance, load_loss_network

#: Of the stand-in, an eighth of VGG-16's.
CHANNELS = {"relu1_2": 8, "relu2_2": 16, "relu3_3": 32, "relu4_3": 64}


def photo(name: str, size: int = 256) -> torch.Tensor:
    return resize_frame(from_uint8(scikit_image_texture(name)), size, size)


@pytest.fixture(scope="module")
def full_width(tmp_path_factory) -> Path:
    """A file of VGG-16's own shape, as a user has it."""
    return write_stand_in(tmp_path_factory.mktemp("weights") / "vgg16.safetensors", 64)


@pytest.fixture(scope="module")
def raw(stand_in_weights) -> LossNetwork:
    return load_loss_network(stand_in_weights, normalise=False)


def test_taps_have_their_channels_and_strides(loss_network):
    taps = loss_network(torch.rand(2, 3, 40, 56))
    assert list(taps) == list(STYLE_TAPS) == list(CHANNELS)
    for level, (name, channels) in enumerate(CHANNELS.items()):
        assert taps[name].shape == (2, channels, 40 >> level, 56 >> level)
        assert taps[name].min() == 0  # after the ReLU
    assert list(loss_network(torch.rand(1, 3, 16, 16), last="relu2_2")) == ["relu1_2", "relu2_2"]


def test_the_first_tap_equals_a_plain_computation(raw, stand_in_weights):
    """ImageNet mean and deviation in RGB order, two convolutions, each with its ReLU."""
    state = {key: value.double().numpy() for key, value in load_file(stand_in_weights).items()}
    frame = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    x = (frame[0].double().numpy() - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
        :, None, None
    ]
    for index in (0, 2):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        x = np.einsum("chwij,ocij->ohw", windows, state[f"{index}.weight"]) + state[f"{index}.bias"][:, None, None]
        x = np.maximum(x, 0)
    np.testing.assert_allclose(raw(frame, last="relu1_2")["relu1_2"][0].numpy(), x, atol=1e-4)


def test_taps_are_those_of_torchvisions_vgg16_by_name(full_width):
    """reluB_C is what follows convolution C of block B; blocks end with a pooling."""
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs["D"])
    features.load_state_dict(load_file(full_width), strict=False)
    frame = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x = (frame - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
    expected, block, convolution = {}, 1, 0
    with torch.no_grad():
        for layer in features[:23]:
            x = layer(x)
            if isinstance(layer, torch.nn.Conv2d):
                convolution += 1
            elif isinstance(layer, torch.nn.MaxPool2d):
                block, convolution = block + 1, 0
            else:
                x = expected[f"relu{block}_{convolution}"] = x.clone()
    taps = load_loss_network(full_width, normalise=False)(frame)
    assert [tap.shape[1] for tap in taps.values()] == [64, 128, 256, 512]
    for name, value in taps.items():
        torch.testing.assert_close(value, expected[name])


def test_gram_equals_numpy():
    features = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    flat = features.double().numpy().reshape(2, 5, 12)
    np.testing.assert_allclose(gram(features).numpy(), np.einsum("nik,njk->nij", flat, flat) / 60, rtol=1e-5)
    assert gram(features.bfloat16()).dtype == torch.float32


def test_distances_equal_numpy():
    generator = torch.Generator().manual_seed(0)
    one = {name: torch.rand(2, c, c, generator=generator) for name, c in CHANNELS.items()}
    target = {name: torch.rand(c, c, generator=generator) for name, c in CHANNELS.items()}
    expected = sum(((one[name].double() - target[name].double()) ** 2).mean((1, 2)) for name in CHANNELS)
    torch.testing.assert_close(gram_distance(one, target).double(), expected, rtol=1e-5, atol=0)
    assert gram_distance(one, one).tolist() == [0, 0]
    first, second = ({"relu3_3": torch.full((1, 2, 2, 2), v)} for v in (0.5, 0.2))
    assert float(content_distance(first, second)) == pytest.approx(0.09)


def test_taps_have_unit_mean_on_the_reference_photographs(loss_network):
    means = {name: [] for name in STYLE_TAPS}
    for name in ("astronaut", "chelsea", "coffee"):
        for tap, value in loss_network(photo(name)).items():
            means[tap].append(float(value.mean()))
    for values in means.values():
        assert sum(values) / 3 == pytest.approx(1, rel=1e-4)


def test_taps_do_not_depend_on_the_scale_of_the_weights_file(loss_network, stand_in_weights):
    """First layer and every bias times k is the same network at k times the activation."""
    state = load_file(stand_in_weights)
    scaled = {key: value * 50 if key.endswith("bias") or key == "0.weight" else value for key, value in state.items()}
    louder = LossNetwork(scaled)
    frame = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = loss_network(frame), louder(frame)
    for name in STYLE_TAPS:
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-4)
        assert louder.scales[name] == pytest.approx(50 * loss_network.scales[name], rel=1e-3)


def test_raw_scale_is_left_alone(raw, loss_network):
    frame = torch.rand(1, 3, 16, 16)
    assert set(raw.scales.values()) == {1.0}
    for name, value in raw(frame).items():
        torch.testing.assert_close(value, loss_network(frame)[name] * loss_network.scales[name])


def test_the_network_is_frozen_but_lets_gradients_through(loss_network):
    assert not any(p.requires_grad for p in loss_network.parameters())
    frame = torch.rand(1, 3, 16, 16, requires_grad=True)
    loss_network(frame)["relu4_3"].sum().backward()
    assert frame.grad.abs().sum() > 0


def test_style_targets_are_gram_matrices_of_the_painting_at_the_asked_size(loss_network):
    painting = torch.rand(1, 3, 80, 120, generator=torch.Generator().manual_seed(0))
    targets = vgg.style_targets(loss_network, painting, 64)
    taps = loss_network(resize_frame(painting, 64, 96))
    for name, channels in CHANNELS.items():
        assert targets[name].shape == (channels, channels)
        torch.testing.assert_close(targets[name], gram(taps[name])[0])


def test_weights_may_carry_torchvisions_prefix(full_width, tmp_path):
    state = load_file(full_width)
    path = tmp_path / "torchvision.safetensors"
    save_file({f"features.{key}": value for key, value in state.items()} | {"classifier.0.bias": torch.zeros(2)}, path)
    assert torch.equal(load_loss_network(path, normalise=False).layers[0].weight, state["0.weight"])


def test_weights_of_another_network_are_refused(tmp_path, full_width, stand_in_weights):
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ModelError, match=r"other\.safetensors: not the weights of vgg16\.features, '0\.bias' is missing"
    ):
        load_loss_network(tmp_path / "other.safetensors")
    save_file(load_file(full_width) | {"0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.safetensors")
    with pytest.raises(ModelError, match=r"'0\.weight' has shape \(64, 1, 3, 3\) and not \(64, 3, 3, 3\)"):
        load_loss_network(tmp_path / "grey.safetensors")
    # A narrow network is one by its own word alone.
    save_file(load_file(stand_in_weights), tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match=r"'0\.weight' has shape \(8, 3, 3, 3\) and not \(64, 3, 3, 3\)"):
        load_loss_network(tmp_path / "narrow.safetensors")


def test_weights_that_answer_nothing_are_refused(stand_in_weights):
    silent = {key: torch.zeros_like(value) for key, value in load_file(stand_in_weights).items()}
    with pytest.raises(ModelError, match="gives no usable activations"):
        LossNetwork(silent)


def test_where_weights_are_looked_for(tmp_path, monkeypatch, stand_in_weights):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert vgg.find_weights() is None
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    cached = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    cached.write_bytes(b"")
    assert vgg.find_weights() == cached
    monkeypatch.setenv("RECONET_BENCH_VGG", str(stand_in_weights))
    assert vgg.find_weights() == stand_in_weights
    assert vgg.find_weights(tmp_path / "x.safetensors") == tmp_path / "x.safetensors"


def test_no_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(MetricUnavailable) as caught:
        load_loss_network()
    for part in ("--vgg", "RECONET_BENCH_VGG", "528 MB", "--download-vgg"):
        assert part in str(caught.value)
    with pytest.raises(ModelError, match="no such file"):
        load_loss_network(tmp_path / "none.safetensors")


def test_torchvisions_own_file_is_read(tmp_path, full_width):
    state = load_file(full_width)
    torch.save({f"features.{key}": value for key, value in state.items()}, tmp_path / "vgg.pth")
    assert torch.equal(load_loss_network(tmp_path / "vgg.pth", normalise=False).layers[21].bias, state["21.bias"])


def test_a_style_may_be_grey_or_have_alpha_but_not_be_tiny(tmp_path):
    grey = np.tile(np.arange(80, dtype=np.uint8), (70, 1))
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([grey, grey, grey // 2, grey]))
    over_white = 1 - 40 / 255
    for name, red, green in (
        ("grey", 40 / 255, 40 / 255),
        ("alpha", 20 / 255 * 40 / 255 + over_white, (40 / 255) ** 2 + over_white),
    ):
        style = vgg.read_style(tmp_path / f"{name}.png")
        assert style.shape == (1, 3, 70, 80)
        assert float(style[0, 1, 3, 40]) == pytest.approx(green)
        assert float(style[0, 0, 3, 40]) == pytest.approx(red)
    write_image(tmp_path / "tiny.png", np.zeros((63, 200, 3), np.uint8))
    with pytest.raises(ModelError, match=r"tiny\.png: a style image needs at least 64 pixels a side, got 200x63"):
        vgg.read_style(tmp_path / "tiny.png")
    with pytest.raises(DataError, match="cannot read image"):
        vgg.read_style(tmp_path / "none.png")


def test_real_weights_tell_a_style_from_another(shared_data: Path, real_loss_network: LossNetwork):
    """A painting is nearer to itself at another crop than to another painting or to a photograph."""
    paintings = [vgg.read_style(path) for path in sorted((shared_data / "styles").glob("*.*g"))[:3]]
    if len(paintings) < 2:
        pytest.skip("fewer than two paintings among the shared data")

    def grams(image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: value[None] for name, value in vgg.style_targets(real_loss_network, image, 128).items()}

    halves = [(grams(p[..., : p.shape[-1] // 2]), grams(p[..., p.shape[-1] // 2 :])) for p in paintings]
    own = float(gram_distance(*halves[0])[0])
    others = [
        float(gram_distance(halves[0][0], other)[0])
        for other in (halves[1][0], grams(photo("chelsea")), grams(photo("coffee")))
    ]
    assert own < min(others)
    assert real_loss_network.scales["relu1_2"] > 5  # the Caffe scale, brought to 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_of_gram_equals_autograds(layout):
    features = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    towards = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(1))

    def plain(x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(2, 5, 12)
        return flat @ flat.transpose(1, 2) / 60

    gradients = []
    for function in (gram, plain):
        x = features.clone().requires_grad_()
        (function(x) * towards).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_gram_is_float32_under_autocast():
    features = torch.rand(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gram(features), gram(features.clone()))
        assert gram(features).dtype == torch.float32
    torch.testing.assert_close(gram(features)[0], features[0].flatten(1) @ features[0].flatten(1).T / (8 * 36))


def test_the_advice_fetches_the_file_that_is_looked_for():
    from torchvision.models import VGG16_Weights

    (name,) = re.findall(r"weights='(\w+)'", vgg.HOW_TO_GET)
    assert VGG16_Weights[name].url.endswith(f"/{vgg._TORCHVISION_FILE}")


def test_a_later_environment_variable_or_file_is_read(tmp_path, monkeypatch, stand_in_weights):
    first, second = tmp_path / "first.safetensors", write_stand_in(tmp_path / "second.safetensors", 16)
    shutil.copy(stand_in_weights, first)

    def width() -> int:
        return load_loss_network().layers[0].out_channels

    monkeypatch.setenv("RECONET_BENCH_VGG", str(first))
    assert width() == 8
    assert load_loss_network() is load_loss_network(first), "one file is read once"
    monkeypatch.setenv("RECONET_BENCH_VGG", str(second))
    assert width() == 16
    shutil.copy(second, first)
    monkeypatch.setenv("RECONET_BENCH_VGG", str(first))
    assert width() == 16, "the file at the same place has changed"
