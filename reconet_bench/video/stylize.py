"""Footage in, footage out: decoding, the network and encoding at the same time, in constant memory.

Three threads, joined by queues of a few frames: one decodes and scales, the caller's runs the
network, one blends and encodes. The slowest of them, which is the network, sets the pace.
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
from reconet_bench.video.frames import Frame
from reconet_bench.video.media import Camera, Sink, Source, is_image, open_sink, open_source

T = TypeVar("T")

#: Frames that may wait between two stages.
DEPTH = 4
#: From frame to stylised frame, both ``(H, W, 3)`` uint8; a runtime's session is one.
Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """What becomes of a stylised frame.

    Attributes:
        strength: 1 is the network's frame, 0 the content's, between them a blend.
        keep_colors: take light and strokes from the network, hue and saturation from the content.
        side_by_side: content on the left, result on the right.
    """

    strength: float = 1.0
    keep_colors: bool = False
    side_by_side: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise DataError(f"strength is between 0 (content) and 1 (style), got {self.strength:g}")

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
class Done:
    """What was written: number of frames, and one line on sound that was not kept as it is (or nothing)."""

    frames: int
    remark: str = ""


class Interrupted(KeyboardInterrupt):
    """Stopped by the user; what was done so far is finished and playable. The message says so."""


def fitted(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """``size`` (height, width) scaled down to at most ``longest`` pixels a side, both sides even if anything changes."""
    if longest is None or max(size) <= longest:
        return size
    height, width = (max(2, min(2 * round(side * longest / max(size) / 2), longest - longest % 2)) for side in size)
    return height, width


def stylize_video(
    network: Network,
    source: Source,
    target: Path,
    look: Look = Look(),
    *,
    max_size: int | None = None,
    codec: str = "",
    sound: Path | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Done:
    """Every frame of ``source`` through ``network`` into ``target``; as many frames, at the same times.

    Args:
        target: see :func:`~reconet_bench.video.media.open_sink`.
        max_size: longest side in pixels; larger frames are scaled down before the network.
        codec: of :data:`reconet_bench.video.writer.ENCODERS`; by default what the suffix means.
        sound: the video file whose sound goes along.
        progress: told the number of frames done.

    Raises:
        ReconetBenchError: the footage is broken, or the network does not take it; nothing is left behind.
        Interrupted: Ctrl-C, once the frames done so far are in a finished file.
    """
    size = fitted(source.size, max_size)
    shown = (size[0], size[1] * 2) if look.side_by_side else size
    sink, count = open_sink(target, source, shown, codec, sound), 0
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
                raise Interrupted(f"stopped after {written.count} frames, which are in {target}") from None
        sink.close()
    finally:
        sink.abandon()
    return Done(count, sink.remark)


def stylize_file(
    network: Network,
    name: str | Path,
    target: Path,
    look: Look = Look(),
    *,
    start: float = 0.0,
    end: float | None = None,
    rate: Fraction | None = None,
    camera: int | None = None,
    max_size: int | None = None,
    codec: str = "",
    begin: Callable[[int], None] = lambda length: None,
    progress: Callable[[int], None] = lambda count: None,
) -> Done:
    """:func:`stylize_video` on footage by its name, or on a camera.

    Args:
        start, end: the part to stylise, seconds.
        rate: frames per second of images.
        begin: told the expected number of frames (0 = unknown) before the first.
    """
    if camera is None and Path(name).exists() and Path(target).exists() and Path(name).samefile(target):
        raise DataError(f"{target} is the input: give another name for the output")
    if camera is not None and (start or end is not None or rate is not None):
        raise DataError("a camera gives frames as they come: --start, --end and --fps are for files")
    source = open_source(name, rate, start, end) if camera is None else Camera(camera)
    try:
        begin(source.length)
        has_sound = camera is None and Path(name).is_file() and not is_image(Path(name))
        return stylize_video(
            network,
            source,
            target,
            look,
            max_size=max_size,
            codec=codec,
            sound=Path(name) if has_sound else None,
            progress=progress,
        )
    finally:
        source.close()


def _scaled(source: Source, size: tuple[int, int]) -> Iterator[Frame]:
    for frame in source:
        if frame.image.shape[:2] != size:
            frame = frame._replace(image=cv2.resize(frame.image, size[::-1], interpolation=cv2.INTER_AREA))
        yield frame


class _Stage(ABC, Generic[T]):
    """A thread and a queue of at most :data:`DEPTH` items; an error on one side ends the other."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(DEPTH)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    @abstractmethod
    def _work(self) -> None:
        """What the thread does; returns when there is no more, or nobody wants more."""

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # whatever it is belongs to the caller's thread
            self._error = error
        self._stopped.set()

    def _put(self, item: T | None) -> bool:
        """Wait for room; False once nobody takes anything any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _get(self) -> T | None:
        """The next item; ``None`` is the end."""
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
    """An iterator that is worked off in a thread of its own, a few items ahead."""

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
    """A sink that is written in a thread of its own, a few frames behind.

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
        """One frame more; raises what went wrong with those before."""
        if not self._put((frame, stylized)):
            self._raise()

    def finish(self) -> None:
        """Wait until everything is written."""
        self._put(None)
        self._thread.join()
        self._raise()

    def __enter__(self) -> _Behind:
        return self
