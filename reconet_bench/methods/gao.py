"""Gao et al. 2018: the original ReCoNet objective, on outputs and on features."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.reconet import ReCoNetMethod, temporal
from reconet_bench.networks.base import StyleNetwork, WithFeatures


@METHODS.register("gao2018")
class Gao(ReCoNetMethod):
    """Adjacent frames only: the output-level temporal loss with the luminance constraint, and the feature-level one.

    The paper's weights (α 1, β 10, γ 1e-3, λ_f 1e7, λ_o 2e3) are for its own normalisation. The defaults here are for
    the normalisation of this project; the preset ``gao2018`` has the paper's weights.

    Reference: Gao, Gu, Zhang, Xu, *ReCoNet: Real-time Coherent Video Style Transfer Network*, ACCV 2018
    (arXiv 1807.01197).
    """

    summary = "temporal losses of adjacent frames, on the output and on the encoder's features"
    weights: ClassVar[dict[str, float]] = {
        "content": 1.0,
        "style": 2e4,
        "tv": 1e-6,
        "temporal_short": 300.0,
        "temporal_features": 0.1,
    }
    options: ClassVar[dict[str, Any]] = ReCoNetMethod.options

    def training_module(self, network: nn.Module) -> nn.Module:
        """The network, returning its features beside the frame."""
        return WithFeatures(cast(StyleNetwork, network))

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x, x_next = batch.frames[:, 0], batch.frames[:, 1]
        stylised, encoded = network(torch.cat((x, x_next)))
        (y, y_next), (f, f_next) = stylised.float().chunk(2), encoded.float().chunk(2)
        return {
            **perceptual_terms(torch.cat((x, x_next)), torch.cat((y, y_next)), context),
            "tv": loss_terms.total_variation(torch.cat((y, y_next))),
            "temporal_short": temporal(y, y_next, x, x_next, batch, 0, self.switches(context)["constraint"]),
            "temporal_features": loss_terms.temporal_features(f, f_next, batch.flows[:, 0], batch.masks[:, 0]),
        }
