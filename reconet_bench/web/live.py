"""The live page: what it consists of, to be served from this machine or written for any web server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconet_bench.core.files import atomic_path
from reconet_bench.web import ort
from reconet_bench.web.server import HEADERS, Served

PAGE = Path(__file__).resolve().parent / "page"
_FILES = ("live.css", "live.mjs", "live-worker.mjs", "model.mjs")


@dataclass(frozen=True)
class LiveModel:
    """A model on the page.

    Attributes:
        title: for people.
        file: its ONNX file.
        facts: what the page must know to encode and decode frames.
    """

    name: str
    title: str
    file: Path
    facts: Mapping[str, Any]


def pieces(models: list[LiveModel], clip: Path) -> dict[str, Path | bytes]:
    """Everything the page needs, by path below its address.

    Raises:
        RuntimeUnavailable: the files of ONNX Runtime Web are not there.
    """
    folder = ort.need()
    listed = [
        {"name": one.name, "title": one.title, "url": f"models/{one.name}.onnx", "facts": dict(one.facts)}
        for one in models
    ]
    found: dict[str, Path | bytes] = {"index.html": PAGE / "live.html"}
    found |= {name: PAGE / name for name in _FILES}
    found |= {f"ort/{name}": folder / name for names in ort.FILES.values() for name in names}
    found |= {f"models/{one.name}.onnx": one.file for one in models}
    found[f"clip{clip.suffix}"] = clip
    found["live.json"] = json.dumps({"models": listed, "clip": f"clip{clip.suffix}"}).encode()
    return found


def served(found: Mapping[str, Path | bytes]) -> Served:
    """The pieces by path, for a server of our own."""
    return {"/": found["index.html"], **{f"/{name}": piece for name, piece in found.items()}}


def export(found: Mapping[str, Path | bytes], target: Path) -> int:
    """Write the pieces as files, with the headers for servers that read ``_headers``; the number of bytes."""
    total = 0
    headers = "/*\n" + "".join(f"  {name}: {value}\n" for name, value in HEADERS.items() if name != "Cache-Control")
    for name, piece in {**found, "_headers": headers.encode()}.items():
        content = piece if isinstance(piece, bytes) else piece.read_bytes()
        with atomic_path(target / name) as path:
            path.write_bytes(content)
        total += len(content)
    return total
