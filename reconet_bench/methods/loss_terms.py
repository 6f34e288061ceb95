"""Loss terms on tensors, each a plain function; a method chooses, weights and sums them.

Frames are ``(N, 3, H, W)`` in [0, 1]. Every term returns a scalar, unweighted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reconet_bench.core.ops import luminance, resize_flow, resize_mask, warp


def total_variation(y: Tensor) -> Tensor:
    """Σ|horizontal differences| + Σ|vertical differences| of ``y``, a mean over the batch.

    A sum over pixels, as in the dissertation; its code computes it on the ImageNet-normalised output.
    """
    horizontal = (y[..., :, 1:] - y[..., :, :-1]).abs().sum()
    vertical = (y[..., 1:, :] - y[..., :-1, :]).abs().sum()
    return (horizontal + vertical) / y.shape[0]


def temporal(
    y: Tensor,
    y_next: Tensor,
    flow: Tensor,
    mask: Tensor,
    x: Tensor | None = None,
    x_next: Tensor | None = None,
    coefficients: tuple[float, float, float] | Tensor | None = None,
) -> Tensor:
    """(1/D) Σ M ‖(y_t − W(y_{t+k})) − (x_t − W(x_{t+k}))‖², D = C·H·W, a mean over the batch.

    The input difference is the change of relative luminance, the same in every channel (the luminance
    warping constraint): the stylised frame may change as much as the light does. Without
    ``coefficients`` it is the change of colour, separate in each channel (the chromaticity constraint
    that the dissertation leaves as future work). Both stylised frames have gradients. The dissertation's
    text warps the earlier frame forward; here the later frame is sampled on the grid of the earlier one,
    because Sintel has forward flow.

    Args:
        y, y_next: stylised frames at t and t+k.
        flow, mask: motion from t to t+k.
        x, x_next: content frames; leave out for the plain temporal loss (Huang et al. 2017).
        coefficients: luminance coefficients, see :mod:`reconet_bench.core.ops`; ``None`` compares all three channels.

    Reference: Gao et al. 2018 (arXiv 1807.01197), output-level temporal loss.
    """
    warped, inside = warp(y_next, flow)
    difference = y - warped
    if x is not None and x_next is not None:
        light, light_next = (
            (x, x_next) if coefficients is None else (luminance(x, coefficients), luminance(x_next, coefficients))
        )
        difference = difference - (light - warp(light_next, flow)[0])
    return (mask * inside * difference**2).mean()


def temporal_features(features: Tensor, features_next: Tensor, flow: Tensor, mask: Tensor) -> Tensor:
    """(1/D) Σ M ‖F_t − W(F_{t+1})‖², D = C·h·w: the features of the encoder must move with the frame.

    Args:
        features, features_next: ``(N, C, h, w)`` of frames ``(N, 3, H, W)``.
        flow, mask: at the size of the frames; they are resized to that of the features.

    Reference: Gao et al. 2018 (arXiv 1807.01197), feature-map-level temporal loss. The dissertation drops it.
    """
    height, width = features.shape[-2:]
    flow, mask = resize_flow(flow, height, width), resize_mask(mask, height, width)
    warped, inside = warp(features_next, flow)
    return (mask * inside * (features - warped) ** 2).mean()


def frame_difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean of ((y_{t+1} − y_t) − (x_{t+1} − x_t))² (Xu et al. 2021).

    Args:
        x, y: content and stylised frames ``(2N, 3, H, W)``: first all frames t, then all frames t+1.
    """
    (x_first, x_second), (y_first, y_second) = x.chunk(2), y.chunk(2)
    return (((y_second - y_first) - (x_second - x_first)) ** 2).mean()


def pop(y: Tensor, y_noisy: Tensor) -> Tensor:
    """Mean squared error of the stylised frame and the stylised noisy frame (Dougherty 2020)."""
    return ((y - y_noisy) ** 2).mean()


def pixel_noise(x: Tensor, count: int, amplitude: int, generator: torch.Generator | None = None) -> Tensor:
    """Add integers in [−amplitude, amplitude] / 255 to each channel of ``count`` random pixels of each frame.

    The result is clipped to [0, 1]. Pixels are drawn with replacement; if a pixel is drawn twice, one of
    its values is used.
    """
    n, c, height, width = x.shape
    place = torch.randint(height * width, (n, 1, count), generator=generator)
    shift = torch.randint(-amplitude, amplitude + 1, (n, c, count), generator=generator)
    # On the CPU, because on a GPU the value that a pixel drawn twice gets would differ between runs.
    noise = torch.zeros(n, c, height * width, dtype=x.dtype).scatter_(
        2, place.expand(n, c, count), shift.to(x.dtype) / 255
    )
    return (x + noise.reshape(x.shape).to(x.device)).clamp(0, 1)
