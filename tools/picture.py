"""Draw the picture of the README from the shipped models: ``python tools/picture.py docs/assets/comparison.jpg``.

Top row: one frame of the built-in clip *carousel* as each model paints it. Bottom row: how far the
next frame, warped back along the exact motion, is from it; grey is where nothing can be traced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.images import write_image
from reconet_bench.core.ops import to_uint8, warp
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.temporal_error import pair_errors
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models

CLIP, FRAME, STYLE = "carousel", 2, "starry_night"
#: An error of this much is drawn in the brightest colour.
FULL_SCALE = 0.25


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """A white bar with text above the picture."""
    bar = np.full((30, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack((bar, image))


def flicker(first: Tensor, second: Tensor, flow: Tensor, mask: Tensor) -> np.ndarray:
    """Masked difference along the motion as a heat map."""
    warped, _ = warp(second, flow)
    error = (first - warped).abs().mean(1)[0].numpy() / FULL_SCALE
    heat = cv2.applyColorMap((255 * error.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    return np.where(mask[0, 0, ..., None].numpy() > 0, heat, np.uint8(90))


def main(path: Path) -> None:
    pair = synthetic_clip(CLIP).pair(FRAME)
    networks = [("content", torch.nn.Identity())] + [
        (method, load_checkpoint(shipped_models()[f"{method}-lite-{STYLE}"]).network)
        for method in ("johnson", "dougherty", "reconet")
    ]
    columns = []
    for name, network in networks:
        with torch.inference_mode():
            first, second = network(pair.first), network(pair.second)
        flow, mask = pair.motion.flow, pair.motion.mask
        error = float(pair_errors(first, second, flow, mask).masked) ** 0.5
        top = caption(to_uint8(first)[0], name)
        columns.append(np.vstack((top, caption(flicker(first, second, flow, mask), f"flicker: E(V) = {error:.4f}"))))
    write_image(path, np.hstack(columns))
    print(f"Written: {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
