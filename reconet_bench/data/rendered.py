"""Results that another tool rendered: which frames belong to which clip."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.images import IMAGE_SUFFIXES, image_size
from reconet_bench.core.ops import resize_frame
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, ClipView
from reconet_bench.data.footage import StylizedFrames, frame_files, read_stylized
from reconet_bench.data.structure import clip_shown
from reconet_bench.video.media import VIDEO_SUFFIXES
from reconet_bench.video.reader import VideoReader

#: How others name the results of a clip: ``starry_night_stylized_alley_2``, ``alley_2``.
_STYLED = re.compile(r"^(?:.*_)?styli[sz]ed_", re.IGNORECASE)

#: Frames that are looked at to see which clip a result shows.
_LOOKED_AT = 3


@dataclass(frozen=True)
class RenderedResult:
    """What another tool rendered with one method.

    Attributes:
        name: of the method, in tables.
        path: where it is.
        places: a folder of frames or a video for each clip, by the clip's name.
        offset: how many frames the stylised frames are behind the content, negative if they are ahead.
        resize: whether frames of another size than the clip's are resized to it.
        most: how many frames of each clip are measured, where that is limited: what comes after them is not looked at.
        recognised: whether its clip was told by what the frames show, and not by a name.
    """

    name: str
    path: Path
    places: Mapping[str, Path] = field(default_factory=dict)
    offset: int = 0
    resize: bool = False
    most: int | None = None
    recognised: bool = False

    def missing(self, clips: Sequence[Clip]) -> list[str]:
        """Names of clips without a result, each once."""
        return list(dict.fromkeys(clip.name for clip in clips if clip.name not in self.places))

    def check(self, clip: Clip) -> None:
        """Look at count and size of the frames of a clip: those of files by their headers, a video is played through.

        Raises:
            DataError: the count is another, a frame is missing, or the size is another and nothing is resized.
        """
        place = self.places[clip.name]
        if is_video(place):
            with VideoReader(place) as reader:
                size, count = reader.size, sum(1 for _ in itertools.islice(reader, self.most))
        else:
            files = frame_files(place)[: self.most]
            sizes = [image_size(file) for file in files]
            size, count = sizes[0], len(files)
            for file, other in zip(files, sizes, strict=True):
                if other != size:
                    raise DataError(f"{file}: frame is {other}, the first is {size}: resize it")
            StylizedFrames([], files).check_numbers(clip)
        if count != len(clip):
            raise DataError(_another_count(place, count, clip))
        self._check_size(clip, size)

    def _check_size(self, clip: Clip, size: Size) -> None:
        if size != clip.size and not self.resize:
            raise DataError(
                f"{self.places[clip.name]}: frames are {size}, and {clip.name} is {clip.size}: give --resize-results "
                f"to resize them, or --size {size} to measure at their size"
            )

    def frames(self, clip: Clip) -> tuple[Clip, StylizedFrames, int]:
        """The frames of a clip, the part of the clip that they belong to, and the clip's frame that it begins with.

        Raises:
            DataError: they cannot be read, or do not belong to the clip.
        """
        place = self.places[clip.name]
        stylized = read_stylized(place, self.most)
        stylized.check_numbers(clip)
        if len(stylized) != len(clip):
            raise DataError(_another_count(place, len(stylized), clip))
        self._check_size(clip, Size(*stylized[0].shape[-2:]))
        resized = StylizedFrames((resize_frame(frame, *clip.size) for frame in stylized), stylized.files)
        if not self.offset:
            return clip, resized, 0
        kept = resized[max(self.offset, 0) : len(clip) + min(self.offset, 0)]
        first = max(-self.offset, 0)
        return ClipView(clip, frames=len(kept) or 1, first=first), StylizedFrames(kept), first

    def resized(self, clip: Clip) -> bool:
        """Whether the frames of a clip have to be resized."""
        place = self.places[clip.name]
        if is_video(place):
            with VideoReader(place) as reader:
                return reader.size != clip.size
        return image_size(frame_files(place)[0]) != clip.size


def is_video(path: Path) -> bool:
    """Whether a path is a video file, by its suffix."""
    return path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES


def find_result(name: str, path: Path, clips: Sequence[Clip]) -> RenderedResult:
    """The frames of one method: a video, a folder of frames, or a folder with one of either for each clip.

    Names are compared without case, and without ``STYLE_stylized_`` before them. A single video or folder of frames
    belongs to the clip of its name, to the only clip there is, or else to the clip that its frames show.

    Raises:
        DataError: nothing is there, no frames are in it, or it is not clear which clip they belong to.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"results of {name}: not found: {path}")
    names = list(dict.fromkeys(clip.name for clip in clips))
    if single(path):
        known = {_plain(one): one for one in names}
        if found := known.get(_plain(path.stem if path.is_file() else path.name)):
            return RenderedResult(name, path, {found: path})
        if len(names) == 1:
            return RenderedResult(name, path, {names[0]: path})
        shown = clip_shown(read_stylized(path, _LOOKED_AT), clips)
        if shown is None:
            raise DataError(
                f"results of {name}: {path} holds one clip, and its frames fit none of {', '.join(names)} clearly: "
                "name it after its clip, give a folder with one for each, or compare with one by --videos"
            )
        return RenderedResult(name, path, {shown.name: path}, recognised=True)
    places: dict[str, Path] = {}
    for one in sorted(path.iterdir()):
        if one.name.startswith(".") or not single(one):
            continue
        called = _plain(one.stem if one.is_file() else one.name)
        for clip in names:
            if called == _plain(clip):
                if clip in places:
                    raise DataError(f"results of {name}: two are called {clip}: {places[clip]} and {one}: remove one")
                places[clip] = one
    if not places:
        raise DataError(
            f"results of {name}: {path} has none of {', '.join(names)}: put a folder of frames or a video of that name "
            "there for each clip"
        )
    return RenderedResult(name, path, places)


def find_results(root: Path, clips: Sequence[Clip]) -> list[RenderedResult]:
    """The results below a folder ``METHOD/VIDEO`` or ``METHOD/STYLE_stylized_VIDEO``, by method.

    Raises:
        DataError: no such folder, or no method with a result of any of the clips.
    """
    if not Path(root).is_dir():
        raise DataError(f"--results-root: no such folder: {root}")
    methods = [one for one in sorted(Path(root).iterdir()) if one.is_dir() and not one.name.startswith(".")]
    found: list[RenderedResult] = []
    reasons: list[str] = []
    for method in methods:
        try:
            found.append(find_result(method.name, method, clips))
        except DataError as reason:
            reasons.append(str(reason))
    if not found:
        raise DataError(
            f"--results-root {root}: no results found: {reasons[0]}"
            if reasons
            else f"--results-root {root}: no folders in it: the layout is METHOD/VIDEO"
        )
    return found


def single(path: Path) -> bool:
    """Whether a path holds one clip: a video, or a folder of images."""
    if path.is_dir():
        return any(one.suffix.lower() in IMAGE_SUFFIXES and not one.name.startswith(".") for one in path.iterdir())
    return is_video(path)


def _another_count(place: Path, count: int, clip: Clip) -> str:
    fewest = min(count, len(clip))
    return (
        f"{place} has {count} frames, and {clip.name} has {len(clip)}: render the whole clip, or give "
        f"--frames {fewest} to measure the first {fewest} of each"
    )


def _plain(name: str) -> str:
    return _STYLED.sub("", name).casefold()
