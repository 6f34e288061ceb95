"""Forms of an ONNX file that take long to make (int8, engines) are made once and kept in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from reconet_bench.core.cache import mark_used
from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.provenance import model_checksum, versions


def kept(kind: str, path: Path, **facts: str) -> Path:
    """Where a form of an ONNX file is kept; another for any other file, version or fact.

    Args:
        kind: of form: a folder below the cache.
        facts: what else it depends on, such as the GPU.
    """
    key = {"model": model_checksum(path), "versions": dict(sorted(versions().items())), **facts}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / digest[:32]


def remember(place: Path, content: bytes) -> None:
    """Keep ``content`` with its checksum in front, in one piece; where nothing can be written nothing is kept."""
    with contextlib.suppress(OSError), atomic_path(place) as temporary:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)


def recall(place: Path) -> bytes | None:
    """What :func:`remember` kept; ``None`` if nothing, or if it is not what was written."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    mark_used(place)
    expected, content = content[:64], content[64:]
    return content if hashlib.sha256(content).hexdigest().encode() == expected else None
