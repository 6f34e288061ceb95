"""What a metric is, and the footage that it measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from reconet_bench.core.errors import DataError, MetricUnavailable
from reconet_bench.core.ops import warp
from reconet_bench.core.registry import Registry
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.networks.vgg import LossNetwork

T = TypeVar("T")

METRICS: Registry[Metric] = Registry("metric", "reconet_bench.metrics")
#: For metrics that look at what moves: motion by no more than so many pixels from frame to frame tells them nothing.
LEAST_MOTION = 1.0
#: For the same metrics: fewer moving pixels than this tell nothing of a pair.
FEWEST_PIXELS = 200


@dataclass(frozen=True)
class Style:
    """What ``style_distance`` needs: Gram targets by tap, and the loss network or the reason it is missing."""

    targets: dict[str, Tensor]
    network: LossNetwork | None
    reason: str = ""


class Warped(NamedTuple):
    """The next stylised frame on the grid of a frame.

    Attributes:
        frame: ``(1, 3, H, W)`` float32, where it was sampled inside the frame.
        traceable: ``(1, 1, H, W)`` in [0, 1]: the clip's mask, less what the motion takes out of the frame.
    """

    frame: Tensor
    traceable: Tensor


class Footage:
    """Stylised frames of a clip, ready to be measured.

    Args:
        clip: the content.
        stylized: as many frames ``(1, 3, H, W)`` in [0, 1], of the clip's size.
        style: see :class:`Style`; ``None`` where no style is known.

    Raises:
        DataError: another number of frames, another size, or a frame that is not finite.
    """

    def __init__(self, clip: Clip, stylized: Sequence[Tensor], style: Style | None = None) -> None:
        if len(stylized) != len(clip):
            raise DataError(
                f"{clip.name}: {len(clip)} content frames but {len(stylized)} stylised ones; "
                "give one for each content frame"
            )
        for index, frame in enumerate(stylized):
            if tuple(frame.shape) != (1, 3, *clip.size):
                size = Size(frame.shape[-2], frame.shape[-1])
                raise DataError(
                    f"{clip.name}: stylised frame {clip.label(index)} is {size}, the content {Size(*clip.size)}: "
                    "resize one of them"
                )
            if not frame.isfinite().all():
                raise DataError(f"{clip.name}: stylised frame {clip.label(index)} contains NaN or infinity")
        self.clip, self.stylized, self.style = clip, stylized, style
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()``, done once for these frames: what several metrics begin with."""
        if key not in self._known:
            self._known[key] = compute()
        return cast(T, self._known[key])

    def next_warped(self, index: int) -> Warped:
        """Stylised frame ``index + 1`` warped onto frame ``index``; once for all metrics, which it costs most of."""

        def compute() -> Warped:
            motion = self.clip.motion(index)
            frame, inside = warp(self.stylized[index + 1].double(), motion.flow)
            return Warped(frame.float(), motion.mask * inside.float())

        return self.once(("next warped", index), compute)

    @cached_property
    def content(self) -> list[Tensor]:
        """Frames of the clip."""
        return [self.clip.frame(index) for index in range(len(self.clip))]

    def starts(self, step: int) -> list[int]:
        """Where pairs ``step`` apart begin; raises MetricUnavailable with the reason where there are none."""
        starts = self.clip.starts(step)
        if not starts:
            raise MetricUnavailable(self.clip.why_no_pairs(step))
        return starts


#: What was computed of the content alone, by clip: the same for every model and runtime.
_OF_CONTENT: WeakKeyDictionary[Clip, dict[Hashable, Any]] = WeakKeyDictionary()


def once_per_clip(clip: Clip, key: Hashable, compute: Callable[[], T]) -> T:
    """``compute()``, done once for each clip and key."""
    known = _OF_CONTENT.setdefault(clip, {})
    if key not in known:
        known[key] = compute()
    return cast(T, known[key])


class Metric(ABC):
    """A number per frame or pair, and how these become one.

    Attributes:
        unit: of the value; empty for a plain number.
        better: ``lower``, ``higher`` or ``reference``; reports read the direction from here.
        summary: one line for people.
        blind_to: what it cannot see, to be read after "Blind to:"; without a full stop.
        default: measured where no metrics are named; others are measured on request alone.
        of_content: measures the clip and not the stylised frames: the same for every model.
        uses_motion: is only as good as the clip's motion; where that is estimated, the rows say so.
        detail: a part of another metric: it is recorded, but is in no table and in no test.
        version: of its definition; runs note those above 1, and values of different versions are never compared.
        positive: an error or a distance: never negative, so its interval is symmetric in ratio, see
            :func:`reconet_bench.core.statistics.interval`.
    """

    unit: ClassVar[str] = ""
    better: ClassVar[str]
    summary: ClassVar[str]
    blind_to: ClassVar[str]
    default: ClassVar[bool] = True
    of_content: ClassVar[bool] = False
    uses_motion: ClassVar[bool] = False
    positive: ClassVar[bool] = False
    detail: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @abstractmethod
    def samples(self, footage: Footage) -> dict[int, float]:
        """The value at each frame index (of a pair: its first frame); raises MetricUnavailable."""

    def reduce(self, samples: np.ndarray) -> np.ndarray:
        """One value from samples along the last axis: their mean."""
        return np.asarray(samples.mean(-1))

    def influence(self, samples: np.ndarray) -> np.ndarray:
        """How far each of the samples ``(n,)`` moves the value: the value is known as well as the mean of these is."""
        return samples
