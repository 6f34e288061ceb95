"""Footage without true motion: frames in a folder, or a video file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from reconet_bench.core.errors import DataError
from reconet_bench.core.images import IMAGE_SUFFIXES, image_files, read_image
from reconet_bench.core.ops import from_uint8
from reconet_bench.data.clip import FramesOnly
from reconet_bench.video.reader import VideoReader

#: Measuring goes over the frames many times, so they stay in memory: at most so many bytes at 8 bits.
MEMORY = 2**30


def read_frames(folder: Path, frames: int | None = None) -> list[Tensor]:
    """Images of a folder in order of their names, the first ``frames`` or all, each ``(1, 3, H, W)``.

    Raises:
        DataError: no images, one that cannot be read, or more than fit :data:`MEMORY`.
    """
    files = image_files(folder)[:frames]
    size = read_image(files[0]).nbytes
    if len(files) > 1 and len(files) * size > MEMORY:
        raise DataError(f"{folder}: too long to measure as a whole: give --frames {MEMORY // size} or fewer")
    return [from_uint8(read_image(path)) for path in files]


def read_stylized(path: Path, frames: int | None = None) -> list[Tensor]:
    """Stylised frames of a folder or of a video, the first ``frames`` or all."""
    if not Path(path).is_file() or Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return read_frames(path, frames)
    clip = VideoClip(path, frames)
    return [clip.frame(index) for index in range(len(clip))]


class FrameFolder(FramesOnly):
    """A folder of images as a clip without motion.

    Raises:
        DataError: no such folder, fewer than two images, or images of different size.
    """

    kind = "only frames were found"

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = Path(folder), Path(folder).resolve().name
        self._files = image_files(self.folder)
        if len(self._files) < 2:
            raise DataError(f"{folder}: at least two frames are needed to compare them, found {len(self._files)}")
        height, width = read_image(self._files[0]).shape[:2]
        self._size = (height, width)

    def __len__(self) -> int:
        return len(self._files)

    def frame(self, index: int) -> Tensor:
        image = read_image(self._files[index])
        if image.shape[:2] != self._size:
            raise DataError(
                f"{self._files[index]}: frame is {image.shape[1]}x{image.shape[0]}, the first is {self._size[1]}x{self._size[0]}"
            )
        return from_uint8(image)

    def label(self, index: int) -> str:
        return self._files[index].stem


class VideoClip(FramesOnly):
    """A video file as a clip without motion.

    Args:
        frames: how many to take from the start; all by default.

    Raises:
        DataError: no readable video, fewer than two frames, or more than fit :data:`MEMORY`.
    """

    kind = "it is a video"

    def __init__(self, path: Path, frames: int | None = None) -> None:
        self.name = Path(path).stem
        self._images: list[np.ndarray] = []
        with VideoReader(path) as reader:
            self._size = reader.size
            for frame in reader:
                self._images.append(frame.image)
                if len(self._images) == frames:
                    break
                if len(self._images) * frame.image.nbytes > MEMORY:
                    raise DataError(
                        f"{path}: too long to measure as a whole: give --frames {len(self._images) - 1} or fewer"
                    )
        if len(self._images) < 2:
            raise DataError(f"{path}: at least two frames are needed to compare them, found {len(self._images)}")

    def __len__(self) -> int:
        return len(self._images)

    def frame(self, index: int) -> Tensor:
        return from_uint8(self._images[index])
