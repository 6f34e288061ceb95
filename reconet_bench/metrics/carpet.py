"""The pattern that a network weaves into flat areas: it repeats with the strides of its layers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import luminance
from reconet_bench.methods.flat_content import PERIOD
from reconet_bench.metrics.base import METRICS, Footage, once_per_clip
from reconet_bench.metrics.style import MOST_FRAMES, evenly_spread
from reconet_bench.metrics.temporal_error import RootMean

#: Side of the square places that are looked at, and their distance, pixels.
SIDE, STEP = 64, 32
#: Share of the places, the flattest ones of the content.
SHARE = 0.25
#: Fewer places than this tell little.
FEWEST_PLACES = 6
#: What is wider than this is light and no texture, pixels.
WIDE = 8.0
#: Levels of an 8-bit frame.
LEVELS = 255

#: Top and left of a place.
Place = tuple[int, int]


@METRICS.register("carpet")
class Carpet(RootMean):
    """Contrast of the woven or dotted pattern that repeats every eight pixels, or a part of eight, in flat areas.

    A network of stride s maps content shifted by s to its output shifted by s. So its answer to flat content repeats
    every s pixels exactly, and where that answer is not flat it is a carpet. It is measured at the flattest
    quarter of the places of the content, see :func:`repeating_variance`, in levels of 255: the root of the mean over at
    most :data:`~reconet_bench.metrics.style.MOST_FRAMES` frames, evenly spread. The definition is ours; the pattern is
    what Odena et al., *Deconvolution and Checkerboard Artifacts*, Distill 2016, explain.
    """

    unit = "/255"
    uses_motion = False
    default = False
    summary = "contrast of the pattern that a network weaves into flat areas, levels of 255: paintings have below 1.5"
    blind_to = (
        "strokes that repeat with another period than eight pixels or a part of it, colour at equal luminance, and "
        "whether the pattern suits the painting"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        chosen, coefficients = evenly_spread(len(footage.stylized), MOST_FRAMES), footage.clip.luminance

        def of_content() -> dict[int, list[Place]]:
            return {
                index: flattest(luminance(footage.content[index], coefficients)[0, 0].numpy(), SHARE)
                for index in chosen
            }

        return {
            index: repeating_variance(luminance(footage.stylized[index], coefficients)[0, 0].numpy(), places)
            for index, places in once_per_clip(footage.clip, "flattest places", of_content).items()
        }


def flattest(grey: np.ndarray, share: float) -> list[Place]:
    """The share of the places of a picture ``(H, W)`` that has the smallest gradients.

    Raises:
        MetricUnavailable: the picture is too small.
    """
    rows, columns = (range(0, size - SIDE + 1, STEP) for size in grey.shape)
    places = [(top, left) for top in rows for left in columns]
    if len(places) * share < FEWEST_PLACES:
        raise MetricUnavailable(
            f"{grey.shape[1]}x{grey.shape[0]} has {len(places)} places of {SIDE}x{SIDE}, "
            f"and {FEWEST_PLACES / share:.0f} are needed to find flat ones"
        )
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1))
    means = [strength[top : top + SIDE, left : left + SIDE].mean() for top, left in places]
    return [places[index] for index in np.argsort(means, kind="stable")[: round(len(places) * share)]]


def repeating_variance(grey: np.ndarray, places: Sequence[Place]) -> float:
    """Mean square of what repeats every :data:`PERIOD` pixels within places, in squared levels of 255.

    The detail of each quarter of a place is averaged into one tile of 8x8. What repeats is the same in all four tiles,
    what does not is not: the value is the mean product of two different tiles of a place, over all pairs and places. So
    texture that does not repeat adds nothing on average, whatever its contrast; by chance the value can be negative.

    Args:
        grey: ``(H, W)`` in [0, 1].
    """
    detail = grey.astype(np.float64) - cv2.GaussianBlur(grey.astype(np.float64), (0, 0), WIDE)
    half, repeats = SIDE // 2, SIDE // 2 // PERIOD
    products = []
    for top, left in places:
        place = detail[top : top + SIDE, left : left + SIDE]
        quarters = place.reshape(2, half, 2, half).transpose(0, 2, 1, 3).reshape(4, repeats, PERIOD, repeats, PERIOD)
        tiles = quarters.mean((1, 3))
        tiles -= tiles.mean((1, 2), keepdims=True)
        # Of the square of a sum, the squares themselves are left out.
        products.append(((tiles.sum(0) ** 2) - (tiles**2).sum(0)).mean() / 12)
    return LEVELS**2 * float(np.mean(products))
