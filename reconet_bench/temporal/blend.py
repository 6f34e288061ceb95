"""Mixing with the frame before along the motion, where it can be traced and the content agrees."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from reconet_bench.core.ops import warp
from reconet_bench.temporal.base import STABILISERS, Neighbours, Stabiliser

#: How fast the weight falls where the content of both frames differs; a difference of 0.1 in each channel leaves 0.74.
AGREEMENT = 10.0


@STABILISERS.register("blend")
class Blend(Stabiliser):
    """The shown frame before, warped along the motion, is mixed in.

    The weight at each pixel is ``strength · M · exp(−a ‖x_t − W(x_{t−1})‖²)``: M is 1 where the motion can be traced, x
    is the content, W warps along the motion and a is :data:`AGREEMENT`. So nothing is mixed in where the past was
    hidden, and little where light or shadow changed.

    References: Bonneel et al., *Blind Video Temporal Consistency*, SIGGRAPH Asia 2015, whose weight of the temporal
    term has this form; Ruder et al., *Artistic Style Transfer for Videos*, GCPR 2016, for the mask.
    """

    summary: ClassVar[str] = "mixes in the frame shown before, warped along the motion, where content can be traced"
    uses_motion: ClassVar[bool] = True

    def mix(self, frames: Neighbours, strength: float) -> Tensor:
        if frames.motion is None:
            raise ValueError("blend needs the motion")
        both = torch.cat((frames.shown, frames.content_before), 1)
        warped, inside = warp(both, frames.motion.flow)
        shown, content = warped[:, :3], warped[:, 3:]
        difference = (frames.content - content).square().sum(1, keepdim=True)
        weight = strength * frames.motion.mask * inside * torch.exp(-AGREEMENT * difference)
        return weight * shown + (1 - weight) * frames.stylized
