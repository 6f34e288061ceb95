"""Optical flow as Middlebury ``.flo`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path

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
    if data[:4] != _FLO_MAGIC:
        raise DataError(f"{path}: wrong magic {data[:4]!r}, a .flo file starts with {_FLO_MAGIC!r}")
    if len(data) < 12:
        raise DataError(f"{path}: truncated .flo header ({len(data)} bytes)")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, 4))
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or len(data) != expected:
        raise DataError(f"{path}: truncated or broken .flo: {width}x{height} needs {expected} bytes, has {len(data)}")
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    return np.ascontiguousarray(flow.transpose(2, 0, 1)).astype(np.float32)


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Write ``(2, H, W)`` as Middlebury ``.flo``, atomically."""
    height, width = flow.shape[1:]
    body = np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes()
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(_FLO_MAGIC + np.array([width, height], "<i4").tobytes() + body)
