"""Image files as arrays, with an error that names the file and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path, natural_key
from reconet_bench.core.size import Size

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_image(path: Path) -> np.ndarray:
    """Any image file as ``(H, W, 3)`` uint8 RGB; grey is repeated, alpha dropped, 16 bits reduced.

    Raises:
        DataError: the file is missing, empty, truncated or no image.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"cannot read image {path}: {error.strerror or error}") from None
    if data[:8].tobytes() == _PNG_MAGIC and b"IEND" not in data[-64:].tobytes():
        raise DataError(f"{path}: truncated PNG (no end marker in {data.size} bytes)")
    image = None
    if data.size:
        with contextlib.suppress(cv2.error):  # a header that promises more pixels than memory holds
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: not a readable image ({data.size} bytes)")
    return np.ascontiguousarray(image[:, :, ::-1])


def image_size(path: Path) -> Size:
    """Size of an image: of a PNG file by its first and last bytes, of any other by decoding it.

    Raises:
        DataError: the file is missing, empty, truncated or no image.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = file.read(24)
            file.seek(max(0, path.stat().st_size - 64))
            end = file.read()
    except OSError as error:
        raise DataError(f"cannot read image {path}: {error.strerror or error}") from None
    if header[:8] == _PNG_MAGIC and header[12:16] == b"IHDR" and b"IEND" in end:
        return Size(*(int.from_bytes(header[start : start + 4], "big") for start in (20, 16)))
    return Size(*read_image(path).shape[:2])


def transparency(path: Path) -> np.ndarray | None:
    """The alpha channel of an image file, ``(H, W)`` float32 in [0, 1]; ``None`` if the whole image is opaque."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    opaque = 1.0 if image.dtype.kind == "f" else 2.0 ** (8 * image.itemsize) - 1
    alpha = (image[:, :, 3] / opaque).astype(np.float32)
    return None if (alpha == 1).all() else alpha


def read_mask(path: Path) -> np.ndarray:
    """A Sintel mask image as ``(H, W)`` float32 in [0, 1]; 1 marks occluded or invalid pixels."""
    return read_image(path)[:, :, 0].astype(np.float32) / 255


def write_image(path: Path, image: np.ndarray) -> None:
    """Write ``(H, W, 3)`` uint8 RGB by suffix, atomically; raises OSError where the disk is full."""
    try:
        encoded, data = cv2.imencode(path.suffix, image[:, :, ::-1])
    except cv2.error:
        raise DataError(f"cannot write image {path}: its suffix must be one of {', '.join(IMAGE_SUFFIXES)}") from None
    if not encoded:
        raise DataError(f"cannot write image {path}")
    # OpenCV's own writing would not say why it failed.
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data.tobytes())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


@lru_cache(maxsize=64)
def scikit_image_texture(name: str) -> np.ndarray:
    """A photograph that scikit-image's wheel carries, ``(H, W, 3)`` uint8; nothing is downloaded."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for suffix in (".png", ".jpg"):
        if (folder / f"{name}{suffix}").is_file():
            return read_image(folder / f"{name}{suffix}")
    raise DataError(f"scikit-image at {folder} carries no image '{name}'")


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder by name, numbers by value, without hidden ones; raises DataError if there are none."""
    if not Path(folder).is_dir():
        raise DataError(f"no such folder of frames: {folder}")
    seen = (path for path in Path(folder).iterdir() if not path.name.startswith("."))
    files = sorted((path for path in seen if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
    if not files:
        raise DataError(f"no frames in {folder}: put {', '.join(IMAGE_SUFFIXES)} files there")
    return files


def side_by_side(frames: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Frames ``(1, 3, H, W)`` in [0, 1] of one size as one picture ``(H', W', 3)`` uint8, each below its title."""
    columns = []
    for frame, title in zip(frames, titles, strict=True):
        image = np.round(frame[0].clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        columns.append(np.pad(image, ((20, 4), (4, 4), (0, 0)), constant_values=255))
        cv2.putText(columns[-1], title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate(columns, 1)
