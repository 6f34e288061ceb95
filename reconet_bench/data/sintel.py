"""MPI-Sintel in its own layout: frames, true forward flow, occluded and invalid pixels.

``training/{clean,final,albedo}/SEQ/frame_0001.png``, ``flow/SEQ/frame_0001.flo``,
``occlusions/SEQ/frame_0001.png`` and ``invalid/SEQ/frame_0001.png``. Flow and occlusions belong to
the earlier frame of a pair; the last frame of a sequence has neither. A copy may be incomplete:
sequences may start at any frame, have gaps, or have only two frames.

Reference: Butler et al., *A Naturalistic Open Source Movie for Optical Flow Evaluation*, ECCV 2012.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.flow_files import UNKNOWN_FLOW, flo_size, read_flo, write_flo
from reconet_bench.core.images import image_size, read_image, read_mask, write_image
from reconet_bench.core.ops import LUMINANCE_ANIMATION, from_uint8, pixel_grid, to_uint8, warp
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, Motion, composed_motion

PASSES = ("clean", "final", "albedo")
ENVIRONMENT_VARIABLE = "RECONET_BENCH_SINTEL"
#: Sequences that the split ``train`` leaves out of training: those that papers report on.
HELD_OUT = ("alley_2", "ambush_5", "bandage_2", "market_6", "temple_2")
#: The sequences that each split leaves out of training; ``dissertation`` is the split of the dissertation.
SPLITS: dict[str, tuple[str, ...]] = {"train": HELD_OUT, "dissertation": ("bandage_1",), "all": ()}
HOW_TO_GET = (
    "get it from http://sintel.is.tue.mpg.de and point --sintel or $RECONET_BENCH_SINTEL at the folder that "
    "holds 'training'; without it, the built-in clips work: reconet-bench compare"
)
_FRAME = re.compile(r"frame_(\d+)\.png")


def find_sintel(folder: Path | None = None) -> Path:
    """The folder that contains ``training``: ``folder``, else the environment variable's, else ``./data/MPI-Sintel*``.

    Raises:
        DataError: none of these is a Sintel folder; the message lists where it looked.
    """
    if folder is not None:
        places = [Path(folder)]
    elif os.environ.get(ENVIRONMENT_VARIABLE):
        places = [Path(os.environ[ENVIRONMENT_VARIABLE])]
    else:
        places = sorted(Path("data").glob("MPI-Sintel*")) or [Path("data") / "MPI-Sintel*"]
    for place in places:
        for root in (place, place.parent):
            if (root / "training").is_dir() and (root == place or place.name == "training"):
                return root
    looked = ", ".join(str(place) for place in places)
    raise DataError(f"MPI-Sintel not found (looked for 'training' in {looked}): {HOW_TO_GET}")


def sequences(root: Path, render_pass: str = "clean") -> list[str]:
    """Names of the sequences that have at least one pair of frames with flow in this pass."""
    if render_pass not in PASSES:
        raise UnknownName("pass", render_pass, PASSES)
    folder = root / "training" / render_pass
    names = [entry.name for entry in sorted(folder.iterdir()) if entry.is_dir()] if folder.is_dir() else []
    return [name for name in names if _has_pair(root, name, render_pass)]


def _has_pair(root: Path, name: str, render_pass: str) -> bool:
    try:
        return bool(SintelClip(root, name, render_pass).starts())
    except DataError:  # fewer than two frames
        return False


def training_sequences(root: Path, render_pass: str = "clean", split: str = "train") -> list[str]:
    """Sequences to train on under a named split, see :data:`SPLITS`."""
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    return [name for name in sequences(root, render_pass) if name not in SPLITS[split]]


class SintelClip(Clip):
    """One sequence of one pass.

    Args:
        root: folder that holds ``training``.
        name: sequence, e.g. ``alley_2``.
        render_pass: ``clean``, ``final`` or ``albedo``.

    Raises:
        UnknownName: no such sequence here; lists those that are.
        DataError: fewer than two frames, or frames of different size.
    """

    luminance = LUMINANCE_ANIMATION

    def __init__(self, root: Path, name: str, render_pass: str = "clean") -> None:
        if render_pass not in PASSES:
            raise UnknownName("pass", render_pass, PASSES)
        self.name, self.source = name, f"sintel-{render_pass}"
        self._training = Path(root) / "training"
        folder = self._training / render_pass / name
        if not folder.is_dir():
            raise UnknownName(f"Sintel sequence in {self._training / render_pass}", name, sequences(root, render_pass))
        numbers = [(int(match[1]), path) for path in folder.iterdir() if (match := _FRAME.fullmatch(path.name))]
        self._frames = sorted(numbers)
        if len(self._frames) < 2:
            raise DataError(f"{folder}: at least two frames are needed to compare them, found {len(self._frames)}")
        self._step = lru_cache(maxsize=8)(self._read_step)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> Size:
        if not hasattr(self, "_size"):
            self._size = Size(*read_image(self._frames[0][1]).shape[:2])
        return self._size

    def frame(self, index: int) -> Tensor:
        path = self._frames[index][1]
        image = read_image(path)
        self._check_frame(path, Size(*image.shape[:2]))
        return from_uint8(image)

    def _check_frame(self, path: Path, size: Size) -> None:
        if size != self.size:
            raise DataError(f"{path}: frame is {size}, the sequence is {self.size}")

    def check(self, indices: Sequence[int]) -> None:
        for index in indices:
            self._check_frame(self._frames[index][1], image_size(self._frames[index][1]))
        for index in set(self.starts()) & set(indices) & {index - 1 for index in indices}:
            path = self._flow_path(index)
            self._check_flow(path, flo_size(path))
            for mask in self._mask_paths(path):
                self._check_mask(mask, image_size(mask))

    def _check_flow(self, path: Path, size: Size) -> None:
        if size != self.size:
            raise DataError(f"{path}: flow is {size}, the frames are {self.size}")

    def _mask_paths(self, flow: Path) -> Iterator[Path]:
        """Both masks of a flow file; raises DataError if one is missing."""
        for kind in ("occlusions", "invalid"):
            path = self._training / kind / self.name / f"{flow.stem}.png"
            if not path.is_file():
                raise DataError(f"missing mask {path}: flow alone does not tell which pixels can be traced")
            yield path

    def _check_mask(self, path: Path, size: Size) -> None:
        if size != self.size:
            raise DataError(f"{path}: mask is {size}, the frames are {self.size}")

    def label(self, index: int) -> str:
        return f"{self._frames[index][0]:04d}"

    def starts(self, step: int = 1) -> list[int]:
        """Where ``step`` consecutive frames and all the flow between them are here."""
        numbers = [number for number, _ in self._frames]
        whole = [i for i in range(len(numbers) - step) if numbers[i + step] == numbers[i] + step]
        return [i for i in whole if all(self._flow_path(i + offset).is_file() for offset in range(step))]

    def adjacent(self) -> list[int]:
        numbers = [number for number, _ in self._frames]
        return [i for i in range(len(numbers) - 1) if numbers[i + 1] == numbers[i] + 1]

    def motion(self, index: int, step: int = 1) -> Motion:
        """True motion; over several frames the one-step flows composed, the mask their product.

        Raises:
            DataError: the frames are not ``step`` apart (a gap, or the end), or a file is missing or broken.
        """
        numbers = [number for number, _ in self._frames[index : index + step + 1]]
        if numbers[-1:] != [self._frames[index][0] + step]:
            raise DataError(
                f"{self.name}: no frame {self._frames[index][0] + step:04d}, "
                f"so no motion to it from {self.label(index)}"
            )
        return self._step(index) if step == 1 else composed_motion(self, index, step)

    def _flow_path(self, index: int) -> Path:
        return self._training / "flow" / self.name / f"frame_{self._frames[index][0]:04d}.flo"

    def _read_step(self, index: int) -> Motion:
        path = self._flow_path(index)
        flow = torch.from_numpy(read_flo(path))[None]
        self._check_flow(path, Size(*flow.shape[-2:]))
        unknown = (~flow.isfinite() | (flow.abs() >= UNKNOWN_FLOW)).any(1, keepdim=True)
        flow = torch.where(unknown, torch.zeros_like(flow), flow)
        traceable = (~unknown).float()
        for mask_path in self._mask_paths(path):
            mask = read_mask(mask_path)
            self._check_mask(mask_path, Size(*mask.shape))
            traceable = traceable * (1 - torch.from_numpy(mask))[None, None]
        _, inside = warp(pixel_grid(*self.size)[:, :1], flow)
        return Motion(flow, traceable * inside)


def sintel_clip(folder: Path) -> SintelClip | None:
    """The sequence of a folder ``…/training/PASS/SEQ``; ``None`` for any other folder."""
    folder = Path(folder).resolve()
    if folder.parent.name in PASSES and folder.parent.parent.name == "training" and folder.is_dir():
        return SintelClip(folder.parents[2], folder.name, folder.parent.name)
    return None


def write_sintel(clip: Clip, root: Path) -> Path:
    """Write a clip in Sintel's layout (pass ``clean``), so that any tool can read its frames, flow and masks.

    Pixels that cannot be traced are marked in ``occlusions``; ``invalid`` is empty.

    Returns:
        The folder of its frames.

    Raises:
        DataError: the folder has frames that this clip would not overwrite, so the two would mix.
    """
    training = Path(root) / "training"
    frames = training / "clean" / clip.name
    names = {f"frame_{number + 1:04d}.png" for number in range(len(clip))}
    if left := sorted(path.name for path in frames.glob("*.png") if path.name not in names):
        raise DataError(
            f"{frames} contains another clip ({left[-1]}; this one has {len(clip)} frames): "
            "delete it, or choose another --output"
        )
    for index in range(len(clip)):
        name = f"frame_{index + 1:04d}"
        write_image(frames / f"{name}.png", to_uint8(clip.frame(index))[0])
        if index not in clip.starts():
            continue
        motion = clip.motion(index)
        write_flo(training / "flow" / clip.name / f"{name}.flo", motion.flow[0].numpy())
        hidden = 255 * (motion.mask[0, 0] < 1).numpy().astype(np.uint8)
        for kind, mask in (("occlusions", hidden), ("invalid", np.zeros_like(hidden))):
            write_image(training / kind / clip.name / f"{name}.png", np.repeat(mask[..., None], 3, axis=2))
    return frames
