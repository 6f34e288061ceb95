"""Geometry and colour against known answers, plain NumPy loops and torch's own sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import constant_flow
from hypothesis import given, settings
from hypothesis import strategies as st

from reconet_bench.core import ops


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def loop_warp(image: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear sampling of ``(C, H, W)`` at p + flow(p), a pixel at a time in float64, border clamped."""
    c, height, width = image.shape
    out, inside = np.zeros((c, height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x, y = column + float(flow[0, row, column]), row + float(flow[1, row, column])
            inside[row, column] = 0 <= x <= width - 1 and 0 <= y <= height - 1
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            x0, y0 = math.floor(x), math.floor(y)
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            for yy, xx, weight in (
                (y0, x0, (1 - (x - x0)) * (1 - (y - y0))),
                (y0, x1, (x - x0) * (1 - (y - y0))),
                (y1, x0, (1 - (x - x0)) * (y - y0)),
                (y1, x1, (x - x0) * (y - y0)),
            ):
                out[:, row, column] += weight * image[:, yy, xx]
    return out, inside


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([torch.float32, torch.float64, torch.float16]),
)
@settings(max_examples=40, deadline=None, database=None, derandomize=True)
def test_zero_flow_is_the_identity_bit_for_bit(height, width, batch, dtype):
    image = (random(batch, 3, height, width) * 300 - 150).to(dtype)
    warped, inside = ops.warp(image, torch.zeros(batch, 2, height, width))
    assert torch.equal(warped, image)
    assert warped.dtype == inside.dtype == dtype
    assert inside.shape == (batch, 1, height, width)
    assert inside.min() == 1


def test_integer_translation_is_exact_and_has_the_right_sign():
    image = random(1, 3, 7, 9)
    warped, inside = ops.warp(image, constant_flow((2.0, 1.0), (7, 9)))
    assert torch.equal(warped[..., :6, :7], image[..., 1:, 2:])
    expected = torch.zeros(7, 9)
    expected[:6, :7] = 1
    assert torch.equal(inside[0, 0], expected)
    back, inside = ops.warp(image, constant_flow((-2.0, -1.0), (7, 9)))
    assert torch.equal(back[..., 1:, 2:], image[..., :6, :7])
    assert inside[0, 0, 0].sum() == inside[0, 0, :, :2].sum() == 0


def test_sub_pixel_warp_equals_a_plain_loop():
    image, flow = random(2, 3, 6, 11), (random(2, 2, 6, 11, seed=1) - 0.5) * 9
    warped, inside = ops.warp(image, flow)
    for n in range(2):
        expected, bounds = loop_warp(image[n].double().numpy(), flow[n].double().numpy())
        np.testing.assert_allclose(warped[n].numpy(), expected, atol=1e-5)
        np.testing.assert_array_equal(inside[n, 0].numpy(), bounds)
        assert 0 < bounds.mean() < 1


def test_warp_equals_grid_sample_with_aligned_corners():
    image, flow = random(2, 3, 13, 17), (random(2, 2, 13, 17, seed=1) - 0.5) * 12
    target = ops.pixel_grid(13, 17) + flow
    grid = torch.stack((target[:, 0] / 16 * 2 - 1, target[:, 1] / 12 * 2 - 1), -1)
    expected = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(ops.warp(image, flow)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e10])
def test_flow_that_is_no_number_is_out_of_bounds_and_harms_nothing_else(bad):
    image, flow = random(1, 3, 5, 6), torch.zeros(1, 2, 5, 6)
    flow[0, 0, 2, 3] = bad
    flow[0, 1, 4, 5] = bad
    warped, inside = ops.warp(image, flow)
    assert warped.isfinite().all()
    assert inside[0, 0, 2, 3] == inside[0, 0, 4, 5] == 0
    assert inside.sum() == 28
    assert torch.equal(warped[inside.expand_as(warped) == 1], image[inside.expand_as(image) == 1])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 9), (16, 32), (33, 64), (40, 257)])
def test_the_fast_warp_is_the_plain_one(size):
    """Sides that are powers of two and others, far outside, on the very border, and no number at all."""
    generator = torch.Generator().manual_seed(sum(size))
    image = torch.rand(2, 3, *size, dtype=torch.float64, generator=generator)
    flow = 8 * torch.randn(2, 2, *size, generator=generator)
    flow[0, :, 0, 0], flow[1, 0, -1, -1] = float("inf"), float("nan")
    flow[1, :, 0, -1] = 0
    fast, inside = ops.warp(image, flow)
    plain, as_plain = ops.warp(image.clone().requires_grad_(), flow)
    torch.testing.assert_close(fast, plain.detach(), atol=1e-14, rtol=0)
    assert torch.equal(inside, as_plain.detach())
    assert torch.equal(ops.warp(image, torch.zeros_like(flow))[0], image)
    assert torch.equal(fast[1, :, 0, -1], image[1, :, 0, -1])


def test_warp_refuses_flow_of_another_size():
    with pytest.raises(ValueError, match=r"flow must be \(1, 2, 5, 6\), got \(1, 2, 6, 5\)"):
        ops.warp(torch.zeros(1, 3, 5, 6), torch.zeros(1, 2, 6, 5))


def test_gradients_reach_image_and_flow():
    image = random(1, 2, 5, 6).double().requires_grad_()
    # Away from whole pixels, where bilinear sampling has a kink, and from the border, where it is clamped.
    flow = (random(1, 2, 5, 6, seed=3).double() * 0.5 + 0.2).requires_grad_()
    warped, inside = ops.warp(image, flow)
    (warped * inside).sum().backward()
    assert image.grad.sum() == pytest.approx(float(inside.sum()) * 2)
    kept = (inside[0, 0] == 1).nonzero()[0].tolist()
    step = 1e-3
    for axis in range(2):
        nudged = flow.detach().clone()
        nudged[0, axis, kept[0], kept[1]] += step
        slope = (ops.warp(image.detach(), nudged)[0] - ops.warp(image.detach(), flow.detach())[0]).sum() / step
        assert flow.grad[0, axis, kept[0], kept[1]] == pytest.approx(float(slope), abs=5e-3)
        assert abs(float(slope)) > 1e-2


def test_image_gradient_of_an_integer_shift_goes_to_where_it_came_from():
    image = random(1, 1, 4, 5).requires_grad_()
    warped, _ = ops.warp(image, constant_flow((1.0, 0.0), (4, 5)))
    warped[0, 0, 2, 1].backward()
    expected = torch.zeros(1, 1, 4, 5)
    expected[0, 0, 2, 2] = 1
    assert torch.equal(image.grad, expected)


def test_resize_flow_scales_each_axis_by_its_own_ratio():
    resized = ops.resize_flow(constant_flow((10.0, 10.0), (436, 1024)), 512, 512)
    assert resized.shape == (1, 2, 512, 512)
    torch.testing.assert_close(resized[0, 0], torch.full((512, 512), 5.0))
    torch.testing.assert_close(resized[0, 1], torch.full((512, 512), 10 * 512 / 436))


def test_resize_to_the_same_size_gives_the_same_tensor():
    flow, mask, frame = torch.ones(1, 2, 4, 6), torch.ones(1, 1, 4, 6), torch.ones(1, 3, 4, 6)
    assert ops.resize_flow(flow, 4, 6) is flow
    assert ops.resize_mask(mask, 4, 6) is mask
    assert ops.resize_frame(frame, 4, 6) is frame


def test_resized_frames_and_flow_stay_in_register():
    """A smooth picture that turns and grows: after a resize the flow still leads from frame to frame."""
    height, width = 60, 88
    grid = ops.pixel_grid(height, width)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).view(1, 2, 1, 1)
    matrix = torch.tensor([[1.04, -0.06], [0.06, 1.04]])

    def texture(points):
        return torch.stack([torch.sin(points[:, 0] / 10 + k) * torch.cos(points[:, 1] / 9 - k) for k in range(3)], 1)

    flow = torch.einsum("ij,njhw->nihw", matrix, grid - centre) + centre - grid
    first = texture(grid)
    second = texture(torch.einsum("ij,njhw->nihw", matrix.inverse(), grid - centre) + centre)
    for size in ((40, 64), (90, 70)):
        moved, inside = ops.warp(ops.resize_frame(second, *size), ops.resize_flow(flow, *size))
        still = ops.resize_frame(first, *size)
        core = inside[..., 4:-4, 4:-4] == 1
        residual = ((moved - still)[..., 4:-4, 4:-4].abs() * core).max()
        assert residual < 0.02
        assert (ops.resize_frame(second, *size) - still).abs().max() > 0.3


def test_a_resized_mask_keeps_only_pixels_that_are_traceable_throughout():
    mask = torch.ones(1, 1, 8, 8)
    mask[0, 0, 3, 5] = 0
    small = ops.resize_mask(mask, 4, 4)
    assert set(small.unique().tolist()) == {0.0, 1.0}
    assert small[0, 0, 1, 2] == 0
    assert small[0, 0, 3, 0] == small[0, 0, 0, 3] == 1
    assert ops.resize_mask(torch.ones(1, 1, 5, 7), 13, 3).min() == 1


def test_composed_constant_flows_add_up():
    ones = torch.ones(1, 1, 10, 12)
    flow, mask = ops.compose_flows(
        constant_flow((2.0, 0.5), (10, 12)), ones, constant_flow((-0.5, 1.0), (10, 12)), ones
    )
    torch.testing.assert_close(flow, constant_flow((1.5, 1.5), (10, 12)))
    expected = torch.zeros(10, 12)
    expected[:9, :10] = 1  # where the first step stays inside
    assert torch.equal(mask[0, 0], expected)


def test_composed_flow_equals_a_plain_loop():
    first, second = ((random(1, 2, 7, 8, seed=s) - 0.5) * 6 for s in (1, 2))
    first_mask, second_mask = ((random(1, 1, 7, 8, seed=s) > 0.15).float() for s in (3, 4))
    flow, mask = ops.compose_flows(first, first_mask, second, second_mask)
    moved, inside = loop_warp(second[0].double().numpy(), first[0].double().numpy())
    np.testing.assert_allclose(flow[0].numpy(), first[0].numpy() + moved, atol=1e-5)
    for row in range(7):
        for column in range(8):
            x, y = column + float(first[0, 0, row, column]), row + float(first[0, 1, row, column])
            keep = first_mask[0, 0, row, column] == 1 and inside[row, column] == 1
            if keep:
                corners = {(a, b) for a in (math.floor(y), math.ceil(y)) for b in (math.floor(x), math.ceil(x))}
                keep = all(second_mask[0, 0, a, b] == 1 for a, b in corners)
            assert bool(mask[0, 0, row, column]) == keep, (row, column)
    assert 0 < mask.mean() < 1


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 19), (18, 33), (436, 27), (19, 16)])
def test_padding_reflects_right_and_bottom_only(height, width):
    frame = random(1, 3, height, width)
    padded = ops.pad_to_multiple(frame, 4)
    assert padded.shape[-2] % 4 == padded.shape[-1] % 4 == 0
    assert 0 <= padded.shape[-2] - height < 4
    assert 0 <= padded.shape[-1] - width < 4
    expected = np.pad(frame.numpy(), ((0, 0), (0, 0), (0, -height % 4), (0, -width % 4)), mode="reflect")
    np.testing.assert_array_equal(padded.numpy(), expected)


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [(ops.LUMINANCE_CAMERA, (0.2126, 0.7152, 0.0722)), (ops.LUMINANCE_ANIMATION, (0.2989, 0.5870, 0.1140))],
)
def test_luminance_weighs_red_green_blue_in_this_order(coefficients, expected):
    pure = torch.eye(3).view(3, 3, 1, 1)  # a red, a green and a blue frame
    assert ops.luminance(pure, coefficients).flatten().tolist() == pytest.approx(expected)
    assert float(ops.luminance(torch.ones(1, 3, 1, 1), coefficients)) == pytest.approx(1, abs=2e-4)


def test_every_8_bit_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    image = np.stack([values, values[::-1], np.roll(values, 7)], -1).reshape(16, 16, 3)
    frame = ops.from_uint8(image)
    assert frame.shape == (1, 3, 16, 16)
    assert frame.dtype == torch.float32
    assert (float(frame.min()), float(frame.max())) == (0, 1)
    np.testing.assert_array_equal(frame[0, 0].flatten().numpy(), values.astype(np.float32) / 255)
    np.testing.assert_array_equal(ops.to_uint8(frame)[0], image)
    np.testing.assert_array_equal(ops.to_uint8(ops.from_uint8(np.stack([image, image[::-1]])))[1], image[::-1])


def test_8_bit_conversion_rounds_and_clips():
    frame = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 1.0, 7.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert ops.to_uint8(frame)[0, 0, :, 1].tolist() == [0, 0, 1, 255, 255]
