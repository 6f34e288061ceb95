"""Footage of every kind, read and written: a video, a folder of frames, a pattern, one image or a camera.

A source gives :class:`~reconet_bench.video.frames.Frame` after frame and knows size, format and length; a
sink takes them. What either is follows from its name.
"""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import natural_key
from reconet_bench.core.images import IMAGE_SUFFIXES, image_files, read_image, write_image
from reconet_bench.core.size import Size
from reconet_bench.video.frames import TOLERANCE, Frame, StreamFormat, moment
from reconet_bench.video.reader import VideoReader
from reconet_bench.video.writer import SUFFIXES, VideoWriter

#: Suffixes by which a video is known in a folder. A file that is named is opened, whatever its suffix.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
#: Frames per second of images, which have no timestamps.
DEFAULT_RATE = Fraction(25)
#: The number in a printf pattern. Any other percent sign stands for itself, as in ``100%done.png``.
_NUMBER = re.compile(r"%(?:0(\d{1,2})d|d(?![^\W\d_]))")


class Source(Protocol):
    """Frames in: ``size``, ``format``, ``length`` (0 = unknown), and an iterator over all frames."""

    size: Size
    format: StreamFormat
    length: int

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None:
        """Close the files."""


class Sink(Protocol):
    """Frames out. The output appears under its name at ``close``; ``abandon`` without it leaves nothing."""

    remark: str

    def write(self, frame: Frame) -> None:
        """The next frame."""

    def close(self, whole: bool = True) -> None:
        """Finish the output; ``whole`` means that the source was read to its end."""

    def abandon(self) -> None:
        """Delete what was written; after ``close``, do nothing."""


class ImageSequence:
    """Images as footage, each shown for the same time; all must have one size.

    Attributes:
        names: of the files, without suffix.
    """

    def __init__(
        self, files: list[Path], rate: Fraction = DEFAULT_RATE, start: float = 0.0, end: float | None = None
    ) -> None:
        begin, stop = moment(start) - TOLERANCE, None if end is None else moment(end) - TOLERANCE
        self._files = [path for i, path in enumerate(files) if i / rate >= begin and (stop is None or i / rate < stop)]
        if not self._files:
            until = "on" if end is None else f"to {end:g} s"
            raise DataError(f"{len(files)} images at {float(rate):g} a second: none from {start:g} s {until}")
        self.format = StreamFormat(1 / rate, rate)
        self.length = len(self._files)
        self.names = [path.stem for path in self._files]
        self.size = Size(*read_image(self._files[0]).shape[:2])

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._files):
            image = read_image(path)
            if image.shape[:2] != self.size:
                raise DataError(f"{path}: frame is {Size(*image.shape[:2])}, the first is {self.size}: resize it")
            yield Frame(image, index, 1)

    def close(self) -> None:
        """Nothing is open."""


class Camera:
    """Live frames from camera ``index`` with times in milliseconds, until the caller stops."""

    length = 0

    def __init__(self, index: int) -> None:
        import cv2

        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error below replaces its log
        self._camera = cv2.VideoCapture(index)
        cv2.utils.logging.setLogLevel(level)
        if not self._camera.isOpened():
            self._camera.release()
            raise DataError(
                f"camera {index} cannot be opened: check that it is connected and that this user may read it"
            )
        rate = Fraction(self._camera.get(cv2.CAP_PROP_FPS) or 25).limit_denominator(1001)
        self.format = StreamFormat(Fraction(1, 1000), rate)
        self.size = Size(
            int(self._camera.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self._camera.get(cv2.CAP_PROP_FRAME_WIDTH))
        )

    def __iter__(self) -> Iterator[Frame]:
        began, last = time.monotonic(), -1
        while True:
            there, image = self._camera.read()
            if not there:
                return
            last = max(last + 1, round(1000 * (time.monotonic() - began)))
            yield Frame(np.ascontiguousarray(image[:, :, ::-1]), last)

    def close(self) -> None:
        """Close the camera."""
        self._camera.release()


class ImageSink:
    """Images into a new or empty folder; they appear there together at :meth:`close`.

    Args:
        names: of the files, without suffix; frames beyond these names are numbered.
        pattern: printf pattern of numbered names, such as ``frame_%04d.png``, from 1.

    Attributes:
        remark: says so if names were replaced by numbers, because several frames have the same name.
    """

    remark = ""

    def __init__(self, folder: Path, names: list[str] | None = None, pattern: str = "%06d.png") -> None:
        # A folder cannot be renamed onto a link, or onto a folder that is in use.
        self._folder, self._names, self._pattern, self._count = Path(folder).resolve(), names or [], pattern, 0
        if len({name.casefold() for name in self._names}) < len(self._names):
            self._names, self.remark = [], "several frames have the same name: they are counted instead"
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise DataError(f"{folder} is not empty: choose a new or empty folder for the frames")
        self._is_new = not self._folder.exists()
        place = self._folder.parent if self._is_new else self._folder
        place.mkdir(parents=True, exist_ok=True)
        self._temporary = Path(tempfile.mkdtemp(dir=place, prefix=f".{self._folder.name}-"))

    def write(self, frame: Frame) -> None:
        """Write one image."""
        named = self._count < len(self._names)
        name = f"{self._names[self._count]}.png" if named else _numbered(self._pattern, self._count + 1)
        self._count += 1
        write_image(self._temporary / name, frame.image)

    def close(self, whole: bool = True) -> None:
        """Give the folder its name, or move the images into it if it was there before."""
        if self._is_new:
            self._temporary.chmod(0o755)
            self._temporary.replace(self._folder)
            return
        for path in self._temporary.iterdir():
            path.replace(self._folder / path.name)
        self._temporary.rmdir()

    def abandon(self) -> None:
        """Delete what was written."""
        shutil.rmtree(self._temporary, ignore_errors=True)


class SingleImage:
    """One image by its own name; a second frame is an error."""

    remark = ""

    def __init__(self, path: Path) -> None:
        self._path, self._image = Path(path), np.zeros((0, 0, 3), np.uint8)
        if self._path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder")

    def write(self, frame: Frame) -> None:
        """Keep the frame for :meth:`close`."""
        if self._image.size:
            raise DataError(
                f"{self._path} is one image, and there are more frames: "
                "choose a folder, a pattern such as frame_%04d.png, or a video"
            )
        self._image = frame.image

    def close(self, whole: bool = True) -> None:
        """Write the image."""
        write_image(self._path, self._image)

    def abandon(self) -> None:
        """Nothing was written: do nothing."""


def _numbered(pattern: str, number: int) -> str:
    """The file name of one number in a printf pattern."""
    return _NUMBER.sub(lambda match: f"{number:{match[0][1:]}}", pattern)


def _called_like(name: str) -> list[Path]:
    """Images that match a glob or printf pattern, by number; names of existing folders are not patterns."""
    path = Path(name)
    folder = glob.escape(str(path.parent)) if path.parent.is_dir() else str(path.parent)
    if match := _NUMBER.search(path.name):
        digits = rf"\d{{{match[1] or 1},}}"
        wanted = re.compile(re.escape(path.name[: match.start()]) + digits + re.escape(path.name[match.end() :]))
        # A Path cannot glob an absolute pattern.
        found = [Path(file) for file in glob.glob(f"{folder}/*") if wanted.fullmatch(Path(file).name)]  # noqa: PTH207
    else:
        found = [Path(file) for file in glob.glob(f"{folder}/{path.name}")]  # noqa: PTH207
    return sorted((file for file in found if is_image(file)), key=natural_key)


def is_image(path: Path) -> bool:
    """Whether a name has the suffix of an image (a GIF is a video)."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def open_source(name: str | Path, rate: Fraction | None = None, start: float = 0.0, end: float | None = None) -> Source:
    """A video, a folder of images, a glob or printf pattern, or one image.

    Args:
        rate: frames per second of images; a video has its own.
        start, end: the part to read, seconds.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    if not str(name):
        raise DataError("the name of the input is empty: give a file or folder")
    path, given, rate = Path(name), rate, rate or DEFAULT_RATE
    if path.is_dir():
        return ImageSequence(image_files(path), rate, start, end)
    if not path.exists() and (glob.has_magic(str(name)) or _NUMBER.search(path.name)):
        if not (files := _called_like(str(name))):
            raise DataError(f"no image matches {name}: check the pattern")
        return ImageSequence(files, rate, start, end)
    if is_image(path):
        return ImageSequence([path], rate, start, end)
    if given is not None:
        raise DataError(f"{path} is a video and has its own frame times: leave out --fps, which is for images")
    return VideoReader(path, start, end)


def open_sink(path: Path, source: Source, size: Size, codec: str = "", sound: Path | None = None) -> Sink:
    """What ``path`` names: a video by its suffix, an image, ``FOLDER/frame_%04d.png``, or a folder of PNG files.

    Args:
        source: where the frames come from: their times, colours, names and sound go along.
        size: of the frames to be written.
        sound: the file whose sound goes along; ``None``: no sound.

    Raises:
        DataError, UnknownName: no such kind of file or codec, or no place to write to.
    """
    path = Path(path)
    if is_image(path):
        if codec:
            raise DataError(f"--codec {codec} is for videos, and {path} is an image")
        if count := len(_NUMBER.findall(path.name)):
            if count > 1:
                raise DataError(f"cannot write {path}: a pattern has one number, such as frame_%04d.png")
            return ImageSink(path.parent, pattern=path.name)
        return SingleImage(path)
    if path.suffix.lower() in SUFFIXES or codec:
        origin, end = (source.origin, source.stop) if isinstance(source, VideoReader) else (Fraction(0), None)
        return VideoWriter(path, size, source.format, codec, sound, origin, end)
    if path.suffix and not path.is_dir():
        kinds = ", ".join([*SUFFIXES, *IMAGE_SUFFIXES])
        raise DataError(f"cannot write {path}: its suffix is none of {kinds}; a folder for PNG frames has no suffix")
    return ImageSink(path, source.names if isinstance(source, ImageSequence) else None)
