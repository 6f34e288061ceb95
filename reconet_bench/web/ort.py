"""The files of ONNX Runtime Web: where they are, and how to get them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from reconet_bench.core.errors import DataError, RuntimeUnavailable
from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import cache_folder

#: The version that is fetched, the package by its name for npm, and the checksum that npm publishes of it.
VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
#: Says where the files are, if not in the cache folder: the folder ``dist`` of an installed npm package.
ENVIRONMENT_VARIABLE = "RECONET_BENCH_ORT_WEB"
#: What is needed of the package, by backend: the module that is imported, and what it loads.
FILES = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
FETCH = "reconet-bench data fetch onnxruntime-web"
#: Seconds to wait for npm, or for an address to answer.
_PATIENCE = 300


def folder() -> Path:
    """Where the files are, or would be."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named) if named else cache_folder() / "web" / f"onnxruntime-web-{VERSION}"


def missing() -> str | None:
    """Why the files cannot be used, with the remedy; ``None`` where they can."""
    absent = [name for names in FILES.values() for name in names if not (folder() / name).is_file()]
    if not absent:
        return None
    return f"the files of onnxruntime-web are not in {folder()}: {FETCH}"


def need() -> Path:
    """The folder of the files.

    Raises:
        RuntimeUnavailable: they are not there.
    """
    if reason := missing():
        raise RuntimeUnavailable(reason)
    return folder()


def fetch(url: str = "", report: Callable[[int], None] = lambda size: None) -> Path:
    """Get the package by npm, check it, and keep what is needed.

    Args:
        url: of the package's archive, which is then downloaded without npm.
        report: told of the bytes of each part that came.

    Raises:
        DataError: it cannot be had, or is not the package that was meant.
    """
    source = url or f"npm's {PACKAGE}"
    data = _downloaded(url, report) if url else _packed(report)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise DataError(
            f"{source}: {len(data)} bytes with another checksum than onnxruntime-web {VERSION}: nothing is kept"
        )
    target = folder()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for name in (name for names in FILES.values() for name in names):
            member = archive.extractfile(f"package/dist/{name}")
            if member is None:
                raise DataError(f"{source}: has no dist/{name}")
            with atomic_path(target / name) as path:
                path.write_bytes(member.read())
    return target


def _packed(report: Callable[[int], None]) -> bytes:
    """The archive as npm packs it, from the registry that npm is set up for."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"npm is not installed: install Node.js, or download the archive of {PACKAGE} and give it by --url FILE"
        )
    with tempfile.TemporaryDirectory(prefix="reconet-bench-") as place:
        words = [npm, "pack", PACKAGE, "--silent", "--pack-destination", place]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, cwd=place)
        except subprocess.TimeoutExpired:
            raise DataError(f"npm pack {PACKAGE} did not end in {_PATIENCE} s: try again, or give --url FILE") from None
        archives = list(Path(place).glob("*.tgz"))
        if done.returncode or not archives:
            said = (done.stderr or done.stdout).strip().splitlines()
            reason = said[-1] if said else f"it ended with {done.returncode}"
            raise DataError(f"npm pack {PACKAGE} failed: {reason}; with an archive at hand, give it by --url FILE")
        data = archives[0].read_bytes()
    report(len(data))
    return data


def _downloaded(url: str, report: Callable[[int], None]) -> bytes:
    """The archive from an address, or from a file by its path."""
    address = Path(url).resolve().as_uri() if Path(url).is_file() else url
    parts: list[bytes] = []
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
            while part := answer.read(2**18):
                parts.append(part)
                report(len(part))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DataError(f"cannot download {url}: {getattr(error, 'reason', error)}") from None
    return b"".join(parts)
