"""The method: the network that it trains, the objective that it optimises, and its default weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.core.registry import Registry
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.networks.base import DEFAULT_NETWORK, NETWORKS, NetworkOptions
from reconet_bench.networks.vgg import CONTENT_TAP, TAPS, LossNetwork, content_distance

METHODS: Registry[Method] = Registry("method", "reconet_bench.methods")


@dataclass(frozen=True)
class Batch:
    """Training input: frames of one clip at offsets 0, 1 and k from a common start, and their motion.

    Attributes:
        frames: ``(B, 3, 3, H, W)``: batch, offset, channel.
        flows: ``(B, 2, 2, H, W)``: from offset 0 to each of the other two.
        masks: ``(B, 2, 1, H, W)``.
        luminance: ``(B, 3)``, luminance coefficients of each clip.
    """

    frames: Tensor
    flows: Tensor
    masks: Tensor
    luminance: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(t.to(device, non_blocking=True) for t in (self.frames, self.flows, self.masks, self.luminance)))


@dataclass(frozen=True)
class LossContext:
    """What every objective needs apart from the batch: loss network, style loss, random numbers and switches."""

    perceptual: LossNetwork
    style: StyleLoss
    generator: torch.Generator
    options: Mapping[str, Any] = field(default_factory=dict)


class Method(ABC):
    """A way to train the stylising network.

    Attributes:
        summary: one line for ``reconet-bench list``.
        weights: default weight of each loss term by name; a term with weight 0 is logged, but not optimised.
        options: default of each switch by name; its values must have the same type. All networks have ``plain_tanh``:
            whether the last layer has the true gradient of tanh.
        trainable: whether the method can be trained.
        random: whether the objective draws random numbers; a step is then no fixed sequence of operations.
    """

    summary: ClassVar[str]
    weights: ClassVar[dict[str, float]]
    options: ClassVar[dict[str, Any]] = {"plain_tanh": False}
    trainable: ClassVar[bool] = True
    random: ClassVar[bool] = False

    def network(self, options: Mapping[str, Any] | None = None, kind: str = DEFAULT_NETWORK) -> nn.Module:
        """A fresh network, frames in [0, 1] to frames in [0, 1].

        Args:
            options: the method's switches.
            kind: name of the network, see ``reconet-bench list networks``.

        Raises:
            UnknownName: no such network.
        """
        return NETWORKS[kind].build(self.network_options({**self.options, **(options or {})}))

    def network_options(self, switches: Mapping[str, Any]) -> NetworkOptions:
        """Details of the network that the switches change."""
        return NetworkOptions(plain_tanh=switches["plain_tanh"])

    def training_module(self, network: nn.Module) -> nn.Module:
        """The module that the objective calls: the network itself, unless the objective needs more than its output."""
        return network

    def final_weights(self, weights: dict[str, float], options: Mapping[str, Any]) -> dict[str, float]:
        """The weights to optimise with, from the weights of the settings."""
        return weights

    def switches(self, context: LossContext) -> dict[str, Any]:
        """All switches: those of the context, else the method's defaults."""
        return {**self.options, **context.options}

    def check_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check the types of ``options``, whose names are known; returns them unchanged.

        Raises:
            TrainingError: a value has another type than the default of the switch.
        """
        for name, value in options.items():
            if type(value) is not type(self.options[name]):
                raise TrainingError(f"option '{name}' takes {type(self.options[name]).__name__}, got {value!r}")
        return options

    @abstractmethod
    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        """Unweighted loss terms by name (the names of :attr:`weights`), scalars."""


def check_content_tap(options: Mapping[str, Any]) -> None:
    """Raise UnknownName if the option ``content_tap`` is not a tap of the loss network."""
    if options["content_tap"] not in TAPS:
        raise UnknownName("content_tap", str(options["content_tap"]), TAPS)


def perceptual_terms(x: Tensor, y: Tensor, context: LossContext) -> dict[str, Tensor]:
    """Content and style loss of stylised frames ``y`` against content frames ``x``.

    Both are sums over the two frames of a pair, as in the dissertation, so they are twice the mean over
    all frames. The content tap is relu3_3, or the method's option ``content_tap``.
    """
    tap = context.options.get("content_tap", CONTENT_TAP)
    with torch.no_grad():
        target = context.perceptual(x, last=tap)
    taps = context.perceptual(y)
    return {
        "content": 2 * content_distance(taps, target, tap),
        "style": 2 * context.style(context.perceptual, y, taps).mean(),
    }
