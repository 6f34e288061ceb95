"""Dougherty 2020: style transfer stabilised with noise, as described and as released."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.johnson import Johnson
from reconet_bench.networks.vgg import IMAGENET_STD

#: Number of pixels that the noise changes, and its largest value on the 0-255 scale.
NOISE_COUNT, NOISE_AMPLITUDE = 250, 30


@METHODS.register("dougherty")
class Dougherty(Johnson):
    """Johnson's losses plus the "pop" loss: the stylised frame must not change when noise is added.

    As described, integers in [-30, 30] are added to 250 pixels of the content frame, and the two
    outputs are compared. The described weight of 50 has no effect with style weights of 1e10, so it is
    tuned here.
    """

    summary = "per frame, stabilised by noise (the pop loss), as described"
    weights: ClassVar[dict[str, float]] = {"content": 1.0, "style": 2e4, "tv": 1e-6, "pop": 2e4}
    random = True
    #: Whether the pop loss compares ImageNet-normalised outputs, as described, or colours.
    options: ClassVar[dict[str, Any]] = {**Johnson.options, "normalised_pop": False}

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
        noisy = loss_terms.pixel_noise(x, NOISE_COUNT, NOISE_AMPLITUDE, context.generator)
        y, y_noisy = network(torch.cat((x, noisy))).float().chunk(2)
        # The mean of the normalisation cancels in a difference.
        unit = y.new_tensor(IMAGENET_STD if self.switches(context)["normalised_pop"] else (1.0, 1.0, 1.0)).view(
            1, 3, 1, 1
        )
        return {
            **perceptual_terms(x, y, context),
            "tv": loss_terms.total_variation(y),
            "pop": loss_terms.pop(y / unit, y_noisy / unit),
        }


@METHODS.register("dougherty-published")
class DoughertyPublished(Dougherty):
    """What the released code optimises: the pop loss is computed, then overwritten before the backward pass."""

    summary = "the released code of dougherty: the pop loss is computed but never optimised"
    weights: ClassVar[dict[str, float]] = {**Dougherty.weights, "pop": 0.0}
