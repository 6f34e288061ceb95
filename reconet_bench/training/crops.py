"""Training samples: three frames of one clip (offsets 0, 1 and k) with the motion from the first to the others.

Sample number ``i`` depends only on the seed and ``i``. So any worker can make it, and a resumed run
sees the same samples as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

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


class Crop(NamedTuple):
    """One training sample: a square part of three frames of one clip, and its motion.

    Attributes:
        frames: ``(3, 3, H, W)`` float32 in [0, 1]: frames 0, 1 and k after the start.
        flows: ``(2, 2, H, W)`` pixels: from frame 0 to each of the other two.
        masks: ``(2, 1, H, W)``, 1 = traceable.
        luminance: ``(3,)``, coefficients that fit the clip.
    """

    frames: Tensor
    flows: Tensor
    masks: Tensor
    luminance: Tensor


class TrainingCrops(Protocol):
    """A data set of training crops that can describe itself.

    Attributes:
        size: height and width of a crop, pixels.
    """

    size: int

    def __getitem__(self, index: int) -> Crop: ...
    def describe(self) -> dict[str, object]:
        """Facts for the model card; the check for leaked test clips reads ``sequences`` and those of ``parts``."""

    def digest(self) -> str:
        """Checksum of the files it reads; empty if :meth:`describe` identifies the data completely."""


#: Standard deviation up to which a frame counts as flat. Instance norms enlarge the gradient of a flat frame without
#: limit: in bf16 it is no number any more, and one such frame ends a training.
FLAT = 0.02
_ATTEMPTS = 100


class RandomScenes(Dataset[Crop]):
    """An endless stream of random rendered scenes.

    Args:
        size: height and width of a sample, pixels.
        textures: folder of photographs; ``None`` uses those of scikit-image.
    """

    def __init__(self, size: int, seed: int, textures: Path | None = None) -> None:
        self.size, self.seed, self.textures = size, seed, Textures(textures)

    def describe(self) -> dict[str, object]:
        """Facts for the model card."""
        folder = self.textures.folder
        photos = f"{len(self.textures.names)} photographs " + (f"in {folder.name}" if folder else "of scikit-image")
        # The built-in clips show the photographs of scikit-image too.
        return {"name": "synthetic", "textures": photos, "sequences": [] if folder else list(RENDERED)}

    def digest(self) -> str:
        """Checksum of the photographs, if they are in a folder of the user's."""
        return files_digest([Path(name) for name in self.textures.names]) if self.textures.folder else ""

    def __getitem__(self, index: int) -> Crop:
        # Some scenes are over-exposed to plain white: another is drawn for them.
        for attempt in range(_ATTEMPTS):
            key = (self.seed, index, attempt) if attempt else (self.seed, index)
            scene = random_scene(np.random.default_rng(key), self.textures, self.size)
            clip = SceneClip("random", scene, (self.size, self.size), LONG_TERM_STEP + 1)
            crop = Crop(*_frames_and_motion(clip, 0), torch.tensor(LUMINANCE_CAMERA))
            if min(crop.frames.std((1, 2, 3)).tolist()) > FLAT:
                return crop
        raise DataError(f"the photographs in {self.textures.folder} are too flat to render scenes from")


#: How frames become square: a random crop at a random scale, or the whole frame, its proportions not kept.
FITS = ("crop", "squash")


class ClipCrops(Dataset[Crop]):
    """Square crops of clips. One epoch takes each frame triplet once, in random order.

    Args:
        clips: those without two frames :data:`LONG_TERM_STEP` apart are left out.
        fit: ``crop`` takes a random part at a random scale, between the crop's size and the clip's own; ``squash``
            resizes the whole frame to the square, as the dissertation does.

    Raises:
        DataError: no clip is long enough.
    """

    def __init__(self, size: int, seed: int, clips: Sequence[Clip], fit: str = "crop") -> None:
        self.size, self.seed, self.fit = size, seed, fit
        self.places = [(clip, start) for clip in clips for start in clip.starts(LONG_TERM_STEP)]
        if not self.places:
            names = ", ".join(f"{clip.name}: {len(clip)} frames" for clip in clips) or "no clips"
            raise DataError(
                f"no clip is long enough to train on ({names}): "
                f"give clips with at least {LONG_TERM_STEP + 1} consecutive frames with flow"
            )
        # Clips from two folders may have the same name.
        clips_used = {id(clip): clip for clip, _ in self.places}.values()
        self.clips = sorted(((clip.name, clip) for clip in clips_used), key=lambda one: _order(one[1]))

    def describe(self) -> dict[str, object]:
        """Facts for the model card; with clips of several sources, a sequence is named ``source:name``."""
        sources = sorted({clip.source for _, clip in self.clips})
        names = [(clip.source.split("-")[0], name) for name, clip in self.clips]
        drawn = any(clip.source == "footage" and clip.luminance == LUMINANCE_ANIMATION for _, clip in self.clips)
        motion = sorted({clip.remark for _, clip in self.clips if clip.remark})
        return {
            "name": sources[0] if len(sources) == 1 else " and ".join(sources),
            "windows": len(self.places),  # the word that files of earlier versions have
            "sequences": list(
                dict.fromkeys(name if len(sources) == 1 else f"{family}:{name}" for family, name in names)
            ),
            **({"motion": ", ".join(motion)} if motion else {}),
            **({"luminance": "animation"} if drawn else {}),
            **({"fit": self.fit} if self.fit != "crop" else {}),
        }

    def digest(self) -> str:
        """Checksum of the clips' own checksums."""
        return _together([clip.digest for _, clip in self.clips])

    def __getitem__(self, index: int) -> Crop:
        epoch, place = divmod(index, len(self.places))
        # The third number keeps the random order of an epoch independent of the random crops.
        order = np.random.default_rng((self.seed, epoch, 2)).permutation(len(self.places))
        clip, start = self.places[int(order[place])]
        whole = _frames_and_motion(clip, start)
        cut = (
            self._squash(*whole)
            if self.fit == "squash"
            else self._crop(*whole, np.random.default_rng((self.seed, index)))
        )
        frames, flows, masks = (part.contiguous() for part in cut)
        _, inside = warp(flows[:, :1], flows)
        return Crop(frames, flows, masks * inside, torch.tensor(clip.luminance))

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


class Mixture(Dataset[Crop]):
    """Several data sets in one stream; each sample comes from one of them, chosen at random by weight.

    Args:
        parts: data and weight by name; all must have one size.
    """

    def __init__(self, seed: int, parts: Mapping[str, tuple[TrainingCrops, float]]) -> None:
        self.seed, self.parts = seed, dict(parts)
        (self.size,) = {data.size for data, _ in parts.values()}
        total = sum(weight for _, weight in parts.values())
        self._bounds = np.cumsum([weight / total for _, weight in parts.values()])

    def describe(self) -> dict[str, object]:
        """Facts for the model card."""
        name = " ".join(f"{name}:{weight:g}" for name, (_, weight) in self.parts.items())
        return {"name": name, "sequences": [], "parts": [data.describe() for data, _ in self.parts.values()]}

    def digest(self) -> str:
        """Checksum of the parts' own checksums."""
        return _together([data.digest() for data, _ in self.parts.values()])

    def __getitem__(self, index: int) -> Crop:
        # The third number keeps this choice independent of the part's own random numbers.
        chance = np.random.default_rng((self.seed, index, 1)).random()
        part = min(int(np.searchsorted(self._bounds, chance, side="right")), len(self.parts) - 1)
        return list(self.parts.values())[part][0][index]


def _together(digests: Sequence[str]) -> str:
    return f"sha256:{hashlib.sha256(repr(digests).encode()).hexdigest()}" if any(digests) else ""


def _frames_and_motion(clip: Clip, start: int) -> tuple[Tensor, Tensor, Tensor]:
    motions: list[Motion] = [clip.motion(start, step) for step in (1, LONG_TERM_STEP)]
    frames = torch.cat([clip.frame(start + offset) for offset in (0, 1, LONG_TERM_STEP)])
    return frames, torch.cat([m.flow for m in motions]), torch.cat([m.mask for m in motions])


def _order(clip: Clip) -> tuple[str, str]:
    """Sort key of a clip; it never changes, so that a resumed run takes the clips in the same order."""
    return f"{clip.name}~{clip.flow}" if clip.flow else clip.name, clip.digest
