"""Read video files as a player shows them: rotated, with the right colour matrix and range, at 8 bits."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.size import Size
from reconet_bench.video.frames import (
    BT601,
    BT709,
    FULL,
    LIMITED,
    SEARCH_MARGIN,
    SWSCALE,
    TOLERANCE,
    Frame,
    StreamFormat,
    moment,
    one_line,
)

#: Footage without a colour tag is taken for HD (BT.709) from this height on, as players do.
_HD_HEIGHT = 720


class VideoReader:
    """Frames of a video file, one after another, in constant memory.

    Args:
        start, end: the part to read, seconds from the beginning; timestamps count from ``start``.

    Attributes:
        size: as shown, rotation applied.
        length: number of frames according to the file, for progress; 0 = unknown.
        format: see :class:`StreamFormat`.
        origin: where time 0 is on the file's own clock, seconds.
        stop: where the part ends, on the same clock; ``None``: at the end of the file.

    Raises:
        DataError: the file is missing, empty, damaged or has no pictures, or no frame is between ``start`` and ``end``.
    """

    def __init__(self, path: Path, start: float = 0.0, end: float | None = None) -> None:
        import av

        self.path = Path(path)
        if start < 0 or (end is not None and end <= start):
            raise DataError(f"{path}: nothing to read from {start} s to {end} s: give 0 <= start < end")
        self._stack = contextlib.ExitStack()
        try:
            self._open()
            self._began = max(Fraction(0), Fraction(self._container.start_time or 0, av.time_base))
            self.origin = self._began + moment(start)
            self.stop = None if end is None else self._began + moment(end)
            with one_line(self.path, "not a readable video"):
                self._decoded = self._decode()
                self._first: Any = next(self._decoded, None)
        except BaseException:
            self.close()
            raise
        if self._first is None or self._is_after(self._first.pts):
            self.close()
            part = f" from {start:g} s " + ("on" if end is None else f"to {end:g} s")
            raise DataError(f"{path}: no frame" + (part if start or self._first else " can be decoded"))
        self.format = self._describe(self._first)
        first = self._picture(self._first)
        self.size = Size(*first.shape[:2])
        self.length = self._expected()

    def _open(self) -> None:
        """Open the file at its beginning."""
        import av

        self._stack.close()
        with one_line(self.path, "not a readable video"):
            self._container = self._stack.enter_context(av.open(str(self.path.absolute()), metadata_errors="replace"))
        # A cover picture of a sound file is not footage.
        streams = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise DataError(f"{self.path}: no video stream in it, only {_kinds(self._container)}")
        self._stream: Any = streams[0]
        self._stream.thread_type = "AUTO"

    def _describe(self, frame: Any) -> StreamFormat:
        stream = self._stream
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if frame.rotation % 180:
            aspect = 1 / aspect
        color_range = FULL if _is_full(frame) else LIMITED
        return StreamFormat(
            stream.time_base, _rate(stream), _matrix(frame), color_range, frame.color_primaries, frame.color_trc, aspect
        )

    def _expected(self) -> int:
        import av

        whole = int(self._stream.frames)
        if not whole and self._container.duration:
            whole = round(self._container.duration / av.time_base * float(self.format.rate))
        rate, start = self.format.rate, self.origin - self._began
        last = whole if self.stop is None else min(whole, round((self.stop - self._began) * rate))
        return max(0, last - round(start * rate))

    def _decode(self) -> Iterator[Any]:
        """Decoded frames from ``start`` on."""
        if self.origin == self._began:
            yield from self._container.decode(self._stream)
            return
        begin, place = self.origin - TOLERANCE, max(self._began, self.origin - SEARCH_MARGIN)
        try:
            self._container.seek(int(place / self._stream.time_base), stream=self._stream)
        except PermissionError:  # a raw stream has no index
            first = None
        else:
            frames = self._timed(place)
            first = next(frames, None)
        # Only a first frame before the start proves that the seek skipped none.
        if first is None or first[0] >= begin:
            self._open()
            frames = self._timed(self._began)
            first = next(frames, None)
        yield from (frame for time, frame in itertools.chain([first] if first else [], frames) if time >= begin)

    def _timed(self, time: Fraction) -> Iterator[tuple[Fraction, Any]]:
        """Decoded frames with their times in the file, seconds; if they have none, counted from ``time`` on."""
        step = 1 / _rate(self._stream)
        time -= step
        for frame in self._container.decode(self._stream):
            time = frame.pts * self._stream.time_base if frame.pts is not None else time + step
            yield time, frame

    def __iter__(self) -> Iterator[Frame]:
        """Every frame once; raises DataError if the file is damaged or cut off."""
        tick = self.format.time_base
        origin = round(self.origin / tick)
        step = max(1, round(1 / (self.format.rate * tick)))
        last, count, shown = -step, 0, 0
        decoded, frame = self._decoded, self._first
        while frame is not None:
            # Without timestamps, frames are counted. An encoder refuses two frames at one time.
            pts = max(frame.pts - origin, last + 1) if frame.pts is not None else last + step
            if count == 0 and frame.pts is None:
                pts = 0
            if self._is_after(origin + pts):
                return
            yield Frame(self._picture(frame), pts, frame.duration or 0)
            last, count, shown = pts, count + 1, pts + max(step, frame.duration or 0)
            with one_line(self.path, f"damaged after frame {count}"):
                frame = next(decoded, None)
        if count != self._stream.frames:
            self._check_whole((origin + shown) * tick, step * tick)

    def _is_after(self, pts: int | None) -> bool:
        """Whether a frame is after the wanted part."""
        return self.stop is not None and pts is not None and pts * self._stream.time_base >= self.stop - TOLERANCE

    def _check_whole(self, shown: Fraction, step: Fraction) -> None:
        """Raise DataError if the file is cut off: it decodes without an error, but its header states more pictures."""
        stated = _stated_end(self._stream)
        if self.stop is None and stated is not None and shown + 2 * step < stated:
            at, whole = float(shown - self._began), float(stated - self._began)
            raise DataError(
                f"{self.path}: cut off after {at:.2f} of {whole:.2f} s: "
                f"get a complete copy, or read only this part with --end {at:.2f}"
            )

    def _picture(self, frame: Any) -> np.ndarray:
        """The frame as shown: 8-bit RGB, turned upright, in the size of the first frame."""
        first = self._first
        frame.colorspace = _matrix(frame)
        source = FULL if _is_full(frame) else LIMITED
        with one_line(self.path, "cannot convert its pixels"):
            image = frame.to_ndarray(
                format="rgb24",
                width=first.width,
                height=first.height,
                src_color_range=source,
                dst_color_range=FULL,
                interpolation="BICUBIC",
            )
        return np.ascontiguousarray(_upright(image, first))

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _stated_end(stream: Any) -> Fraction | None:
    """When the pictures end according to the file, seconds on its own clock; its sound may last longer."""
    if stream.duration and stream.frames:  # without a frame count, FFmpeg gives the duration of the whole file
        return Fraction(stream.time_base * ((stream.start_time or 0) + stream.duration))
    parts = stream.metadata.get("DURATION", "").split(":")  # of Matroska, such as 00:00:04.021000000
    try:
        return sum((Fraction(part) * 60**place for place, part in enumerate(reversed(parts))), Fraction(0))
    except ValueError:
        return None


def _matrix(frame: Any) -> int:
    """The colour matrix of a frame; without a tag, the one that is usual for its height."""
    tagged = int(frame.colorspace)
    return tagged if tagged in SWSCALE else BT709 if max(frame.height, 0) >= _HD_HEIGHT else BT601


def _upright(image: np.ndarray, frame: Any) -> np.ndarray:
    """Turned and mirrored as the display matrix of a frame says: ISO/IEC 14496-12, x' = ax + cy and y' = bx + dy."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(side, np.int32)
    if abs(b) > abs(a):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _is_full(frame: Any) -> bool:
    return bool(frame.color_range == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb)


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
