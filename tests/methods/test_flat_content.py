"""The loss term against the pattern in flat areas: known answers, and a network that unlearns its pattern."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from training_runs import curves, windows

from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.methods.flat_content import CARPET, repeating_pattern, with_flat_corner
from reconet_bench.training.loop import train


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_three_quarters_of_a_frame_stay_and_the_fourth_has_no_detail():
    x = noise(2, 3, 50, 62)
    y = with_flat_corner(x)
    assert y.shape == x.shape
    assert torch.equal(y[..., :25, :], x[..., :25, :])
    assert torch.equal(y[..., :31], x[..., :31])
    corner = y[..., 25:, 31:]
    second = corner.diff(n=2, dim=-1).abs().max(), corner.diff(n=2, dim=-2).abs().max()
    assert max(second) < 1e-5  # a gradient, straight along rows and columns
    assert corner.mean() == pytest.approx(float(x[..., 25:, 31:].mean()), abs=0.01)


def test_a_checkerboard_of_period_two_costs_its_variance_and_a_smooth_frame_nothing():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = (0.1 * ((rows + columns) % 2)).expand(1, 3, 64, 64)
    assert float(repeating_pattern(0.4 + board)) == pytest.approx(0.05**2, rel=1e-4)
    assert float(repeating_pattern(torch.full((1, 3, 64, 64), 0.3))) == pytest.approx(0, abs=1e-12)


def test_what_is_painted_outside_the_flat_corner_does_not_count():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    outside = (rows < 32) | (columns < 32)
    board = (0.1 * ((rows + columns) % 2) * outside).expand(1, 3, 64, 64)
    assert float(repeating_pattern(0.4 + board)) == pytest.approx(0, abs=1e-12)


def test_a_period_of_five_and_noise_are_averaged_away():
    rows = torch.arange(640).view(-1, 1).expand(640, 640)
    stripes = (0.1 * (rows % 5 == 0)).expand(1, 3, 640, 640)
    assert float(repeating_pattern(stripes)) < 0.01 * float(stripes.var())
    assert float(repeating_pattern(noise(1, 3, 640, 640))) < 0.001 * (1 / 12)


def test_the_gradient_takes_a_pattern_out_of_what_is_painted():
    class Weaver(nn.Module):
        """Adds the same tile everywhere."""

        def __init__(self) -> None:
            super().__init__()
            self.tile = nn.Parameter(0.2 * noise(1, 3, 8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.tile.repeat(1, 1, x.shape[-2] // 8, x.shape[-1] // 8)

    weaver, x = Weaver(), noise(1, 3, 64, 64)
    before = repeating_pattern(weaver(with_flat_corner(x))).detach()
    optimizer = torch.optim.SGD(weaver.parameters(), lr=20.0)
    for _ in range(30):
        optimizer.zero_grad()
        repeating_pattern(weaver(with_flat_corner(x))).backward()
        optimizer.step()
    assert repeating_pattern(weaver(with_flat_corner(x))).detach() < 0.05 * before


def test_crops_that_are_too_small_are_told():
    with pytest.raises(TrainingError, match="'carpet' needs crops of 48 pixels a side, got 40"):
        repeating_pattern(noise(1, 3, 40, 64))


@pytest.mark.parametrize("method", ["reconet", "gao2018"])
def test_every_method_takes_the_term_and_its_curve_is_kept(settings, tmp_path, method):
    asked = replace(settings, method=method, steps=2, log_every=1, weights={CARPET: 10.0})
    train(asked, windows(size=48), tmp_path / "run")
    assert all(float(row[CARPET]) > 0 for row in curves(tmp_path / "run"))


def test_without_a_weight_there_is_no_such_term(settings):
    assert CARPET not in settings.all_weights()
    with pytest.raises(UnknownName, match="carpet"):
        replace(settings, weights={"carpets": 1.0}).all_weights()
