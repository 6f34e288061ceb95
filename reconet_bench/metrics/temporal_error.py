"""Temporal consistency along true motion: E(V), its long-term form, Lai's warping error, and the content's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import warp
from reconet_bench.data.clip import LONG_TERM_STEP
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
    squared, traceable = (y.double() - warped) ** 2, mask.double() * inside
    masked = (traceable * squared).mean((1, 2, 3))
    lai = (traceable * squared.mean(1, keepdim=True)).sum((1, 2, 3)) / traceable.sum((1, 2, 3))
    return PairErrors(masked, lai)


class Errors(NamedTuple):
    """Both errors of one pair, as :class:`PairErrors`."""

    masked: float
    lai: float


def _per_pair(footage: Footage, frames: Sequence[Tensor], step: int) -> dict[int, Errors]:
    values = {}
    for index in footage.starts(step):
        motion = footage.clip.motion(index, step)
        errors = pair_errors(frames[index], frames[index + step], motion.flow, motion.mask)
        values[index] = Errors(errors.masked.item(), errors.lai.item())
    if all(math.isnan(pair.lai) for pair in values.values()):
        # The definition of E(V) would say zero, which is perfect.
        raise MetricUnavailable(
            f"no pixel can be traced from any frame to the {'next' if step == 1 else f'one {step} later'}"
        )
    return values


def _adjacent(footage: Footage) -> dict[int, Errors]:
    return footage.once("adjacent errors", lambda: _per_pair(footage, footage.stylized, 1))


def _masked(errors: Mapping[int, Errors]) -> dict[int, float]:
    return {index: pair.masked for index, pair in errors.items()}


class _RootMean(Metric):
    """E(V) is the root of the mean over pairs of the masked squared error."""

    better = "lower"
    positive = True
    uses_motion = True

    def reduce(self, samples: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(samples.mean(-1)))

    def influence(self, samples: np.ndarray) -> np.ndarray:
        root = float(self.reduce(samples))
        return samples / (2 * root) if root else samples  # the derivative of the root; where that is zero, all are


@METRICS.register("temporal_error")
class TemporalError(_RootMean):
    """E(V) = sqrt(1/(T−1) Σ_t 1/(3HW) Σ M_t ‖y_t − W(y_{t+1})‖²). Samples are the squared terms."""

    summary = "E(V): how much adjacent stylised frames differ along the true motion"

    def samples(self, footage: Footage) -> dict[int, float]:
        return _masked(_adjacent(footage))


@METRICS.register("temporal_error_long")
class TemporalErrorLong(_RootMean):
    """E(V) between frames 5 apart: flow composed over them, or the exact flow where the clip knows it."""

    summary = f"E(V) between frames {LONG_TERM_STEP} apart"

    def samples(self, footage: Footage) -> dict[int, float]:
        return _masked(_per_pair(footage, footage.stylized, LONG_TERM_STEP))


@METRICS.register("content_temporal_error")
class ContentTemporalError(_RootMean):
    """E(V) of the content clip itself: the floor that light, noise and flow leave."""

    better = "reference"
    of_content = True
    summary = "E(V) of the content itself: the floor that light and flow leave"

    def samples(self, footage: Footage) -> dict[int, float]:
        return once_per_clip(
            footage.clip, "content_temporal_error", lambda: _masked(_per_pair(footage, footage.content, 1))
        )


@METRICS.register("warping_error")
class WarpingError(Metric):
    """Lai's warping error, mean over pairs."""

    better = "lower"
    positive = True
    uses_motion = True
    summary = "warping error of Lai et al. 2018: mean squared difference on traceable pixels only"

    def samples(self, footage: Footage) -> dict[int, float]:
        return {index: pair.lai for index, pair in _adjacent(footage).items() if math.isfinite(pair.lai)}
