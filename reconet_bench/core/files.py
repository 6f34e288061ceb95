"""Reading and writing the files of this field: images, .flo flow, tensors; atomically, with clear errors."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from reconet_bench.core.errors import DataError, ModelError

_FLO_MAGIC = b"PIEH"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
#: Middlebury's convention: flow beyond this is unknown.
UNKNOWN_FLOW = 1e9
#: Bytes at either end of a file that a digest of many looks at.
_END = 2**16
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


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


def transparency(path: Path) -> np.ndarray | None:
    """The alpha channel of an image that :func:`read_image` reads, ``(H, W)`` float32 in [0, 1]; ``None`` where all is opaque."""
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


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; never unpickles anything.

    Raises:
        ModelError: missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ModelError(f"no such file: {path}")
    try:
        with safe_open(str(path), "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; raises OSError where the disk is full."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(Path(path)) as temporary:
        try:
            save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, str(temporary), metadata)
        except SafetensorError as error:
            # It has an exception of its own for what the system says, with the number in its text.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def files_digest(paths: Sequence[Path]) -> str:
    """SHA-256 over names, sizes, and the first and last 64 KiB of files: tells other files of the same names, wherever they lie.

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
    """Image files of a folder by name, numbers by value; raises DataError where there are none."""
    if not Path(folder).is_dir():
        raise DataError(f"no such folder of frames: {folder}")
    files = sorted((path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
    if not files:
        raise DataError(f"no frames in {folder}: {', '.join(IMAGE_SUFFIXES)} files are read")
    return files
