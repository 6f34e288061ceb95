"""ReCoNet as the dissertation describes it: losses per frame, and short- and long-term consistency."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import UnknownName
from reconet_bench.methods import loss_terms
from reconet_bench.methods.base import METHODS, Batch, LossContext, Method, perceptual_terms

CONSTRAINTS = ("luminance", "colour", "none")


@METHODS.register("reconet")
class ReCoNetMethod(Method):
    """Content, style, TV, short-term (t, t+1) and long-term (t, t+k) loss, with the luminance constraint.

    It differs from the dissertation's released code on purpose: both frames of the long-term loss have
    gradients, and they are from one clip with the flow between them; its weight is not swapped with the
    short-term one; the luminance difference is a part of the loss, not a mask; resizing scales each axis
    of the flow by its own ratio; zero flow is the identity; output and content have one value range.

    Reference: Mahakalkar 2022, chapters 3 and 4; Gao et al. 2018 (arXiv 1807.01197).
    """

    summary = "temporal losses over adjacent and distant frames, with the luminance constraint"
    weights: ClassVar[dict[str, float]] = {
        "content": 1.0,
        "style": 2e4,
        "tv": 1e-6,
        "temporal_short": 150.0,
        "temporal_long": 75.0,
    }

    #: The output may change as the content's ``luminance`` or ``colour``, or not at all (``none``, Huang et al. 2017).
    options: ClassVar[dict[str, Any]] = {**Method.options, "constraint": "luminance"}

    def check_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check ``options`` and return them unchanged; raises UnknownName or TrainingError."""
        if options.get("constraint", "none") not in CONSTRAINTS:
            raise UnknownName("constraint", str(options["constraint"]), CONSTRAINTS)
        return super().check_options(options)

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        x, x_next, x_far = batch.frames.unbind(1)
        y, y_next, y_far = network(torch.cat((x, x_next, x_far))).float().chunk(3)
        constraint = self.switches(context)["constraint"]
        return {
            **perceptual_terms(torch.cat((x, x_next)), torch.cat((y, y_next)), context),
            "tv": loss_terms.total_variation(torch.cat((y, y_next))),
            "temporal_short": temporal(y, y_next, x, x_next, batch, 0, constraint),
            "temporal_long": temporal(y, y_far, x, x_far, batch, 1, constraint),
        }


def temporal(y: Tensor, y_next: Tensor, x: Tensor, x_next: Tensor, batch: Batch, pair: int, constraint: str) -> Tensor:
    """The output-level temporal loss of the near (0) or far (1) pair of a batch, with one of :data:`CONSTRAINTS`."""
    flow, mask = batch.flows[:, pair], batch.masks[:, pair]
    if constraint == "none":
        return loss_terms.temporal(y, y_next, flow, mask)
    return loss_terms.temporal(y, y_next, flow, mask, x, x_next, batch.luminance if constraint == "luminance" else None)
