"""Training crops: reproducible by index, and frames, flow and masks in register after every crop and scale."""

from __future__ import annotations

import pytest
import torch
from conftest import TranslationClip

from reconet_bench.core.errors import DataError
from reconet_bench.core.ops import LUMINANCE_ANIMATION, LUMINANCE_CAMERA, warp
from reconet_bench.data.sintel import SintelClip, training_sequences
from reconet_bench.training.crops import ClipCrops, RandomScenes


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def residual(window) -> tuple[float, float]:
    """Largest difference on traceable pixels of the first frame and each later one, under the flow and under none."""
    frames, flows, masks, _ = window
    later = frames[1:]
    moved, _ = warp(later, flows)
    return float(((moved - frames[:1]).abs() * masks).max()), float(((later - frames[:1]).abs() * masks).max())


def check_shapes(window, size: int) -> None:
    frames, flows, masks, _ = window
    assert (frames.shape, flows.shape, masks.shape) == ((3, 3, size, size), (2, 2, size, size), (2, 1, size, size))
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in window)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_a_random_scene_depends_on_seed_and_index_alone():
    data = RandomScenes(32, seed=4)
    third = data[3]
    check_shapes(third, 32)
    data[0]
    assert same(data[3], third)
    assert same(RandomScenes(32, seed=4)[3], third)
    assert not same(RandomScenes(32, seed=5)[3], third)
    assert not same(data[4], third)
    assert not same(RandomScenes(32, seed=5)[2], third)  # nor on their sum


def test_random_scenes_move_as_their_flow_says():
    data = RandomScenes(48, seed=0)
    true = still = 0.0
    for index in range(6):
        frames, flows, masks, _ = data[index]
        moved, _ = warp(frames[1:], flows)
        true += float(((moved - frames[:1]).abs() * masks).mean())
        still += float(((frames[1:] - frames[:1]).abs() * masks).mean())
        assert flows.abs().max() < 48
    assert true < 0.6 * still
    assert data[0][3].tolist() == pytest.approx(LUMINANCE_CAMERA)
    assert data.describe() == {
        "name": "synthetic",
        "textures": "8 photographs of scikit-image",
        "sequences": ["stroll", "carousel", "lantern", "rush"],
    }


@pytest.mark.parametrize("size", [24, 40])
def test_crops_keep_frames_flow_and_masks_in_register(size):
    data = ClipCrops(size, 0, [TranslationClip((2.0, 1.0))])
    flows = set()
    for index in range(12):
        window = data[index]
        check_shapes(window, size)
        moved, still = residual(window)
        assert moved < 0.035  # smooth texture, bilinear sampling
        assert still > 0.2
        assert window[2][0].mean() > 0.7
        assert window[2][1].mean() > 0.2
        # Five steps are five times one, and right stays right.
        torch.testing.assert_close(window[1][1], 5 * window[1][0], atol=1e-4, rtol=1e-4)
        assert float(window[1][0, 0].mean()) == pytest.approx(2 * float(window[1][0, 1].mean()), rel=0.06)
        flows.add(round(float(window[1][0, 0].mean()), 3))
    if size == 24:
        assert len(flows) > 5  # many scales
        assert min(flows) > 2 * 24 / 40 - 0.1
    assert max(flows) <= 2.0


def test_pixels_that_leave_the_crop_are_masked():
    frames, flows, masks, _ = ClipCrops(24, 1, [TranslationClip((2.0, 1.0))])[0]
    shift = float(flows[1, 0].mean())
    assert masks[1, 0, :, 24 - int(shift) :].max() == 0
    assert masks[1, 0, 0, 0] == 1
    assert frames.min() >= 0


def test_a_clip_smaller_than_the_window_is_enlarged():
    window = ClipCrops(64, 0, [TranslationClip((2.0, 1.0))])[0]
    check_shapes(window, 64)
    assert float(window[1][0, 0].mean()) == pytest.approx(2 * 64 / 40, rel=0.03)
    assert residual(window)[0] < 0.035


def test_a_window_depends_on_seed_and_index_alone():
    clips = [TranslationClip((2.0, 1.0)), TranslationClip((-1.0, 1.0), name="other")]
    data = ClipCrops(24, 9, clips)
    second = data[2]
    data[0]
    assert same(data[2], second)
    assert same(ClipCrops(24, 9, clips)[2], second)
    assert not same(ClipCrops(24, 8, clips)[2], second)
    assert not same(ClipCrops(24, 8, clips)[3], second)  # nor on their sum
    assert len({float(data[i][1][0, 0].mean()) > 0 for i in range(12)}) == 2  # both clips are drawn
    assert data[0][3].tolist() == pytest.approx(LUMINANCE_ANIMATION)


def shift_of(window) -> tuple[float, float]:
    """Mean motion to the next frame: tells whose window it is."""
    return tuple(round(float(channel.mean()), 3) for channel in window[1][0])


def test_an_epoch_takes_every_window_once_and_each_epoch_in_its_own_order():
    clips = [TranslationClip((2.0, 1.0), length=6 + number, name=f"clip {number}") for number in range(3)]
    data = ClipCrops(24, 5, clips)
    count = data.describe()["windows"]
    assert count == 1 + 2 + 3
    taken: list[tuple[str, int]] = []

    class Noted(TranslationClip):
        def frame(self, index):
            taken.append((self.name, index))
            return super().frame(index)

    noted = ClipCrops(24, 5, [Noted((2.0, 1.0), length=len(clip), name=clip.name) for clip in clips])
    for index in range(2 * count):
        noted[index]
    starts = taken[::3]
    first, second = starts[:count], starts[count:]
    assert sorted(first) == sorted(second) == sorted((clip.name, start) for clip in clips for start in clip.starts(5))
    assert first != second


def test_a_whole_frame_is_squashed_to_the_square():
    """40x56 to 28: right by a half, down by 0.7, and the whole of it."""
    data = ClipCrops(28, 0, [TranslationClip((2.0, 1.0))], fit="squash")
    for index in range(3):
        window = data[index]
        check_shapes(window, 28)
        assert shift_of(window) == pytest.approx((2 * 28 / 56, 28 / 40))
        assert residual(window)[0] < 0.06
    assert data.describe()["fit"] == "squash"
    assert "fit" not in ClipCrops(28, 0, [TranslationClip((2.0, 1.0))]).describe()


def test_clips_that_are_too_short_are_left_out_and_named_if_none_is_left():
    short, long = TranslationClip(length=5, name="short"), TranslationClip(length=6, name="long")
    data = ClipCrops(24, 0, [short, long])
    assert data.describe() == {"name": "translation", "windows": 1, "sequences": ["long"]}
    with pytest.raises(
        DataError,
        match=r"no clip is long enough to train on \(short: 5 frames\): give clips with at least 6 consecutive frames",
    ):
        ClipCrops(24, 0, [short])
    with pytest.raises(DataError, match="no clips"):
        ClipCrops(24, 0, [])


def test_windows_of_a_sintel_folder(tiny_sintel):
    clips = [SintelClip(tiny_sintel, name) for name in training_sequences(tiny_sintel)]
    data = ClipCrops(24, 0, clips)
    assert data.describe() == {"name": "sintel-clean", "windows": 2, "sequences": ["bandage_1"]}
    window = data[0]
    check_shapes(window, 24)
    assert residual(window)[0] < 0.06
