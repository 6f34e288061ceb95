"""The cache folder: what is kept there, by kind, and a limit beyond which the least recently used goes first.

Each kind (``flow``, ``frames``, ``onnx`` …) has a folder in :func:`~reconet_bench.core.machine.cache_folder`. There an
entry is all files and folders whose names begin with the same digest; nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.machine import cache_folder

#: Bytes that the cache may hold unless ``$RECONET_BENCH_CACHE_LIMIT`` says otherwise, in GiB.
DEFAULT_LIMIT = 10 * 2**30
#: Frames are read while a training runs, so they stay this long after they were opened, seconds.
_IN_USE = {"frames": 24 * 3600.0}
_DIGEST = re.compile(r"([0-9a-f]{32,64})(\..*)?")


@dataclass(frozen=True)
class Entry:
    """Something kept.

    Attributes:
        size: bytes.
        used: when it was used last, seconds since the epoch.
    """

    kind: str
    paths: tuple[Path, ...]
    size: int
    used: float

    def remove(self) -> None:
        """Delete it; what cannot be deleted stays."""
        for path in self.paths:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def mark_used(path: Path) -> None:
    """Note that an entry is used now: its time of change says so."""
    with contextlib.suppress(OSError):
        os.utime(path)


def cache_limit() -> int:
    """Bytes that the cache may hold.

    Raises:
        DataError: ``$RECONET_BENCH_CACHE_LIMIT`` is no number of GiB.
    """
    text = os.environ.get("RECONET_BENCH_CACHE_LIMIT", "")
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise DataError(f"RECONET_BENCH_CACHE_LIMIT is '{text}': give a number of GiB, such as 10 or 0.5")
    return int(float(text) * 2**30)


def entries() -> list[Entry]:
    """Everything kept, the least recently used first."""
    return sorted(_entries(cache_folder()), key=lambda entry: entry.used)


def trim() -> int:
    """Remove what was not used for longest until the cache is within its limit; how many entries were removed.

    Raises:
        DataError: as :func:`cache_limit`.
    """
    limit, kept, removed = cache_limit(), entries(), 0
    total, now = sum(entry.size for entry in kept), time.time()
    for entry in kept:
        if total <= limit:
            break
        if now - entry.used > _IN_USE.get(entry.kind, 0.0):
            entry.remove()
            total -= entry.size
            removed += 1
    return removed


def _entries(folder: Path) -> Iterator[Entry]:
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
        found: dict[str, list[Path]] = {}
        for path in kind.iterdir():
            if match := _DIGEST.fullmatch(path.name):
                found.setdefault(match[1], []).append(path)
        for paths in found.values():
            with contextlib.suppress(OSError):  # another process removed it
                used = max(path.stat().st_mtime for path in paths)
                yield Entry(kind.name, tuple(paths), sum(map(_size, paths)), used)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
