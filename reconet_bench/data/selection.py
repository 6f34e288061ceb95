"""Find the clip that a name means: built-in, a Sintel or DAVIS sequence, a video or a folder; and choose its motion."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.size import Size
from reconet_bench.data import davis, synthetic
from reconet_bench.data.clip import Clip, ClipView
from reconet_bench.data.flow.base import ESTIMATORS, EstimatedClip
from reconet_bench.data.footage import FrameFolder, VideoClip
from reconet_bench.data.sintel import PASSES, SintelClip, find_sintel, sequences, sintel_clip

#: The clips that ``compare`` measures by default: the rendered ones.
DEFAULT_VIDEOS = synthetic.RENDERED
SOURCES = ("synthetic", "sintel", "davis")
#: The default estimator for footage without true flow, and the name that turns estimation off.
DEFAULT_FLOW, NO_FLOW = "dis", "none"


@dataclass(frozen=True)
class Selection:
    """How to find and cut clips.

    Attributes:
        data: ``synthetic``, ``sintel``, ``davis``, or a folder in the layout of one of the last two. If empty, a name
            is a built-in clip, or else a sequence of DAVIS or Sintel.
        sintel: folder that contains ``training``; see :func:`~reconet_bench.data.sintel.find_sintel`.
        render_pass: of Sintel.
        size: to resize (or render) to.
        frames: largest number of frames; built-in clips are rendered with this many.
        seed: of the rendered clips' noise.
        flow: flow estimator; empty: true flow if it is known, else :data:`DEFAULT_FLOW`; ``none``: only true flow.
        raft: weights file for ``flow="raft"``.
        davis: folder that contains ``JPEGImages``; see :func:`~reconet_bench.data.davis.find_davis`.
    """

    data: str = ""
    sintel: Path | None = None
    render_pass: str = "clean"
    size: Size | None = None
    frames: int | None = None
    seed: int = 0
    flow: str = ""
    raft: Path | None = None
    davis: Path | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 2:
            raise DataError(f"frames must be at least 2 to compare one with the next, got {self.frames}")

    def absolute(self) -> Selection:
        """The same for a process in another working folder of this machine."""
        sintel, raft, root = (path and path.resolve() for path in (self.sintel, self.raft, self.davis))
        data = self.data if self.data in ("", *SOURCES) else absolute_name(self.data)
        return replace(self, data=data, sintel=sintel, raft=raft, davis=root)

    def clip(self, name: str) -> Clip:
        """The clip of a name or path. Its motion is estimated if ``flow`` says so, or if its true motion is unknown.

        Raises:
            UnknownName, DataError, ModelError: there is no such clip; the message lists what there is.
        """
        if self.data and self.data not in SOURCES:
            return self._in_folder().clip(name)
        if self.flow and self.flow != NO_FLOW:
            ESTIMATORS[self.flow]  # an unknown name is reported before frames are read
        clip = self._known(name)
        return self._estimated(clip) if self.flow or not clip.starts() else clip

    def _estimated(self, clip: Clip) -> Clip:
        return clip if self.flow == NO_FLOW else EstimatedClip(clip, self.flow or DEFAULT_FLOW, self.raft)

    def _in_folder(self) -> Selection:
        """The same, with the data set that the folder ``data`` holds; recognised by its layout."""
        folder = Path(self.data)
        if davis.frames_folder(folder) is not None:
            return replace(self, data="davis", davis=folder)
        if (folder / "training").is_dir():
            return replace(self, data="sintel", sintel=folder)
        if folder.is_dir():
            raise DataError(
                f"{folder} contains neither MPI-Sintel ('training') nor DAVIS ('JPEGImages/480p'): "
                "name its clips with --videos"
            )
        raise UnknownName("data source", self.data, SOURCES)

    def _known(self, name: str) -> Clip:
        """The clip with its true motion, if that is known."""
        if self.render_pass not in PASSES:
            raise UnknownName("pass", self.render_pass, PASSES)
        if name in synthetic.CLIPS and self.data in ("", "synthetic"):
            size = self.size or synthetic.DEFAULT_SIZE
            clip = synthetic.synthetic_clip(name, size, self.frames or synthetic.DEFAULT_LENGTH, self.seed)
        elif "/" in name or Path(name).suffix or Path(name).exists():
            clip = _from_path(Path(name), self.frames)
        elif self.data == "synthetic":
            raise UnknownName("built-in clip", name, synthetic.CLIPS)
        else:
            clip = self._sequence(name)
        if (self.size and clip.size != self.size) or (self.frames and self.frames < len(clip)):
            clip = ClipView(clip, self.size, self.frames)
        return clip

    def _sequence(self, name: str) -> Clip:
        """A sequence of DAVIS or MPI-Sintel."""
        if self.data == "davis":
            return davis.davis_clip(davis.find_davis(self.davis), name)
        if not self.data:
            with contextlib.suppress(DataError):
                root = davis.find_davis(self.davis)
                if name in davis.sequences(root):
                    return davis.davis_clip(root, name)
        try:
            root = find_sintel(self.sintel)
        except DataError as error:
            if difflib.get_close_matches(name, synthetic.CLIPS, 1, 0.7):
                raise UnknownName("video", name, synthetic.CLIPS) from None
            raise DataError(f"'{name}' is not a built-in clip ({', '.join(synthetic.CLIPS)}), and {error}") from None
        return SintelClip(root, name, self.render_pass)

    def _all(self) -> Sequence[str]:
        """The names to use if none are given."""
        if self.data == "davis":
            root = davis.find_davis(self.davis)
            if not (names := davis.sequences(root)):
                raise DataError(f"no sequence of two frames or more in {root}")
            return names
        if self.data == "sintel":
            root = find_sintel(self.sintel)
            if not (names := sequences(root, self.render_pass)):
                raise DataError(f"no sequence with flow in {root / 'training' / self.render_pass}")
            return names
        return DEFAULT_VIDEOS

    def clips(self, names: Sequence[str] = ()) -> list[Clip]:
        """Clips by name; without names the default ones, or every sequence of the data set ``data``.

        The folder of a whole data set means all its sequences.

        If ``flow`` names an estimator and the true flow is known, the clip is returned twice: with each of them.

        Raises:
            UnknownName, DataError: as :meth:`clip`, or two videos have one title.
        """
        return list(self.found(names))

    def found(self, names: Sequence[str] = ()) -> dict[Clip, ClipAddress]:
        """The same clips, and how each is found again.

        Raises:
            UnknownName, DataError: as :meth:`clips`.
        """
        if self.data and self.data not in SOURCES:
            return self._in_folder().found(names)
        names = [part for name in names or self._all() for part in _parts(name)]
        clips: dict[Clip, ClipAddress] = {}
        called: dict[str, str] = {}
        for name in dict.fromkeys(names):
            clip = self.clip(name)
            true = [clip.clip] if isinstance(clip, EstimatedClip) and clip.clip.starts() else []
            for one in (*true, clip):
                if one.title in called:
                    raise DataError(
                        f"two videos are called '{one.title}' ('{called[one.title]}' and '{name}'): "
                        "compare them in two runs"
                    )
                called[one.title] = name
                clips[one] = ClipAddress(self, name, one.title)
        return clips


@dataclass(frozen=True)
class ClipAddress:
    """How a clip is found, also on another machine that has it.

    Attributes:
        name: as it is given to the selection.
        title: of the clip, which tells it from the same one along estimated motion.
    """

    selection: Selection
    name: str
    title: str

    def clip(self) -> Clip:
        """The clip.

        Raises:
            UnknownName, DataError: it is not here.
        """
        return next(clip for clip in self.selection.clips([self.name]) if clip.title == self.title)

    def absolute(self) -> ClipAddress:
        """The same for a process in another working folder of this machine."""
        return replace(self, selection=self.selection.absolute(), name=absolute_name(self.name))


def absolute_name(name: str) -> str:
    """The name of a clip in any working folder: a path that is here is made absolute."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _parts(name: str) -> list[str]:
    """The sequences of a folder that is a whole copy of DAVIS; any other name as it is."""
    folder = davis.frames_folder(Path(name))
    return [str(folder / sequence) for sequence in davis.sequences(Path(name))] if folder else [name]


def _from_path(folder: Path, frames: int | None) -> Clip:
    """A sequence, if the folder is in a copy of Sintel (with its flow) or DAVIS; else a folder of frames or a video."""
    folder = folder.resolve()
    if folder.is_file():
        return VideoClip(folder, frames)
    if not folder.is_dir():
        raise DataError(f"no such file or folder: {folder}")
    if (clip := sintel_clip(folder)) is not None:
        return clip
    return davis.DavisClip(folder) if davis.is_sequence(folder) else FrameFolder(folder)
