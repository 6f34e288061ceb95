"""Pictures of a comparison for its report: every frame small, where each flickers, and what comes back after hiding.

They are written during the measurement: a report reads files only and knows neither frames nor motion. Layout below the
folder: ``content/VIDEO``, ``stylised/MODEL/VIDEO``, ``error/MODEL/VIDEO``, ``long/MODEL/VIDEO`` and
``long-content/VIDEO``, each holding ``0001.webp`` and so on, numbered as the clip's frames are counted, from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.ops import from_uint8, warp
from reconet_bench.data.clip import LONG_TERM_STEP, Clip

#: An error of this much is drawn in the brightest colour.
FULL_SCALE = 0.25
#: What cannot be traced is this grey.
UNTRACEABLE = 90
#: WebP qualities to try, best first, until a picture is light enough.
QUALITIES = (75, 65, 55, 45, 38, 30, 22, 15)
#: Bytes that all pictures together should keep to, so that the page with them has a few MB.
TOTAL = 4_000_000
#: Frames wider than this are made smaller; the metrics see them as they are.
MAX_WIDTH = 640
#: Side of the detail that shows a long-term pair, and how many places it is looked for at.
DETAIL, PLACES = 96, 6


def heat_map(clip: Clip, frames: Sequence[np.ndarray], index: int) -> np.ndarray | None:
    """How far frame ``index + 1``, warped back along the true motion, is from frame ``index``; ``(H, W, 3)`` uint8.

    Dark is equal and bright is different, in the inferno map, whose lightness alone tells the order; ``None`` where
    the clip knows no motion.
    """
    if index not in clip.starts(1):
        return None
    motion = clip.motion(index)
    first, second = (from_uint8(frames[i]) for i in (index, index + 1))
    warped, inside = warp(second.double(), motion.flow)
    error = (first - warped).abs().mean(1)[0].numpy() / FULL_SCALE
    heat = cv2.applyColorMap((255 * error.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    traceable = (motion.mask * inside)[0, 0, ..., None].numpy() > 0
    return np.where(traceable, heat, np.uint8(UNTRACEABLE))


class Album:
    """Writes the pictures of one comparison.

    Args:
        folder: where to.
        count: how many frames will come, content included: the more, the lighter each has to be.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self._limit = TOTAL / max(count, 1)
        self._details: dict[str, tuple[tuple[int, int, int], tuple[slice, slice]] | None] = {}

    def add_content(self, clip: Clip, frames: Sequence[np.ndarray]) -> None:
        """The clip itself, once."""
        self._detail(("long-content", clip.title), clip, frames)
        self._frames(("content", clip.title), frames)

    def has_content(self, clip: Clip) -> bool:
        """Whether the clip itself is there, by an earlier part of the run maybe."""
        return len(list((self.folder / "content" / clip.title).glob("*.webp"))) == len(clip)

    def add(self, model: str, clip: Clip, frames: Sequence[np.ndarray], first: int = 0) -> None:
        """A clip as a model paints it, with its error maps at half the size.

        Args:
            clip: the content of ``frames``: all of a clip, or a part of it.
            first: which frame of the whole clip the part begins with.
        """
        self._frames(("stylised", model, clip.title), frames, first)
        errors = {first + index: heat_map(clip, frames, index) for index in range(len(frames) - 1)}
        known = {index: _smaller(heat, 0.5) for index, heat in errors.items() if heat is not None}
        self._lane(("error", model, clip.title), known, self._limit / 4)
        self._detail(("long", model, clip.title), clip, frames, first)

    def _frames(self, place: Sequence[str], frames: Sequence[np.ndarray], first: int = 0) -> None:
        self._lane(
            place,
            {index: _smaller(frame, MAX_WIDTH / frame.shape[1]) for index, frame in enumerate(frames, first)},
            self._limit,
        )

    def _lane(self, place: Sequence[str], images: dict[int, np.ndarray], limit: float) -> None:
        """Numbered pictures in one quality: a change of quality would look like flicker.

        It is chosen on the heaviest of a few: footage may well begin black.
        """
        few = list(images.values())[:: max(1, len(images) // 5)]
        heaviest = max(few, key=lambda image: len(encode(image, QUALITIES[-1])), default=None)
        quality = next(
            (q for q in QUALITIES if heaviest is not None and len(encode(heaviest, q)) <= limit), QUALITIES[-1]
        )
        for index, image in images.items():
            with atomic_path(self.folder.joinpath(*place, f"{index + 1:04d}.webp")) as path:
                path.write_bytes(encode(image, quality))

    def _detail(self, place: Sequence[str], clip: Clip, frames: Sequence[np.ndarray], first: int = 0) -> None:
        """What is seen, then hidden, then seen again five frames later: three details of the same thing."""
        if clip.title not in self._details:
            self._details[clip.title] = find_return(clip)
        if found := self._details[clip.title]:
            numbers, window = found
            shown = {n: frames[n - first][window] for n in numbers if 0 <= n - first < len(frames)}
            self._lane(place, {number: np.ascontiguousarray(detail) for number, detail in shown.items()}, 8000)


def find_return(clip: Clip) -> tuple[tuple[int, int, int], tuple[slice, slice]] | None:
    """Frames t−5, one in between, and t, and the window in which most comes back after being hidden.

    A pixel comes back where the motion over five frames traces it though that over fewer does not. ``None`` where the
    clip has none: flow that was chained from single steps loses a pixel for good.
    """
    starts = clip.starts(LONG_TERM_STEP)
    height, width = clip.size
    side = (min(DETAIL, height), min(DETAIL, width))
    best, found = 4.0, None  # fewer pixels than this are no thing to look at
    for index in starts[:: max(1, len(starts) // PLACES)]:
        back = clip.motion(index, LONG_TERM_STEP).mask[0, 0].numpy() > 0
        for step in range(1, LONG_TERM_STEP):
            if index not in clip.starts(step):
                continue
            hidden = back & (clip.motion(index, step).mask[0, 0].numpy() == 0)
            count = cv2.boxFilter(
                hidden.astype(np.float32), -1, side[::-1], normalize=False, borderType=cv2.BORDER_CONSTANT
            )
            y, x = np.unravel_index(int(count.argmax()), count.shape)
            if count[y, x] > best:
                top = int(np.clip(y - side[0] // 2, 0, height - side[0]))
                left = int(np.clip(x - side[1] // 2, 0, width - side[1]))
                window = (slice(top, top + side[0]), slice(left, left + side[1]))
                best, found = float(count[y, x]), ((index, index + step, index + LONG_TERM_STEP), window)
    return found


def encode(image: np.ndarray, quality: int) -> bytes:
    """``(H, W, 3)`` uint8 RGB as WebP, which every browser of today reads and which is half the size of JPEG."""
    done, data = cv2.imencode(".webp", image[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise DataError("this OpenCV cannot write WebP pictures: use --no-pictures")
    return data.tobytes()


def _smaller(image: np.ndarray, factor: float) -> np.ndarray:
    """Resized by area where ``factor`` is below 1; sides of at least 16 pixels."""
    if factor >= 1:
        return image
    height, width = (max(16, round(side * factor)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
