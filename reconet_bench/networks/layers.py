"""Layers of feed-forward networks; they are exact and fast in training, and export as plain operators."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def keep_dtype(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Suspend autocast: on the CPU it runs padding and resizing in fp32, and the casts take longer than they do."""
    # Meta tensors, which are used to count operations, have no memory; autocast does not support their device.
    if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


class _FoldBack(torch.autograd.Function):
    """Reflection padding whose backward pass adds the border to the interior slice by slice.

    PyTorch's backward pass on the CPU converts memory layouts and takes a fifth of a training step. This
    one computes the same sum; a test compares the two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: int) -> Tensor:
        ctx.pad = pad
        with keep_dtype(x):
            return F.pad(x, (pad, pad, pad, pad), mode="reflect")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        p = ctx.pad
        rows = gradient[:, :, p:-p].clone()
        rows[:, :, 1 : p + 1] += gradient[:, :, :p].flip(2)
        rows[:, :, -p - 1 : -1] += gradient[:, :, -p:].flip(2)
        inner = rows[..., p:-p].clone()
        inner[..., 1 : p + 1] += rows[..., :p].flip(3)
        inner[..., -p - 1 : -1] += rows[..., -p:].flip(3)
        return inner, None


class _EscapableTanh(torch.autograd.Function):
    """tanh with a gradient that does not vanish in saturation, for steps towards zero only.

    Early in training, bright flat areas saturate the tanh: its gradient vanishes, and a white blob stays
    for ever. Here the derivative is at least 0.1 for steps towards zero. For steps away from zero it is
    the true derivative, so that values do not grow without limit. The forward pass is plain tanh.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        slope = 1 - y * y
        inward = gradient * y > 0
        return gradient * torch.where(inward, slope.clamp(min=0.1), slope)


def escapable_tanh(x: Tensor) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        return cast(Tensor, _EscapableTanh.apply(x))
    return torch.tanh(x)


class ReflectionPad(nn.Module):
    """Pad all four sides by ``pad`` pixels of reflection; without gradients it is a plain ``Pad``."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return cast(Tensor, _FoldBack.apply(x, self.pad))
        return F.pad(x, (self.pad,) * 4, mode="reflect")


def padded_conv(inputs: int, outputs: int, kernel: int, stride: int = 1, reflect: bool = True) -> list[nn.Module]:
    """A convolution that keeps the size (apart from its stride): with reflection, or with zeros of its own."""
    if reflect:
        return [ReflectionPad(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)]


class ConvBlock(nn.Sequential):
    """Padding (reflection, or zeros), convolution, affine instance norm and (optionally) ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True, reflect: bool = True
    ) -> None:
        layers = [
            *padded_conv(inputs, outputs, kernel, stride, reflect),
            nn.InstanceNorm2d(outputs, affine=True),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip: conv-IN-ReLU-conv-IN + x (Johnson et al. 2016).

    The block of the dissertation's code is conv-IN-ReLU-conv-ReLU-IN with zero padding (its text says
    reflection). With Adam this order produces bubble artefacts, so it is not the default; it is available
    as ``order="dissertation-code"``.
    """

    def __init__(self, channels: int, order: str = "standard", reflect: bool = True) -> None:
        super().__init__()
        if order == "standard":
            self.body: nn.Module = nn.Sequential(
                ConvBlock(channels, channels, 3, reflect=reflect),
                ConvBlock(channels, channels, 3, relu=False, reflect=reflect),
            )
        elif order == "dissertation-code":
            self.body = nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.InstanceNorm2d(channels, affine=True),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.InstanceNorm2d(channels, affine=True),
            )
        else:
            raise ValueError(f"order must be 'standard' or 'dissertation-code', got '{order}'")

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.body(x)
        return x + branch


class PairMean(nn.Module):
    """The mean of each pixel and its left, upper and upper left neighbour.

    After a pixel shuffle it removes the pattern of period two that neighbouring outputs of one convolution make, which
    shows as a fine weave in flat areas (Sugawara et al. 2018, arXiv 1806.02658).
    """

    def forward(self, x: Tensor) -> Tensor:
        with keep_dtype(x):
            return F.avg_pool2d(x, 2, stride=1, padding=1, count_include_pad=False)[..., :-1, :-1]


class Upsample(nn.Module):
    """Bilinear enlargement by two."""

    def forward(self, x: Tensor) -> Tensor:
        with keep_dtype(x):
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
