"""The style loss: what each tap counts, and painting and output at several sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.networks.vgg import STYLE_TAPS, gram, style_targets

PAINTING = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(8))
FRAMES = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(9))


def test_a_plain_loss_is_the_sum_over_taps(loss_network):
    taps = loss_network(FRAMES)
    loss = StyleLoss.of(loss_network, PAINTING, 64)(loss_network, FRAMES, taps)
    targets = style_targets(loss_network, PAINTING, 64)
    for number in range(2):
        by_hand = sum(
            float(((gram(loss_network(FRAMES[number : number + 1])[name])[0] - targets[name]) ** 2).mean())
            for name in STYLE_TAPS
        )
        assert float(loss[number]) == pytest.approx(by_hand, rel=1e-4)


def test_every_tap_counts_the_same_on_the_scale_of_the_painting(loss_network):
    """Gram matrices of zero are as far from the painting as its own energy: one at each tap."""
    balanced = StyleLoss.of(loss_network, PAINTING, 64, balanced=True)
    nothing = {name: torch.zeros_like(tap) for name, tap in loss_network(FRAMES).items()}
    torch.testing.assert_close(balanced(loss_network, FRAMES, nothing), torch.full((2,), 4.0))
    # Doubling the size of one tap's numbers changes its own share alone, and by the same amount at any tap.
    taps = loss_network(PAINTING)
    for name in STYLE_TAPS:
        louder = {**taps, name: taps[name] * 2**0.5}
        own = StyleLoss(({key: gram(tap)[0] for key, tap in taps.items()},), balanced=True)
        assert float(own(loss_network, PAINTING, louder)) == pytest.approx(1.0, rel=1e-4)


def test_the_painting_itself_has_no_distance_at_any_level(loss_network):
    loss = StyleLoss.of(loss_network, PAINTING, 96, levels=1, balanced=True)
    assert float(loss(loss_network, PAINTING, loss_network(PAINTING))) == pytest.approx(0, abs=1e-9)


def test_levels_are_the_mean_of_painting_and_output_at_each_size(loss_network):
    taps = loss_network(FRAMES)
    two = StyleLoss.of(loss_network, PAINTING, 64, levels=2, balanced=True)
    fine = StyleLoss((two.levels[0],), balanced=True)(loss_network, FRAMES, taps)
    half = F.avg_pool2d(FRAMES, 2)
    coarse = StyleLoss.of(loss_network, PAINTING, 32, balanced=True)(loss_network, half, loss_network(half))
    torch.testing.assert_close(two(loss_network, FRAMES, taps), (fine + coarse) / 2)
