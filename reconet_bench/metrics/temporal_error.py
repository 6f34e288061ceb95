"""Temporal consistency along true motion: E(V), its long-term form, Lai's warping error, and the content's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import warp
from reconet_bench.data.clip import LONG_TERM_STEP, Clip
from reconet_bench.metrics.base import METRICS, Footage, Metric, once_per_clip


class PairErrors(NamedTuple):
    """Both errors of pairs of frames, from one warp.

    Attributes:
        masked: ``(N,)`` float64 in [0, 1], 1/(3HW) Σ M ‖y_t − W(y_{t+k})‖²: the term under the root of E(V). Pixels
            that cannot be traced count as zero error but stay in the denominator, as in the definition.
        lai: ``(N,)`` float64, ΣM d² / ΣM with d² averaged over the channels; NaN if nothing can be traced. Only
            traceable pixels are in the denominator, and there is no root: not comparable with E(V).
    """

    masked: Tensor
    lai: Tensor


def pair_errors(y: Tensor, y_next: Tensor, flow: Tensor, mask: Tensor) -> PairErrors:
    """How much stylised frames differ along the motion between them.

    Args:
        y, y_next: stylised frames ``(N, 3, H, W)`` in [0, 1] at t and t+k.
        flow: ``(N, 2, H, W)`` pixels from t to t+k.
        mask: ``(N, 1, H, W)``, 1 = traceable; what the flow takes out of the frame is left out too.

    References: Gao et al. 2018 (e_stab); Mahakalkar 2022, evaluation of temporal error (E(V)). Lai et al., *Learning
    Blind Video Temporal Consistency*, ECCV 2018.
    """
    warped, inside = warp(y_next.double(), flow)
    return _between(y, warped.float(), mask * inside.float())  # in float32, as frames are


def _between(y: Tensor, warped: Tensor, traceable: Tensor) -> PairErrors:
    """Both errors of frames and those that follow, already warped onto them."""
    squared, traceable = (y.double() - warped.double()) ** 2, traceable.double()
    masked = (traceable * squared).mean((1, 2, 3))
    lai = (traceable * squared.mean(1, keepdim=True)).sum((1, 2, 3)) / traceable.sum((1, 2, 3))
    return PairErrors(masked, lai)


class Errors(NamedTuple):
    """Both errors of one pair, as :class:`PairErrors`."""

    masked: float
    lai: float


def errors_apart(
    clip: Clip, frames: Sequence[Tensor], pairs: Mapping[int, tuple[int, int]], to: str
) -> dict[int, Errors]:
    """Errors of pairs of frames.

    Args:
        pairs: indices of the first and the second frame, by what the errors are to be known by.
        to: what the second frame is, for the message.

    Raises:
        MetricUnavailable: nothing can be traced.
    """
    values = {}
    for key, (first, second) in pairs.items():
        motion = clip.motion(first, second - first)
        errors = pair_errors(frames[first], frames[second], motion.flow, motion.mask)
        values[key] = Errors(errors.masked.item(), errors.lai.item())
    return _some(values, to)


def _some(values: dict[int, Errors], to: str) -> dict[int, Errors]:
    if all(math.isnan(pair.lai) for pair in values.values()):
        # The definition of E(V) would say zero, which is perfect.
        raise MetricUnavailable(f"no pixel can be traced from any frame to the {to}")
    return values


def adjacent_errors(footage: Footage) -> dict[int, Errors]:
    """Errors of adjacent stylised frames, by the first of each pair; raises MetricUnavailable."""

    def compute() -> dict[int, Errors]:
        values = {}
        for index in footage.starts(1):
            errors = _between(footage.stylized[index], *footage.next_warped(index))
            values[index] = Errors(errors.masked.item(), errors.lai.item())
        return _some(values, "next")

    return footage.once("adjacent errors", compute)


def content_errors(footage: Footage) -> dict[int, float]:
    """Masked squared errors of adjacent content frames, by the first of each pair; raises MetricUnavailable."""

    def compute() -> dict[int, float]:
        pairs = {index: (index, index + 1) for index in footage.starts(1)}
        return masked(errors_apart(footage.clip, footage.content, pairs, "next"))

    return once_per_clip(footage.clip, "content_temporal_error", compute)


def errors_steps_apart(footage: Footage, step: int) -> dict[int, float]:
    """Masked squared errors of stylised frames ``step`` apart, by the first of each pair; raises MetricUnavailable."""
    pairs = {index: (index, index + step) for index in footage.starts(step)}
    return masked(errors_apart(footage.clip, footage.stylized, pairs, f"one {step} later"))


def masked(errors: Mapping[int, Errors]) -> dict[int, float]:
    """The terms under the root of E(V)."""
    return {index: pair.masked for index, pair in errors.items()}


class RootMean(Metric):
    """E(V) is the root of the mean over pairs of the masked squared error."""

    better = "lower"
    positive = True
    uses_motion = True

    def reduce(self, samples: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(np.maximum(samples.mean(-1), 0.0)))

    def influence(self, samples: np.ndarray) -> np.ndarray:
        root = float(self.reduce(samples))
        return samples / (2 * root) if root else samples  # the derivative of the root; where that is zero, all are


@METRICS.register("temporal_error")
class TemporalError(RootMean):
    """E(V) = sqrt(1/(T−1) Σ_t 1/(3HW) Σ M_t ‖y_t − W(y_{t+1})‖²). Samples are the squared terms."""

    summary = "E(V): how much adjacent stylised frames differ along the true motion"
    blind_to = (
        "what a model paints (a grey frame has no error), pixels that cannot be traced, and the contrast of the style, "
        "which it follows"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        return masked(adjacent_errors(footage))


@METRICS.register("temporal_error_long")
class TemporalErrorLong(RootMean):
    """E(V) between frames 5 apart: flow composed over them, or the exact flow where the clip knows it."""

    summary = f"E(V) between frames {LONG_TERM_STEP} apart"
    blind_to = (
        "clips shorter than six frames, flicker that has gone five frames later, and pixels that are hidden in between "
        "where the flow is composed"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        return errors_steps_apart(footage, LONG_TERM_STEP)


@METRICS.register("content_temporal_error")
class ContentTemporalError(RootMean):
    """E(V) of the content clip itself: the floor that light, noise and flow leave."""

    better = "reference"
    of_content = True
    summary = "E(V) of the content itself: the floor that light and flow leave"
    blind_to = "the stylised frames: it is of the clip alone"

    def samples(self, footage: Footage) -> dict[int, float]:
        return content_errors(footage)


@METRICS.register("warping_error")
class WarpingError(Metric):
    """Lai's warping error, mean over pairs."""

    better = "lower"
    positive = True
    uses_motion = True
    summary = "warping error of Lai et al. 2018: mean squared difference on traceable pixels only"
    blind_to = (
        "what a model paints, how little of a frame can be traced, and the contrast of the style, which it follows"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        return {index: pair.lai for index, pair in adjacent_errors(footage).items() if math.isfinite(pair.lai)}
