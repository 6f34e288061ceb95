"""Sample pictures of a training: one sample that no step trains on, stylised by the current network.

For rendered scenes it is another scene; for clips it is another crop.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.images import read_image, write_image
from reconet_bench.core.ops import to_uint8, warp
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.training.crops import TrainingCrops
from reconet_bench.training.run_folder import STATE_FILE

SAMPLES_FOLDER = "samples"
#: Width of the labels beside the sample pictures of a run, pixels.
MARGIN = 96
#: Number of the sample that is shown; no run has this many steps.
_INDEX = 1_000_000_000
#: The difference that is drawn in the brightest colour, and the grey of pixels that cannot be traced.
_FULL_SCALE, _UNTRACED = 0.25, 90


@torch.no_grad()
def sample_strip(network: nn.Module, data: TrainingCrops, device: torch.device) -> np.ndarray:
    """Side by side: content at t, stylised at t and t+1, and their difference along the true motion.

    Returns:
        ``(H, 4·W, 3)`` uint8.
    """
    frames, flows, masks, _ = data[_INDEX]
    was_training = network.training
    first, second = network.eval()(frames[:2].to(device)).float().cpu().split(1)
    network.train(was_training)
    warped, inside = warp(second, flows[:1])
    error = (first - warped).abs().mean(1)[0].numpy() / _FULL_SCALE
    heat = cv2.applyColorMap((255 * error.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    traced = (masks[0] * inside[0])[0].numpy()[..., None] > 0
    pictures = [
        to_uint8(frames[:1])[0],
        to_uint8(first)[0],
        to_uint8(second)[0],
        np.where(traced, heat, np.uint8(_UNTRACED)),
    ]
    return np.hstack(pictures)


def write_sample(folder: Path, step: int, network: nn.Module, data: TrainingCrops, device: torch.device) -> np.ndarray:
    """Write :func:`sample_strip` as ``samples/step_NNNNNN.png`` of a run folder; returns the picture."""
    strip = sample_strip(network, data, device)
    write_image(folder / SAMPLES_FOLDER / f"step_{step:06d}.png", strip)
    return strip


def progress_picture(folder: Path, most: int = 8) -> np.ndarray:
    """Sample pictures of a run folder below one another, earliest first, evenly spread (as in Fig. 5.1).

    The left margin shows the step, and the epoch if the run's state tells the number of samples in one.

    Raises:
        TrainingError: there are none.
    """
    paths = sorted((folder / SAMPLES_FOLDER).glob("step_*.png"))
    if not paths:
        raise TrainingError(f"{folder} has no sample pictures: train with --set sample_every=N, N of 1 or more")
    chosen = sorted({round(index) for index in np.linspace(0, len(paths) - 1, min(most, len(paths)))})
    epoch = _steps_an_epoch(folder)
    return np.vstack(
        [_labelled(read_image(paths[index]), int(paths[index].stem.rpartition("_")[2]), epoch) for index in chosen]
    )


def _steps_an_epoch(folder: Path) -> float | None:
    if not (folder / STATE_FILE).is_file():
        return None
    facts = json.loads(read_tensors(folder / STATE_FILE)[1]["settings"])
    windows = facts["data"].get("windows")
    return windows / (facts["batch"] * facts.get("processes", 1)) if windows else None


def _labelled(strip: np.ndarray, step: int, epoch: float | None) -> np.ndarray:
    """The strip with a margin of :data:`MARGIN` pixels that shows its step and epoch."""
    margin = np.full((len(strip), MARGIN, 3), 255, np.uint8)
    lines = [f"step {step}", *([f"epoch {step / epoch:.1f}"] if epoch else [])]
    for number, line in enumerate(lines, 1):
        cv2.putText(margin, line, (4, 13 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.hstack([margin, strip])
