"""Footage without true motion: frames in a folder, or a video file; and stylised frames that belong to a clip."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from reconet_bench.core.errors import DataError
from reconet_bench.core.images import IMAGE_SUFFIXES, image_files, image_size, read_image
from reconet_bench.core.ops import from_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, FramesOnly
from reconet_bench.video.reader import VideoReader

#: Metrics read the frames many times, so they stay in memory: at most so many bytes at 8 bits.
MEMORY = 2**30


def read_frames(folder: Path, frames: int | None = None) -> list[Tensor]:
    """Frames of a folder (see :func:`frame_files`), the first ``frames`` or all, each ``(1, 3, H, W)``.

    Raises:
        DataError: no images, an image that cannot be read, or more images than fit in :data:`MEMORY`.
    """
    return _read(frame_files(folder)[:frames], folder)


def _read(files: Sequence[Path], folder: Path) -> list[Tensor]:
    size = read_image(files[0]).nbytes
    if len(files) > 1 and len(files) * size > MEMORY:
        raise DataError(f"{folder}: too long to measure as a whole: use --frames {MEMORY // size} or fewer")
    return [from_uint8(read_image(path)) for path in files]


def frame_files(folder: Path) -> list[Path]:
    """Image files of a folder that are frames, in order.

    If two or more images have a number in their names, those without one (a mask, a thumbnail) are no frames.

    Raises:
        DataError: no such folder, or no images in it.
    """
    files = image_files(folder)
    numbered = [path for path in files if re.search(r"\d", path.stem)]
    return numbered if len(numbered) > 1 else files


def frame_numbers(names: Iterable[str]) -> list[int]:
    """The number in each name, such as 6 in ``frame_0006``; empty unless the names are one numbered series.

    Names are a series if they differ in one number alone, and all their numbers differ.
    """
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({tuple(part[::2]) for part in parts}) != 1:
        return []
    columns = [tuple(map(int, column)) for column in zip(*(part[1::2] for part in parts), strict=True)]
    columns = [column for column in columns if len(set(column)) > 1 or len(parts) == 1]
    return list(columns[-1]) if columns and len(columns) == 1 and len(set(columns[0])) == len(parts) else []


class StylizedFrames(list[Tensor]):
    """Stylised frames ``(1, 3, H, W)`` with the files that they were read from.

    Attributes:
        files: one for each frame; empty if they are from a video.
    """

    def __init__(self, frames: Iterable[Tensor], files: Sequence[Path] = ()) -> None:
        super().__init__(frames)
        self.files = list(files)

    def check_numbers(self, clip: Clip) -> None:
        """Compare the numbers in the files' names with those of the clip's frames, if both have some.

        The two may count from different numbers.

        Raises:
            DataError: a stylised frame is missing, or there is one more; it is named.
        """
        ours = frame_numbers(path.stem for path in self.files)
        content = frame_numbers(clip.label(index) for index in range(len(clip)))
        if not ours or not content:
            return
        shift = _best_shift(content, ours)
        wanted = {number + shift for number in content}
        example = self.files[0]
        if missing := sorted(wanted - set(ours)):
            names = _listed([_renumbered(example.name, ours[0], number) for number in missing])
            raise DataError(
                f"{clip.name}: {names} missing from the stylised frames in {example.parent} "
                f"({len(clip)} content frames, {len(self.files)} stylised): stylise the whole clip again"
            )
        if extra := [path.name for path, number in zip(self.files, ours, strict=True) if number not in wanted]:
            raise DataError(
                f"{clip.name}: {example.parent} has {_listed(extra, '')} without a content frame "
                f"({len(clip)} content frames, {len(self.files)} stylised): remove what does not belong there"
            )


def _best_shift(content: Sequence[int], ours: Sequence[int]) -> int:
    """What to add to a content frame's number to get its stylised frame's: 0 unless another shift fits more of them."""
    shifts = {0, ours[0] - content[0], ours[-1] - content[-1]}
    return max(shifts, key=lambda shift: (len({n + shift for n in content} & set(ours)), shift == 0, shift))


def _renumbered(name: str, old: int, new: int) -> str:
    """A file name with another number, as wide as the old one."""
    return re.sub(r"\d+", lambda match: f"{new:0{len(match[0])}d}" if int(match[0]) == old else match[0], name)


def _listed(names: Sequence[str], verb: str = " is| are") -> str:
    """``a.png is``, ``a.png and b.png are`` or ``a.png and 4 more are``."""
    shown = (
        names[0] if len(names) == 1 else f"{names[0]} and {names[1] if len(names) == 2 else f'{len(names) - 1} more'}"
    )
    return shown + verb.split("|")[-1 if len(names) > 1 else 0]


def read_stylized(path: Path, frames: int | None = None) -> StylizedFrames:
    """Stylised frames of a folder or of a video, the first ``frames`` or all; raises DataError as the readers do."""
    path = Path(path)
    if not path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES:
        files = frame_files(path)[:frames]
        return StylizedFrames(_read(files, path), files)
    clip = VideoClip(path, frames)
    return StylizedFrames(clip.frame(index) for index in range(len(clip)))


class FrameFolder(FramesOnly):
    """A folder of frames (see :func:`frame_files`) as a clip without motion.

    Raises:
        DataError: no such folder, fewer than two images, or images of different size.
    """

    kind = "only frames were found"

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = Path(folder), Path(folder).resolve().name
        self._files = frame_files(self.folder)
        if len(self._files) < 2:
            raise DataError(f"{folder}: at least two frames are needed to compare them, found {len(self._files)}")
        self._size = Size(*read_image(self._files[0]).shape[:2])

    def __len__(self) -> int:
        return len(self._files)

    def frame(self, index: int) -> Tensor:
        image = read_image(self._files[index])
        self._check_size(index, Size(*image.shape[:2]))
        return from_uint8(image)

    def check(self, indices: Sequence[int]) -> None:
        for index in indices:
            self._check_size(index, image_size(self._files[index]))

    def _check_size(self, index: int, size: Size) -> None:
        if size != self._size:
            raise DataError(f"{self._files[index]}: frame is {size}, the first is {self._size}: resize it")

    def label(self, index: int) -> str:
        return self._files[index].stem


class VideoClip(FramesOnly):
    """A video file as a clip without motion.

    Args:
        frames: how many to take from the start; all by default.

    Raises:
        DataError: no readable video, fewer than two frames, or more frames than fit in :data:`MEMORY`.
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
