"""Optical flow as Middlebury ``.flo`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.size import Size

_FLO_MAGIC = b"PIEH"
#: Middlebury's convention: flow beyond this is unknown.
UNKNOWN_FLOW = 1e9


def read_flo(path: Path) -> np.ndarray:
    """Middlebury ``.flo`` as ``(2, H, W)`` float32 pixels: u right, v down.

    Raises:
        DataError: missing, wrong magic, truncated, or a size that does not fit the file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read flow {path}: {error.strerror or error}") from None
    height, width = _size(path, data[:12], len(data))
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    return np.ascontiguousarray(flow.transpose(2, 0, 1)).astype(np.float32)


def flo_size(path: Path) -> Size:
    """Size of a ``.flo`` file by its header, which must fit the length of the file; raises as :func:`read_flo` does."""
    try:
        with Path(path).open("rb") as file:
            return _size(path, file.read(12), Path(path).stat().st_size)
    except OSError as error:
        raise DataError(f"cannot read flow {path}: {error.strerror or error}") from None


def _size(path: Path, header: bytes, length: int) -> Size:
    if header[:4] != _FLO_MAGIC:
        raise DataError(f"{path}: wrong magic {header[:4]!r}, a .flo file starts with {_FLO_MAGIC!r}")
    if len(header) < 12:
        raise DataError(f"{path}: truncated .flo header ({length} bytes)")
    width, height = (int(n) for n in np.frombuffer(header, "<i4", 2, 4))
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or length != expected:
        raise DataError(f"{path}: truncated or broken .flo: {width}x{height} needs {expected} bytes, has {length}")
    return Size(height, width)


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Write ``(2, H, W)`` as Middlebury ``.flo``, atomically."""
    height, width = flow.shape[1:]
    body = np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes()
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(_FLO_MAGIC + np.array([width, height], "<i4").tobytes() + body)
