"""How far the style is reached, so that a frozen or unstylised output cannot win."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Metric, Style, once_per_clip
from reconet_bench.networks.vgg import (
    LossNetwork,
    gram,
    gram_distance,
    load_loss_network,
    read_style,
    style_targets,
)

#: At most so many frames of a clip are measured, evenly spread: the style of a film hardly changes from frame to
#: frame, and the loss network costs more than all other metrics together.
MOST_FRAMES = 6
#: The deepest tap sees an eighth of the frame; smaller frames leave it nothing.
SMALLEST = 8


@torch.inference_mode()
def distance_to_style(frame: Tensor, targets: dict[str, Tensor], network: LossNetwork) -> Tensor:
    """The distance of a frame's Gram matrices to those of the style: mean over the style taps of VGG-16, each at unit
    mean activation.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
        targets: the style's Gram matrices ``(C, C)`` by tap.

    Returns:
        ``(1,)``, zero or more.
    """
    # Channels last, in which convolutions take three quarters of the time.
    taps = network(frame.contiguous(memory_format=torch.channels_last))
    return gram_distance({name: gram(tap) for name, tap in taps.items()}, targets)


def evenly_spread(count: int, most: int) -> list[int]:
    """At most ``most`` (two or more) indices below ``count``, evenly spread, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


@METRICS.register("style_distance")
class StyleDistance(Metric):
    """A stylised frame's distance to the style over the content frame's own: 1 = not stylised, 0 = style reached.

    The mean over at most :data:`MOST_FRAMES` frames, evenly spread, the first and the last among them. A frame whose
    content has no distance to the style has no scale, and is left out.
    """

    better = "lower"
    positive = True
    summary = "Gram distance to the style over the content frame's own: 1 = not stylised, 0 = style reached"

    def samples(self, footage: Footage) -> dict[int, float]:
        style = footage.style
        if style is None or not style.targets:
            raise MetricUnavailable("no style is known for this model: give the style image with --style")
        if style.network is None:
            raise MetricUnavailable(style.reason)
        if min(footage.clip.size) < SMALLEST:
            raise MetricUnavailable(f"the loss network needs frames of at least {SMALLEST}x{SMALLEST}")
        network, targets = style.network, style.targets
        key = ("style", id(network), *(targets[name].numpy().tobytes() for name in sorted(targets)))
        chosen = evenly_spread(len(footage.stylized), MOST_FRAMES)
        scales = once_per_clip(
            footage.clip, key, lambda: {i: distance_to_style(footage.content[i], targets, network) for i in chosen}
        )

        def distance(index: int) -> Tensor:
            frame = footage.stylized[index]
            # The content itself is a row of every comparison, and this network costs more than any runtime.
            return (
                scales[index]
                if torch.equal(frame, footage.content[index])
                else distance_to_style(frame, targets, network)
            )

        values = {i: float(distance(i) / scales[i]) for i in chosen}
        values = {index: value for index, value in values.items() if math.isfinite(value)}
        if not values:
            raise MetricUnavailable("the content equals the style image, so there is no distance to compare with")
        return values


def painting_style(path: Path, size: int, vgg: Path | None) -> Style:
    """The style of a painting, for frames without a checkpoint."""
    painting = read_style(path)
    try:
        network = load_loss_network(vgg)
    except MetricUnavailable as error:
        return Style({"": painting}, None, str(error))
    return Style(style_targets(network, painting, size), network)


def style_of(targets: dict[str, Tensor], vgg: Path | None) -> Style:
    """The style of a model's Gram targets, with the loss network or the reason why it is missing."""
    try:
        return Style(targets, load_loss_network(vgg))
    except MetricUnavailable as error:
        return Style(targets, None, str(error))
