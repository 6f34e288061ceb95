"""The built-in clips: exact motion, any size, the same bytes each time."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import luminance, warp
from reconet_bench.data.scene import Light, SceneClip
from reconet_bench.data.synthetic import CLIPS, Textures, random_scene, synthetic_clip

RENDERED = ("carousel", "lantern", "rush", "stroll")
SIZE = (72, 112)


def digest(clip) -> str:
    frames = torch.cat([clip.frame(index) for index in range(len(clip))])
    return hashlib.sha256(frames.numpy().tobytes()).hexdigest()


def residuals(pair) -> tuple[float, float, float]:
    """Mean difference on traceable pixels under the true flow, under none, and the traceable share."""
    moved, _ = warp(pair.second, pair.motion.flow)
    share = pair.motion.mask.mean()
    true, still = (
        float(((other - pair.first).abs() * pair.motion.mask).mean() / share) for other in (moved, pair.second)
    )
    return true, still, float(share)


def test_the_clips_are_named_and_described():
    assert set(CLIPS) == {*RENDERED, "motorcycle"}
    assert all(len(line) > 20 for line in CLIPS.values())


@pytest.mark.parametrize("name", RENDERED)
def test_true_flow_explains_a_clip(name):
    clip = synthetic_clip(name, SIZE, 7)
    assert (clip.name, clip.source, len(clip), clip.size) == (name, "synthetic", 7, SIZE)
    assert clip.starts(5) == [0, 1]
    # Light and noise are no motion: without them the flow must account for most of it.
    even = SceneClip(name, replace(clip.scene, light=Light(), noise=0.0), SIZE, 7)
    for step, most, least in ((1, 0.45, 0.6), (5, 0.35, 0.2)):  # what bilinear sampling blurs is left
        true, still, share = residuals(even.pair(1, step))
        assert true < most * still, (step, true, still)
        assert least < share < 0.99
        lit, lit_still, lit_share = residuals(clip.pair(1, step))
        assert true < lit < lit_still
        assert lit_share == share


@pytest.mark.parametrize("name", RENDERED)
def test_a_clip_is_the_same_bytes_each_time_and_other_noise_for_another_seed(name):
    assert digest(synthetic_clip(name, (40, 48), 2)) == digest(synthetic_clip(name, (40, 48), 2))
    assert digest(synthetic_clip(name, (40, 48), 2, seed=1)) != digest(synthetic_clip(name, (40, 48), 2))


@pytest.mark.parametrize("size", [(33, 70), (64, 64), (90, 17)])
@pytest.mark.parametrize("name", RENDERED)
def test_any_size(name, size):
    clip = synthetic_clip(name, size, 2)
    frame, motion = clip.frame(1), clip.motion(0)
    assert frame.shape == (1, 3, *size)
    assert motion.flow.shape == (1, 2, *size)
    assert motion.mask.shape == (1, 1, *size)
    assert torch.equal(frame.mul(255).round().div(255), frame)
    assert motion.mask.mean() > 0.3


def test_motion_grows_with_the_frame():
    """The same film at twice the size has flow of twice the length."""
    small, large = (synthetic_clip("stroll", size, 2).motion(0).flow[0, 0] for size in ((40, 60), (80, 120)))
    assert float(large.median() / small.median()) == pytest.approx(2, rel=0.01)
    assert small.median() < -0.1  # the camera pans right, the wall goes left


def test_length_does_not_change_the_frames():
    short, long = synthetic_clip("carousel", (40, 48), 2), synthetic_clip("carousel", (40, 48), 9)
    assert len(long) == 9
    assert torch.equal(short.frame(1), long.frame(1))


def test_lantern_changes_its_light_where_stroll_does_not():
    """Luminance along the motion: constant under even light, and not under a lamp that sweeps across."""
    change = {}
    for name in ("stroll", "lantern"):
        clip = synthetic_clip(name, SIZE, 6)
        pair = clip.pair(0, 5)
        moved, _ = warp(luminance(pair.second, clip.luminance), pair.motion.flow)
        difference = (moved - luminance(pair.first, clip.luminance)) * pair.motion.mask
        # Averages over 8x8 blocks: noise and texture drop out, light stays.
        change[name] = float(torch.nn.functional.avg_pool2d(difference, 8).abs().mean())
    assert change["stroll"] < 0.01
    assert change["lantern"] > 5 * change["stroll"]


def test_unknown_clip_suggests_a_name():
    with pytest.raises(
        UnknownName,
        match=r"unknown built-in clip 'carusel': did you mean 'carousel'\? known: carousel, lantern, motorcycle",
    ):
        synthetic_clip("carusel")


def test_motorcycle_is_two_real_frames_with_true_flow():
    clip = synthetic_clip("motorcycle")
    assert (len(clip), clip.starts(), clip.starts(5)) == (2, [0], [])
    pair = clip.pair(0)
    assert pair.first.shape == (1, 3, *clip.size)
    true, still, share = residuals(pair)
    assert true < 0.25 * still, (true, still)
    assert 0.6 < share < 0.95
    assert pair.motion.flow.isfinite().all()
    assert pair.motion.flow[:, 1].abs().max() == 0  # a rectified pair
    assert -100 < pair.motion.flow[:, 0].min() < -20
    assert pair.motion.flow[:, 0].max() <= 0
    # Traceable pixels stay in the frame, and hidden ones differ more.
    columns = torch.arange(clip.size[1]) + pair.motion.flow[0, 0]
    assert (columns[pair.motion.mask[0, 0] == 1] > -0.51).all()
    moved, _ = warp(pair.second, pair.motion.flow)
    hidden = (pair.motion.mask == 0) & (pair.motion.flow[:, :1] < 0) & (columns >= 0)
    error = (moved - pair.first).abs().mean(1, keepdim=True)
    assert error[hidden].mean() > 3 * error[pair.motion.mask == 1].mean()


def test_what_lies_behind_another_surface_of_motorcycle_is_not_traceable():
    """Row by row in NumPy: of what lands on one pixel, that within a pixel of the nearest surface is seen."""
    motion = synthetic_clip("motorcycle").motion(0)
    disparity, mask = -motion.flow[0, 0].numpy(), motion.mask[0, 0].numpy()
    for row in range(0, len(mask), 100):
        nearest: dict[int, float] = {}
        landing = np.round(np.arange(mask.shape[1], dtype=np.float32) - disparity[row]).astype(int)
        for place, depth in zip(landing, disparity[row], strict=True):
            nearest[place] = max(depth, nearest.get(place, 0.0))
        seen = [
            depth > 0 and place >= 0 and depth >= nearest[place] - 1
            for place, depth in zip(landing, disparity[row], strict=True)
        ]
        assert np.array_equal(seen, mask[row] == 1), row


@pytest.mark.parametrize(("index", "step"), [(1, 1), (0, 2), (0, 5)])
def test_motorcycle_has_no_other_motion(index, step):
    with pytest.raises(
        DataError, match=f"motorcycle has two frames: there is no motion from frame {index} over {step}"
    ):
        synthetic_clip("motorcycle").motion(index, step)


def test_textures_come_from_a_folder_below_which_there_are_images(tmp_path):
    with pytest.raises(DataError, match="no images in"):
        Textures(tmp_path)
    flat = np.zeros((60, 90, 3), np.uint8)
    flat[..., 0] = 200
    write_image(tmp_path / "deep" / "a.PNG", flat)
    (tmp_path / "notes.txt").write_text("x")
    textures = Textures(tmp_path)
    assert [path.name for path in textures.names] == ["a.PNG"]
    for seed in range(4):
        texture = textures.draw(np.random.default_rng(seed), 100)
        assert min(texture.shape[-2:]) >= 100
        torch.testing.assert_close(texture[0, :, 50, 50], torch.tensor([200 / 255, 0, 0]), atol=0.01, rtol=0)


def test_random_scenes_come_from_the_generator_alone():
    textures = Textures()
    scenes = [random_scene(np.random.default_rng(seed), textures, 32) for seed in (5, 5, 6)]
    assert scenes[0].camera == scenes[1].camera != scenes[2].camera
    assert scenes[0].seed == scenes[1].seed != scenes[2].seed
    assert torch.equal(scenes[0].layers[0].texture, scenes[1].layers[0].texture)
