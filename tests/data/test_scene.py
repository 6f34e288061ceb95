"""The renderer: its flow, occlusions and light against an independent account of where every point is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reconet_bench.core.ops import warp
from reconet_bench.data.clip import composed_motion
from reconet_bench.data.scene import MIXED, Layer, Light, Outline, Pose, Scene, SceneClip, Wave

SIZE = (48, 72)


def smooth(phase: float, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A soft texture with no two places alike, larger than the frame."""
    y, x = np.mgrid[: 2 * size[0], : 2 * size[1]]
    channels = [
        0.5 + 0.25 * np.sin(0.21 * x + 0.13 * y + phase + k) + 0.2 * np.cos(0.17 * y - 0.11 * x * (k + 1))
        for k in range(3)
    ]
    return torch.from_numpy(np.stack(channels)[None]).float()


def specks(seed: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """8-bit random texels, larger than the frame."""
    values = np.random.default_rng(seed).integers(0, 256, (1, 3, 2 * size[0], 2 * size[1]))
    return torch.from_numpy(values).float() / 255


def turning_scene(samples: int = 1) -> Scene:
    """A camera that pans, turns and zooms over a background and two cut-outs that move on their own."""
    disc = Layer(
        smooth(1), Pose(Wave(-0.2, 0.04), Wave(0.05, -0.02), Wave(0, 0.05), Wave(0, 0.02)), 1.0, Outline(0.25, 1.2)
    )
    star = Layer(
        smooth(2),
        Pose(Wave(0.25, -0.05), Wave(0, 0, 0.1, 7), Wave(0.3, -0.04)),
        0.8,
        Outline(0.2, 1.0, ((5, 0.2, 0.4),)),
    )
    camera = Pose(Wave(0, 0.02), Wave(0, -0.01), Wave(0, 0.01), Wave(0, 0.015))
    return Scene((Layer(smooth(0), depth=1.5), disc, star), camera, samples=samples)


def place(
    scene: Scene, layer: Layer, time: float, x: float, y: float, size: tuple[int, int] = SIZE
) -> tuple[float, float]:
    """Where a layer's own point (pixels from its centre) is on the screen: step by step, no matrices."""
    height, width = size
    angle, zoom = layer.pose.angle.at(time), math.exp(layer.pose.zoom.at(time))
    x, y = zoom * (x * math.cos(angle) - y * math.sin(angle)), zoom * (x * math.sin(angle) + y * math.cos(angle))
    x += height * (layer.pose.x.at(time) - scene.camera.x.at(time) / layer.depth)
    y += height * (layer.pose.y.at(time) - scene.camera.y.at(time) / layer.depth)
    angle, zoom = scene.camera.angle.at(time), math.exp(scene.camera.zoom.at(time))
    x, y = zoom * (x * math.cos(angle) - y * math.sin(angle)), zoom * (x * math.sin(angle) + y * math.cos(angle))
    return x + (width - 1) / 2, y + (height - 1) / 2


def origin(
    scene: Scene, layer: Layer, time: float, x: float, y: float, size: tuple[int, int] = SIZE
) -> tuple[float, float]:
    """The inverse of :func:`place`."""
    height, width = size
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    angle, zoom = -scene.camera.angle.at(time), math.exp(-scene.camera.zoom.at(time))
    x, y = zoom * (x * math.cos(angle) - y * math.sin(angle)), zoom * (x * math.sin(angle) + y * math.cos(angle))
    x -= height * (layer.pose.x.at(time) - scene.camera.x.at(time) / layer.depth)
    y -= height * (layer.pose.y.at(time) - scene.camera.y.at(time) / layer.depth)
    angle, zoom = -layer.pose.angle.at(time), math.exp(-layer.pose.zoom.at(time))
    return zoom * (x * math.cos(angle) - y * math.sin(angle)), zoom * (x * math.sin(angle) + y * math.cos(angle))


def seen(scene: Scene, time: float, x: float, y: float) -> int:
    """Number of the front layer at a point of the screen."""
    for number in range(len(scene.layers) - 1, 0, -1):
        layer = scene.layers[number]
        u, v = (c / SIZE[0] for c in origin(scene, layer, time, x, y))
        u /= layer.outline.aspect
        edge = layer.outline.radius * (
            1 + sum(a * math.cos(n * math.atan2(v, u) + p) for n, a, p in layer.outline.waves)
        )
        if math.hypot(u, v) <= edge:
            return number
    return 0


@pytest.mark.parametrize("step", [1, 5])
def test_flow_and_occlusion_equal_a_brute_force_account(step):
    scene = turning_scene()
    flow, occluded, invalid = SceneClip("s", scene, SIZE, 6).ground_truth(0, step)
    assert not invalid.any()  # hard edges: every pixel shows one layer
    height, width = SIZE
    hidden = np.zeros(SIZE, bool)
    kinds = set()
    for row in range(height):
        for column in range(width):
            number = seen(scene, 0, column, row)
            layer = scene.layers[number]
            x, y = place(scene, layer, step, *origin(scene, layer, 0, column, row))
            assert flow[0, :, row, column].tolist() == pytest.approx([x - column, y - row], abs=1e-4)
            corners = {(a, b) for a in (math.floor(x), math.ceil(x)) for b in (math.floor(y), math.ceil(y))}
            corners = {(a, b) for a, b in corners if 0 <= a < width and 0 <= b < height}
            hidden[row, column] = any(seen(scene, step, a, b) != number for a, b in corners)
            kinds.add((number, hidden[row, column]))
    assert len(kinds) == 6  # each layer has hidden and open pixels
    # A pixel on the very edge of an outline may fall to either side in single precision.
    assert (hidden != occluded[0, 0].numpy()).sum() <= 2


def test_the_exact_flow_explains_the_frames():
    clip = SceneClip("s", turning_scene(samples=2), SIZE, 6)
    for step in (1, 5):
        pair = clip.pair(0, step)
        moved, _ = warp(pair.second, pair.motion.flow)
        residual = (moved - pair.first).abs() * pair.motion.mask
        assert residual.max() < 0.03  # bilinear sampling and 8 bits
        assert residual.sum() / pair.motion.mask.sum() / 3 < 0.006
        assert 0.3 < pair.motion.mask.mean() < 0.98
        assert ((pair.second - pair.first).abs() * pair.motion.mask).max() > 0.2


def test_whole_pixel_translation_leaves_no_residual():
    height = SIZE[0]
    disc = Layer(specks(1), Pose(Wave(0, -3 / height), Wave(0, 2 / height)), outline=Outline(0.3))
    scene = Scene((Layer(specks(0)), disc), Pose(Wave(0, -2 / height), Wave(0, 1 / height)), samples=1)
    clip = SceneClip("s", scene, SIZE, 6)
    for step in (1, 5):
        pair = clip.pair(0, step)
        # Whole pixels but for rounding: 2 right and 1 up by the camera, the disc 1 left and 1 down.
        assert sorted({tuple(v) for v in pair.motion.flow[0].round(decimals=3).flatten(1).t().tolist()}) == [
            (-step, step),
            (2 * step, -step),
        ]
        moved, _ = warp(pair.second, pair.motion.flow.round())
        assert ((moved - pair.first).abs() * pair.motion.mask).max() < 1e-6
        assert pair.motion.mask.mean() > 0.5


def test_long_term_flow_equals_the_chained_steps():
    clip = SceneClip("s", turning_scene(), SIZE, 8)
    direct, chained = clip.motion(1, 5), composed_motion(clip, 1, 5)
    both = (direct.mask * chained.mask).expand_as(direct.flow) == 1
    assert both.float().mean() > 0.2
    torch.testing.assert_close(direct.flow[both], chained.flow[both], atol=2e-3, rtol=0)


def test_what_hides_and_reappears_is_traceable_though_the_chained_steps_lose_it():
    disc = Layer(smooth(1), Pose(Wave(-0.3, 0.12)), outline=Outline(0.1))
    post = Layer(smooth(2), outline=Outline(0.4, 0.4))
    clip = SceneClip("s", Scene((Layer(smooth(0)), disc, post), samples=1), SIZE, 6)
    centre = (slice(22, 26), slice(int(35.5 - 0.3 * 48) - 1, int(35.5 - 0.3 * 48) + 2))
    long = clip.motion(0, 5)
    assert long.mask[0, 0][centre].min() == 1
    assert long.flow[0, 0][centre].mean() == pytest.approx(5 * 0.12 * 48, abs=1e-3)
    assert composed_motion(clip, 0, 5).mask[0, 0][centre].max() == 0
    moved, _ = warp(clip.frame(5), long.flow)
    assert ((moved - clip.frame(0)).abs()[(..., *centre)]).max() < 0.02
    # While it is behind the post it cannot be traced.
    assert clip.motion(0, 2).mask[0, 0, 23, centre[1].start + 1] == 0


def test_anti_aliased_edges_are_invalid_and_hard_ones_are_not():
    soft, hard = (SceneClip("s", turning_scene(samples), SIZE, 3) for samples in (2, 1))
    _, _, invalid = soft.ground_truth(0)
    assert 0.01 < invalid.float().mean() < 0.2
    assert (soft.motion(0).mask[invalid] == 0).all()
    assert (soft.ground_truth(0)[0].expand(1, 2, *SIZE)[:, 0][invalid[:, 0]] == 0).all()
    assert not hard.ground_truth(0)[2].any()
    assert soft._rendered(0)[1].min() == MIXED


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_what_stands_in_the_middle_is_drawn_in_the_middle(samples):
    disc = Layer(torch.ones(1, 3, 40, 40), outline=Outline(0.3))
    frame = SceneClip("s", Scene((Layer(torch.zeros(1, 3, 40, 40)), disc), samples=samples), SIZE, 1).frame(0)
    assert torch.equal(frame, frame.flip(2))
    assert torch.equal(frame, frame.flip(3))
    assert float(frame[0, 0].sum()) == pytest.approx(math.pi * (0.3 * SIZE[0]) ** 2, rel=0.02)


def test_motion_out_of_the_frame_is_not_traceable():
    scene = Scene((Layer(smooth(0)),), Pose(Wave(0, 6 / SIZE[0])), samples=1)  # the picture goes 6 pixels to the left
    mask = SceneClip("s", scene, SIZE, 3).motion(0).mask[0, 0]
    assert mask[:, :5].max() == 0
    assert mask[:, 7:].min() == 1


def test_frames_are_8_bit_and_the_same_each_time():
    scene = Scene(turning_scene().layers, noise=0.02, seed=3)
    first, again = SceneClip("s", scene, SIZE, 3), SceneClip("s", scene, SIZE, 3)
    for index in (2, 0, 1):
        frame = first.frame(index)
        assert frame.shape == (1, 3, *SIZE)
        assert frame.dtype == torch.float32
        assert torch.equal(frame.mul(255).round().div(255), frame)
        assert 0 <= frame.min() <= frame.max() <= 1
    for index in (0, 1, 2):
        assert torch.equal(first.frame(index), again.frame(index))
    assert not torch.equal(first.frame(0), first.frame(1))


def test_noise_comes_from_the_seed_and_differs_from_frame_to_frame():
    def still(noise: float, seed: int) -> SceneClip:
        return SceneClip("s", Scene((Layer(smooth(0)),), noise=noise, seed=seed, samples=1), SIZE, 2)

    clean = still(0, 0)
    assert torch.equal(clean.frame(0), clean.frame(1))
    assert torch.equal(clean.frame(0), still(0, 1).frame(0))
    noises = [still(0.02, seed).frame(index) - clean.frame(0) for seed, index in ((0, 0), (0, 1), (1, 0))]
    for noise in noises:
        assert float(noise.std()) == pytest.approx(0.02, rel=0.1)
        assert abs(float(noise.mean())) < 0.002
    for one, other in ((0, 1), (0, 2)):
        correlation = np.corrcoef(noises[one].flatten(), noises[other].flatten())[0, 1]
        assert abs(correlation) < 0.05


def test_exposure_and_spot_change_the_light_and_not_the_flow():
    base = Layer(torch.full((1, 3, 40, 40), 0.5))
    dark = SceneClip("s", Scene((base,), light=Light(Wave(0.6, 0.2))), SIZE, 3)
    torch.testing.assert_close(dark.frame(0), torch.full((1, 3, *SIZE), 0.3), atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(dark.frame(1), torch.full((1, 3, *SIZE), 0.4), atol=0.5 / 255 + 1e-6, rtol=0)
    assert dark.motion(0).flow.abs().max() < 1e-6
    spot = SceneClip(
        "s", Scene((base,), light=Light(strength=0.8, x=Wave(0.25, 0.1), y=Wave(-0.1), radius=0.2)), SIZE, 3
    )
    for index in range(3):
        row, column = divmod(int(spot.frame(index)[0, 0].argmax()), SIZE[1])
        assert (column - 35.5) / 48 == pytest.approx(0.25 + 0.1 * index, abs=0.06)
        assert (row - 23.5) / 48 == pytest.approx(-0.1, abs=0.06)
        assert spot.frame(index).max() == pytest.approx(0.9, abs=0.01)


def test_a_wave_is_base_drift_and_sine():
    assert Wave(1.0, 0.5).at(4) == 3
    assert Wave(amplitude=2, period=8).at(2) == pytest.approx(2)
    assert Wave(amplitude=2, period=8, phase=math.pi / 2).at(4) == pytest.approx(-2)
