"""A network that stylises frames, and the kinds of network that a method can train, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from reconet_bench.core.ops import pad_to_multiple
from reconet_bench.core.registry import Registry
from reconet_bench.networks.layers import escapable_tanh

NETWORKS: Registry[NetworkKind] = Registry("network", "reconet_bench.networks")
#: The network of the dissertation, which files of earlier versions have.
DEFAULT_NETWORK = "reconet"


@dataclass(frozen=True)
class NetworkOptions:
    """Details that some methods change in every network.

    Attributes:
        residual_order: see :class:`~reconet_bench.networks.layers.ResidualBlock`.
        plain_tanh: whether tanh has its true gradient in training, or that of
            :func:`~reconet_bench.networks.layers.escapable_tanh`.
        signed: whether the output is the tanh itself, in [-1, 1], as in the dissertation's code;
            frames are clipped to [0, 1].
    """

    residual_order: str = "standard"
    plain_tanh: bool = False
    signed: bool = False


class StyleNetwork(nn.Module):
    """Frame in, frame out: ``(N, 3, H, W)`` in [0, 1], with any height and width from :attr:`min_size`.

    The network scales its tanh to [0, 1], so that content and output have one normalisation in the loss network (the
    dissertation's code gives it values in [-1, 1]). A kind of network sets ``encoder``, ``residual`` and ``decoder``.

    Attributes:
        size_multiple: frames are padded by reflection to a multiple of this, and the output is cropped.
        min_size: smallest height and width: at every scale, reflection padding needs more pixels than it adds.
    """

    size_multiple: ClassVar[int] = 4
    min_size: ClassVar[int] = 16
    encoder: nn.Module
    residual: nn.Module
    decoder: nn.Module

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        options = options or NetworkOptions()
        self.plain_tanh, self.signed = options.plain_tanh, options.signed

    def forward(self, frame: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] to the stylised frame of the same shape and range."""
        return self.decode(self.encode(frame), frame)

    def encode(self, frame: Tensor) -> Tensor:
        """Features ``(N, C, ⌈H/4⌉, ⌈W/4⌉)`` after the residual blocks."""
        return cast(Tensor, self.residual(self.encoder(pad_to_multiple(frame, self.size_multiple))))

    def decode(self, features: Tensor, frame: Tensor) -> Tensor:
        """The stylised frame of :meth:`encode`'s features, at the size of ``frame``."""
        height, width = frame.shape[-2:]
        tanh = torch.tanh if self.plain_tanh else escapable_tanh
        stylised = tanh(self.decoder(features))
        return (stylised if self.signed else stylised * 0.5 + 0.5)[..., :height, :width]


class WithFeatures(nn.Module):
    """A network whose forward pass also returns its features, for losses on both."""

    def __init__(self, network: StyleNetwork) -> None:
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


def smallest_frame(network: nn.Module) -> int:
    """The smallest height and width that a network takes, pixels."""
    return network.min_size if isinstance(network, StyleNetwork) else 1


class NetworkKind(ABC):
    """A kind of network that every method can train.

    Attributes:
        summary: one line for ``reconet-bench list``.
    """

    summary: ClassVar[str]

    @abstractmethod
    def build(self, options: NetworkOptions | None = None) -> StyleNetwork:
        """A fresh network with random weights."""
