"""Ghosting and texture lock: known mixing is recovered, averaging is told from blending along the motion."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TranslationClip
from scipy.ndimage import gaussian_filter
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import warp
from reconet_bench.data.clip import Clip
from reconet_bench.data.selection import Selection
from reconet_bench.data.synthetic import RENDERED, synthetic_clip
from reconet_bench.metrics import ghosting
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.statistics import Estimate, estimate
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models

GHOSTING, LOCK = METRICS["ghosting"], METRICS["texture_lock"]


def measured(metric, clip: Clip, frames: list[Tensor]) -> Estimate:
    return estimate(metric, list(metric.samples(Footage(clip, frames)).values()))


def content(clip: Clip) -> list[Tensor]:
    return [clip.frame(index) for index in range(len(clip))]


def eight_bits(frame: Tensor) -> Tensor:
    return frame.clamp(0, 1).mul(255).round().div(255)


def average(frames: list[Tensor], strength: float) -> list[Tensor]:
    """Each frame mixed with the one shown before it, without motion."""
    shown = frames[:1]
    for frame in frames[1:]:
        shown.append(eight_bits(strength * shown[-1] + (1 - strength) * frame))
    return shown


def double_exposure(frames: list[Tensor], strength: float) -> list[Tensor]:
    """Each frame mixed with the plain frame before it, so that the strength is known."""
    return [frames[0], *((1 - strength) * b + strength * a for a, b in itertools.pairwise(frames))]


def motion_back(clip: Clip, index: int) -> tuple[Tensor, Tensor]:
    """Flow from frame ``index + 1`` to ``index`` and where it can be trusted: the forward motion, inverted."""
    motion = clip.motion(index)
    back = -motion.flow
    for _ in range(20):
        back = -warp(motion.flow.double(), back)[0].float()
    there, inside = warp(torch.cat((motion.flow, motion.mask), 1).double(), back)
    agrees = (there[:, :2] + back).norm(dim=1, keepdim=True) < 0.3
    return back, (agrees & (there[:, 2:] > 1 - 1e-4) & (inside > 0)).float()


def blend(clip: Clip, frames: list[Tensor], strength: float) -> list[Tensor]:
    """Each frame mixed with the one shown before it, warped along the motion, where it can be traced."""
    shown = frames[:1]
    for index, frame in enumerate(frames[1:]):
        flow, mask = motion_back(clip, index)
        warped, _ = warp(shown[-1].double(), flow)
        shown.append(eight_bits(frame + strength * mask * (warped.float() - frame)))
    return shown


def painted(model: str, clip: Clip) -> list[Tensor]:
    """What a shipped model makes of a clip, at 8 bits."""
    network = load_checkpoint(shipped_models()[model]).network
    with torch.inference_mode():
        return [eight_bits(network(frame)) for frame in content(clip)]


# --- known answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
def test_a_double_exposure_has_its_strength(strength):
    clip = synthetic_clip("carousel", (96, 160), 4)
    assert measured(GHOSTING, clip, double_exposure(content(clip), strength)).value == pytest.approx(strength, abs=1e-5)


@pytest.mark.parametrize("style", [lambda x: 1 - x, lambda x: x.flip(1) ** 2, lambda x: x.sqrt()])
def test_a_change_of_colour_is_no_ghost_and_hides_none(style):
    clip = synthetic_clip("rush", (96, 160), 7)
    frames = [style(frame) for frame in content(clip)]
    found = [measured(GHOSTING, clip, double_exposure(frames, strength)).value for strength in (0, 0.2, 0.4, 0.6)]
    assert found == pytest.approx([0, 0.2, 0.4, 0.6], abs=0.06)
    assert found == sorted(found)


def test_a_ghost_of_the_frame_after_is_not_one_of_the_frame_before():
    clip = synthetic_clip("carousel", (96, 160), 5)
    frames = content(clip)
    ahead = [0.6 * a + 0.4 * b for a, b in itertools.pairwise(frames)] + frames[-1:]
    assert measured(GHOSTING, clip, ahead).value < 0.02


def test_it_equals_a_regression_written_without_looking_at_it():
    """Smoothing and gradients by SciPy and NumPy, the warp pixel by pixel, the regression by least squares."""
    clip = synthetic_clip("rush", (48, 64), 3, seed=4)
    generator = torch.Generator().manual_seed(2)
    frames = [(frame.flip(1) + 0.1 * torch.randn(frame.shape, generator=generator)) for frame in content(clip)]
    frames = double_exposure(frames, 0.3)
    weights = np.array(clip.luminance)

    def grey(frame: Tensor) -> np.ndarray:
        return np.tensordot(weights, frame[0].double().numpy(), 1)

    def slopes(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
        padded = np.pad(gaussian_filter(picture, 1.0, mode="mirror"), 1, mode="reflect")
        down, right = np.gradient(padded)
        return np.concatenate([part[1:-1, 1:-1][where] for part in (right, down)])

    expected = {}
    for index in range(2):
        flow = clip.motion(index).flow[0].double().numpy()
        mask = clip.motion(index).mask[0, 0].numpy()
        now = grey(clip.frame(index + 1))
        mirrored, where = np.zeros((48, 64)), np.zeros((48, 64), bool)
        for row in range(48):
            for column in range(64):
                x, y = column - flow[0, row, column], row - flow[1, row, column]
                inside = 0 <= x <= 63 and 0 <= y <= 47
                x, y = min(max(x, 0), 63), min(max(y, 0), 47)
                left, top = min(int(x), 62), min(int(y), 46)
                across = now[top : top + 2, left] * (1 - x + left) + now[top : top + 2, left + 1] * (x - left)
                mirrored[row, column] = across[0] * (1 - y + top) + across[1] * (y - top)
                where[row, column] = inside and mask[row, column] == 1 and np.hypot(*flow[:, row, column]) > 1
        assert where.sum() > 300
        causes = np.stack([slopes(picture, where) for picture in (now, grey(clip.frame(index)), mirrored)], 1)
        (own, before, mirror), *_ = np.linalg.lstsq(causes, slopes(grey(frames[index + 1]), where), rcond=None)
        expected[index] = (before - mirror) / (abs(own) + abs(before - mirror))
    assert all(0.1 < value < 0.5 for value in expected.values())
    assert GHOSTING.samples(Footage(clip, frames)) == pytest.approx(expected, abs=1e-4)


def test_of_a_large_frame_some_pixels_are_drawn_the_same_ones_each_time(monkeypatch):
    def clip() -> Clip:  # anew, for what is known of a clip is kept with it
        return synthetic_clip("rush", (96, 160), 4)

    whole = GHOSTING.samples(Footage(clip(), double_exposure(content(clip()), 0.4)))
    monkeypatch.setattr(ghosting, "MOST_PIXELS", 2000)
    few, again = (GHOSTING.samples(Footage(clip(), double_exposure(content(clip()), 0.4))) for _ in range(2))
    assert few == again != whole
    assert few == pytest.approx(whole, abs=1e-4), "an exact mixture is one at any pixels"


def test_where_nothing_moves_there_is_a_reason():
    clip = TranslationClip((0.5, 0.0), length=4)
    for metric, reason in ((GHOSTING, "no ghost could be seen"), (LOCK, "texture that moves cannot be told from")):
        with pytest.raises(MetricUnavailable, match=reason):
            metric.samples(Footage(clip, content(clip)))


def test_frames_of_one_colour_give_a_reason():
    clip = synthetic_clip("rush", (96, 160), 3)
    grey = [torch.full((1, 3, 96, 160), 0.5)] * 3
    with pytest.raises(MetricUnavailable, match="have no edges where the content moves"):
        GHOSTING.samples(Footage(clip, grey))
    with pytest.raises(MetricUnavailable, match="nothing that changes moves"):
        LOCK.samples(Footage(clip, grey))


# --- texture lock ---------------------------------------------------------------------------------------


def test_texture_that_moves_sticks_or_is_new_each_time_reads_nought_one_and_a_half():
    clip = TranslationClip((3.0, 2.0), length=8, size=(64, 96))
    generator = torch.Generator().manual_seed(5)
    noise = [torch.rand(1, 3, 64, 96, generator=generator) for _ in range(8)]
    assert measured(LOCK, clip, content(clip)).value == pytest.approx(0, abs=1e-9)
    assert measured(LOCK, clip, [noise[0]] * 8).value == 1
    assert measured(LOCK, clip, noise).value == pytest.approx(0.5, abs=0.01)
    stuck = [eight_bits(frame + 0.2 * (noise[0] - 0.5)) for frame in content(clip)]
    assert 0.05 < measured(LOCK, clip, stuck).value < 0.6


def test_texture_lock_equals_a_loop_over_pixels():
    clip = synthetic_clip("carousel", (40, 56), 3)
    frames = [frame.flip(1) ** 2 for frame in content(clip)]
    expected = {}
    for index in range(2):
        flow, mask = clip.motion(index).flow[0].double().numpy(), clip.motion(index).mask[0, 0].numpy()
        now, after = (frames[index + k][0].double().numpy() for k in (0, 1))
        along = screen = 0.0
        for row in range(40):
            for column in range(56):
                dx, dy = flow[:, row, column]
                x, y = column + dx, row + dy
                if np.hypot(dx, dy) <= 1 or mask[row, column] < 1 or not (0 <= x <= 55 and 0 <= y <= 39):
                    continue
                left, top = min(int(x), 54), min(int(y), 38)
                upper = after[:, top, left] * (1 - x + left) + after[:, top, left + 1] * (x - left)
                lower = after[:, top + 1, left] * (1 - x + left) + after[:, top + 1, left + 1] * (x - left)
                there = upper * (1 - y + top) + lower * (y - top)
                along += float(((now[:, row, column] - there) ** 2).sum())
                screen += float(((now[:, row, column] - after[:, row, column]) ** 2).sum())
        expected[index] = along / (along + screen)
    assert LOCK.samples(Footage(clip, frames)) == pytest.approx(expected, rel=1e-4)


# --- really stylised frames -----------------------------------------------------------------------------

MODELS = ("johnson-lite-starry_night", "reconet-lite-starry_night")


def has_no_ghosts_but_gets_them_by_averaging(clip: Clip, frames: list[Tensor]) -> None:
    plain = measured(GHOSTING, clip, frames)
    assert abs(plain.value) < 0.05
    assert plain.high < 0.15
    assert plain.low < 0.01, "the interval says that there may be none"
    blended = measured(GHOSTING, clip, blend(clip, frames, 0.5))
    assert abs(blended.value) < 0.05
    averaged = [measured(GHOSTING, clip, average(frames, strength)) for strength in (0.15, 0.3, 0.5)]
    values = [plain.value, *(one.value for one in averaged)]
    assert values == sorted(values)
    assert averaged[-1].value > 0.3
    assert averaged[-1].low > 0.15


@pytest.mark.parametrize("model", MODELS)
def test_a_shipped_model_has_no_ghosts_averaging_has_and_blending_has_not(model):
    clip = synthetic_clip("rush", (144, 256))
    frames = painted(model, clip)
    has_no_ghosts_but_gets_them_by_averaging(clip, frames)
    ways = (blend(clip, frames, 0.5), frames, average(frames, 0.5), frames[:1] * len(frames))
    values = [measured(LOCK, clip, way).value for way in ways]
    assert values == sorted(values), "what is averaged sticks to the screen, what is blended moves with the scene"
    assert values[-1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", RENDERED)
@pytest.mark.parametrize("model", MODELS)
def test_shipped_models_have_no_ghosts_on_any_built_in_clip(model, name):
    clip = synthetic_clip(name)
    has_no_ghosts_but_gets_them_by_averaging(clip, painted(model, clip))


@pytest.mark.slow
@pytest.mark.parametrize("name", RENDERED)
def test_a_model_trained_for_it_moves_its_texture_with_the_scene(name):
    clip = synthetic_clip(name)
    johnson, reconet = (measured(LOCK, clip, painted(model, clip)).value for model in MODELS)
    assert reconet < 0.7 * johnson


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alley_2", "alley_1", "cave_2", "market_5", "alley_1b"])
def test_on_real_films_too(shared_data: Path, name):
    if name == "alley_1b":
        clip = Selection(frames=6).clip(str(shared_data / "clips" / name))
    else:
        clip = Selection(sintel=shared_data / "sintel").clip(name)
    frames = painted(MODELS[0], clip)
    plain, averaged, blended = (
        measured(GHOSTING, clip, way).value for way in (frames, average(frames, 0.5), blend(clip, frames, 0.5))
    )
    assert abs(plain) < 0.07
    assert abs(blended) < 0.07
    assert averaged > 0.35
