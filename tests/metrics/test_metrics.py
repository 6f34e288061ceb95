"""Metrics: known answers, an independent NumPy reference, scikit-image and scipy as judges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import DESIGN, SIZE, TranslationClip, constant_flow, picture
from torch import Tensor

from reconet_bench.core.errors import DataError, MetricUnavailable, UnknownName
from reconet_bench.core.images import scikit_image_texture
from reconet_bench.core.ops import from_uint8, warp
from reconet_bench.core.record_reading import REDEFINED
from reconet_bench.core.size import Size
from reconet_bench.data.clip import LONG_TERM_STEP, Clip, ClipView, Motion, composed_motion
from reconet_bench.data.sintel import SintelClip
from reconet_bench.metrics import base
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Absent, Measured, absence_reasons, chosen_metrics, measure_footage
from reconet_bench.metrics.similarity import (
    _window_means,
    _window_means_cpu,
    _window_minima,
    _window_minima_cpu,
    central_patch,
    ssim,
    ssim_map,
)
from reconet_bench.metrics.statistics import Estimate, estimate
from reconet_bench.metrics.style import evenly_spread
from reconet_bench.metrics.temporal_error import pair_errors
from reconet_bench.networks.vgg import STYLE_TAPS, gram
from reconet_bench.report.tables import is_detail


class FixedClip(Clip):
    """Given frames, flows and masks: one motion for each frame but the last."""

    source = "fixed"

    def __init__(self, frames: list[Tensor], motions: list[Motion], name: str = "fixed") -> None:
        self.name, self._frames, self._motions = name, frames, motions

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> Size:
        return Size(*self._frames[0].shape[-2:])

    def frame(self, index: int) -> Tensor:
        return self._frames[index]

    def motion(self, index: int, step: int = 1) -> Motion:
        return self._motions[index] if step == 1 else composed_motion(self, index, step)


def still(size: tuple[int, int] = SIZE) -> Motion:
    """No motion, every pixel traceable."""
    return Motion(torch.zeros(1, 2, *size), torch.ones(1, 1, *size))


def random_clip(length: int, size: tuple[int, int] = (13, 17), seed: int = 0) -> FixedClip:
    """Noise that moves at random: smooth nowhere, so that nothing can be right by luck."""
    generator = torch.Generator().manual_seed(seed)
    frames = [torch.rand(1, 3, *size, generator=generator) for _ in range(length)]
    motions = [
        Motion(
            3 * torch.randn(1, 2, *size, generator=generator),
            (torch.rand(1, 1, *size, generator=generator) > 0.3).float(),
        )
        for _ in range(length - 1)
    ]
    return FixedClip(frames, motions)


def measured(name: str, clip: Clip, stylized: list[Tensor] | None = None, style: Style | None = None) -> Estimate:
    """One metric of stylised frames, by default the content's own."""
    frames = stylized or [clip.frame(index) for index in range(len(clip))]
    return estimate(METRICS[name], list(METRICS[name].samples(Footage(clip, frames, style)).values()))


def sampled_by_hand(image: np.ndarray, x: float, y: float) -> np.ndarray | None:
    """Bilinear sample of ``(3, H, W)`` at a point, or None outside; written without looking at the package."""
    height, width = image.shape[1:]
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return None
    x0, y0 = math.floor(x), math.floor(y)
    value = np.zeros(3)
    for row, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if wx * wy > 0:
                value += wx * wy * image[:, row, column]
    return value


def errors_by_hand(y: Tensor, y_next: Tensor, motion: Motion) -> tuple[float, float, float]:
    """Σ M ‖y_t − W(y_{t+k})‖², Σ M and H·W of one pair, pixel by pixel in float64."""
    a, b = (frame[0].double().numpy() for frame in (y, y_next))
    flow, mask = motion.flow[0].double().numpy(), motion.mask[0, 0].double().numpy()
    height, width = mask.shape
    squares = traceable = 0.0
    for row in range(height):
        for column in range(width):
            there = sampled_by_hand(b, column + flow[0, row, column], row + flow[1, row, column])
            if there is not None:
                squares += mask[row, column] * float(((a[:, row, column] - there) ** 2).sum())
                traceable += mask[row, column]
    return squares, traceable, float(height * width)


# --- temporal error -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["temporal_error", "temporal_error_long", "content_temporal_error", "warping_error"])
def test_a_pure_translation_with_its_exact_flow_has_no_error(name):
    clip = TranslationClip((2.0, 1.0))
    assert measured(name, clip).value < 1e-6
    wrong = TranslationClip((1.0, 1.0))
    frames = [clip.frame(index) for index in range(len(clip))]
    if name != "content_temporal_error":
        assert measured(name, wrong, frames).value > 1e-3, "the wrong flow must show"


@pytest.mark.parametrize("name", ["temporal_error", "content_temporal_error"])
def test_a_constant_offset_between_frames_is_the_error(name):
    c = 0.03
    base = from_uint8(picture(0, (0, 0)))
    clip = FixedClip([base, base + c, base + 2 * c], [still(), still()])
    assert measured(name, clip).value == pytest.approx(c, abs=1e-6)
    assert measured(name, clip).n == 2


def test_untraceable_pixels_stay_in_the_denominator_of_the_temporal_error_alone():
    c, base = 0.1, torch.full((1, 3, *SIZE), 0.4)
    quarter = torch.zeros(1, 1, *SIZE)
    quarter[..., : SIZE[0] // 2, : SIZE[1] // 2] = 1
    clip = FixedClip([base, base + c], [Motion(torch.zeros(1, 2, *SIZE), quarter)])
    assert measured("temporal_error", clip).value == pytest.approx(c / 2, abs=1e-6)
    assert measured("warping_error", clip).value == pytest.approx(c**2, abs=1e-6)


def test_the_temporal_error_is_the_root_of_the_mean_of_squares_and_not_a_mean_of_roots():
    base = torch.full((1, 3, *SIZE), 0.4)
    clip = FixedClip([base, base + 0.1, base + 0.4], [still(), still()])
    assert measured("temporal_error", clip).value == pytest.approx(math.sqrt((0.1**2 + 0.3**2) / 2), abs=1e-6)


def test_pixels_that_leave_the_frame_are_not_compared():
    """The clip's own mask says all is traceable; what flows out of the frame is left out all the same."""
    clip = random_clip(2, (9, 11))
    flow = constant_flow((100.0, 0.0), (9, 11))
    away = FixedClip([clip.frame(0), clip.frame(1)], [Motion(flow, torch.ones(1, 1, 9, 11))])
    assert pair_errors(away.frame(0), away.frame(1), flow, torch.ones(1, 1, 9, 11)).masked == 0
    assert measure_footage(Footage(away, [clip.frame(0), clip.frame(1)]))["warping_error"] == (
        Absent("no pixel can be traced from any frame to the next")
    )


def test_what_cannot_be_traced_at_all_is_not_perfect():
    """E(V) of no pixel would be zero. One pair that can be traced is enough; the others stay in its mean."""
    blind = Motion(torch.zeros(1, 2, *SIZE), torch.zeros(1, 1, *SIZE))
    frames = [torch.full((1, 3, *SIZE), 0.1 * index) for index in range(7)]
    none = absence_reasons(measure_footage(Footage(FixedClip(frames, [blind] * 6), frames)))
    for name in ("temporal_error", "content_temporal_error", "warping_error"):
        assert none[name] == "no pixel can be traced from any frame to the next"
    assert none["temporal_error_long"] == "no pixel can be traced from any frame to the one 5 later"
    assert measured("temporal_error", FixedClip(frames[:3], [still(), blind])).value == pytest.approx(
        math.sqrt(0.1**2 / 2), abs=1e-6
    )


def test_what_is_measured_of_a_pair_comes_from_one_warp(monkeypatch):
    """Warping costs more than the rest of these metrics."""
    clip = TranslationClip(length=4)
    footage = Footage(clip, [clip.frame(i).flip(-1) for i in range(4)])
    warps = []
    monkeypatch.setattr(base, "warp", lambda image, flow: warps.append(1) or warp(image, flow))
    for name in ("temporal_error", "warping_error", "ssim_adjacent_warped", "texture_lock"):
        METRICS[name].samples(footage)
    assert len(warps) == 3


def test_the_temporal_error_equals_a_loop_over_pixels():
    clip = random_clip(4)
    stylized = [frame.flip(1) ** 2 for frame in (clip.frame(index) for index in range(4))]
    sums = [errors_by_hand(stylized[i], stylized[i + 1], clip.motion(i)) for i in range(3)]
    expected = math.sqrt(sum(squares / (3 * area) for squares, _, area in sums) / 3)
    assert expected > 0.05
    assert measured("temporal_error", clip, stylized).value == pytest.approx(expected, abs=1e-5)
    content = [errors_by_hand(clip.frame(i), clip.frame(i + 1), clip.motion(i)) for i in range(3)]
    expected = math.sqrt(sum(squares / (3 * area) for squares, _, area in content) / 3)
    assert measured("content_temporal_error", clip, stylized).value == pytest.approx(expected, abs=1e-5)


def test_the_warping_error_equals_a_loop_over_pixels():
    clip = random_clip(3, seed=1)
    frames = [clip.frame(index) for index in range(3)]
    sums = [errors_by_hand(frames[i], frames[i + 1], clip.motion(i)) for i in range(2)]
    expected = sum(squares / 3 / traceable for squares, traceable, _ in sums) / 2
    assert measured("warping_error", clip).value == pytest.approx(expected, abs=1e-5)


def test_batched_pairs_are_measured_one_by_one():
    clip = random_clip(3, seed=2)
    first = torch.cat([clip.frame(0), clip.frame(1)])
    second = torch.cat([clip.frame(1), clip.frame(2)])
    flow, mask = (torch.cat([getattr(clip.motion(i), part) for i in (0, 1)]) for part in ("flow", "mask"))
    alone = [pair_errors(first[i : i + 1], second[i : i + 1], flow[i : i + 1], mask[i : i + 1]) for i in (0, 1)]
    for together, each in zip(pair_errors(first, second, flow, mask), zip(*alone, strict=True), strict=True):
        assert together.dtype == torch.float64
        torch.testing.assert_close(together, torch.cat(each))


def test_the_long_term_error_is_of_pairs_five_apart():
    assert LONG_TERM_STEP == 5
    clip = random_clip(7, seed=3)
    generator = torch.Generator().manual_seed(4)
    for motion in clip._motions:  # gentle motion and few holes, so that much survives five steps
        motion.flow.mul_(0.1)
        motion.mask.copy_((torch.rand(motion.mask.shape, generator=generator) > 0.02).float())
    frames = [clip.frame(index) for index in range(7)]
    values = METRICS["temporal_error_long"].samples(Footage(clip, frames))
    assert list(values) == [0, 1]
    for index, value in values.items():
        squares, traceable, area = errors_by_hand(frames[index], frames[index + 5], clip.motion(index, 5))
        assert traceable > 0.2 * area
        assert value == pytest.approx(squares / (3 * area), abs=1e-5)


def test_only_frames_that_follow_one_another_are_paired(tiny_sintel):
    clip = SintelClip(tiny_sintel, "cave_2")  # frames 1, 2, 3, 5, 6
    frames = [clip.frame(index) for index in range(len(clip))]
    for name in ("temporal_error", "warping_error", "ssim_adjacent_warped"):
        assert list(METRICS[name].samples(Footage(clip, frames))) == [0, 1, 3]


def test_what_sintel_calls_occluded_does_not_count(tiny_sintel):
    clip = SintelClip(tiny_sintel, "alley_2")
    frames = [clip.frame(index) for index in range(len(clip))]
    assert measured("temporal_error", clip, frames).value < 1e-6
    frames[3] = frames[3].clone()
    frames[3][..., 11:13, 21:25] = 1.0  # inside the occluded block of frame 3, read by frame 2 just beside it
    value = METRICS["temporal_error"].samples(Footage(clip, frames))
    assert value[3] == 0
    assert value[2] > 0


# --- structural similarity ------------------------------------------------------------------------------


def photo(name: str, top: int = 40, left: int = 60, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    """A patch of a real photograph, ``(H, W, 3)`` uint8."""
    return scikit_image_texture(name)[top : top + size[0], left : left + size[1]]


def flat() -> np.ndarray:
    """Black, white and grey areas: no variance at all, where rounding errors would show most."""
    image = np.zeros((64, 80, 3), np.uint8)
    image[:, 30:60], image[20:40] = 255, 128
    return image


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "hubble_deep_field", "flat", "half flat"])
def test_ssim_equals_scikit_image(name, dtype):
    from skimage.metrics import structural_similarity

    image = {"flat": flat, "half flat": lambda: np.where(flat() > 0, flat(), photo("rocket"))}.get(
        name, lambda: photo(name)
    )()
    rng = np.random.default_rng(0)
    a = (image / 255).astype(dtype)
    others = {
        "noise": np.clip(a + rng.normal(0, 0.05, a.shape), 0, 1),
        "darker": 0.8 * a,
        "shifted": np.roll(a, (1, 2), (0, 1)),
        "negative": 1 - a,
        "another": photo("grass") / 255,
    }
    for other, b in others.items():
        b = b.astype(dtype)
        expected = structural_similarity(a, b, data_range=1, channel_axis=2)
        got = ssim(*(torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in (a, b)))
        assert got == pytest.approx(expected, abs=1e-5), other
        assert got < 0.9999, f"{other}: two equal pictures would prove nothing"


@pytest.mark.parametrize("size", [(7, 7), (7, 40), (61, 83)])
def test_running_sums_are_the_plain_means_of_windows(size):
    x = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert _window_means_cpu(x).sub(_window_means(x)).abs().max() < 1e-13
    mask = torch.ones(2, 1, *size)
    mask[0, 0, size[0] // 2, size[1] // 2] = 0
    whole = _window_minima_cpu(mask)
    assert torch.equal(whole, _window_minima(mask))
    assert 0 < whole.mean() < 1


def test_ssim_of_a_frame_with_itself_is_one_and_of_its_negative_is_less_than_nothing():
    frame = from_uint8(photo("gravel"))
    assert ssim(frame, frame) == 1
    assert ssim(frame, 1 - frame) < 0
    assert ssim_map(frame, frame).shape == (1, 3, 64 - 6, 80 - 6)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((120, 131), (10, 110), (15, 115)),
        ((101, 140), (0, 100), (20, 120)),
        ((60, 131), (0, 60), (15, 115)),
        ((131, 37), (15, 115), (0, 37)),
        (SIZE, (0, 40), (0, 56)),
    ],
)
def test_ssim_adjacent_looks_at_the_central_100x100_patch(size, rows, columns):
    frame = from_uint8(picture(0, (0, 0), size))
    assert central_patch(frame).equal(frame[..., slice(*rows), slice(*columns)])
    clip = FixedClip([frame, frame], [still(size)])

    def with_pixel(row: int, column: int) -> float:
        changed = frame.clone()
        changed[..., row, column] = 1 - changed[..., row, column].round()
        return measured("ssim_adjacent", clip, [frame, changed]).value

    assert with_pixel(rows[0], columns[0]) < 1
    assert with_pixel(rows[1] - 1, columns[1] - 1) < 1
    for row, column in (
        (rows[0] - 1, columns[0]),
        (rows[1], columns[0]),
        (rows[0], columns[0] - 1),
        (rows[0], columns[1]),
    ):
        if 0 <= row < size[0] and 0 <= column < size[1]:
            assert with_pixel(row, column) == 1


def test_ssim_adjacent_equals_scikit_image_on_the_patch():
    from skimage.metrics import structural_similarity

    frames = [scikit_image_texture("coffee")[k : 140 + k, 2 * k : 151 + 2 * k] for k in range(3)]
    clip = FixedClip([from_uint8(frame) for frame in frames], [still((140, 151))] * 2)
    patches = [frame[20:120, 25:125] / 255 for frame in frames]
    expected = np.mean(
        [structural_similarity(patches[i], patches[i + 1], data_range=1, channel_axis=2) for i in (0, 1)]
    )
    assert measured("ssim_adjacent", clip).value == pytest.approx(expected, abs=1e-5)


def test_after_warping_camera_motion_no_longer_counts():
    clip = TranslationClip((3.0, 2.0))
    assert measured("ssim_adjacent_warped", clip).value == pytest.approx(1, abs=1e-9)
    assert measured("ssim_adjacent", clip).value < 0.95


def test_windows_that_touch_an_untraceable_pixel_do_not_count():
    frame = from_uint8(picture(0, (0, 0)))
    changed = frame.clone()
    changed[..., 20, 30] = 1 - changed[..., 20, 30].round()
    motion = still()

    def value(row: int, column: int, mask: float) -> float:
        motion.mask.fill_(1)[..., row, column] = mask
        return measured("ssim_adjacent_warped", FixedClip([frame, frame], [motion]), [frame, changed]).value

    assert value(20, 30, 1.0) < 1
    assert value(20, 30, 0.0) == 1
    assert value(20, 30, 0.5) == 1, "half traceable is not traceable"
    assert value(20, 31, 0.0) < 1, "windows that end at the changed pixel, and have no hole, do count"
    # The mean is over the windows that count, not over all.
    motion.mask.zero_()[..., 17:24, 27:34] = 1
    alone = measured("ssim_adjacent_warped", FixedClip([frame, frame], [motion]), [frame, changed]).value
    patch = (slice(None), slice(None), slice(17, 24), slice(27, 34))
    assert alone == pytest.approx(ssim(frame[patch], changed[patch]), abs=1e-9)
    assert alone < 0.9


def test_without_a_traceable_window_there_is_a_reason_and_no_number():
    frame = from_uint8(picture(0, (0, 0)))
    mask = torch.ones(1, 1, *SIZE)
    mask[..., ::5, ::5] = 0
    clip = FixedClip([frame, frame], [Motion(torch.zeros(1, 2, *SIZE), mask)])
    with pytest.raises(MetricUnavailable, match="no 7x7 window can be traced"):
        measured("ssim_adjacent_warped", clip)


def test_content_similarity_of_the_content_is_one_and_of_something_else_less():
    clip = TranslationClip(length=3)
    assert measured("content_similarity", clip).value == 1
    washed = [0.5 + 0.2 * clip.frame(index) for index in range(3)]
    assert 0 < measured("content_similarity", clip, washed).value < 0.95


# --- style ----------------------------------------------------------------------------------------------


def targets_of(frame: Tensor, network) -> dict[str, Tensor]:
    return {name: gram(tap)[0] for name, tap in network(frame).items()}


@pytest.fixture(scope="module")
def style(loss_network) -> Style:
    """The style of a photograph of gravel."""
    return Style(targets_of(from_uint8(photo("gravel")), loss_network), loss_network)


def test_style_distance_is_one_for_the_content_itself(style):
    looked: list[int] = []
    handle = style.network.register_forward_hook(lambda *_: looked.append(1))
    try:
        assert measured("style_distance", TranslationClip(length=2), style=style).value == 1
    finally:
        handle.remove()
    assert len(looked) == 2, "at each content frame once, for its scale"


def test_style_distance_is_zero_where_the_gram_matrices_are_reached(loss_network, style):
    clip, painted = TranslationClip(length=2), from_uint8(photo("gravel", size=SIZE))
    reached = Style(targets_of(painted, loss_network), loss_network)
    assert measured("style_distance", clip, [painted, painted], reached).value == pytest.approx(0, abs=1e-9)
    half = [0.5 * (clip.frame(i) + painted) for i in range(2)]
    assert 0.001 < measured("style_distance", clip, half, reached).value < 1


def test_style_distance_is_the_mean_of_the_four_taps_own_ratios(loss_network, style):
    clip = TranslationClip(length=2)
    stylized = [clip.frame(i).flip(1) for i in range(2)]

    def distances(frame: Tensor) -> dict[str, float]:
        taps, found = loss_network(frame), {}
        for name in STYLE_TAPS:
            features = taps[name][0].double().numpy()
            flat_features = features.reshape(features.shape[0], -1)
            matrix = flat_features @ flat_features.T / features.size
            found[name] = float(np.mean((matrix - style.targets[name].double().numpy()) ** 2))
        return found

    ratios = {name: [] for name in STYLE_TAPS}
    for index in range(2):
        painted, own = distances(stylized[index]), distances(clip.frame(index))
        for name in STYLE_TAPS:
            ratios[name].append(painted[name] / own[name])
    assert abs(np.mean(ratios["relu4_3"]) - 1) > 0.01
    for name in STYLE_TAPS:
        of_tap = measured(f"style_distance_{name}", clip, stylized, style).value
        assert of_tap == pytest.approx(np.mean(ratios[name]), rel=1e-4)
    whole = measured("style_distance", clip, stylized, style).value
    assert whole == pytest.approx(np.mean(list(ratios.values())), rel=1e-4)


def test_colour_alone_is_no_style(loss_network):
    """What the sum over taps called reached: the painting's colours, shuffled pixel by pixel."""
    painting = from_uint8(photo("gravel", size=SIZE))
    style = Style(targets_of(painting, loss_network), loss_network)
    order = torch.randperm(SIZE[0] * SIZE[1], generator=torch.Generator().manual_seed(0))
    shuffled = painting.flatten(2)[..., order].reshape(painting.shape)
    clip = TranslationClip(length=2)
    assert measured("style_distance", clip, [painting, painting], style).value == pytest.approx(0, abs=1e-9)
    assert measured("style_distance", clip, [shuffled, shuffled], style).value > 0.3


def test_runs_note_the_versions_that_reports_know():
    assert {name: metric.version for name, metric in METRICS.items() if metric.version > 1} == REDEFINED
    assert {name for name, metric in METRICS.items() if metric.detail} == {
        f"style_distance_{tap}" for tap in STYLE_TAPS
    }
    assert all(is_detail(name) is metric.detail for name, metric in METRICS.items())


def test_style_distance_looks_at_six_frames_evenly_spread(loss_network, style):
    clip = TranslationClip(length=11)
    stylized = [clip.frame(index) for index in range(11)]
    assert list(METRICS["style_distance"].samples(Footage(clip, stylized, style))) == [0, 2, 4, 6, 8, 10]
    assert evenly_spread(4, 6) == [0, 1, 2, 3]
    assert evenly_spread(12, 6) == [0, 2, 4, 7, 9, 11]
    assert evenly_spread(50, 6)[-1] == 49


def test_style_distance_is_absent_with_a_reason(loss_network, style):
    clip = TranslationClip(length=2)
    for without, reason in (
        (None, "no style is known for this model"),
        (Style({}, loss_network), "no style is known for this model"),
        (Style(style.targets, None, "no loss-network weights: fetch them"), "no loss-network weights: fetch them"),
    ):
        with pytest.raises(MetricUnavailable, match=reason):
            measured("style_distance", clip, style=without)


def test_content_that_is_the_style_itself_gives_a_reason_and_not_nan(loss_network):
    frame = from_uint8(picture(0, (0, 0)))
    clip = FixedClip([frame, frame], [still()])
    same = Style(targets_of(frame, loss_network), loss_network)
    with pytest.raises(MetricUnavailable, match="no distance to compare with"):
        measured("style_distance", clip, [frame, frame], same)
    other = from_uint8(photo("coffee", size=SIZE))
    mixed = FixedClip([frame, other], [still()])
    assert list(METRICS["style_distance"].samples(Footage(mixed, [other, other], same))) == [1]


def test_a_frozen_output_wins_the_dissertations_metric_and_is_found_out_by_the_style(style):
    clip = TranslationClip(length=3)
    frozen = [clip.frame(0)] * 3
    assert measured("ssim_adjacent", clip, frozen).value == 1
    assert measured("ssim_adjacent_warped", clip, frozen).value < 0.95
    assert measured("temporal_error", clip, frozen).value > 0.01
    assert measured("style_distance", clip, frozen, style).value > 0.9


# --- all of them ----------------------------------------------------------------------------------------


def test_every_metric_of_the_design_is_there_with_its_direction():
    assert {name: METRICS[name].better for name in DESIGN} == DESIGN
    assert [name for name in DESIGN if METRICS[name].of_content] == ["content_temporal_error", "traceable_share"]
    for _, metric in METRICS.items():
        for text in (metric.summary, metric.blind_to):
            assert text.strip()
            assert "\n" not in text
            assert not text.endswith(".")


def test_names_choose_metrics_and_none_the_usual_ones():
    usual = chosen_metrics()
    assert usual == sorted(name for name, metric in METRICS.items() if metric.default) == chosen_metrics(["default"])
    assert {*DESIGN, "ghosting", "texture_lock"} <= set(usual)
    assert chosen_metrics(["all"]) == list(METRICS)
    assert chosen_metrics(["texture_lock", "ghosting"]) == ["ghosting", "texture_lock"]
    assert chosen_metrics(["style_distance"]) == ["style_distance", *(f"style_distance_{tap}" for tap in STYLE_TAPS)]
    assert set(chosen_metrics(["default", "ghosting"])) == set(usual)
    with pytest.raises(UnknownName, match="unknown metric 'gosting': did you mean 'ghosting'"):
        chosen_metrics(["ghosting", "gosting"])
    clip = TranslationClip(length=3)
    frames = [clip.frame(index) for index in range(3)]
    assert list(measure_footage(Footage(clip, frames), ["ssim_adjacent"])) == ["ssim_adjacent"]


def test_a_clip_too_short_for_long_pairs_says_how_many_frames_are_needed():
    clip = TranslationClip(length=4)
    frames = [clip.frame(index) for index in range(4)]
    outcomes = measure_footage(Footage(clip, frames))
    assert outcomes["temporal_error_long"] == Absent("moving has 4 frames, pairs 5 apart need 6")
    assert isinstance(outcomes["temporal_error"], Measured)
    assert METRICS["temporal_error_long"].samples(Footage(TranslationClip(length=6), [clip.frame(0)] * 6)).keys() == {0}


def test_a_view_cut_short_says_so_too():
    clip = ClipView(TranslationClip(length=8), frames=5)
    with pytest.raises(MetricUnavailable, match="moving has 5 frames, pairs 5 apart need 6"):
        measured("temporal_error_long", clip)


@pytest.mark.parametrize("side", [1, 2, 5, 6])
def test_frames_too_small_for_a_window_give_reasons(side, style):
    size = (side, 9)
    frames = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    outcomes = measure_footage(Footage(FixedClip(frames, [still(size)]), frames, style))
    for name in ("ssim_adjacent", "ssim_adjacent_warped", "content_similarity"):
        assert outcomes[name] == Absent(f"SSIM needs frames of at least 7x7, got 9x{side}")
    assert "at least 8x8" in outcomes["style_distance"].reason
    assert isinstance(outcomes["temporal_error"], Measured)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frames: frames[:-1], "moving: 3 content frames but 2 stylised ones; give one for each content frame"),
        (
            lambda frames: [*frames, frames[0]],
            "moving: 3 content frames but 4 stylised ones; give one for each content frame",
        ),
        (
            lambda frames: [frames[0], frames[1][..., :-1], frames[2]],
            "moving: stylised frame 0002 is 55x40, the content 56x40: resize one of them",
        ),
        (
            lambda frames: [*frames[:2], frames[2] * float("nan")],
            "moving: stylised frame 0003 contains NaN or infinity",
        ),
        (lambda frames: [frames[0] / 0, *frames[1:]], "moving: stylised frame 0001 contains NaN or infinity"),
    ],
)
def test_footage_refuses_what_does_not_fit_in_one_line(spoil, message):
    clip = TranslationClip(length=3)
    with pytest.raises(DataError) as caught:
        Footage(clip, spoil([clip.frame(index) for index in range(3)]))
    assert str(caught.value) == message


# --- real data ------------------------------------------------------------------------------------------


def test_the_floor_of_real_sintel_is_where_it_should_be(shared_data):
    """A check of all conventions at once: the direction of the flow, its axes, the masks, the root."""
    root = shared_data / "sintel"
    if not (root / "training" / "clean" / "alley_2").is_dir():
        pytest.skip("no real Sintel: sintel/training/clean/alley_2 is not among the shared data")
    clip = SintelClip(root, "alley_2")
    assert measured("content_temporal_error", clip).value == pytest.approx(0.0097, abs=2e-4)


def test_adjacent_ssim_skips_a_gap_in_the_footage(tiny_sintel):
    clip = SintelClip(tiny_sintel, "cave_2")  # frames 1, 2, 3, 5, 6
    samples = METRICS["ssim_adjacent"].samples(Footage(clip, [clip.frame(i) for i in range(len(clip))]))
    assert sorted(samples) == [0, 1, 3]
