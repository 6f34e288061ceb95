"""LPIPS: the library's network with weights from torchvision's cache, against the formula written out in NumPy.

The backbone here has random weights: what is tested is that every tensor takes its place, not how people see.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TranslationClip
from test_metrics import FixedClip, measured, still

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import warp
from reconet_bench.data.clip import Motion
from reconet_bench.metrics import perceptual_distance
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.measure import Absent, measure_footage
from reconet_bench.metrics.perceptual_distance import lpips

NAMES = ["lpips_adjacent_warped", "lpips_content"]
#: Convolutions of VGG-16 by index in torchvision's features, with their channels; ``None`` halves the frame.
LAYERS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of torchvision with a file of VGG-16's features, random weights."""
    folder = tmp_path_factory.mktemp("torch")
    generator, state, inputs = torch.Generator().manual_seed(9), {}, 3
    for index, outputs in (layer for block in LAYERS for layer in block):
        spread = (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * spread
        state[f"features.{index}.bias"] = torch.randn(outputs, generator=generator) * 0.05
        inputs = outputs
    state["classifier.0.bias"] = torch.zeros(4)
    path = folder / "hub" / "checkpoints" / "vgg16-397923af.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return folder


@pytest.fixture
def weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The weights, in torchvision's cache."""
    monkeypatch.setenv("TORCH_HOME", str(cache))
    return torch.load(cache / "hub" / "checkpoints" / "vgg16-397923af.pth", weights_only=True)


def by_hand(first: torch.Tensor, second: torch.Tensor, weights: dict[str, torch.Tensor]) -> float:
    """LPIPS as the paper writes it: unit features, weighted squared differences, means over places, summed."""
    fitted = Path(importlib.util.find_spec("lpips").origin).parent / "weights" / "v0.1" / "vgg.pth"
    linear = torch.load(fitted, map_location="cpu", weights_only=True)

    def features(frame: torch.Tensor) -> list[np.ndarray]:
        shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
        x, taps = (2 * frame - 1 - shift) / scale, []
        for number, block in enumerate(LAYERS):
            x = F.max_pool2d(x, 2) if number else x
            for index, _ in block:
                x = F.relu(
                    F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1)
                )
            taps.append(x[0].double().numpy())
        return taps

    total = 0.0
    for number, (a, b) in enumerate(zip(features(first), features(second), strict=True)):
        weight = linear[f"lin{number}.model.1.weight"].double().numpy().reshape(-1)
        places = []
        for row in range(a.shape[1]):
            for column in range(a.shape[2]):
                one, other = (z[:, row, column] / (np.linalg.norm(z[:, row, column]) + 1e-10) for z in (a, b))
                places.append(float((weight * (one - other) ** 2).sum()))
        total += float(np.mean(places))
    return total


def test_it_equals_the_formula_place_by_place(weights):
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.rand(1, 3, 32, 48, generator=generator) for _ in range(2))
    expected = by_hand(first, second, weights)
    assert expected > 0.01
    assert lpips(first, second) == pytest.approx(expected, rel=1e-4)
    assert lpips(first, first) == 0


@pytest.mark.usefixtures("weights")
def test_content_is_at_no_distance_from_itself_and_noise_is_further_than_a_tint():
    clip = TranslationClip(length=8)
    content = [clip.frame(index) for index in range(8)]
    assert measured("lpips_content", clip).value == 0
    generator = torch.Generator().manual_seed(1)
    noisy = [(frame + 0.3 * torch.randn(frame.shape, generator=generator)).clamp(0, 1) for frame in content]
    tinted = [0.95 * frame for frame in content]
    assert 0 < measured("lpips_content", clip, tinted).value < measured("lpips_content", clip, noisy).value
    assert list(METRICS["lpips_content"].samples(Footage(clip, noisy))) == [0, 1, 3, 4, 6, 7]


def test_adjacent_frames_are_compared_along_the_motion_where_they_can_be_traced(weights):
    clip = TranslationClip((2.0, 1.0), length=3)
    content = [clip.frame(index) for index in range(3)]
    assert measured("lpips_adjacent_warped", clip).value == pytest.approx(0, abs=1e-6)
    flickering = [(frame + 0.1 * (-1) ** index).clamp(0, 1) for index, frame in enumerate(content)]
    found = METRICS["lpips_adjacent_warped"].samples(Footage(clip, flickering))
    motion = clip.motion(0)
    warped, inside = warp(flickering[1].double(), motion.flow)
    mask = motion.mask * inside.float()
    mixed = mask * warped.float() + (1 - mask) * flickering[0]
    assert found[0] == pytest.approx(by_hand(flickering[0], mixed, weights), rel=1e-4)
    blind = FixedClip(content, [Motion(still().flow, 0 * still().mask)] * 2)
    with pytest.raises(MetricUnavailable, match="no pixel can be traced"):
        measured("lpips_adjacent_warped", blind)


@pytest.mark.usefixtures("weights")
def test_small_frames_give_a_reason():
    frame = torch.rand(1, 3, 15, 40)
    with pytest.raises(MetricUnavailable, match="at least 16x16"):
        measured("lpips_content", FixedClip([frame] * 2, [still((15, 40))]))


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_or_library_there_is_a_remedy_and_nothing_is_downloaded(name, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    clip = TranslationClip(length=2)
    footage = Footage(clip, [clip.frame(0), clip.frame(1)])
    assert measure_footage(footage, [name])[name] == Absent(
        "LPIPS needs torchvision's VGG-16 (528 MB), which is not in its cache: reconet-bench train --download-vgg"
    )
    monkeypatch.setattr(perceptual_distance.importlib.util, "find_spec", lambda name: None)
    assert measure_footage(footage, [name])[name] == Absent(
        "lpips is not installed: pip install 'reconet-bench[perceptual]'"
    )


def test_a_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    frame = torch.rand(1, 3, 16, 16)
    with pytest.raises(MetricUnavailable, match=r"vgg16-397923af.pth cannot be read .* delete it and fetch it again"):
        lpips(frame, frame)
