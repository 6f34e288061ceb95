"""Files that travel between machines as what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import cache_folder


@dataclass(frozen=True)
class SentFile:
    """A file by its checksum, with what is in it."""

    checksum: str
    suffix: str
    content: bytes

    @classmethod
    def of(cls, path: Path) -> SentFile:
        """A file of this machine."""
        content = path.read_bytes()
        return cls(hashlib.sha256(content).hexdigest(), path.suffix, content)

    def received(self) -> Path:
        """Where it is kept on this machine: written once, in the cache folder."""
        path = cache_folder() / "received" / f"{self.checksum}{self.suffix}"
        if not path.is_file() or path.stat().st_size != len(self.content):
            with atomic_path(path) as temporary:
                temporary.write_bytes(self.content)
        return path


def read_folder(folder: Path | None) -> dict[str, bytes]:
    """Every file in a folder, by its place in it; none if there is no folder."""
    if folder is None or not folder.is_dir():
        return {}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_folder(folder: Path | None, files: Mapping[str, bytes]) -> None:
    """Write files at their places in a folder, each whole or not at all; nothing if there is no folder."""
    for name, content in files.items():
        if folder is not None:
            with atomic_path(folder / name) as path:
                path.write_bytes(content)
