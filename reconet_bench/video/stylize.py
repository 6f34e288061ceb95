"""Stylise footage: decoding, the network and encoding run at the same time, in constant memory.

Three threads are joined by queues of a few frames: one decodes and scales, the caller's thread runs the
network, and one blends and encodes. The slowest of them, the network, sets the speed.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.size import Size
from reconet_bench.video.frames import Frame
from reconet_bench.video.media import Camera, Sink, Source, is_image, open_sink, open_source

T = TypeVar("T")

#: Frames that may wait between two stages.
DEPTH = 4
#: From frame to stylised frame, both ``(H, W, 3)`` uint8; a runtime's session is one.
Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """How a stylised frame is shown.

    Attributes:
        strength: 1 is the network's frame, 0 is the content frame, values between are a blend.
        keep_colors: luminance from the network, colours from the content.
        side_by_side: content on the left, result on the right.
    """

    strength: float = 1.0
    keep_colors: bool = False
    side_by_side: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise DataError(f"strength must be between 0 (content) and 1 (style), got {self.strength:g}")

    def apply(self, content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """Both ``(H, W, 3)`` uint8, one result; twice as wide when side by side."""
        if self.keep_colors:
            # Gatys et al. 2017, "Controlling Perceptual Factors": luminance-only transfer.
            colors = cv2.cvtColor(content, cv2.COLOR_RGB2YCrCb)
            colors[..., 0] = cv2.cvtColor(stylized, cv2.COLOR_RGB2YCrCb)[..., 0]
            stylized = cv2.cvtColor(colors, cv2.COLOR_YCrCb2RGB)
        if self.strength < 1:
            stylized = cv2.addWeighted(stylized, self.strength, content, 1 - self.strength, 0)
        return np.hstack((content, stylized)) if self.side_by_side else stylized


@dataclass(frozen=True)
class FootageInput:
    """Which footage to read.

    Attributes:
        name: a video, a folder of images, a glob or printf pattern, or one image.
        start, end: the part to read, seconds from the beginning; ``end`` ``None`` is the end of the footage.
        rate: frames per second of images; a video has its own.
        camera: number of a camera to read instead of ``name``.
    """

    name: str | Path = ""
    start: float = 0.0
    end: float | None = None
    rate: Fraction | None = None
    camera: int | None = None

    def open(self) -> Source:
        """Open it.

        Raises:
            DataError: nothing is there, it cannot be read, or a camera is asked for a part.
        """
        if self.camera is None:
            return open_source(self.name, self.rate, self.start, self.end)
        if self.start or self.end is not None or self.rate is not None:
            raise DataError("--start, --end and --fps work with files only: leave them out with --camera")
        return Camera(self.camera)

    @property
    def sound(self) -> Path | None:
        """The file whose sound goes along; ``None`` for images and cameras."""
        path = Path(self.name)
        return path if self.camera is None and path.is_file() and not is_image(path) else None


@dataclass(frozen=True)
class FootageOutput:
    """What to write.

    Attributes:
        path: see :func:`~reconet_bench.video.media.open_sink`.
        look: how the stylised frames are shown.
        max_size: longest side in pixels; larger frames are scaled down before the network.
        codec: one of :data:`reconet_bench.video.writer.ENCODERS`; by default the file suffix decides.
    """

    path: Path
    look: Look = Look()
    max_size: int | None = None
    codec: str = ""


@dataclass(frozen=True)
class Done:
    """What was written: the number of frames, and one line if the sound could not be kept as it was."""

    frames: int
    remark: str = ""


class Interrupted(KeyboardInterrupt):
    """Stopped by the user. The frames so far are in a finished, playable file; the message says so."""


def fitted(size: Size, longest: int | None) -> Size:
    """``size`` scaled down to at most ``longest`` pixels a side; if it is scaled, both sides are even."""
    if longest is None or max(size) <= longest:
        return size
    return Size(*(max(2, min(2 * round(side * longest / max(size) / 2), longest - longest % 2)) for side in size))


def stylize_video(
    network: Network,
    source: Source,
    output: FootageOutput,
    sound: Path | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Done:
    """Put every frame of ``source`` through ``network``; the output has as many frames, at the same times.

    Args:
        sound: the video file whose sound goes along.
        progress: called with the number of frames done.

    Raises:
        ReconetBenchError: the footage is broken, or the network does not accept it; no file is left behind.
        Interrupted: Ctrl-C, once the frames done so far are in a finished file.
    """
    look, size = output.look, fitted(source.size, output.max_size)
    shown = Size(size.height, size.width * 2) if look.side_by_side else size
    sink, count = open_sink(output.path, source, shown, output.codec, sound), 0
    try:
        with _Ahead(_scaled(source, size)) as frames, _Behind(sink, look) as written:
            try:
                for count, frame in enumerate(frames, 1):
                    written.put(frame, network(frame.image))
                    progress(count)
                written.finish()
            except KeyboardInterrupt:
                written.finish()
                if not written.count:
                    raise
                sink.close(whole=isinstance(source, Camera))
                raise Interrupted(f"stopped after {written.count} frames: they are in {output.path}") from None
        sink.close()
    finally:
        sink.abandon()
    return Done(count, sink.remark)


def stylize_file(
    network: Network,
    footage: FootageInput,
    output: FootageOutput,
    begin: Callable[[int], None] = lambda length: None,
    progress: Callable[[int], None] = lambda count: None,
) -> Done:
    """Open the footage, :func:`stylize_video` it with its sound, and close it.

    Args:
        begin: called before the first frame with the expected number of frames (0 = unknown).
        progress: called with the number of frames done.
    """
    name, target = Path(footage.name), Path(output.path)
    if footage.camera is None and name.exists() and target.exists() and name.samefile(target):
        raise DataError(f"{target} is the input: give another name for the output")
    source = footage.open()
    try:
        begin(source.length)
        return stylize_video(network, source, output, footage.sound, progress)
    finally:
        source.close()


def _scaled(source: Source, size: Size) -> Iterator[Frame]:
    for frame in source:
        if frame.image.shape[:2] != size:
            frame = frame._replace(image=cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA))
        yield frame


class _Stage(ABC, Generic[T]):
    """A thread and a queue of at most :data:`DEPTH` items; an error on one side stops the other."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(DEPTH)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    @abstractmethod
    def _work(self) -> None:
        """What the thread does; returns at the end, or when the other side has stopped."""

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # raised again in the caller's thread
            self._error = error
        self._stopped.set()

    def _put(self, item: T | None) -> bool:
        """Wait for room in the queue; False once the other side has stopped."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _get(self) -> T | None:
        """The next item; ``None`` at the end."""
        while True:
            try:
                item: T | None = self._queue.get(timeout=0.1)
            except queue.Empty:
                if self._stopped.is_set() and self._queue.empty():
                    return None
                continue
            return item

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


class _Ahead(_Stage[Frame]):
    """Reads an iterator in its own thread, a few items ahead."""

    def __init__(self, items: Iterable[Frame]) -> None:
        self._items = items
        super().__init__()

    def _work(self) -> None:
        for item in self._items:
            if not self._put(item):
                return

    def __iter__(self) -> Iterator[Frame]:
        while (item := self._get()) is not None:
            yield item
        self._raise()

    def __enter__(self) -> _Ahead:
        return self


class _Behind(_Stage[tuple[Frame, np.ndarray]]):
    """Writes a sink in its own thread, a few frames behind.

    Attributes:
        count: frames written.
    """

    def __init__(self, sink: Sink, look: Look) -> None:
        self._sink, self._look, self.count = sink, look, 0
        super().__init__()

    def _work(self) -> None:
        while (item := self._get()) is not None:
            frame, stylized = item
            self._sink.write(frame._replace(image=self._look.apply(frame.image, stylized)))
            self.count += 1

    def put(self, frame: Frame, stylized: np.ndarray) -> None:
        """Write one more frame; raises the error of an earlier one."""
        if not self._put((frame, stylized)):
            self._raise()

    def finish(self) -> None:
        """Wait until everything is written."""
        self._put(None)
        self._thread.join()
        self._raise()

    def __enter__(self) -> _Behind:
        return self
