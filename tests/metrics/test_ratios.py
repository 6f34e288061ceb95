"""E(V) over motion and over the content's own, E(V) over long steps, raw flicker: known answers, loops, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import SIZE, TranslationClip, constant_flow
from test_intervals import CELLS, coverage, frames, within
from test_metrics import FixedClip, errors_by_hand, measured, random_clip, still

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.clip import Motion, composed_motion
from reconet_bench.data.sintel import SintelClip
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.statistics import estimate, samples_of_ratio

# --- the ratio of two means -----------------------------------------------------------------------------


def test_samples_of_a_ratio_have_the_ratio_as_their_mean_and_its_derivative_as_their_spread():
    random = np.random.default_rng(1)
    a, b = (dict(enumerate(random.gamma(3.0, 1.0, 9))) for _ in range(2))
    found = samples_of_ratio({**a, 20: 5.0}, {**b, 30: 7.0})
    ratio = sum(a.values()) / sum(b.values())
    assert list(found) == list(range(9)), "frames that both have"
    assert np.mean(list(found.values())) == pytest.approx(ratio, rel=1e-12)
    for frame in range(9):  # how far the ratio moves with one more such frame, by trying
        more = 1e-6
        moved = (sum(a.values()) + more * a[frame]) / (sum(b.values()) + more * b[frame])
        assert found[frame] - ratio == pytest.approx(9 * (moved - ratio) / more, rel=1e-3, abs=1e-6)


def test_what_both_do_together_is_no_error_of_the_ratio():
    b = dict(enumerate(np.random.default_rng(2).gamma(3.0, 1.0, 12)))
    assert list(samples_of_ratio({k: 2.5 * v for k, v in b.items()}, b).values()) == pytest.approx([2.5] * 12)


def drawn_ratio(random: np.random.Generator, n: int, correlation: float) -> dict[int, float]:
    """Squared errors that go with the squared content or motion of their frames, and vary by themselves as well."""
    common, own, other = frames(random, (3, n), correlation)
    below = np.exp(0.4 * (0.7 * common + 0.7 * other))
    above = 9 * np.exp(0.4 * (0.7 * common + 0.7 * own))
    return samples_of_ratio(dict(enumerate(above)), dict(enumerate(below)))


@pytest.mark.parametrize("name", ["temporal_error_per_motion", "temporal_error_over_content"])
def test_95_percent_of_the_intervals_of_a_ratio_hold_the_truth(name):
    """Both have the same mean of exp(0.4 z), so the true ratio of means is 9, and its root 3."""
    found = {}
    for n, correlation in CELLS:
        random = np.random.default_rng(n)
        estimates = [estimate(METRICS[name], list(drawn_ratio(random, n, correlation).values())) for _ in range(1500)]
        found[n, correlation] = coverage(estimates, 3.0)
    assert {cell: percent for cell, percent in found.items() if not within(percent, *cell, noise=1.2)} == {}


def test_error_per_motion_equals_a_loop_over_pixels():
    clip = random_clip(4, (12, 15), seed=6)
    stylized = [frame.flip(1) ** 2 for frame in (clip.frame(index) for index in range(4))]
    errors = motion = 0.0
    for index in range(3):
        squares, _, area = errors_by_hand(stylized[index], stylized[index + 1], clip.motion(index))
        errors += squares / (3 * area)
        flow, mask = clip.motion(index).flow[0].double().numpy(), clip.motion(index).mask[0, 0].numpy()
        for row in range(12):
            for column in range(15):
                motion += mask[row, column] * (flow[:, row, column] ** 2).sum() / area
    found = measured("temporal_error_per_motion", clip, stylized)
    assert found.value == pytest.approx(math.sqrt(errors / motion), rel=1e-6)


def test_error_per_motion_is_the_error_by_the_pixels_moved():
    clip = TranslationClip((3.0, 4.0), length=7)
    flickering = [(clip.frame(index) + 0.05 * (-1) ** index).clamp(0, 1) for index in range(7)]
    error = measured("temporal_error", clip, flickering).value
    share = float(clip.motion(0).mask.mean())
    found = measured("temporal_error_per_motion", clip, flickering)
    assert found.value == pytest.approx(error / (5 * math.sqrt(share)), rel=1e-6)
    assert METRICS["temporal_error_per_motion"].unit == "1/px"
    frozen = FixedClip([clip.frame(0)] * 3, [still()] * 2)
    with pytest.raises(MetricUnavailable, match="nothing moves in this clip"):
        measured("temporal_error_per_motion", frozen)


def test_motion_that_is_not_known_need_not_be_a_number():
    clip = TranslationClip((3.0, 4.0), length=3)
    motions = [Motion(clip.motion(index).flow.clone(), clip.motion(index).mask.clone()) for index in range(2)]
    for motion in motions:
        motion.mask[..., :5, :] = 0
    expected = measured("temporal_error_per_motion", FixedClip([clip.frame(i).flip(1) for i in range(3)], motions))
    for motion in motions:
        motion.flow[..., :5, :] = float("nan")
    found = measured("temporal_error_per_motion", FixedClip([clip.frame(i).flip(1) for i in range(3)], motions))
    assert found.value == pytest.approx(expected.value)


def test_error_over_content_is_one_for_the_content_and_the_gain_of_a_contrast():
    clip = synthetic_clip("lantern", (48, 64), 8)
    content = [clip.frame(index) for index in range(8)]
    assert measured("temporal_error_over_content", clip).value == pytest.approx(1, rel=1e-9)
    halved = [0.5 * frame + 0.2 for frame in content]
    found = measured("temporal_error_over_content", clip, halved)
    assert found.value == pytest.approx(0.5, rel=1e-5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5), rel=1e-4), "the same on every frame: no doubt"
    own = measured("content_temporal_error", clip).value
    inverted = [frame.flip(-1) for frame in content]
    assert measured("temporal_error_over_content", clip, inverted).value == pytest.approx(
        measured("temporal_error", clip, inverted).value / own, rel=1e-6
    )


def test_content_without_any_error_gives_a_reason():
    frame = torch.full((1, 3, *SIZE), 0.5)
    clip = FixedClip([frame] * 3, [still()] * 2)
    with pytest.raises(MetricUnavailable, match="no error along its motion"):
        measured("temporal_error_over_content", clip, [frame, frame + 0.1, frame])


# --- long steps -----------------------------------------------------------------------------------------


def gentle_clip(length: int) -> FixedClip:
    """Noise that moves little, so that much can be traced over many frames."""
    clip = random_clip(length, seed=3)
    generator = torch.Generator().manual_seed(4)
    for motion in clip._motions:
        motion.flow.mul_(0.1)
        motion.mask.copy_((torch.rand(motion.mask.shape, generator=generator) > 0.01).float())
    return clip


def test_the_error_at_ten_frames_equals_a_loop_over_pixels():
    clip = gentle_clip(12)
    stylized = [clip.frame(index) for index in range(12)]
    values = METRICS["temporal_error_10"].samples(Footage(clip, stylized))
    assert list(values) == [0, 1]
    for index, value in values.items():
        squares, traceable, area = errors_by_hand(
            stylized[index], stylized[index + 10], composed_motion(clip, index, 10)
        )
        assert traceable > 0.2 * area
        assert value == pytest.approx(squares / (3 * area), abs=1e-6)
    with pytest.raises(MetricUnavailable, match="moving has 8 frames, pairs 10 apart need 11"):
        measured("temporal_error_10", TranslationClip())


def test_the_error_to_the_first_frame_equals_a_loop_over_pixels():
    clip = gentle_clip(6)
    stylized = [clip.frame(index) for index in range(6)]
    values = METRICS["temporal_error_first"].samples(Footage(clip, stylized))
    assert list(values) == [1, 2, 3, 4, 5]
    sums = []
    for later, value in values.items():
        squares, _, area = errors_by_hand(stylized[0], stylized[later], clip.motion(0, later))
        sums.append(squares / (3 * area))
        assert value == pytest.approx(sums[-1], abs=1e-6)
    assert measured("temporal_error_first", clip).value == pytest.approx(math.sqrt(np.mean(sums)), abs=1e-6)


@pytest.mark.parametrize("name", ["temporal_error_10", "temporal_error_first"])
def test_what_moves_as_the_scene_does_not_drift_and_what_changes_slowly_does(name):
    clip = TranslationClip((0.5, 0.25), length=13, size=(48, 64))
    content = [clip.frame(index) for index in range(13)]
    assert measured(name, clip).value < 0.004, "8-bit frames and bilinear samples"
    fading = [frame * (1 - 0.02 * index) for index, frame in enumerate(content)]
    assert measured(name, clip, fading).value > 5 * measured("temporal_error", clip, fading).value


def test_pairs_with_the_first_frame_end_at_a_gap(tiny_sintel):
    clip = SintelClip(tiny_sintel, "cave_2")  # frames 1, 2, 3, 5, 6
    frames_of = [clip.frame(index) for index in range(len(clip))]
    assert list(METRICS["temporal_error_first"].samples(Footage(clip, frames_of))) == [1, 2]


# --- raw flicker ----------------------------------------------------------------------------------------


def test_raw_flicker_is_one_minus_vbenchs_score():
    """VBench's sums, as its authors wrote them: absdiff of 8-bit frames, then the mean, then 255 minus it over 255."""
    cv2 = pytest.importorskip("cv2")
    clip = TranslationClip(length=5)
    shown = [to_uint8(clip.frame(index))[0] for index in range(5)]
    differences = [np.mean(cv2.absdiff(shown[i], shown[i + 1])) for i in range(4)]
    score = (255.0 - np.mean(differences)) / 255.0
    assert 0.8 < score < 0.99
    assert 1 - measured("flicker_raw", clip).value == pytest.approx(score, abs=1e-6)


def test_raw_flicker_of_a_constant_offset_is_that_and_of_still_frames_nothing():
    frame = torch.full((1, 3, *SIZE), 0.3)
    clip = FixedClip([frame] * 3, [Motion(constant_flow((0.0, 0.0)), torch.ones(1, 1, *SIZE))] * 2)
    assert measured("flicker_raw", clip).value == 0
    assert measured("flicker_raw", clip, [frame, frame + 0.1, frame]).value == pytest.approx(0.1, abs=1e-6)
