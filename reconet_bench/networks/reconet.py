"""The feed-forward network of ReCoNet as improved in the dissertation, which all methods use.

All methods train this network, so that two checkpoints differ only in the objective. Frame in, frame
out: ``(N, 3, H, W)`` in [0, 1], with any height and width from 16.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from reconet_bench.core.ops import pad_to_multiple
from reconet_bench.networks.layers import ConvBlock, ReflectionPad, ResidualBlock, Upsample, escapable_tanh

#: Smallest height and width: at every scale, reflection padding needs more pixels than it adds.
MIN_SIZE = 16
#: Frames are padded by reflection to a multiple of this, and the output is cropped.
SIZE_MULTIPLE = 4


class ReCoNet(nn.Module):
    """Encoder 9x9/32, 3x3/64 s2, 3x3/128 s2; five residual blocks; decoder back to 9x9/3 and tanh.

    1,679,235 parameters, 40.3 GMAC for a 512x512 frame. The network scales its tanh to [0, 1], so that
    content and output have one normalisation in the loss network (the dissertation's code gives it
    values in [-1, 1]).

    Args:
        residual_order: see :class:`ResidualBlock`.
        plain_tanh: whether tanh has its true gradient in training, or that of
            :func:`~reconet_bench.networks.layers.escapable_tanh`.
        signed: whether the output is the tanh itself, in [-1, 1], as in the dissertation's code;
            frames are clipped to [0, 1].

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
        """Features ``(N, 128, ⌈H/4⌉, ⌈W/4⌉)`` after the residual blocks."""
        return cast(Tensor, self.residual(self.encoder(pad_to_multiple(frame, SIZE_MULTIPLE))))

    def decode(self, features: Tensor, frame: Tensor) -> Tensor:
        """The stylised frame of :meth:`encode`'s features, at the size of ``frame``."""
        height, width = frame.shape[-2:]
        tanh = torch.tanh if self.plain_tanh else escapable_tanh
        stylised = tanh(self.decoder(features))
        return (stylised if self.signed else stylised * 0.5 + 0.5)[..., :height, :width]


class WithFeatures(nn.Module):
    """A ReCoNet whose forward pass also returns its features, for losses on both."""

    def __init__(self, network: ReCoNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, 3, H, W)`` to the stylised frame and the features after the residual blocks."""
        features = self.network.encode(frame)
        return self.network.decode(features, frame), features


class Identity(nn.Module):
    """Returns its input, for the reference row of every comparison."""

    def forward(self, frame: Tensor) -> Tensor:
        return frame.clone()
