"""The pictures of a run folder, found by being there, and how they enter a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconet_bench.core.record_reading import old_title

#: Bytes of pictures that a page takes, before base64 makes them a third longer: the page stays below 15 MB.
BUDGET = 10_500_000

#: Frame number → its file.
Lane = dict[int, Path]


@dataclass
class ClipPictures:
    """Pictures of one video.

    Attributes:
        models, errors: by model.
        long: by model, ``""`` is the content: a detail at t−5, while hidden, and at t.
    """

    video: str
    content: Lane
    models: dict[str, Lane] = field(default_factory=dict)
    errors: dict[str, Lane] = field(default_factory=dict)
    long: dict[str, Lane] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """Frame numbers of which there is any picture."""
        return sorted(set().union(self.content, *self.models.values()))

    @property
    def bytes(self) -> int:
        """Size of what the player shows."""
        return sum(
            path.stat().st_size
            for lane in (self.content, *self.models.values(), *self.errors.values())
            for path in lane.values()
        )


def find_clips(folder: Path, videos: Sequence[str], models: Sequence[str]) -> tuple[list[ClipPictures], list[str]]:
    """Pictures of a run's videos below ``folder``, and a line for each that should be there and is not."""
    clips, problems = [], []
    for video in videos:
        clip = ClipPictures(video, _lane(folder, "content", video))
        for model in models:
            for kind, lanes in (("stylised", clip.models), ("error", clip.errors), ("long", clip.long)):
                if lane := _lane(folder, kind, model, video):
                    lanes[model] = lane
        if lane := _lane(folder, "long-content", video):
            clip.long = {"": lane, **clip.long}
        if not clip.models:
            continue
        clips.append(clip)
        for name, lane in {"the content": clip.content, **clip.models}.items():
            if missing := len(clip.numbers) - len(lane):
                problems.append(f"{missing} of {len(clip.numbers)} pictures of {name} on {video} are missing")
    return clips, problems


def _lane(folder: Path, *names: str) -> Lane:
    """Numbered pictures of a folder, the last name being the video's; one that is no plain file name (records may say
    anything) has none."""
    if any(Path(name).name != name for name in names):
        return {}
    place = folder.joinpath(*names)
    if not place.is_dir():
        place = place.with_name(old_title(names[-1]))
    if not place.is_dir():
        return {}
    return {
        int(path.stem): path for path in sorted(place.glob("*.webp")) if path.stem.isdigit() and path.stat().st_size
    }


def within_budget(clips: Sequence[ClipPictures], budget: int = BUDGET) -> tuple[list[ClipPictures], list[str]]:
    """The clips that a page can hold, in order, and a line about each that it cannot."""
    taken, problems = [], []
    for clip in clips:
        if clip.bytes <= budget:
            budget -= clip.bytes
            taken.append(clip)
        else:
            problems.append(
                f"{clip.video} is not in the player: its pictures ({clip.bytes / 1e6:.1f} MB) "
                "would make the page too large"
            )
    return taken, problems


def data_uri(path: Path) -> str:
    """A picture as an address that needs no file."""
    return f"data:image/webp;base64,{encoded(path)}"


def encoded(path: Path) -> str:
    """Base64 of a file."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def player_data(clips: Sequence[ClipPictures], labels: dict[str, str]) -> str:
    """JSON for the player, safe inside a ``<script>`` element: nothing in it can end the element."""
    found: list[dict[str, Any]] = []
    for clip in clips:
        lanes = [{"name": "content", "frames": _frames(clip.content, clip.numbers), "errors": []}]
        for model, lane in clip.models.items():
            errors = _frames(clip.errors.get(model, {}), clip.numbers)
            lanes.append({"name": labels.get(model, model), "frames": _frames(lane, clip.numbers), "errors": errors})
        found.append({"video": clip.video, "numbers": clip.numbers, "lanes": lanes})
    return json.dumps(found).replace("<", "\\u003c").replace("&", "\\u0026")


def _frames(lane: Lane, numbers: Sequence[int]) -> list[str]:
    """Base64 of each frame in order; an empty text where one is missing."""
    return [encoded(lane[number]) if number in lane else "" for number in numbers]
