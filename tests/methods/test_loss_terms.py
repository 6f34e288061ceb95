"""Loss terms against known answers and plain NumPy loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import constant_flow

from reconet_bench.core.ops import LUMINANCE_ANIMATION, LUMINANCE_CAMERA
from reconet_bench.methods import loss_terms

H, W = 6, 8


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def still():
    """Zero flow, everything traceable."""
    return torch.zeros(1, 2, H, W), torch.ones(1, 1, H, W)


def test_total_variation_equals_a_plain_loop():
    y = random(2, 3, H, W)
    expected = 0.0
    for n, c, row, column in np.ndindex(2, 3, H, W):
        if column + 1 < W:
            expected += abs(float(y[n, c, row, column + 1]) - float(y[n, c, row, column]))
        if row + 1 < H:
            expected += abs(float(y[n, c, row + 1, column]) - float(y[n, c, row, column]))
    assert float(loss_terms.total_variation(y)) == pytest.approx(expected / 2, rel=1e-5)
    assert loss_terms.total_variation(torch.full((1, 3, H, W), 0.3)) == 0


def test_total_variation_of_one_bright_pixel():
    y = torch.zeros(1, 1, 5, 5)
    y[0, 0, 2, 2] = 0.5
    assert loss_terms.total_variation(y) == 2  # four edges of a half each
    assert loss_terms.total_variation(torch.cat((y, torch.zeros_like(y)))) == 1  # a mean over the batch


def test_identical_frames_under_zero_flow_cost_nothing(still):
    y, x = random(1, 3, H, W), random(1, 3, H, W, seed=1)
    assert loss_terms.temporal(y, y, *still) == 0
    assert loss_terms.temporal(y, y, *still, x, x, LUMINANCE_CAMERA) == 0


def test_a_constant_offset_costs_its_square(still):
    y = random(1, 3, H, W)
    assert float(loss_terms.temporal(y, y + 0.2, *still)) == pytest.approx(0.04, rel=1e-5)
    # In one channel only, a third of it: the mean is over C, H and W.
    offset = torch.tensor([0.2, 0.0, 0.0]).view(1, 3, 1, 1)
    assert float(loss_terms.temporal(y, y + offset, *still)) == pytest.approx(0.04 / 3, rel=1e-5)


def test_a_pure_translation_with_its_flow_costs_nothing():
    y = random(1, 3, H, W + 2)
    flow, mask = constant_flow((2.0, 0.0), (H, W)), torch.ones(1, 1, H, W)
    # The picture moves two to the right; the two columns that leave the frame are out of bounds by themselves.
    assert loss_terms.temporal(y[..., 2:], y[..., :-2], flow, mask) == 0
    assert loss_terms.temporal(y[..., 2:], y[..., :-2], -flow, mask) > 0.01


def test_a_change_of_light_that_the_output_follows_costs_nothing(still):
    x, y = random(1, 3, H, W), random(1, 3, H, W, seed=1)
    brighter = 0.15
    for coefficients in (LUMINANCE_CAMERA, LUMINANCE_ANIMATION):
        light = brighter * sum(coefficients)
        followed = loss_terms.temporal(y, y + light, *still, x, x + brighter, coefficients)
        ignored = loss_terms.temporal(y, y, *still, x, x + brighter, coefficients)
        against = loss_terms.temporal(y, y - light, *still, x, x + brighter, coefficients)
        assert float(followed) < 1e-12
        assert float(ignored) == pytest.approx(light**2, rel=1e-4)
        assert float(against) == pytest.approx(4 * light**2, rel=1e-4)


def test_light_is_relative_luminance_of_rgb(still):
    """More blue alone counts 0.0722 of a change in camera footage."""
    x, y = random(1, 3, H, W), random(1, 3, H, W, seed=1)
    bluer = x + torch.tensor([0.0, 0.0, 0.5]).view(1, 3, 1, 1)
    cost = loss_terms.temporal(y, y, *still, x, bluer, LUMINANCE_CAMERA)
    assert float(cost) == pytest.approx((0.5 * 0.0722) ** 2, rel=1e-4)


def test_masked_pixels_cost_nothing(still):
    flow, mask = still[0], still[1].clone()
    y = random(1, 3, H, W)
    y_next = y.clone()
    y_next[..., 2, 3] += 9
    mask[..., 2, 3] = 0
    assert loss_terms.temporal(y, y_next, flow, mask) == 0
    mask[..., 2, 3] = 1
    assert float(loss_terms.temporal(y, y_next, flow, mask)) == pytest.approx(81 / (H * W), rel=1e-5)


def test_temporal_equals_a_plain_loop():
    y, y_next, x, x_next = (random(2, 3, H, W, seed=s) for s in range(4))
    flow, mask = (random(2, 2, H, W, seed=5) - 0.5) * 5, (random(2, 1, H, W, seed=6) > 0.3).float()
    red, green, blue = LUMINANCE_CAMERA

    def sample(image: np.ndarray, px: float, py: float) -> float:
        x0, y0 = min(math.floor(px), W - 2), min(math.floor(py), H - 2)
        fx, fy = px - x0, py - y0
        top = image[y0, x0] * (1 - fx) + image[y0, x0 + 1] * fx
        return float(top * (1 - fy) + (image[y0 + 1, x0] * (1 - fx) + image[y0 + 1, x0 + 1] * fx) * fy)

    expected = 0.0
    for n, row, column in np.ndindex(2, H, W):
        px, py = column + float(flow[n, 0, row, column]), row + float(flow[n, 1, row, column])
        if not (0 <= px <= W - 1 and 0 <= py <= H - 1) or not mask[n, 0, row, column]:
            continue
        light, light_next = (
            red * t[n, 0].double().numpy() + green * t[n, 1].double().numpy() + blue * t[n, 2].double().numpy()
            for t in (x, x_next)
        )
        for c in range(3):
            out = float(y[n, c, row, column]) - sample(y_next[n, c].double().numpy(), px, py)
            expected += (out - (light[row, column] - sample(light_next, px, py))) ** 2
    actual = loss_terms.temporal(y, y_next, flow, mask, x, x_next, LUMINANCE_CAMERA)
    assert float(actual) == pytest.approx(expected / (2 * 3 * H * W), rel=1e-5)
    assert expected > 1


def test_gradient_flows_through_both_ends():
    y, y_next = (random(1, 3, H, W, seed=s).requires_grad_() for s in (0, 1))
    loss_terms.temporal(y, y_next, constant_flow((0.5, 0.0), (H, W)), torch.ones(1, 1, H, W)).backward()
    assert y.grad.abs().sum() > 0
    assert y_next.grad.abs().sum() > 0
    # What is pushed up at one end is pushed down at the other.
    assert float(y.grad.sum()) == pytest.approx(-float(y_next.grad.sum()), rel=1e-4)


def test_pop_is_a_mean_square():
    y = random(2, 3, H, W)
    assert loss_terms.pop(y, y) == 0
    assert float(loss_terms.pop(y, y + 0.1)) == pytest.approx(0.01, rel=1e-4)


def test_pixel_noise_has_the_asked_count_and_amplitude():
    x = torch.full((2, 3, 40, 50), 0.5)
    noise = (loss_terms.pixel_noise(x, 250, 30, torch.Generator().manual_seed(0)) - x) * 255
    whole = noise.round()
    assert (noise - whole).abs().max() < 1e-3  # whole steps of the 8-bit scale
    assert whole.max() == 30
    assert whole.min() == -30
    assert abs(float(whole[whole != 0].mean())) < 2
    touched = (whole != 0).any(1).flatten(1).sum(1)
    assert ((touched > 200) & (touched <= 250)).all()  # drawn with replacement
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[:, 0], whole[:, 1])  # each channel by itself


def test_pixel_noise_clips_and_leaves_its_input_alone():
    x = torch.cat((torch.zeros(1, 3, 9, 9), torch.ones(1, 3, 9, 9)))
    before = x.clone()
    noisy = loss_terms.pixel_noise(x, 200, 30, torch.Generator().manual_seed(0))
    assert torch.equal(x, before)
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert not torch.equal(noisy, x)


def test_pixel_noise_comes_from_its_generator():
    x = torch.full((1, 3, 20, 20), 0.5)
    one, again, other = (loss_terms.pixel_noise(x, 50, 30, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
