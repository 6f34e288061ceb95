"""The frame before, and the motion to it, for whatever carries something from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from reconet_bench.core.ops import from_uint8
from reconet_bench.data.clip import Motion
from reconet_bench.data.flow.base import ESTIMATORS, FlowFunction, consistency_mask

#: Sides of the small copies that a cut is seen on, pixels: grey for the arrangement, coloured for the palette.
_GREY, _COLOUR = 32, 128
#: Largest correlation of the arrangements, and largest common share of the palettes, of frames on both sides of a cut.
#: Frames of one shot had 0.26 and 0.63 at the least, in fast motion, on built-in clips, MPI-Sintel and DAVIS.
_CUTS = ((0.6, 0.5), (0.15, 0.8))


@dataclass(frozen=True)
class MotionEstimator:
    """How motion to the frame before is estimated.

    Attributes:
        name: in :data:`~reconet_bench.data.flow.base.ESTIMATORS`.
        weights: see :meth:`~reconet_bench.data.flow.base.Estimator.load`.
    """

    name: str = "dis"
    weights: Path | None = None

    def load(self) -> FlowFunction:
        """The flow function.

        Raises:
            UnknownName, ModelError: no such estimator, or its weights are missing.
        """
        return ESTIMATORS[self.name].load(self.weights)[0]


class Glance(NamedTuple):
    """What tells one scene from another.

    Attributes:
        arrangement: light and dark ``(32, 32)``, of mean 0.
        palette: share of the pixels by colour, ``(8, 8, 8)``.
    """

    arrangement: np.ndarray
    palette: np.ndarray


def glance(image: np.ndarray) -> Glance:
    """A frame ``(H, W, 3)`` uint8 at a glance."""
    small = _small(image, _COLOUR)
    grey = _small(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), _GREY).astype(np.float64)
    palette = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / _COLOUR**2
    return Glance(grey - grey.mean(), palette)


def is_cut(now: Glance, before: Glance) -> bool:
    """Whether a frame shows another scene than the one before it.

    They are compared by the correlation of light and dark, and by the share that their palettes have in common. Fast
    motion changes the first, a flash or a fade the second, and a cut both.
    """
    first, second = now.arrangement, before.arrangement
    scale = float(np.sqrt((first * first).sum() * (second * second).sum()))
    likeness = float((first * second).sum()) / scale if scale else 1.0
    common = float(np.minimum(now.palette, before.palette).sum())
    return any(likeness < alike and common < shared for alike, shared in _CUTS)


def _small(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


class FrameHistory:
    """Follows a sequence of frames, and knows the motion from the current frame to the one before.

    Args:
        estimator: of the motion; it is loaded when the first motion is asked for.

    Attributes:
        current: the frame in hand, ``(H, W, 3)`` uint8.
        before: the frame before, ``(H, W, 3)`` uint8; ``None`` at the start of a sequence: at the first frame, after a
            cut, and where frames change size.
        seconds: what the estimates of each frame took, since they were last taken away.
    """

    def __init__(self, estimator: MotionEstimator) -> None:
        self._estimator = estimator
        self._estimate: FlowFunction | None = None
        self.seconds: list[float] = []
        self.reset()

    def reset(self) -> None:
        """The next frame begins a sequence."""
        self.current: np.ndarray | None = None
        self.before: np.ndarray | None = None
        self._flow: Tensor | None = None
        self._traceable: Tensor | None = None
        self._given: Motion | None = None
        self._seen: Glance | None = None

    def give(self, motion: Motion) -> None:
        """The motion from the next frame to the one before it, which is then not estimated."""
        self._given = motion

    def begin(self, image: np.ndarray) -> None:
        """Another frame, ``(H, W, 3)`` uint8."""
        before, self.current = self.current, image
        seen, self._seen = self._seen, glance(image)
        goes_on = before is not None and before.shape == image.shape and seen and not is_cut(self._seen, seen)
        self.before = before if goes_on else None
        given, self._given = self._given, None
        self._flow, self._traceable = (given.flow, given.mask) if given else (None, None)

    def flow(self) -> Tensor:
        """Flow from the current frame to the one before, ``(1, 2, H, W)`` pixels."""
        if self._flow is None:
            pair = self._pair()
            self.seconds.append(0.0)
            self._flow = self._estimated(*pair)
        return self._flow

    def traceable(self) -> Tensor:
        """Where :meth:`flow` can be traced, ``(1, 1, H, W)``, 1 = traceable: the flow back must agree with it."""
        if self._traceable is None:
            flow = self.flow()
            self._traceable = consistency_mask(flow, self._estimated(*reversed(self._pair())))
        return self._traceable

    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        if self.current is None or self.before is None:
            raise ValueError("there is no frame before")
        return self.current, self.before

    def _estimated(self, start: np.ndarray, end: np.ndarray) -> Tensor:
        """Flow from one image to another; its time is added to the frame's."""
        if self._estimate is None:
            self._estimate = self._estimator.load()
        began = perf_counter()
        flow = self._estimate(from_uint8(start), from_uint8(end))
        self.seconds[-1] += perf_counter() - began
        return flow
