"""DAVIS in its own layout: camera footage by sequence, ``JPEGImages/480p/SEQ/00000.jpg``, without true flow.

A copy may be incomplete: sequences may be missing, start at any frame or have gaps.

Reference: Pont-Tuset et al., *The 2017 DAVIS Challenge on Video Object Segmentation*, 2017.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.data.footage import FrameFolder

ENVIRONMENT_VARIABLE = "RECONET_BENCH_DAVIS"
#: Folders of frames by resolution; the first one that exists is read.
RESOLUTIONS = ("480p", "1080p", "Full-Resolution")
_FRAME = re.compile(r"(\d+)\.jpg", re.IGNORECASE)


def frames_folder(root: Path) -> Path | None:
    """The folder of sequences in a folder that contains ``JPEGImages``; ``None`` if there is none."""
    return next((folder for name in RESOLUTIONS if (folder := Path(root) / "JPEGImages" / name).is_dir()), None)


def find_davis(folder: Path | None = None) -> Path:
    """The folder that contains ``JPEGImages``: ``folder``, else ``$RECONET_BENCH_DAVIS``, else ``./data/DAVIS*``.

    Raises:
        DataError: none of these is a DAVIS folder; the message lists where it looked.
    """
    named = folder or os.environ.get(ENVIRONMENT_VARIABLE)
    places = [Path(named)] if named else sorted(Path("data").glob("DAVIS*")) or [Path("data") / "DAVIS*"]
    for place in places:
        if frames_folder(place) is not None:
            return place
    looked = ", ".join(str(place) for place in places)
    raise DataError(
        f"DAVIS not found (looked for 'JPEGImages/480p' in {looked}): get it with reconet-bench data fetch davis"
    )


def sequences(root: Path) -> list[str]:
    """Names of the sequences with at least two frames."""
    folder = frames_folder(root)
    names = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder else []
    return [entry.name for entry in names if sum(1 for path in entry.iterdir() if _FRAME.fullmatch(path.name)) > 1]


def is_sequence(folder: Path) -> bool:
    """Whether a folder is a sequence of DAVIS: ``…/JPEGImages/RESOLUTION/SEQ``."""
    return folder.parent.parent.name == "JPEGImages" and folder.parent.name in RESOLUTIONS and folder.is_dir()


class DavisClip(FrameFolder):
    """One sequence; frames on two sides of a gap are never compared.

    Args:
        folder: ``…/JPEGImages/480p/SEQ``.

    Raises:
        UnknownName: no such sequence; the message lists those that exist.
        DataError: fewer than two frames, or frames of different size.
    """

    source = "davis"

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UnknownName(f"DAVIS sequence in {folder.parent}", folder.name, sequences(folder.parents[2]))
        super().__init__(folder)
        self._numbers = [int(match[1]) if (match := _FRAME.fullmatch(path.name)) else -1 for path in self._files]

    def adjacent(self) -> list[int]:
        return [i for i in super().adjacent() if self._numbers[i + 1] == self._numbers[i] + 1]


def davis_clip(root: Path, name: str) -> DavisClip:
    """A sequence by name; raises as :class:`DavisClip`."""
    return DavisClip((frames_folder(root) or Path(root) / "JPEGImages" / RESOLUTIONS[0]) / name)
