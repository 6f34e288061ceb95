"""One frame as every shipped model paints it, in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.models.checkpoint import load_checkpoint

#: Height of the bar with a model's name, pixels.
BAR = 26


def contact_sheet(image: np.ndarray, models: Mapping[str, Path], columns: int = 3) -> np.ndarray:
    """The frame itself and as each model paints it, with names, in rows.

    Args:
        image: ``(H, W, 3)`` uint8.
        models: checkpoints by name.

    Returns:
        ``(rows · (H + BAR), columns · W, 3)`` uint8, white where there is no picture.

    Raises:
        ModelError: there are no models, or one cannot be read.
    """
    if not models:
        raise ModelError("there are no models to draw")
    tiles = [_named("content", image)]
    with torch.inference_mode():
        for name, path in models.items():
            painted = load_checkpoint(path).network(from_uint8(image)).clamp(0, 1)
            tiles.append(_named(name, to_uint8(painted)[0]))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def _named(name: str, image: np.ndarray) -> np.ndarray:
    bar = np.full((BAR, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack((bar, image))
