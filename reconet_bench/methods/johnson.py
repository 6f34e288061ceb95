"""Johnson et al. 2016: perceptual losses frame by frame, no temporal term."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, Method, check_content_tap, perceptual_terms
from reconet_bench.networks.vgg import CONTENT_TAP


@METHODS.register("johnson")
class Johnson(Method):
    """Content + style + TV on single frames: no knowledge of time.

    It is trained on the same frames as the other methods, and ignores the motion between them.

    Reference: Johnson, Alahi, Fei-Fei, *Perceptual Losses for Real-Time Style Transfer*, ECCV 2016
    (arXiv 1603.08155).
    """

    summary = "frame by frame, no temporal term"
    weights: ClassVar[dict[str, float]] = {"content": 1.0, "style": 2e4, "tv": 1e-6}
    #: Tap of the content loss: relu3_3 in all methods here, relu2_2 in the PyTorch examples.
    options: ClassVar[dict[str, Any]] = {**Method.options, "content_tap": CONTENT_TAP}

    def check_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check ``options`` and return them unchanged; raises UnknownName or TrainingError."""
        options = super().check_options(options)
        check_content_tap(options)
        return options

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x = torch.cat((batch.frames[:, 0], batch.frames[:, 1]))
        y = network(x).float()
        return {**perceptual_terms(x, y, context), "tv": loss_terms.total_variation(y)}
