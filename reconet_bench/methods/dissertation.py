"""The objective of the dissertation's released code; each difference from its text is a switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.ops import luminance, per_channel, pixel_grid, warp
from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.reconet import ReCoNetMethod
from reconet_bench.networks.base import NetworkOptions
from reconet_bench.networks.vgg import IMAGENET_STD

#: Largest change of luminance that the code's mask accepts.
LUMINANCE_LIMIT = 0.05
#: MPI-Sintel's frames are 1024x436; the code resizes them to a square.
SINTEL_ASPECT = 1024 / 436


@METHODS.register("dissertation-code")
class DissertationCode(ReCoNetMethod):
    """The dissertation's code where it differs from its text; with all switches off it is ``reconet``.

    Switches (all on by default):
        swapped_weights: the weights of the short-term and the long-term loss are swapped.
        long_without_gradient: the long-term loss is computed, but not optimised.
        long_from_shuffled: its far frame is from another clip, as with a shuffled loader, and has one-step flow.
        long_mask_mixed: its mask compares the content frame with the stylised far frame.
        luminance_as_mask: instead of the luminance constraint, pixels whose luminance changed by 0.05 are dropped.
        luminance_bgr: the luminance coefficients are applied to the channels in reverse order.
        flow_axes_crossed: resizing 1024x436 to a square scales u by the ratio of v, and v by that of u.
        grid_misaligned: the sampling grid is built with ``align_corners=True``, and sampled without.
        output_range: in the losses, outputs in [-1, 1] are compared with contents in [0, 1]. The network outputs
            its tanh, and frames are clipped to [0, 1]; how the code itself saved frames is not printed.
        tv_of_normalised: total variation is computed on the ImageNet-normalised output.
        residual_code: residual blocks are conv-IN-ReLU-conv-ReLU-IN with zero padding.
        plain_tanh: tanh has its true gradient, which is zero where it is saturated, as in the text.

    Some things are not switches, and are the same in this method and in ``reconet``: the later frame is warped back,
    because Sintel has forward flow; the style taps are relu1_2 to relu4_3, and Gram matrices are divided by C·H·W, as
    in the code. Neither has the feature-level loss of Gao et al., which is in the method ``gao2018``.

    Reference: Mahakalkar 2022 and its appendix.
    """

    summary = "the dissertation's released code: each departure from its text is a switch"
    weights: ClassVar[dict[str, float]] = ReCoNetMethod.weights
    options: ClassVar[dict[str, Any]] = dict.fromkeys(
        (
            "swapped_weights",
            "long_without_gradient",
            "long_from_shuffled",
            "long_mask_mixed",
            "luminance_as_mask",
            "luminance_bgr",
            "flow_axes_crossed",
            "grid_misaligned",
            "output_range",
            "tv_of_normalised",
            "residual_code",
            "plain_tanh",
        ),
        True,
    )

    def network_options(self, switches: Mapping[str, Any]) -> NetworkOptions:
        """The code's residual blocks and output range if these switches are on."""
        return NetworkOptions(
            residual_order="dissertation-code" if switches["residual_code"] else "standard",
            plain_tanh=switches["plain_tanh"],
            signed=switches["output_range"],
        )

    def final_weights(self, weights: dict[str, float], options: Mapping[str, Any]) -> dict[str, float]:
        """The weights, with the two temporal ones swapped if ``swapped_weights`` is on."""
        if not options["swapped_weights"]:
            return weights
        return {**weights, "temporal_short": weights["temporal_long"], "temporal_long": weights["temporal_short"]}

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        on = self.switches(context)
        x, x_next, x_far = batch.frames.unbind(1)
        flow, flow_far = (_as_coded(flow, on) for flow in batch.flows.unbind(1))
        mask, mask_far = batch.masks.unbind(1)
        if on["long_from_shuffled"]:
            if len(x) < 2:
                raise TrainingError(
                    "long_from_shuffled takes its far frame from another clip of the batch: give --batch 2 or more"
                )
            x_far, flow_far, mask_far = x.roll(1, 0), flow, mask
        y, y_next, y_far = network(torch.cat((x, x_next, x_far))).float().chunk(3)
        coefficients = batch.luminance.flip(-1) if on["luminance_bgr"] else batch.luminance
        if on["long_mask_mixed"]:
            mask_far = _steady(x, y_far.detach(), flow_far, coefficients)
        if on["luminance_as_mask"]:
            mask = mask * _steady(x, x_next, flow, coefficients)
            if not on["long_mask_mixed"]:
                mask_far = mask_far * _steady(x, x_far, flow_far, coefficients)
            short, long = loss_terms.temporal(y, y_next, flow, mask), loss_terms.temporal(y, y_far, flow_far, mask_far)
        else:
            short = loss_terms.temporal(y, y_next, flow, mask, x, x_next, coefficients)
            long = loss_terms.temporal(y, y_far, flow_far, mask_far, x, x_far, coefficients)
        near = torch.cat((y, y_next))
        return {
            **perceptual_terms(torch.cat((x, x_next)), near, context),
            "tv": loss_terms.total_variation(
                near / per_channel(IMAGENET_STD, near) if on["tv_of_normalised"] else near
            ),
            "temporal_short": short,
            "temporal_long": long.detach() if on["long_without_gradient"] else long,
        }


def _as_coded(flow: Tensor, on: Mapping[str, Any]) -> Tensor:
    """The flow with which correct sampling reads the same pixels as the code's flow and grid."""
    if on["flow_axes_crossed"]:
        flow = flow * per_channel((SINTEL_ASPECT, 1 / SINTEL_ASPECT), flow)
    if on["grid_misaligned"]:
        height, width = flow.shape[-2:]
        grid = pixel_grid(height, width, flow.device)
        ratio = per_channel((width / (width - 1), height / (height - 1)), flow)
        flow = (grid + flow) * ratio - 0.5 - grid
    return flow


def _steady(x: Tensor, other: Tensor, flow: Tensor, coefficients: Tensor) -> Tensor:
    """1 where the luminance of ``other``, warped, is within the limit of that of ``x``: ``(N, 1, H, W)``."""
    warped, _ = warp(luminance(other, coefficients), flow)
    return ((luminance(x, coefficients) - warped).abs() < LUMINANCE_LIMIT).to(x.dtype)
