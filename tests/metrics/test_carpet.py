"""The carpet: a pattern that repeats with the strides of a network is seen, other texture is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_metrics import FixedClip, measured, still
from torch import nn

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.images import read_image
from reconet_bench.core.ops import from_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.carpet import LEVELS, SIDE, flattest, repeating_variance

SIZE = (256, 320)
GRID = [(top, left) for top in range(0, 193, 32) for left in range(0, 257, 32)]


def noise(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size)


def waves(period: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A wave across and one down, of mean square one together."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.cos(2 * np.pi * x / period) + np.sin(2 * np.pi * y / period)


def contrast(grey: np.ndarray) -> float:
    return float(np.sqrt(max(repeating_variance(grey, GRID), 0)))


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_wave_that_repeats_has_its_own_contrast(period):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    wave = np.cos(2 * np.pi * (x + y) / period)
    expected = 0.02 * LEVELS * np.sqrt((wave**2).mean())
    assert contrast(0.5 + 0.02 * wave) == pytest.approx(expected, rel=0.01)


def test_texture_that_does_not_repeat_adds_nothing_on_average():
    plain = [repeating_variance(0.5 + 0.1 * noise(seed), GRID) for seed in range(40)]
    assert abs(np.mean(plain)) < 3 * np.std(plain) / np.sqrt(40)
    assert min(plain) < 0
    woven = [repeating_variance(0.5 + 0.1 * noise(seed) + 0.02 * waves(4), GRID) for seed in range(8)]
    assert np.sqrt(np.mean(woven)) == pytest.approx(0.02 * LEVELS, rel=0.05)
    smooth = 0.2 * cv2.GaussianBlur(noise(3), (0, 0), 3)
    assert contrast(0.5 + smooth) < 0.5


@pytest.mark.parametrize("period", [5, 7, 9.5])
def test_another_period_is_none_of_a_stride(period):
    assert contrast(0.5 + 0.05 * waves(period)) < 1


def test_the_pattern_may_differ_from_place_to_place():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    shifted = np.cos(2 * np.pi * (x + 4 * (x // SIDE)) / 8)
    apart = [(top, left) for top in range(0, 193, 64) for left in range(0, 257, 64)]
    expected = LEVELS * 0.02 * np.sqrt(0.5)
    assert np.sqrt(repeating_variance(0.5 + 0.02 * shifted, apart)) == pytest.approx(expected, rel=0.03)
    assert y.shape == SIZE


def test_it_equals_a_loop_over_pairs_of_quarters():
    grey = 0.5 + 0.05 * noise(5) + 0.03 * waves(8)
    places = [(0, 0), (32, 64), (192, 256), (96, 32)]
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 8)
    products = []
    for top, left in places:
        tiles = []
        for down, right in ((0, 0), (0, 32), (32, 0), (32, 32)):
            tile = np.zeros((8, 8))
            for row in range(32):
                for column in range(32):
                    tile[row % 8, column % 8] += detail[top + down + row, left + right + column] / 16
            tiles.append(tile - tile.mean())
        for one in range(4):
            for other in range(4):
                if one != other:
                    products.append((tiles[one] * tiles[other]).mean())
    assert repeating_variance(grey, places) == pytest.approx(LEVELS**2 * np.mean(products), rel=1e-9)


def test_the_flattest_quarter_of_the_content_is_looked_at():
    grey = np.full((256, 256), 0.5)
    grey[:, 128:] += 0.2 * noise(6, (256, 128))
    places = flattest(grey, 0.25)
    assert len(places) == 12
    assert all(left + SIDE <= 128 + 32 for _, left in places)
    with pytest.raises(MetricUnavailable, match="100x80 has 2 places of 64x64, and 24 are needed"):
        flattest(np.zeros((80, 100)), 0.25)


def test_a_network_of_stride_four_weaves_a_carpet_into_flat_content():
    """Random weights: the answer to one colour repeats every four pixels, whatever the network is."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4)
    )
    flat = torch.full((1, 3, 256, 320), 0.4) + 0.001 * torch.rand(1, 3, 256, 320)
    clip = FixedClip([flat, flat], [still(SIZE)])
    with torch.no_grad():
        answer = network(flat)
        painted = (0.5 + 0.5 * (answer - answer.mean())).clamp(0, 1)
    found = measured("carpet", clip, [painted, painted])
    weights = torch.tensor(clip.luminance).view(1, 3, 1, 1)
    inside = (painted * weights).sum(1)[0, 64:192, 64:192]
    assert found.value == pytest.approx(LEVELS * float(inside.std()), rel=0.05)
    assert found.value > 1
    assert measured("carpet", clip).value < 0.1


def test_at_most_six_frames_are_looked_at_and_their_places_are_those_of_the_content():
    clip = synthetic_clip("carousel", (160, 256), 9)
    frames = [clip.frame(index).flip(1) for index in range(9)]
    samples = METRICS["carpet"].samples(Footage(clip, frames))
    assert list(samples) == [0, 2, 3, 5, 6, 8]
    grey = np.tensordot(clip.luminance, clip.frame(3)[0].numpy(), 1)
    painted = np.tensordot(clip.luminance, frames[3][0].numpy(), 1)
    assert samples[3] == pytest.approx(repeating_variance(painted, flattest(grey, 0.25)), rel=1e-4, abs=1e-4)


def test_the_dissertations_network_is_the_worst_of_four_looks(shared_data: Path):
    content = read_image(shared_data / "sintel" / "training" / "clean" / "alley_2" / "frame_0002.png")
    clip = FixedClip([from_uint8(content)] * 2, [still(content.shape[:2])])

    def value(name: str) -> float:
        look = from_uint8(read_image(shared_data / "looks" / f"{name}.jpg"))
        return measured("carpet", clip, [look, look]).value

    found = {name: value(name) for name in ("shipped_reconet", "taps_balanced", "peer_rain_princess", "peer_wave")}
    assert max(found, key=found.__getitem__) == "shipped_reconet"
    assert found["taps_balanced"] < 0.65 * found["shipped_reconet"]


@pytest.mark.parametrize("name", ["starry_night", "wave", "the_scream"])
def test_paintings_have_little_of_it(shared_data: Path, name):
    painting = cv2.cvtColor(read_image(shared_data / "styles" / f"{name}.jpg"), cv2.COLOR_RGB2GRAY) / 255.0
    scale = 384 / min(painting.shape)
    small = cv2.resize(painting, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert repeating_variance(small, flattest(small, 1.0)) < 1.5**2
