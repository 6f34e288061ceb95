"""The clip: frames and the motion between them, the same object for every source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from reconet_bench.core.errors import DataError
from reconet_bench.core.ops import (
    LUMINANCE_ANIMATION,
    LUMINANCE_CAMERA,
    compose_flows,
    resize_flow,
    resize_frame,
    resize_mask,
    warp,
)
from reconet_bench.core.record import clip_title
from reconet_bench.core.size import Size

#: Frames between the two ends of a long-term pair, as in the dissertation.
LONG_TERM_STEP = 5


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame goes: ``flow`` ``(1, 2, H, W)`` and ``mask`` ``(1, 1, H, W)``, 1 = traceable."""

    flow: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Pair:
    """Two frames of one clip and the motion from the first to the second, on the first's grid."""

    first: Tensor
    second: Tensor
    motion: Motion


class Clip(ABC):
    """A sequence of frames ``(1, 3, H, W)`` with known motion.

    Attributes:
        name: as the user gives it, e.g. ``alley_2``.
        source: data set, e.g. ``sintel-clean`` or ``synthetic``.
        luminance: coefficients that fit the footage, see :mod:`reconet_bench.core.ops`.
        flow: name of the flow estimator; empty if the flow is true, or unknown.
        digest: checksum of its files and of the flow estimator; empty if the name identifies the clip.
    """

    name: str
    source: str
    luminance: tuple[float, float, float] = LUMINANCE_ANIMATION
    flow: str = ""
    digest: str = ""

    @property
    def title(self) -> str:
        """Name in tables and folders; it tells true flow from estimated flow of the same clip."""
        return clip_title(self.name, self.flow)

    @property
    def remark(self) -> str:
        """A note if its motion is estimated; empty if it is true, or unknown."""
        return f"estimated flow ({self.flow})" if self.flow else ""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @property
    @abstractmethod
    def size(self) -> Size:
        """Size of every frame."""

    @abstractmethod
    def frame(self, index: int) -> Tensor:
        """Frame ``index`` as ``(1, 3, H, W)`` float32 in [0, 1]."""

    @abstractmethod
    def motion(self, index: int, step: int = 1) -> Motion:
        """Motion from frame ``index`` to frame ``index + step``."""

    def motion_back(self, index: int) -> Motion:
        """True motion from frame ``index`` to the one before it, on the grid of frame ``index``.

        Raises:
            DataError: it is not known.
        """
        raise DataError(f"{self.name} has no true flow from a frame to the one before it: use --state-flow dis")

    def check(self, indices: Sequence[int]) -> None:  # noqa: B027 - rendered clips have no files to look at
        """Look at the files of these frames and of the motion between them, without computing anything.

        Raises:
            DataError: one is missing, truncated, or of another size.
        """

    def starts(self, step: int = 1) -> list[int]:
        """Indices of the first frames of pairs that are ``step`` apart; empty if the clip is too short."""
        return list(range(len(self) - step))

    def adjacent(self) -> list[int]:
        """Indices of frames that are followed by the next frame of the footage, with or without known motion."""
        return list(range(len(self) - 1))

    def why_no_pairs(self, step: int) -> str:
        """The reason, in words, why :meth:`starts` is empty."""
        if len(self) <= step:
            return f"{self.name} has {len(self)} frames, pairs {step} apart need {step + 1}"
        return f"{self.name} has no {step + 1} consecutive frames with true flow between them"

    def label(self, index: int) -> str:
        """Name of frame ``index`` in the source, for messages and file names."""
        return f"{index + 1:04d}"

    def pair(self, index: int, step: int = 1) -> Pair:
        """The pair of frames ``index`` and ``index + step``."""
        return Pair(self.frame(index), self.frame(index + step), self.motion(index, step))


class FramesOnly(Clip):
    """Footage with unknown motion: it has adjacent frames, but no pairs.

    Attributes:
        kind: what was found, for messages.
    """

    source = "footage"
    luminance = LUMINANCE_CAMERA
    kind: ClassVar[str]
    _size: Size

    @property
    def size(self) -> Size:
        return self._size

    def starts(self, step: int = 1) -> list[int]:
        """Always empty."""
        return []

    def why_no_pairs(self, step: int) -> str:
        return f"{self.name} has no true flow ({self.kind})"

    def motion(self, index: int, step: int = 1) -> Motion:
        raise DataError(self.why_no_pairs(step))


def composed_motion(clip: Clip, index: int, step: int) -> Motion:
    """Motion over ``step`` frames, composed of one-step motions; the mask is the product of theirs."""
    total = clip.motion(index, 1)
    for offset in range(1, step):
        following = clip.motion(index + offset, 1)
        total = Motion(*compose_flows(total.flow, total.mask, following.flow, following.mask))
    return total


class ClipView(Clip):
    """A clip at another size, or a part of it, or both.

    Args:
        size: frames are resized with antialiasing, flow in both axes by its own ratio.
        frames: how many frames to keep.
        first: how many frames to leave out at the start.
    """

    def __init__(self, clip: Clip, size: Size | None = None, frames: int | None = None, first: int = 0) -> None:
        self.clip = clip
        self.name, self.source, self.luminance, self.flow = clip.name, clip.source, clip.luminance, clip.flow
        self._size = Size(*(size or clip.size))
        self._first = first
        self._length = min(len(clip) - first, frames or len(clip))
        if self._length < 2:
            raise DataError(f"{clip.name}: at least two frames are needed, got {self._length}")

    def __len__(self) -> int:
        return self._length

    @property
    def size(self) -> Size:
        return self._size

    def frame(self, index: int) -> Tensor:
        return resize_frame(self.clip.frame(index + self._first), *self._size)

    def check(self, indices: Sequence[int]) -> None:
        self.clip.check([index + self._first for index in indices])

    def motion(self, index: int, step: int = 1) -> Motion:
        return self._resized(self.clip.motion(index + self._first, step))

    def _resized(self, motion: Motion) -> Motion:
        flow = resize_flow(motion.flow, *self._size)
        if flow is motion.flow:
            return motion
        _, inside = warp(flow[:, :1], flow)
        return Motion(flow, resize_mask(motion.mask, *self._size) * inside)

    def motion_back(self, index: int) -> Motion:
        return self._resized(self.clip.motion_back(index + self._first))

    def starts(self, step: int = 1) -> list[int]:
        return self._kept(self.clip.starts(step), step)

    def adjacent(self) -> list[int]:
        return self._kept(self.clip.adjacent(), 1)

    def _kept(self, starts: list[int], step: int) -> list[int]:
        """Of pairs of the clip those that lie in the part."""
        moved = (index - self._first for index in starts)
        return [index for index in moved if index >= 0 and index + step < self._length]

    def why_no_pairs(self, step: int) -> str:
        return super().why_no_pairs(step) if self._length <= step else self.clip.why_no_pairs(step)

    def label(self, index: int) -> str:
        return self.clip.label(index + self._first)
