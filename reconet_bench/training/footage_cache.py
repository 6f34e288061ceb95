"""Footage to train on: its frames at a smaller size in a cache, readable in any order, with estimated motion.

A video can only be read from its beginning, and most videos are larger than training needs. So its
frames are resized once and kept as images; later runs read these.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from reconet_bench.core.cache import mark_used
from reconet_bench.core.errors import DataError
from reconet_bench.core.files import files_digest
from reconet_bench.core.images import IMAGE_SUFFIXES, image_files, read_image, write_image
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.ops import LUMINANCE_CAMERA, from_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.clip import LONG_TERM_STEP, Clip, FramesOnly
from reconet_bench.data.flow.base import ESTIMATORS, EstimatedClip
from reconet_bench.data.sintel import sintel_clip
from reconet_bench.video.media import VIDEO_SUFFIXES, is_image, open_source

#: Shorter side of cached frames divided by the side of the training crops.
MARGIN = 1.5
#: Most frames kept of one video. Of a longer one, short sequences are kept, each long enough for a long-term pair.
MAX_FRAMES = 3000
_RUN = LONG_TERM_STEP + 1


class CachedFootage(FramesOnly):
    """A video or folder of frames as small images in the cache, without motion.

    Args:
        path: video file, or folder of images of one size.
        side: shorter side of the cached frames, pixels; smaller footage keeps its size.
        source, luminance: origin of the footage and its luminance coefficients.
        cache: folder for the frames; by default ``frames`` in :func:`~reconet_bench.core.machine.cache_folder`.

    Raises:
        DataError: the footage cannot be read.
    """

    kind = "it is footage"

    def __init__(
        self,
        path: Path,
        side: int,
        source: str = "footage",
        luminance: tuple[float, float, float] = LUMINANCE_CAMERA,
        cache: Path | None = None,
    ) -> None:
        path = Path(path)
        self.name, self.source, self.luminance = path.stem if path.is_file() else path.resolve().name, source, luminance
        self.digest = files_digest(image_files(path) if path.is_dir() else [path])
        self._files = image_files(_cached_frames(path, side, cache or cache_folder() / "frames"))
        self._numbers = [int(file.stem) for file in self._files]
        self._size = Size(*_image(self._files[0]).shape[:2])

    def __len__(self) -> int:
        return len(self._files)

    def frame(self, index: int) -> Tensor:
        return from_uint8(_image(self._files[index]))

    def label(self, index: int) -> str:
        return self._files[index].stem

    def adjacent(self) -> list[int]:
        """Frames that are followed by the next frame of the footage."""
        return [i for i in range(len(self) - 1) if self._numbers[i + 1] == self._numbers[i] + 1]


@lru_cache(maxsize=16)
def _image(path: Path) -> np.ndarray:
    # Neighbouring pairs share frames. All clips of a process share this cache, so that many clips fit into memory.
    return read_image(path)


def _cached_frames(path: Path, side: int, cache: Path) -> Path:
    """The folder of the small frames of footage, named by their numbers; it is made if it does not exist."""
    folder = cache / _key(path, side)
    if folder.is_dir():
        mark_used(folder)
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache, prefix=".frames-"))
    try:
        for number, image in _kept(path, side):
            write_image(temporary / f"{number:06d}.png", image)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):
            temporary.replace(folder)  # refused if another process was faster: its frames are the same
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _kept(path: Path, side: int) -> Iterator[tuple[int, np.ndarray]]:
    """Number (from 1) and image of each frame to keep, resized."""
    with contextlib.closing(open_source(path)) as source:
        height, width = source.size
        scale = min(1.0, side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        every = max(1, math.ceil(source.length / MAX_FRAMES))
        kept = 0
        for index, frame in enumerate(source):
            if kept == MAX_FRAMES:
                return
            if index // _RUN % every == 0:
                kept += 1
                yield (
                    index + 1,
                    cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame.image,
                )


def _key(path: Path, side: int) -> str:
    """A key that changes with the file (or any file of the folder), the size and the choice of frames."""
    files = image_files(path) if path.is_dir() else [path]
    digest = hashlib.sha256(repr((side, MAX_FRAMES, _RUN)).encode())
    for file in files:
        try:
            facts = file.stat()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from None
        digest.update(repr((str(file.resolve()), facts.st_size, facts.st_mtime_ns)).encode())
    return digest.hexdigest()


def footage_clips(
    paths: Sequence[Path],
    crop: int,
    flow: str = "dis",
    raft: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
    luminance: tuple[float, float, float] = LUMINANCE_CAMERA,
) -> list[Clip]:
    """Clips to train on from videos, folders of frames, and folders that contain any number of either.

    A sequence in MPI-Sintel's layout keeps its true flow and its name, so that the leakage check can find it.

    Args:
        crop: side of the training crops; frames are cached at :data:`MARGIN` times this size.
        flow, raft: the estimator and its weights, see :class:`~reconet_bench.data.flow.base.EstimatedClip`.
        report: called with a line about slow work.
        luminance: coefficients of footage that is not from MPI-Sintel.

    Raises:
        UnknownName, ModelError: no such estimator, or its weights are missing. DataError: no readable footage.
    """
    ESTIMATORS[flow].load(raft)  # an unknown name is reported before footage is read
    clips: list[Clip] = []
    for place in [place for path in paths for place in _places(Path(path))]:
        true = sintel_clip(place)
        if true is not None and true.starts(LONG_TERM_STEP):
            clips.append(true)
            continue
        known = (true.source, true.luminance) if true is not None else ("footage", luminance)
        clip = EstimatedClip(CachedFootage(place, round(MARGIN * crop), *known), flow, raft, remembered=2)
        if not ESTIMATORS[flow].in_workers:
            for number in clip.starts():
                clip.motion(number)  # now, in this process: a loader process cannot
        short = "" if clip.starts(LONG_TERM_STEP) else f": left out, {LONG_TERM_STEP + 1} consecutive ones are needed"
        report(f"footage: {place.name}, {len(clip)} frame{'s' if len(clip) != 1 else ''}{short}")
        clips.append(clip)
    return clips


def _places(path: Path) -> list[Path]:
    """Videos and folders of frames in ``path``, itself included, at any depth."""
    if path.is_file():
        if is_image(path):
            raise DataError(f"{path} is one image: footage is a video or a folder of frames")
        return [path]
    if not path.is_dir():
        raise DataError(f"no such footage: {path}")
    inside = [p for p in sorted(path.rglob("*")) if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    folders = {p.parent for p in inside if p.is_file() and is_image(p)}
    videos = [p for p in inside if p.is_file() and p.suffix.lower() in VIDEO_SUFFIXES]
    # MPI-Sintel keeps masks beside its frames; they are not footage.
    frames = [folder for folder in folders if folder.parent.name not in ("occlusions", "invalid", "flow_viz")]
    if not videos and not frames:
        raise DataError(
            f"no footage in {path}: it has neither videos ({', '.join(VIDEO_SUFFIXES)}) "
            f"nor frames ({', '.join(IMAGE_SUFFIXES)})"
        )
    return sorted([*videos, *frames])
