"""The feed-forward network of ReCoNet as the dissertation improves it, shared by every method.

Every method trains this same network, so a difference between two checkpoints is a difference of
objectives alone. Frame in, frame out: ``(N, 3, H, W)`` in [0, 1], any height and width from 16.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconet_bench.ops import pad_to_multiple

#: Smallest height and width: reflection padding needs more pixels than it adds at every scale.
MIN_SIZE = 16
#: Frames are padded by reflection to a multiple of this, and the output is cropped.
SIZE_MULTIPLE = 4


def keep_dtype(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Suspend autocast: on the CPU it runs padding and resizing in fp32, and casts cost more than they do."""
    # A meta tensor has a shape and no memory; it is for counting operations, and autocast knows no such device.
    if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


class _FoldBack(torch.autograd.Function):
    """Reflection padding whose backward pass folds the border back by slices.

    PyTorch's own backward on the CPU converts layouts back and forth and took a fifth of a training
    step; this one is the same sum (a test holds the two equal).
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
    """tanh whose gradient stays alive where it is saturated, but only for steps back towards zero.

    A bright, flat area drives the tanh so far out early in training that its gradient vanishes, and
    a white blob stays there for good. Here the derivative is at least 0.1 for a gradient that pulls
    inwards; outwards it is the true one, so nothing runs away. The forward pass is plain tanh.
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


def _tanh(x: Tensor) -> Tensor:
    if torch.is_grad_enabled() and x.requires_grad:
        return cast(Tensor, _EscapableTanh.apply(x))
    return torch.tanh(x)


class ReflectionPad(nn.Module):
    """Pad all four sides by ``pad`` pixels of reflection; a plain ``Pad`` wherever no gradient is asked for."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return cast(Tensor, _FoldBack.apply(x, self.pad))
        return F.pad(x, (self.pad,) * 4, mode="reflect")


class ConvBlock(nn.Sequential):
    """Reflection pad, convolution, affine instance norm and (optionally) ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            ReflectionPad(kernel // 2),
            nn.Conv2d(inputs, outputs, kernel, stride),
            nn.InstanceNorm2d(outputs, affine=True),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip: conv-IN-ReLU-conv-IN + x (Johnson et al. 2016).

    The dissertation's code orders its block conv-IN-ReLU-conv-ReLU-IN with zero padding (its text
    says reflection). That order leaves bubble artefacts under Adam, so it is not the default; it is
    kept as ``order="dissertation-code"``.
    """

    def __init__(self, channels: int, order: str = "standard") -> None:
        super().__init__()
        if order == "standard":
            self.body: nn.Module = nn.Sequential(
                ConvBlock(channels, channels, 3), ConvBlock(channels, channels, 3, relu=False)
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


class Upsample(nn.Module):
    """Bilinear enlargement by two."""

    def forward(self, x: Tensor) -> Tensor:
        with keep_dtype(x):
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class ReCoNet(nn.Module):
    """Encoder 9x9/32, 3x3/64 s2, 3x3/128 s2; five residual blocks; decoder back to 9x9/3 and tanh.

    1,679,235 parameters, 40.3 GMAC for a 512x512 frame. The tanh is brought to [0, 1] here, so
    that content and output go through the loss network with one normalisation (the dissertation's
    code feeds [-1, 1] into it).

    Args:
        residual_order: see :class:`ResidualBlock`.
        plain_tanh: whether the tanh has its own gradient in training, or that of :class:`_EscapableTanh`.
        signed: whether the tanh goes out as it is, in [-1, 1], as in the dissertation's code; who shows it clips it.

    Reference: D. Mahakalkar, *Fast and Temporally Consistent Neural Style Transfer in Videos*,
    University of Bath, 2022; Gao et al., *ReCoNet*, ACCV 2018 (arXiv 1807.01197).
    """

    def __init__(self, residual_order: str = "standard", plain_tanh: bool = False, signed: bool = False) -> None:
        super().__init__()
        self.plain_tanh, self.signed = plain_tanh, signed
        self.encoder = nn.Sequential(
            ConvBlock(3, 32, 9), ConvBlock(32, 64, 3, stride=2), ConvBlock(64, 128, 3, stride=2)
        )
        self.residual = nn.Sequential(*(ResidualBlock(128, residual_order) for _ in range(5)))
        self.decoder = nn.Sequential(
            Upsample(),
            ConvBlock(128, 64, 3),
            Upsample(),
            ConvBlock(64, 32, 3),
            ReflectionPad(4),
            nn.Conv2d(32, 3, 9),
        )

    def forward(self, frame: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] to the stylised frame of the same shape and range."""
        return self.decode(self.encode(frame), frame)

    def encode(self, frame: Tensor) -> Tensor:
        """Features ``(N, 128, ⌈H/4⌉, ⌈W/4⌉)`` behind the residual blocks."""
        return cast(Tensor, self.residual(self.encoder(pad_to_multiple(frame, SIZE_MULTIPLE))))

    def decode(self, features: Tensor, frame: Tensor) -> Tensor:
        """The stylised frame of :meth:`encode`'s features, at the size of ``frame``."""
        height, width = frame.shape[-2:]
        tanh = torch.tanh if self.plain_tanh else _tanh
        stylised = tanh(self.decoder(features))
        return (stylised if self.signed else stylised * 0.5 + 0.5)[..., :height, :width]


class WithFeatures(nn.Module):
    """A ReCoNet whose forward pass returns its features too, for losses on both."""

    def __init__(self, network: ReCoNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, 3, H, W)`` to the stylised frame and the features behind the residual blocks."""
        features = self.network.encode(frame)
        return self.network.decode(features, frame), features


class Identity(nn.Module):
    """Returns its input: the reference row that no metric may reward."""

    def forward(self, frame: Tensor) -> Tensor:
        return frame.clone()
