"""Objectives of the field: each term is zero where its paper says so, and grows where it must."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import TranslationClip
from torch import nn

from reconet_bench.core.ops import LUMINANCE_ANIMATION, warp
from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.methods.synthetic_change import LIGHT, random_light, random_motion, sensor_noise
from reconet_bench.networks.base import Identity
from reconet_bench.training.crops import ClipCrops


@pytest.fixture(scope="module")
def batch() -> Batch:
    frames, flows, masks, _ = ClipCrops(48, 0, [TranslationClip((2.0, 1.0))])[0]
    return Batch(frames[None], flows[None], masks[None], torch.tensor([LUMINANCE_ANIMATION]))


@pytest.fixture
def context(loss_network) -> LossContext:
    painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    return LossContext(loss_network, StyleLoss.of(loss_network, painting, 64), torch.Generator().manual_seed(0))


class Grey(nn.Module):
    """One colour for every pixel of every frame."""

    def forward(self, x):
        return torch.full_like(x, 0.4)


def term(name: str, network: nn.Module, batch: Batch, context: LossContext, which: str) -> float:
    return float(METHODS[name].objective(network, batch, context)[which])


def test_huang_wants_the_output_to_move_with_the_scene_whatever_the_light_does(batch, context):
    assert term("huang2017", Identity(), batch, context, "temporal_short") == pytest.approx(0, abs=1e-4)
    darker = replace(batch, frames=batch.frames * torch.tensor([1.0, 0.7, 1.0]).view(1, 3, 1, 1, 1))
    moved = term("huang2017", Identity(), darker, context, "temporal_short")
    assert moved > 1e-3
    followed = METHODS["reconet"].objective(Identity(), darker, context)["temporal_short"]
    assert float(followed) < moved, "the luminance constraint lets the output follow the light"


def test_xu_wants_the_change_of_the_content_and_no_other(batch, context):
    assert term("xu2021", Identity(), batch, context, "frame_difference") == pytest.approx(0, abs=1e-12)
    x = batch.frames[:, :2].flatten(0, 1)
    expected = float(((x[1] - x[0]) ** 2).mean())
    assert term("xu2021", Grey(), batch, context, "frame_difference") == pytest.approx(expected, rel=1e-5)
    assert float(loss_terms.frame_difference(x, x + 0.2)) == pytest.approx(0, abs=1e-12)


def test_wang_is_content_with_what_moves_and_shines_as_the_content_does(batch, context):
    """The content itself is only disturbed by the noise, by resampling twice and where it is clipped."""
    kept = term("wang2020", Identity(), batch, context, "compound")

    class Inverted(nn.Module):
        def forward(self, x):
            return 1 - x

    context.generator.manual_seed(0)
    assert kept < 2e-3
    assert term("wang2020", Inverted(), batch, context, "compound") > 4 * LIGHT**2 / 12


def test_made_up_motion_is_smooth_small_and_repeatable():
    x = torch.zeros(3, 3, 60, 80)
    flow = random_motion(x, torch.Generator().manual_seed(5))
    assert flow.shape == (3, 2, 60, 80)
    assert torch.equal(flow, random_motion(x, torch.Generator().manual_seed(5)))
    assert not torch.equal(flow[0], flow[1])
    assert flow.abs().max() < 0.15 * 80
    assert (flow[..., 1:] - flow[..., :-1]).abs().max() < 0.2
    ramp = torch.linspace(0, 1, 80).expand(1, 3, 60, 80).contiguous()
    moved, inside = warp(ramp, flow[:1])
    columns = torch.arange(80.0) + flow[0, 0]
    torch.testing.assert_close(moved[0, 0] * inside[0, 0], columns / 79 * inside[0, 0], atol=1e-5, rtol=0)


def test_made_up_light_is_one_for_all_channels_and_noise_is_not():
    x = torch.zeros(2, 3, 32, 40)
    light, noise = random_light(x, torch.Generator().manual_seed(1)), sensor_noise(x, torch.Generator().manual_seed(1))
    assert light.shape == (2, 1, 32, 40)
    assert light.abs().max() <= LIGHT
    assert noise.shape == x.shape
    assert noise.std() == pytest.approx(0.01, rel=0.05)
