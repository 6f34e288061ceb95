"""Model files by name, and their exports found again by the file alone: nothing here loads PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.provenance import checksum, versions
from reconet_bench.runtimes.artifact_cache import recall, remember

SUFFIX = ".safetensors"
#: What the shipped models are given away under.
SHIPPED_LICENCE = "MIT"


def shipped_folder() -> Path:
    """Where the models that ship with the package are: inside it when installed, beside it in a checkout."""
    installed = Path(__file__).resolve().parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "models"


def shipped_models() -> dict[str, Path]:
    """Shipped checkpoints by name (``method-style``)."""
    return {path.stem: path for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))}


def is_onnx(path: str | Path) -> bool:
    """Whether a path names an ONNX file, by its suffix in either case."""
    return Path(path).suffix.lower() == ".onnx"


def is_description(path: str | Path) -> bool:
    """Whether a path names a description of a model (``MODEL.toml``), by its suffix in either case."""
    return Path(path).suffix.lower() == ".toml"


def find_checkpoint(name: str) -> Path:
    """A path as it is; else a shipped model by name."""
    if Path(name).is_file():
        return Path(name)
    if name.endswith(SUFFIX) or is_onnx(name) or is_description(name) or "/" in name:
        raise ModelError(f"model file not found: {name}")
    shipped = shipped_models()
    if name not in shipped:
        raise UnknownName("model", name, shipped)
    return shipped[name]


def export_code() -> Iterator[bytes]:
    """All that exports depend on beside the checkpoint: versions, and the code, which in a checkout changes alone."""
    known = versions()
    yield repr([known.get(name) for name in ("reconet-bench", "torch", "onnx")]).encode()
    package = Path(__file__).resolve().parents[1]
    networks = sorted((package / "networks").glob("*.py"))
    sources = (package / "models" / "export.py", package / "core" / "ops.py", *networks)
    yield from (source.read_bytes() for source in sources)


@dataclass(frozen=True)
class KeptExport:
    """The export of a checkpoint in the cache.

    Attributes:
        place: name of the file in ``onnx`` of the cache folder.
        minimum: smallest height and width that it takes, pixels.
    """

    place: str
    minimum: int

    def content(self) -> bytes | None:
        """The ONNX file; ``None`` if it is there no longer."""
        return recall(cache_folder() / "onnx" / self.place)


def remember_export(checkpoint: Path, export: KeptExport) -> None:
    """Note which export belongs to a checkpoint's file, so that the next use need not load the checkpoint."""
    remember(_note(checkpoint), json.dumps(asdict(export)).encode())


def known_export(checkpoint: Path) -> KeptExport | None:
    """What :func:`remember_export` noted of the same file, by the same code and versions."""
    note = recall(_note(checkpoint))
    try:
        return KeptExport(**json.loads(note)) if note else None
    except (ValueError, TypeError):
        return None


def _note(checkpoint: Path) -> Path:
    digest = hashlib.sha256(checksum(checkpoint).encode())
    for part in export_code():
        digest.update(part)
    return cache_folder() / "onnx" / f"{digest.hexdigest()[:32]}.json.sum"
