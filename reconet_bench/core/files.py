"""Files of any kind: written whole or not at all, sorted as people number them, told apart by a digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconet_bench.core.errors import DataError

#: Bytes at either end of a file that a digest of many looks at.
_END = 2**16
#: The file in a folder that a process holds while it writes there.
LOCK = ".lock"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it on success and removed on any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """``folder``, made where it is missing, held against other processes; one that dies lets go of it.

    Folders that were made for it and are still empty at the end are gone afterwards.

    Raises:
        DataError: another process holds it.
    """
    from filelock import FileLock, Timeout

    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"another reconet-bench is writing into {folder}: wait until it has ended, or choose another --output"
        ) from None
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # an open file cannot be removed on every system
            Path(lock.lock_file).unlink()
        lock.release()
        with contextlib.suppress(OSError):  # not empty: something was written
            for place in made:
                place.rmdir()


def replace_folder(place: Path, new: Path) -> None:
    """Put the folder ``new`` in the place of ``place``; if there is no ``new``, nothing is there afterwards."""
    shutil.rmtree(place, ignore_errors=True)
    if new.is_dir():
        shutil.move(new, place)


def natural_key(path: Path) -> tuple[object, ...]:
    """Sorts file names as people number them: ``frame_2`` before ``frame_10``, with or without leading zeros."""
    parts = tuple(
        tuple(int(piece) if n % 2 else piece for n, piece in enumerate(re.split(r"(\d+)", part))) for part in path.parts
    )
    return (*parts, path.name)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def files_digest(paths: Sequence[Path]) -> str:
    """SHA-256 over names, sizes, and the first and last 64 KiB of files; it does not depend on the folder.

    Raises:
        DataError: a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                digest.update(repr((path.name, size)).encode())
                for place in (0, max(0, size - _END)):
                    file.seek(place)
                    digest.update(file.read(_END))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
    return "sha256:" + digest.hexdigest()


def path_digests(paths: Sequence[Path]) -> dict[str, str]:
    """The digest of each file, or of all files in each folder, by its path; or why there is none."""
    found = {}
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        try:
            found[str(path)] = files_digest(files) if path.exists() else "no such file or folder"
        except DataError as error:
            found[str(path)] = str(error)
    return found


def portable_name(name: str) -> str:
    """``name`` as the name of a file or folder on every system: ``openvino:bf16`` becomes ``openvino-bf16``."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "-", name).rstrip(". ") or "-"
