"""Huang et al. 2017: the temporal loss of adjacent frames, without a light constraint."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.johnson import Johnson


@METHODS.register("huang2017")
class Huang(Johnson):
    """The output at t must equal the output at t+1 warped to it, wherever the motion can be traced.

    The output may not change with the light, so it is steadier than with the luminance constraint of Gao et al. 2018
    and follows shadows less. The paper trains on estimated flow of footage, with weights (content 1, style 10, TV 1e-3,
    temporal 1e4, as recalled from the paper) for its own normalisation.

    Reference: Huang, Wang, Luo, Ma, Jiang, Zhu, Li, Liu, *Real-Time Neural Style Transfer for Videos*, CVPR 2017.
    """

    summary = "temporal loss of adjacent frames, no light constraint"
    weights: ClassVar[dict[str, float]] = {**Johnson.weights, "temporal_short": 300.0}
    options: ClassVar[dict[str, Any]] = Johnson.options

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
        y = network(x).float()
        first, second = y.chunk(2)
        return {
            **perceptual_terms(x, y, context),
            "tv": loss_terms.total_variation(y),
            "temporal_short": loss_terms.temporal(first, second, batch.flows[:, 0], batch.masks[:, 0]),
        }
