"""Tensors as safetensors files, which cannot run code when they are read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.core.files import atomic_path


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
