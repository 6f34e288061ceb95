"""Wang et al. 2020: compound regularisation, from motion and light that are made up."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.ops import warp
from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.johnson import Johnson
from reconet_bench.methods.synthetic_change import random_light, random_motion, sensor_noise


@METHODS.register("wang2020")
class Wang(Johnson):
    """Stylising a frame that was moved and relit must give the stylised frame, moved and relit in the same way.

    Each frame is its own pair: it is warped along a smooth random motion, and a smooth random change of light and
    sensor noise are added. So any photographs will do as training data, and the motion is exact. Here the random
    motion is a similarity transform with a smooth wave; the paper's own distribution of motions is not repeated.

    Reference: Wang, Xu, Zhang, Wang, Liu, *Consistent Video Style Transfer via Compound Regularization*, AAAI 2020.
    """

    summary = "stable under made-up motion, light and noise; needs photographs only"
    weights: ClassVar[dict[str, float]] = {**Johnson.weights, "compound": 300.0}
    options: ClassVar[dict[str, Any]] = Johnson.options
    random = True

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
        flow = random_motion(x, context.generator)
        light = random_light(x, context.generator)
        moved, inside = warp(x, flow)
        y, y_changed = (
            network(torch.cat((x, (moved + light + sensor_noise(x, context.generator)).clamp(0, 1)))).float().chunk(2)
        )
        expected = warp(y, flow)[0] + light
        return {
            **perceptual_terms(x, y, context),
            "tv": loss_terms.total_variation(y),
            "compound": (inside * (y_changed - expected) ** 2).mean(),
        }
