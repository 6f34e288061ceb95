"""How far the style is reached, so that a frozen or unstylised output cannot win."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import torch
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Metric, Style, once_per_clip
from reconet_bench.networks.vgg import (
    STYLE_TAPS,
    LossNetwork,
    gram,
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
def distances_to_style(frame: Tensor, targets: dict[str, Tensor], network: LossNetwork) -> dict[str, float]:
    """The mean squared difference of a frame's Gram matrices to those of the style, by tap of VGG-16.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
        targets: the style's Gram matrices ``(C, C)`` by tap.
    """
    # Channels last, in which convolutions take three quarters of the time.
    taps = network(frame.contiguous(memory_format=torch.channels_last))
    return {name: float(((gram(taps[name])[0] - targets[name]) ** 2).mean()) for name in STYLE_TAPS}


def evenly_spread(count: int, most: int) -> list[int]:
    """At most ``most`` (two or more) indices below ``count``, evenly spread, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


class TapDistance(Metric):
    """A stylised frame's distance to the style at one tap of the loss network, over the content frame's own.

    Args:
        tap: name of the tap.
        what: that the tap sees, for people.
    """

    better = "lower"
    positive = True
    detail = True
    summary = "style distance at one tap"
    blind_to = "every other scale, and where in the frame the style is"

    def __init__(self, tap: str, what: str) -> None:
        self.tap = tap
        self.summary = f"style distance at {tap}: {what}"  # type: ignore[misc]

    def samples(self, footage: Footage) -> dict[int, float]:
        return _finite({index: ratios[self.tap] for index, ratios in ratios_by_tap(footage).items()})


for _tap, _what in {
    "relu1_2": "colour and the finest strokes",
    "relu2_2": "strokes",
    "relu3_3": "form",
    "relu4_3": "large forms",
}.items():
    METRICS.register(f"style_distance_{_tap}")(functools.partial(TapDistance, _tap, _what))


@METRICS.register("style_distance")
class StyleDistance(Metric):
    """A stylised frame's distance to the style over the content frame's own: 1 = not stylised, 0 = style reached.

    At each tap of the loss network the distance is taken over the content's own at that tap, and the four ratios are
    averaged, so that every scale counts. A plain sum, which version 1 was, is 83 % relu1_2 and 0.4 % relu4_3: it was
    near zero as soon as the colours were right.

    The mean over at most :data:`MOST_FRAMES` frames, evenly spread, the first and the last among them. A frame whose
    content has no distance to the style at a tap has no scale there, and is left out.
    """

    better = "lower"
    positive = True
    version = 2
    summary = (
        "Gram distance to the style over the content's own, mean of four taps: 1 = not stylised, 0 = style reached"
    )
    blind_to = "where in the frame the style is, whether the content is still legible, and flicker"

    def samples(self, footage: Footage) -> dict[int, float]:
        return _finite({index: sum(ratios.values()) / len(ratios) for index, ratios in ratios_by_tap(footage).items()})


def ratios_by_tap(footage: Footage) -> dict[int, dict[str, float]]:
    """Distance to the style over the content's own, by frame and tap; not finite where the content has none.

    Raises:
        MetricUnavailable: no style is known, the loss network is missing, or the frames are too small for it.
    """
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

    def of_content() -> dict[int, dict[str, float]]:
        return {index: distances_to_style(footage.content[index], targets, network) for index in chosen}

    def ratios() -> dict[int, dict[str, float]]:
        scales, found = once_per_clip(footage.clip, key, of_content), {}
        for index in chosen:
            frame, own = footage.stylized[index], scales[index]
            # The content itself is a row of every comparison, and this network costs more than any runtime.
            same = torch.equal(frame, footage.content[index])
            distances = own if same else distances_to_style(frame, targets, network)
            found[index] = {tap: value / own[tap] if own[tap] else math.nan for tap, value in distances.items()}
        return found

    return footage.once(key, ratios)


def _finite(values: dict[int, float]) -> dict[int, float]:
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
