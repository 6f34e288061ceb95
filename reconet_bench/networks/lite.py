"""Networks that work at half and quarter resolution: several times as fast as the dissertation's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from reconet_bench.networks.base import NETWORKS, NetworkKind, NetworkOptions, StyleNetwork
from reconet_bench.networks.layers import ConvBlock, PairMean, ResidualBlock, Upsample, padded_conv

UPSAMPLES = ("bilinear", "sub-pixel")
PADDINGS = ("reflect", "reflect-ends", "zeros")


@dataclass(frozen=True)
class LiteShape:
    """The shape of a :class:`LiteNetwork`.

    Attributes:
        half, quarter: channels at half and at quarter resolution.
        blocks: residual blocks, all at quarter resolution.
        kernel: side of the first and the last convolution, at half resolution.
        upsample: from quarter to half resolution: ``bilinear`` and a convolution, or ``sub-pixel`` (a convolution to
            four times the channels, then pixel shuffle).
        padding: ``reflect`` throughout, ``reflect-ends`` (the first and the last convolution; zeros between them) or
            ``zeros`` throughout.
    """

    half: int = 32
    quarter: int = 64
    blocks: int = 5
    kernel: int = 5
    upsample: str = "bilinear"
    padding: str = "reflect"

    def __post_init__(self) -> None:
        if self.upsample not in UPSAMPLES:
            raise ValueError(f"upsample must be {' or '.join(UPSAMPLES)}, got '{self.upsample}'")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be {', '.join(PADDINGS[:-1])} or {PADDINGS[-1]}, got '{self.padding}'")


class LiteNetwork(StyleNetwork):
    """Pixel unshuffle by 2, a convolution, one of stride 2; residual blocks; back up; pixel shuffle by 2 and tanh.

    No convolution works at full resolution: the first reads 2x2 pixels as 12 channels, the last writes them (Shi et
    al. 2016, sub-pixel convolution, arXiv 1609.05158), and neighbouring pixels are averaged. Otherwise it is made of
    the blocks of :class:`~reconet_bench.networks.reconet.ReCoNet`: conv-IN-ReLU throughout, padded as the shape says.
    """

    def __init__(self, shape: LiteShape, options: NetworkOptions | None = None) -> None:
        super().__init__(options)
        order = (options or NetworkOptions()).residual_order
        half, quarter, kernel = shape.half, shape.quarter, shape.kernel
        ends, inside = shape.padding != "zeros", shape.padding == "reflect"
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            ConvBlock(12, half, kernel, reflect=ends),
            ConvBlock(half, quarter, 3, stride=2, reflect=inside),
        )
        self.residual = nn.Sequential(*(ResidualBlock(quarter, order, inside) for _ in range(shape.blocks)))
        up: tuple[nn.Module, ...] = (Upsample(), ConvBlock(quarter, half, 3, reflect=inside))
        if shape.upsample == "sub-pixel":
            shuffle = (*padded_conv(quarter, 4 * half, 3, reflect=inside), nn.PixelShuffle(2))
            up = (*shuffle, nn.InstanceNorm2d(half, affine=True), nn.ReLU())
        end = (*padded_conv(half, 12, kernel, reflect=ends), nn.PixelShuffle(2), PairMean())
        self.decoder = nn.Sequential(*up, *end)


@NETWORKS.register("lite")
class Lite(NetworkKind):
    """The network of most shipped models."""

    summary = "works at half and quarter resolution: 0.43 M parameters, for real time on a CPU"
    shape = LiteShape()

    def build(self, options: NetworkOptions | None = None) -> StyleNetwork:
        return LiteNetwork(self.shape, options)
