"""Training samples: three frames of one clip (offsets 0, 1 and k) with the motion from the first to the others.

Sample number ``i`` depends on the seed and ``i`` alone, so any worker can make it, and a resumed
run sees exactly what an unbroken one would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import files_digest
from reconet_bench.core.ops import LUMINANCE_ANIMATION, LUMINANCE_CAMERA, resize_flow, resize_frame, resize_mask, warp
from reconet_bench.data.clip import LONG_TERM_STEP, Clip, Motion
from reconet_bench.data.scene import SceneClip
from reconet_bench.data.synthetic import RENDERED, Textures, random_scene

#: frames ``(3, 3, H, W)``, flows ``(2, 2, H, W)``, masks ``(2, 1, H, W)``, luminance coefficients ``(3,)``.
Window = tuple[Tensor, Tensor, Tensor, Tensor]


class TrainingCrops(Protocol):
    """A data set of windows that says what it is.

    Attributes:
        size: height and width of a window.
    """

    size: int

    def __getitem__(self, index: int) -> Window: ...
    def describe(self) -> dict[str, object]:
        """What a model card says of the data; ``sequences`` (and those of ``parts``) feed the leakage check."""

    def digest(self) -> str:
        """Tells its files from others of the same names; empty where :meth:`describe` says all."""


class RandomScenes(Dataset[Window]):
    """An endless stream of random rendered scenes.

    Args:
        size: height and width of a sample.
        textures: folder of photographs; ``None`` uses those in scikit-image's wheel.
    """

    def __init__(self, size: int, seed: int, textures: Path | None = None) -> None:
        self.size, self.seed, self.textures = size, seed, Textures(textures)

    def describe(self) -> dict[str, object]:
        """What a model card says of the data."""
        folder = self.textures.folder
        photos = f"{len(self.textures.names)} photographs " + (f"in {folder.name}" if folder else "of scikit-image")
        # The built-in clips show those of scikit-image too.
        return {"name": "synthetic", "textures": photos, "sequences": [] if folder else list(RENDERED)}

    def digest(self) -> str:
        """Of the photographs in a folder."""
        return files_digest([Path(name) for name in self.textures.names]) if self.textures.folder else ""

    def __getitem__(self, index: int) -> Window:
        scene = random_scene(np.random.default_rng((self.seed, index)), self.textures, self.size)
        clip = SceneClip("random", scene, (self.size, self.size), LONG_TERM_STEP + 1)
        return (*_window(clip, 0), torch.tensor(LUMINANCE_CAMERA))


#: How frames become square: a random crop of a random scale, or the whole frame without regard to its proportions.
FITS = ("crop", "squash")


class ClipWindows(Dataset[Window]):
    """Square windows of real clips; one epoch, that is as many samples as there are windows, takes each once, in random order.

    Args:
        clips: clips; those without a pair :data:`LONG_TERM_STEP` apart are left out.
        fit: ``crop`` cuts at random, scaled at random between the crop's size and the clip's own; ``squash`` brings the
            whole frame to the square, as the dissertation does.

    Raises:
        DataError: no clip is long enough.
    """

    def __init__(self, size: int, seed: int, clips: Sequence[Clip], fit: str = "crop") -> None:
        self.size, self.seed, self.fit = size, seed, fit
        self.places = [(clip, start) for clip in clips for start in clip.starts(LONG_TERM_STEP)]
        if not self.places:
            names = ", ".join(f"{clip.name}: {len(clip)} frames" for clip in clips) or "no clips"
            raise DataError(
                f"no clip is long enough to train on: {LONG_TERM_STEP + 1} consecutive frames with flow are needed ({names})"
            )
        # Two folders may each hold a clip of one name.
        clips_used = {id(clip): clip for clip, _ in self.places}.values()
        self.clips = sorted(((clip.name, clip) for clip in clips_used), key=lambda one: _order(one[1]))

    def describe(self) -> dict[str, object]:
        """What a model card says of the data; a sequence from another source than most says so: ``family:name``."""
        sources = sorted({clip.source for _, clip in self.clips})
        names = [(clip.source.split("-")[0], name) for name, clip in self.clips]
        drawn = any(clip.source == "footage" and clip.luminance == LUMINANCE_ANIMATION for _, clip in self.clips)
        motion = sorted({clip.remark for _, clip in self.clips if clip.remark})
        return {
            "name": sources[0] if len(sources) == 1 else " and ".join(sources),
            "windows": len(self.places),
            "sequences": list(
                dict.fromkeys(name if len(sources) == 1 else f"{family}:{name}" for family, name in names)
            ),
            **({"motion": ", ".join(motion)} if motion else {}),
            **({"luminance": "animation"} if drawn else {}),
            **({"fit": self.fit} if self.fit != "crop" else {}),
        }

    def digest(self) -> str:
        """Of the clips that have one."""
        return _together([clip.digest for _, clip in self.clips])

    def __getitem__(self, index: int) -> Window:
        epoch, place = divmod(index, len(self.places))
        # A third number, so that an epoch's order is not drawn as a sample's crop is.
        order = np.random.default_rng((self.seed, epoch, 2)).permutation(len(self.places))
        clip, start = self.places[int(order[place])]
        window = _window(clip, start)
        cut = (
            self._squash(*window)
            if self.fit == "squash"
            else self._crop(*window, np.random.default_rng((self.seed, index)))
        )
        frames, flows, masks = (part.contiguous() for part in cut)
        _, inside = warp(flows[:, :1], flows)
        return frames, flows, masks * inside, torch.tensor(clip.luminance)

    def _squash(self, frames: Tensor, flows: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (
            resize_frame(frames, self.size, self.size),
            resize_flow(flows, self.size, self.size),
            resize_mask(masks, self.size, self.size),
        )

    def _crop(
        self, frames: Tensor, flows: Tensor, masks: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        height, width = frames.shape[-2:]
        scale = max(self.size / min(height, width), float(rng.uniform(0.5, 1.0)))
        height, width = max(self.size, round(height * scale)), max(self.size, round(width * scale))
        frames, flows = resize_frame(frames, height, width), resize_flow(flows, height, width)
        masks = resize_mask(masks, height, width)
        top, left = int(rng.integers(height - self.size + 1)), int(rng.integers(width - self.size + 1))
        crop = (..., slice(top, top + self.size), slice(left, left + self.size))
        return frames[crop], flows[crop], masks[crop]


class Mixture(Dataset[Window]):
    """Several data sets in one stream, each sample from one of them at random by weight.

    Args:
        parts: data and weight by name; all of one size.
    """

    def __init__(self, seed: int, parts: Mapping[str, tuple[TrainingCrops, float]]) -> None:
        self.seed, self.parts = seed, dict(parts)
        (self.size,) = {data.size for data, _ in parts.values()}
        total = sum(weight for _, weight in parts.values())
        self._bounds = np.cumsum([weight / total for _, weight in parts.values()])

    def describe(self) -> dict[str, object]:
        """What a model card says of the data."""
        name = " ".join(f"{name}:{weight:g}" for name, (_, weight) in self.parts.items())
        return {"name": name, "sequences": [], "parts": [data.describe() for data, _ in self.parts.values()]}

    def digest(self) -> str:
        """Of the parts that have one."""
        return _together([data.digest() for data, _ in self.parts.values()])

    def __getitem__(self, index: int) -> Window:
        # A third number, so that the choice is not the one that the part itself draws first.
        chance = np.random.default_rng((self.seed, index, 1)).random()
        part = min(int(np.searchsorted(self._bounds, chance, side="right")), len(self.parts) - 1)
        return list(self.parts.values())[part][0][index]


def _together(digests: Sequence[str]) -> str:
    return f"sha256:{hashlib.sha256(repr(digests).encode()).hexdigest()}" if any(digests) else ""


def _window(clip: Clip, start: int) -> tuple[Tensor, Tensor, Tensor]:
    motions: list[Motion] = [clip.motion(start, step) for step in (1, LONG_TERM_STEP)]
    frames = torch.cat([clip.frame(start + offset) for offset in (0, 1, LONG_TERM_STEP)])
    return frames, torch.cat([m.flow for m in motions]), torch.cat([m.mask for m in motions])


def _order(clip: Clip) -> tuple[str, str]:
    """Clips in an order that stays: a resumed training takes them in the order in which it began."""
    return f"{clip.name}~{clip.flow}" if clip.flow else clip.name, clip.digest
