"""The style loss: how far stylised frames are from the painting, tap by tap and at several scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.networks.vgg import STYLE_TAPS, LossNetwork, gram, gram_distance, style_targets


@dataclass(frozen=True)
class StyleLoss:
    """Gram matrices of the painting, and how the error of a stylised frame is counted.

    Summed at unit mean activation, the loss is 83 % relu1_2 and 0.4 % relu4_3, because the Gram matrices of the taps
    differ in size: a network then learns colour and the finest strokes, and no form. ``balanced`` divides each
    tap's error by the mean square of the painting's own Gram matrix, so that each tap counts.

    Attributes:
        levels: Gram matrices ``(C, C)`` by tap. Level n is of the painting, and is compared with the stylised frame,
            both at 1/2ⁿ of their size: deep levels see large forms (as Gatys et al. 2017, arXiv 1611.07865, do from
            coarse to fine).
        balanced: whether each tap is on its own scale.
    """

    levels: tuple[Mapping[str, Tensor], ...]
    balanced: bool = False

    @classmethod
    def of(
        cls, perceptual: LossNetwork, painting: Tensor, size: int, levels: int = 1, balanced: bool = False
    ) -> StyleLoss:
        """The loss for a painting ``(1, 3, H, W)`` whose shorter side is scaled to ``size`` pixels at level 0."""
        return cls(tuple(style_targets(perceptual, painting, size >> level) for level in range(levels)), balanced)

    def __call__(self, perceptual: LossNetwork, y: Tensor, taps: Mapping[str, Tensor]) -> Tensor:
        """Error of stylised frames, mean over the levels, ``(N,)``.

        Args:
            y: stylised frames ``(N, 3, H, W)``.
            taps: their activations in ``perceptual``.
        """
        errors = [self._error(taps, self.levels[0])]
        for targets in self.levels[1:]:
            y = F.avg_pool2d(y, 2)
            errors.append(self._error(perceptual(y), targets))
        return torch.stack(errors).mean(0)

    def _error(self, taps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        grams = {name: gram(taps[name]) for name in STYLE_TAPS}
        if not self.balanced:
            return gram_distance(grams, dict(targets))
        return torch.stack(
            [((grams[name] - targets[name]) ** 2).mean((-2, -1)) / (targets[name] ** 2).mean() for name in STYLE_TAPS]
        ).sum(0)
