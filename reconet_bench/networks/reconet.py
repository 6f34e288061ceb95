"""The feed-forward network of ReCoNet as improved in the dissertation."""

from __future__ import annotations

from torch import nn

from reconet_bench.networks.base import NETWORKS, NetworkKind, NetworkOptions, StyleNetwork
from reconet_bench.networks.layers import ConvBlock, ReflectionPad, ResidualBlock, Upsample


class ReCoNet(StyleNetwork):
    """Encoder 9x9/32, 3x3/64 s2, 3x3/128 s2; five residual blocks; decoder back to 9x9/3 and tanh.

    1,679,235 parameters, 40.3 GMAC for a 512x512 frame.

    Reference: D. Mahakalkar, *Fast and Temporally Consistent Neural Style Transfer in Videos*,
    University of Bath, 2022; Gao et al., *ReCoNet*, ACCV 2018 (arXiv 1807.01197).
    """

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__(options)
        order = (options or NetworkOptions()).residual_order
        self.encoder = nn.Sequential(
            ConvBlock(3, 32, 9), ConvBlock(32, 64, 3, stride=2), ConvBlock(64, 128, 3, stride=2)
        )
        self.residual = nn.Sequential(*(ResidualBlock(128, order) for _ in range(5)))
        self.decoder = nn.Sequential(
            Upsample(),
            ConvBlock(128, 64, 3),
            Upsample(),
            ConvBlock(64, 32, 3),
            ReflectionPad(4),
            nn.Conv2d(32, 3, 9),
        )


@NETWORKS.register("reconet")
class ReCoNetKind(NetworkKind):
    """The dissertation's network, exact."""

    summary = "the dissertation's network: 1.68 M parameters, 9x9 convolutions at full size"

    def build(self, options: NetworkOptions | None = None) -> StyleNetwork:
        return ReCoNet(options)
