"""Xu et al. 2021: the frame-difference loss, which needs no motion."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, perceptual_terms
from reconet_bench.methods.johnson import Johnson


@METHODS.register("xu2021")
class Xu(Johnson):
    """The output must change from frame to frame as the content does, pixel by pixel.

    It is trained on plain footage: neither flow nor masks are used. What moves is bound to the contrast of the content,
    so the loss also holds the style back there. Only this loss of the paper is here; its network over space and time is
    not.

    Reference: Xu, Wen, Li, Qi, Bo, Huang, *Learning Self-Supervised Space-Time CNN for Fast Video Style Transfer*,
    IEEE Transactions on Image Processing 2021.
    """

    summary = "the output changes as the content does, pixel by pixel; needs no motion"
    weights: ClassVar[dict[str, float]] = {**Johnson.weights, "frame_difference": 100.0}
    options: ClassVar[dict[str, Any]] = Johnson.options

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
        y = network(x).float()
        return {
            **perceptual_terms(x, y, context),
            "tv": loss_terms.total_variation(y),
            "frame_difference": loss_terms.frame_difference(x, y),
        }
