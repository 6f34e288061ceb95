"""The loss term ``carpet``, which every method takes: no pattern in what a network makes of flat content."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.errors import TrainingError

#: Name of the term among the loss weights. No method has a weight for it by default.
CARPET = "carpet"
#: A network with strides of 2, 4 or 8 in all answers flat content with a pattern that repeats every so many pixels.
PERIOD = 8


def with_flat_corner(x: Tensor) -> Tensor:
    """Frames whose lower right quarter is replaced by a smooth gradient between its own colours.

    The rest stays, so that a network's instance norms see a natural frame.

    Args:
        x: ``(N, 3, H, W)`` in [0, 1].
    """
    top, left = (size // 2 for size in x.shape[-2:])
    corner = x[..., top:, left:]
    flat = F.interpolate(F.adaptive_avg_pool2d(corner, 2), corner.shape[-2:], mode="bilinear", align_corners=True)
    return torch.cat((x[..., :top, :], torch.cat((x[..., top:, :left], flat), -1)), -2)


def repeating_pattern(y: Tensor) -> Tensor:
    """Mean square of what repeats every :data:`PERIOD` pixels in the lower right quarter of frames, a scalar.

    The quarter is averaged into one tile of 8x8; a strip of 8 to 16 pixels along its borders is left out.

    Args:
        y: stylised frames with a flat corner, ``(N, 3, H, W)`` in [0, 1].

    Raises:
        TrainingError: they are too small.
    """
    rows, columns = ((size - size // 2) // PERIOD - 2 for size in y.shape[-2:])
    if min(rows, columns) < 1:
        least = 2 * 3 * PERIOD
        raise TrainingError(f"the loss term '{CARPET}' needs crops of {least} pixels a side, got {min(y.shape[-2:])}")
    top, left = (size // 2 + PERIOD for size in y.shape[-2:])
    inside = y[..., top : top + rows * PERIOD, left : left + columns * PERIOD]
    tiles = inside.reshape(*y.shape[:2], rows, PERIOD, columns, PERIOD).mean((2, 4))
    return ((tiles - tiles.mean((2, 3), keepdim=True)) ** 2).mean()
