"""Structural similarity, as scikit-image computes it, between adjacent frames and with the content."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Metric

WINDOW = 7
#: Side of the central patch that the dissertation compares.
PATCH = 100
_C1, _C2 = 0.01**2, 0.03**2


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM at every pixel whose whole 7x7 window lies inside the frame.

    Uniform window, sample covariance, data range 1: ``skimage.metrics.structural_similarity(a, b,
    data_range=1, channel_axis=...)``, whose mean over the inner pixels is the mean of this map.

    Args:
        a, b: ``(N, C, H, W)`` in [0, 1], at least 7x7.

    Returns:
        ``(N, C, H-6, W-6)`` float64 in [-1, 1].

    Raises:
        MetricUnavailable: the frames are smaller than the window.

    Reference: Wang et al., *Image Quality Assessment: From Error Visibility to Structural
    Similarity*, IEEE TIP 2004.
    """
    if min(a.shape[-2:]) < WINDOW:
        raise MetricUnavailable(f"SSIM needs frames of at least {WINDOW}x{WINDOW}, got {a.shape[-1]}x{a.shape[-2]}")
    a, b = a.double(), b.double()
    mean = _window_means_cpu if a.device.type == "cpu" else _window_means
    mean_a, mean_b = mean(a), mean(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    covariance = unbiased * (mean(a * b) - product)
    variances = unbiased * (mean(a * a + b * b) - squares)
    return (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))


def _window_means(x: Tensor) -> Tensor:
    """Mean of every whole window: rows, then columns, which is a third of the work."""
    return F.avg_pool2d(F.avg_pool2d(x, (1, WINDOW), stride=1), (WINDOW, 1), stride=1)


def _window_means_cpu(x: Tensor) -> Tensor:
    """The same by running sums: a sixth of the time, equal to 1e-14."""
    margin = WINDOW // 2
    planes = [cv2.blur(plane, (WINDOW, WINDOW))[margin:-margin, margin:-margin] for plane in x.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).view(*x.shape[:2], *planes[0].shape)


def _window_minima(mask: Tensor) -> Tensor:
    """Smallest value in every whole window of ``(N, 1, H, W)``."""
    return -F.max_pool2d(F.max_pool2d(-mask, (1, WINDOW), stride=1), (WINDOW, 1), stride=1)


def _window_minima_cpu(mask: Tensor) -> Tensor:
    """The same by OpenCV's erosion, in a few hundredths of the time."""
    margin = WINDOW // 2
    square = np.ones((WINDOW, WINDOW), np.uint8)
    planes = [cv2.erode(plane, square)[margin:-margin, margin:-margin] for plane in mask.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).unsqueeze(1)


def ssim(a: Tensor, b: Tensor) -> float:
    """Mean SSIM of two frames ``(1, C, H, W)``."""
    return float(ssim_map(a, b).mean())


def ssim_traceable(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """Mean SSIM over the windows in which every pixel is traceable; NaN where there is none."""
    values = ssim_map(a, b).mean(1, keepdim=True)
    whole = (_window_minima_cpu if mask.device.type == "cpu" else _window_minima)(mask).double()
    return float((values * whole).sum() / whole.sum())


def central_patch(frame: Tensor, side: int = PATCH) -> Tensor:
    """The central ``side`` x ``side`` pixels; along an axis that is shorter, all of it."""
    height, width = frame.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return frame[..., top : top + min(side, height), left : left + min(side, width)]


@METRICS.register("ssim_adjacent")
class SsimAdjacent(Metric):
    """SSIM of the central 100x100 patch of consecutive stylised frames, as the dissertation measures.

    Not motion compensated: camera motion lowers it, and a frozen output would score 1.
    """

    better = "higher"
    summary = "SSIM of the central 100x100 patch of adjacent frames, without motion compensation"
    blind_to = "motion: a camera that moves lowers it, and a frozen output scores 1"

    def samples(self, footage: Footage) -> dict[int, float]:
        patches = [central_patch(frame) for frame in footage.stylized]
        adjacent = footage.clip.adjacent()
        if not adjacent:
            raise MetricUnavailable(f"{footage.clip.name} has no two consecutive frames")
        return {index: ssim(patches[index], patches[index + 1]) for index in adjacent}


@METRICS.register("ssim_adjacent_warped")
class SsimAdjacentWarped(Metric):
    """SSIM of a frame and the next one warped onto it, on traceable pixels: camera motion no longer counts."""

    better = "higher"
    uses_motion = True
    summary = "SSIM of adjacent frames after warping along the true motion, on traceable pixels"
    blind_to = "what a model paints, pixels that cannot be traced, and blur: a smooth frame is similar to its neighbour"

    def samples(self, footage: Footage) -> dict[int, float]:
        values = {}
        for index in footage.starts(1):
            warped = footage.next_warped(index)
            value = ssim_traceable(footage.stylized[index], warped.frame, (warped.traceable > 1 - 1e-4).float())
            if value == value:
                values[index] = value
        if not values:
            raise MetricUnavailable(f"no {WINDOW}x{WINDOW} window can be traced from any frame to the next")
        return values


@METRICS.register("content_similarity")
class ContentSimilarity(Metric):
    """Mean SSIM of content and stylised frame: how much of the content is left legible ("content leak")."""

    better = "higher"
    summary = "SSIM of content and stylised frame: higher = less content leaks away"
    blind_to = "colour structure that SSIM does not see, and style: the unstylised film scores 1"

    def samples(self, footage: Footage) -> dict[int, float]:
        with torch.inference_mode():
            return {i: ssim(x, y) for i, (x, y) in enumerate(zip(footage.content, footage.stylized, strict=True))}
