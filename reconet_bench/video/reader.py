"""Video files in: what a player would show, rotation applied, colour matrix and range honoured, any bit depth brought to 8."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.errors import DataError
from reconet_bench.video.frames import BT601, BT709, FULL, LIMITED, SWSCALE, Frame, Timing, one_line

#: Untagged footage at least this high is taken for HD (BT.709), as players do.
_HD_HEIGHT = 720


class VideoReader:
    """Frames of a video file, one after another, in constant memory.

    Args:
        start, end: cut to this part, seconds from the beginning; timestamps then count from ``start``.

    Attributes:
        size: height and width as shown, rotation applied.
        length: number of frames as far as the file tells, for progress; 0 = unknown.
        timing: see :class:`Timing`.
        origin: where time 0 is on the file's own clock, seconds.

    Raises:
        DataError: missing, empty, damaged, without pictures, or nothing between ``start`` and ``end``.
    """

    def __init__(self, path: Path, start: float = 0.0, end: float | None = None) -> None:
        import av

        self.path, self.end = Path(path), end
        if start < 0 or (end is not None and end <= start):
            raise DataError(f"{path}: nothing to read from {start} s to {end} s: give 0 <= start < end")
        self._stack = contextlib.ExitStack()
        with one_line(self.path, "not a readable video"):
            self._container = self._stack.enter_context(av.open(str(path), metadata_errors="replace"))
        try:
            # A cover picture beside sound is no footage.
            streams = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not streams:
                raise DataError(f"{path}: there are no pictures in it, only {_kinds(self._container)}")
            self._stream: Any = streams[0]
            self._stream.thread_type = "AUTO"
            began = self._container.start_time
            self.origin = max(Fraction(0), Fraction(began, av.time_base) if began else Fraction(0)) + Fraction(start).limit_denominator(10**6)
            self._start = start
            with one_line(self.path, "not a readable video"):
                if start:
                    tick: Fraction = self._stream.time_base or Fraction(1, av.time_base)
                    self._container.seek(int(self.origin / tick), stream=self._stream)
                self._decoded = self._decode()
                self._first: Any = next(self._decoded, None)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise DataError(f"{path}: no frame in it" + (f" from {start} s on" if start else " can be decoded"))
        self.timing = self._describe(self._first)
        first = self._picture(self._first)
        self.size: tuple[int, int] = (first.shape[0], first.shape[1])
        self.length = self._expected()

    def _describe(self, frame: Any) -> Timing:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if frame.rotation % 180:
            aspect = 1 / aspect
        color_range = FULL if _is_full(frame) else LIMITED
        return Timing(stream.time_base, rate, _matrix(frame), color_range, frame.color_primaries, frame.color_trc, aspect)

    def _expected(self) -> int:
        import av

        whole = int(self._stream.frames)
        if not whole and self._container.duration:
            whole = round(self._container.duration / av.time_base * float(self.timing.rate))
        if not self._start and self.end is None:
            return whole
        seconds = whole / float(self.timing.rate)
        return max(0, round((min(seconds, self.end or seconds) - self._start) * float(self.timing.rate)))

    def _decode(self) -> Iterator[Any]:
        """Decoded frames from ``start`` on."""
        begin = self.origin / self._stream.time_base
        for frame in self._container.decode(self._stream):
            # Half a tick early is on time: the start was rounded to microseconds.
            if not self._start or frame.pts is None or frame.pts + 0.5 >= begin:
                yield frame

    def __iter__(self) -> Iterator[Frame]:
        """Every frame once; raises DataError where the file is damaged or ends before it should."""
        tick = self.timing.time_base
        origin = round(self.origin / tick)
        step = max(1, round(1 / (self.timing.rate * tick)))
        last, count = -step, 0
        decoded, frame = self._decoded, self._first
        while frame is not None:
            # Files without timestamps count frames; two frames at one time would not survive an encoder.
            pts = max(frame.pts - origin, last + 1) if frame.pts is not None else last + step
            if count == 0 and frame.pts is None:
                pts = 0
            if self.end is not None and pts * tick >= self.end - self._start:
                return
            yield Frame(self._picture(frame), pts, frame.duration or 0)
            last, count = pts, count + 1
            with one_line(self.path, f"damaged after frame {count}"):
                frame = next(decoded, None)
        self._check_whole(count, (last + 2 * step) * tick)

    def _check_whole(self, count: int, shown: Fraction) -> None:
        """A file cut off in the middle decodes without an error up to there; its index knows better."""
        import av

        if self._start or self.end is not None or count >= self._stream.frames:
            return
        # An edit list may leave frames out on purpose; then the file's duration is short as well.
        if self._container.duration and shown < Fraction(self._container.duration, av.time_base):
            raise DataError(f"{self.path}: cut off after {count} of {self._stream.frames} frames: get a whole copy, or read it up to there with --end")

    def _picture(self, frame: Any) -> np.ndarray:
        """As shown: 8-bit RGB, turned upright; all frames in the first one's size."""
        first = self._first
        frame.colorspace = _matrix(frame)
        source = FULL if _is_full(frame) else LIMITED
        with one_line(self.path, "cannot convert its pixels"):
            image = frame.to_ndarray(
                format="rgb24", width=first.width, height=first.height,
                src_color_range=source, dst_color_range=FULL, interpolation="BICUBIC",
            )  # fmt: skip
        turns = round(first.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else np.asarray(image)

    def close(self) -> None:
        """Give the file back."""
        self._stack.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _matrix(frame: Any) -> int:
    """The colour matrix of a frame; untagged footage has that of its size."""
    tagged = int(frame.colorspace)
    return tagged if tagged in SWSCALE else BT709 if max(frame.height, 0) >= _HD_HEIGHT else BT601


def _is_full(frame: Any) -> bool:
    return bool(frame.color_range == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb)


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
