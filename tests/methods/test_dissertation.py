"""The dissertation's objective: its text, its code, each switch between them, and the terms it left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TranslationClip
from torch import Tensor, nn

from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.core.ops import LUMINANCE_CAMERA, luminance, to_uint8, warp
from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext
from reconet_bench.methods.dissertation import SINTEL_ASPECT, _as_coded, _steady
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.training.crops import ClipCrops

CODE = METHODS["dissertation-code"]
OFF = dict.fromkeys(CODE.options, False)


@pytest.fixture(scope="module")
def batch() -> Batch:
    windows = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    frames, flows, masks, coefficients = (torch.stack(parts) for parts in zip(windows[0], windows[1], strict=True))
    return Batch(frames, flows, masks, coefficients)


@pytest.fixture
def context(loss_network) -> LossContext:
    painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    return LossContext(loss_network, StyleLoss.of(loss_network, painting, 64), torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sigmoid())


def terms(batch: Batch, context: LossContext, method: str = "dissertation-code", **on: object) -> dict[str, float]:
    options = {**OFF, **on} if method == "dissertation-code" else on
    return {
        name: float(value.detach())
        for name, value in METHODS[method].objective(network(), batch, replace(context, options=options)).items()
    }


def test_with_every_switch_off_the_code_is_the_text(batch, context):
    assert terms(batch, context) == terms(batch, context, "reconet")
    assert CODE.final_weights(dict(CODE.weights), OFF) == METHODS["reconet"].weights
    same = zip(CODE.network(OFF).state_dict().items(), ReCoNet().state_dict().items(), strict=True)
    assert all(one[0] == other[0] and one[1].shape == other[1].shape for one, other in same)


def test_the_codes_mask_lets_a_twentieth_of_luminance_pass():
    grey, still = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 2, 4, 4)
    coefficients = torch.tensor([LUMINANCE_CAMERA])
    for change, expected in ((0.045, 1), (-0.045, 1), (0.055, 0), (-0.055, 0)):
        assert _steady(grey, grey + change, still, coefficients).unique().tolist() == [expected], change


@pytest.mark.parametrize(
    ("switch", "changed"),
    [
        ("long_from_shuffled", {"temporal_long"}),
        ("long_mask_mixed", {"temporal_long"}),
        ("luminance_as_mask", {"temporal_short", "temporal_long"}),
        ("luminance_bgr", {"temporal_short", "temporal_long"}),
        ("flow_axes_crossed", {"temporal_short", "temporal_long"}),
        ("grid_misaligned", {"temporal_short", "temporal_long"}),
        ("output_range", set()),
        ("tv_of_normalised", {"tv"}),
        ("long_without_gradient", set()),
        ("swapped_weights", set()),
        ("residual_code", set()),
        ("plain_tanh", set()),
    ],
)
def test_each_switch_changes_what_it_names_and_nothing_else(batch, context, switch, changed):
    plain, switched = terms(batch, context), terms(batch, context, **{switch: True})
    assert {name for name in plain if plain[name] != switched[name]} == changed


def test_every_switch_is_on_by_default_and_tested():
    assert all(CODE.options.values())
    tested = next(
        mark
        for mark in test_each_switch_changes_what_it_names_and_nothing_else.pytestmark
        if mark.name == "parametrize"
    )
    assert {case[0] for case in tested.args[1]} == set(CODE.options)


def test_the_long_term_loss_has_a_gradient_unless_switched_off(batch, context):
    for off in (True, False):
        long = CODE.objective(network(), batch, replace(context, options={**OFF, "long_without_gradient": off}))[
            "temporal_long"
        ]
        assert long.requires_grad is not off


def test_swapped_weights_are_exchanged():
    weights = {"content": 1.0, "style": 2.0, "tv": 3.0, "temporal_short": 100.0, "temporal_long": 10.0}
    swapped = CODE.final_weights(weights, {**OFF, "swapped_weights": True})
    assert swapped == {**weights, "temporal_short": 10.0, "temporal_long": 100.0}


def test_residual_blocks_of_the_code_pad_with_zeros_and_end_in_the_norm():
    block = CODE.network({"residual_code": True}).residual[0].body
    assert [type(layer).__name__ for layer in block] == [
        "Conv2d",
        "InstanceNorm2d",
        "ReLU",
        "Conv2d",
        "ReLU",
        "InstanceNorm2d",
    ]


def test_the_misaligned_grid_is_that_of_grid_sample():
    generator = torch.Generator().manual_seed(1)
    image, flow = torch.rand(1, 3, 12, 20, generator=generator), torch.randn(1, 2, 12, 20, generator=generator)
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    grid = torch.stack((2 * (x + flow[:, 0]) / 19 - 1, 2 * (y + flow[:, 1]) / 11 - 1), -1)
    expected = torch.nn.functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    actual, _ = warp(image, _as_coded(flow, {**OFF, "grid_misaligned": True}))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    still, _ = warp(image, _as_coded(torch.zeros_like(flow), {**OFF, "grid_misaligned": True}))
    assert not torch.allclose(still, image, atol=1e-2), "zero flow is not the identity there"


def test_crossed_axes_scale_as_the_code_does():
    """1024x436 to 512x512: u times 512/436 and v times 512/1024 instead of the other way round."""
    right = torch.tensor([512 / 1024, 512 / 436]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    crossed = _as_coded(right, {**OFF, "flow_axes_crossed": True})
    torch.testing.assert_close(crossed[0, :, 0, 0], torch.tensor([512 / 436, 512 / 1024]))
    assert pytest.approx(1024 / 436) == SINTEL_ASPECT


def test_a_frame_of_another_clip_needs_another_clip(batch, context):
    one = Batch(batch.frames[:1], batch.flows[:1], batch.masks[:1], batch.luminance)
    with pytest.raises(TrainingError, match="--batch 2 or more"):
        terms(one, context, long_from_shuffled=True)


def test_constraints_say_what_the_output_may_follow(context):
    """Content whose colour changes at equal luminance: luminance allows nothing, colour allows all of it."""
    x = torch.full((1, 3, 32, 32), 0.5)
    shift = torch.tensor([0.1, -0.1 * LUMINANCE_CAMERA[0] / LUMINANCE_CAMERA[1], 0.0]).view(1, 3, 1, 1)
    assert float((luminance(x + shift, LUMINANCE_CAMERA) - luminance(x, LUMINANCE_CAMERA)).abs().max()) < 1e-6
    frames = torch.stack((x, x + shift, x + shift), 1)
    moving = Batch(frames, torch.zeros(1, 2, 2, 32, 32), torch.ones(1, 2, 1, 32, 32), torch.tensor([LUMINANCE_CAMERA]))

    def short(constraint: str) -> float:
        method = METHODS["reconet"]
        return float(
            method.objective(nn.Identity(), moving, replace(context, options={"constraint": constraint}))[
                "temporal_short"
            ]
        )

    moved = float((shift**2).mean())
    assert short("colour") == pytest.approx(0, abs=1e-12)
    assert short("luminance") == pytest.approx(moved, rel=1e-4)
    assert short("none") == pytest.approx(moved, rel=1e-4)


def test_an_unknown_constraint_is_refused():
    with pytest.raises(UnknownName, match="unknown constraint 'color': did you mean 'colour'"):
        METHODS["reconet"].check_options({"constraint": "color"})
    with pytest.raises(TrainingError, match="'swapped_weights' takes bool, got 'yes'"):
        CODE.check_options({**CODE.options, "swapped_weights": "yes"})


def plain_feature_loss(f: Tensor, f_next: Tensor, shift: tuple[int, int]) -> float:
    """Σ over pixels that stay inside, in float64 loops."""
    n, c, h, w = f.shape
    total = 0.0
    for i in range(h):
        for j in range(w):
            k, m = i + shift[1], j + shift[0]
            if 0 <= k < h and 0 <= m < w:
                total += float(((f[..., i, j].double() - f_next[..., k, m].double()) ** 2).sum())
    return total / (n * c * h * w)


def test_features_that_move_with_the_flow_cost_nothing():
    generator = torch.Generator().manual_seed(2)
    wide = torch.rand(1, 8, 8, 12, generator=generator)
    flow = torch.zeros(1, 2, 32, 40)
    flow[:, 0] = 8.0  # two feature pixels: frames are four times as large
    mask = torch.ones(1, 1, 32, 40)
    f, f_next = wide[..., 2:], wide[..., :-2]
    assert float(loss_terms.temporal_features(f, f_next, flow, mask)) == pytest.approx(0, abs=1e-12)
    assert float(loss_terms.temporal_features(f, f, flow, mask)) == pytest.approx(
        plain_feature_loss(f, f, (2, 0)), rel=1e-5
    )
    assert float(loss_terms.temporal_features(f, f, flow, 0 * mask)) == 0


def test_features_and_output_come_of_one_pass():
    torch.manual_seed(0)
    plain = METHODS["gao2018"].network().eval()
    frame = torch.rand(1, 3, 30, 38)
    y, features = METHODS["gao2018"].training_module(plain)(frame)
    torch.testing.assert_close(y, plain(frame))
    assert features.shape == (1, 128, 8, 10)


# --- the defect that each switch reproduces -------------------------------------------------------------


def still(first: Tensor, near: Tensor, far: Tensor) -> Batch:
    """Colours ``(3,)`` of a frame, the next and the far one, nothing moving."""
    frames = torch.stack([colour.view(1, 3, 1, 1).expand(1, 3, 32, 32) for colour in (first, near, far)], 1)
    return Batch(
        frames.contiguous(), torch.zeros(1, 2, 2, 32, 32), torch.ones(1, 2, 1, 32, 32), torch.tensor([LUMINANCE_CAMERA])
    )


def losses_of(net: nn.Module, batch: Batch, context: LossContext, *on: str) -> dict[str, Tensor]:
    return CODE.objective(net, batch, replace(context, options={**OFF, **dict.fromkeys(on, True)}))


class Negative(nn.Module):
    """A stylisation that turns light into dark."""

    def forward(self, frame: Tensor) -> Tensor:
        return 1 - frame


class Constant(nn.Module):
    """A stylisation that never changes."""

    def forward(self, frame: Tensor) -> Tensor:
        return torch.full_like(frame, 0.5)


GREY = torch.full((3,), 0.2)


def test_without_gradient_no_weight_of_the_long_term_changes_what_is_learnt(batch, context):
    def gradient(weight: float, *on: str) -> Tensor:
        net = network()
        terms = losses_of(net, batch, context, *on)
        (terms["temporal_short"] + weight * terms["temporal_long"]).backward()
        return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])

    assert torch.equal(gradient(1.0, "long_without_gradient"), gradient(1e6, "long_without_gradient"))
    assert not torch.allclose(gradient(1.0), gradient(1e6))


def test_a_shuffled_far_frame_says_nothing_of_the_clip(batch, context):
    """Whatever becomes of the clip five frames later, the long-term loss of the code does not see it."""
    ruined = batch.frames.clone()
    ruined[:, 2] = 1 - ruined[:, 2]
    other = Batch(ruined, batch.flows, batch.masks, batch.luminance)
    for on, blind in (((), False), (("long_from_shuffled",), True)):
        before, after = (losses_of(network(), b, context, *on)["temporal_long"] for b in (batch, other))
        assert torch.equal(before, after) is blind


def test_a_mask_of_content_against_style_hides_all_that_was_stylised(context):
    flicker = still(GREY, GREY, GREY + 0.04)
    assert float(losses_of(Negative(), flicker, context)["temporal_long"]) > 0.005
    assert float(losses_of(Negative(), flicker, context, "long_mask_mixed")["temporal_long"]) == 0


def test_luminance_as_a_mask_neither_follows_light_nor_sees_much_of_it(context):
    lamp, dusk = still(GREY, GREY + 0.3, GREY), still(GREY, GREY + 0.03, GREY)
    # An output that is as much brighter as the content is right; the code calls a little of that an error …
    assert float(losses_of(nn.Identity(), dusk, context)["temporal_short"]) == pytest.approx(0, abs=1e-12)
    assert float(losses_of(nn.Identity(), dusk, context, "luminance_as_mask")["temporal_short"]) == pytest.approx(
        0.03**2, rel=1e-3
    )
    # … and where light changes more, does not look at all.
    assert float(losses_of(Negative(), lamp, context)["temporal_short"]) > 0.1
    assert float(losses_of(Negative(), lamp, context, "luminance_as_mask")["temporal_short"]) == 0


def test_coefficients_in_reverse_take_red_for_blue(context):
    redder = still(GREY, GREY + torch.tensor([0.2, 0.0, 0.0]), GREY)
    red, _, blue = LUMINANCE_CAMERA
    assert float(losses_of(Constant(), redder, context)["temporal_short"]) == pytest.approx((0.2 * red) ** 2, rel=1e-3)
    assert float(losses_of(Constant(), redder, context, "luminance_bgr")["temporal_short"]) == pytest.approx(
        (0.2 * blue) ** 2, rel=1e-3
    )


def test_outputs_in_another_range_than_the_content_lose_what_is_below_zero(batch):
    """The losses see the tanh itself; a viewer sees its part in [0, 1], not all of it at half the contrast."""
    nets = {on: CODE.network({**OFF, "output_range": on}).eval() for on in (False, True)}
    nets[True].load_state_dict(nets[False].state_dict())
    with torch.no_grad():
        unit, signed = (nets[on](batch.frames[:, 0]) for on in (False, True))
    torch.testing.assert_close(signed, 2 * unit - 1, atol=1e-6, rtol=0)
    assert signed.min() < 0 < signed.max()
    assert np.array_equal(to_uint8(signed), to_uint8((2 * unit - 1).clamp(0, 1)))


def test_variation_of_the_normalised_output_counts_each_colour_otherwise(context):
    frames = torch.zeros(1, 3, 3, 32, 32)
    frames[..., 16:] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    edge = Batch(frames, torch.zeros(1, 2, 2, 32, 32), torch.ones(1, 2, 1, 32, 32), torch.tensor([LUMINANCE_CAMERA]))
    assert float(losses_of(nn.Identity(), edge, context)["tv"]) == pytest.approx(32)
    assert float(losses_of(nn.Identity(), edge, context, "tv_of_normalised")["tv"]) == pytest.approx(
        32 / 0.229, rel=1e-4
    )


def test_zero_padding_darkens_the_border_of_a_flat_area():
    flat = torch.ones(1, 128, 8, 8)
    torch.manual_seed(0)
    for switch, even in ((True, False), (False, True)):
        padded = CODE.network({"residual_code": switch}).residual[0].body
        convolution = padded[0] if switch else nn.Sequential(padded[0][0], padded[0][1])
        y = convolution(flat)
        assert torch.allclose(y[..., 0, :], y[..., 4, :], atol=1e-5) is even
