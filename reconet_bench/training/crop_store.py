"""Training crops made ahead, in files that any number of trainings read at the same time.

Rendering a crop takes longer than a training step on a GPU. Trainings that run side by side with the same data share
one store, so that each crop is made once. Each epoch takes the crops in another order, and mirrors others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import write_text
from reconet_bench.core.machine import usable_cpus
from reconet_bench.training.crops import Crop, TrainingCrops

FACTS_FILE = "crops.json"
#: Crops that one task of a worker makes.
_CHUNK = 16


@dataclass(frozen=True)
class _Part:
    """One array of the store: its file, the shape of one crop's part, and the type on disk."""

    file: str
    shape: tuple[int, ...]
    dtype: type[np.generic]

    def open(self, folder: Path, count: int, mode: str) -> np.ndarray:
        return np.lib.format.open_memmap(folder / self.file, mode, self.dtype, (count, *self.shape))


def _parts(size: int) -> tuple[_Part, ...]:
    return (
        _Part("frames.npy", (3, 3, size, size), np.uint8),
        _Part("flows.npy", (2, 2, size, size), np.float16),
        _Part("masks.npy", (2, 1, size, size), np.float16),
        _Part("luminance.npy", (3,), np.float32),
    )


def store_crops(
    data: TrainingCrops,
    folder: Path,
    count: int,
    workers: int | None = None,
    report: Callable[[int, int], None] = lambda done, count: None,
) -> Path:
    """Write the first ``count`` crops of ``data`` into ``folder``; a store that is complete is kept.

    Args:
        workers: processes that make crops; by default one for each CPU core.
        report: called with the number of crops made so far, and with ``count``.

    Returns:
        ``folder``.

    Raises:
        DataError: ``folder`` holds a store of other data, or another number of crops.
    """
    facts = {"count": count, "size": data.size, "data": data.describe(), "digest": data.digest()}
    path = folder / FACTS_FILE
    if path.is_file():
        if json.loads(path.read_text()) != json.loads(json.dumps(facts)):
            raise DataError(f"{folder} holds crops of other data: delete it, or choose another folder")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for part in _parts(data.size):
        part.open(folder, count, "w+")
    starts = range(0, count, _CHUNK)
    # Clips hold caches that cannot be sent to a new process, so the processes are copies of this one.
    with ProcessPoolExecutor(
        workers or usable_cpus(), get_context("fork"), initializer=_begin, initargs=(data, folder, count)
    ) as pool:
        for done in pool.map(_write_chunk, starts):
            report(done, count)
    write_text(path, json.dumps(facts))
    return folder


_job: tuple[TrainingCrops, Path, int]


def _begin(data: TrainingCrops, folder: Path, count: int) -> None:
    global _job
    _job = data, folder, count
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _write_chunk(start: int) -> int:
    data, folder, count = _job
    arrays = [part.open(folder, count, "r+") for part in _parts(data.size)]
    end = min(start + _CHUNK, count)
    for index in range(start, end):
        frames, flows, masks, luminance = data[index]
        values = (frames.mul(255).round(), flows, masks, luminance)
        for array, value in zip(arrays, values, strict=True):
            array[index] = value.numpy()
    return end


class StoredCrops(Dataset[Crop]):
    """The crops of a store, in random order, half of them mirrored left to right.

    Args:
        folder: written by :func:`store_crops`.

    Raises:
        DataError: there is no complete store.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = Path(folder), seed
        try:
            facts = json.loads((self.folder / FACTS_FILE).read_text())
            self.size, self.count, self._facts, self._digest = (
                facts[name] for name in ("size", "count", "data", "digest")
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{folder} holds no complete store of training crops (no readable {FACTS_FILE})") from None
        for part in _parts(self.size):
            least = self.count * int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize
            path = self.folder / part.file
            if not path.is_file() or path.stat().st_size < least:
                raise DataError(f"{path} is missing or truncated: delete {folder} and make it again")

    def describe(self) -> dict[str, object]:
        """Facts for the model card: those of the data, and the number of crops."""
        return {**self._facts, "stored_crops": self.count}

    def digest(self) -> str:
        """Checksum of the files that the crops were made of."""
        return str(self._digest)

    @cached_property
    def _arrays(self) -> list[np.ndarray]:
        return [part.open(self.folder, self.count, "r") for part in _parts(self.size)]

    def __getitem__(self, index: int) -> Crop:
        epoch, place = divmod(index, self.count)
        order = _order(self.seed, epoch, self.count)
        frames, flows, masks, luminance = (torch.from_numpy(np.array(array[order[place]])) for array in self._arrays)
        crop = Crop(frames.float() / 255, flows.float(), masks.float(), luminance)
        return mirrored(crop) if np.random.default_rng((self.seed, index, 3)).random() < 0.5 else crop


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    key = (seed, epoch, count)
    if key not in _orders:
        _orders.clear()
        _orders[key] = np.random.default_rng((seed, epoch, 4)).permutation(count)
    return _orders[key]


_orders: dict[tuple[int, int, int], np.ndarray] = {}


def mirrored(crop: Crop) -> Crop:
    """The crop mirrored left to right; its horizontal flow points the other way then."""
    signs = torch.tensor((-1.0, 1.0)).view(1, 2, 1, 1)
    return Crop(crop.frames.flip(-1), crop.flows.flip(-1) * signs, crop.masks.flip(-1), crop.luminance)
