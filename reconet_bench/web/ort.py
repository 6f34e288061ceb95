"""The files of ONNX Runtime Web: where they are, and how to get them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from reconet_bench.core.errors import DataError, RuntimeUnavailable
from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import cache_folder

#: The version that is fetched, and the checksum of its package at the npm registry.
VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
#: Says where the files are, if not in the cache folder: the folder ``dist`` of an installed npm package.
ENVIRONMENT_VARIABLE = "RECONET_BENCH_ORT_WEB"
#: What is needed of the package, by backend: the module that is imported, and what it loads.
FILES = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
FETCH = "reconet-bench data fetch onnxruntime-web"
#: Seconds to wait for the registry.
_PATIENCE = 60


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
    """Download the package from the npm registry, check it, and keep what is needed.

    Args:
        url: of the package's archive; by default at ``$NPM_CONFIG_REGISTRY``, else registry.npmjs.org.
        report: told of the bytes of each part that came.

    Raises:
        DataError: it cannot be downloaded, or is not the package that was meant.
    """
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    url = url or f"{registry}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    parts: list[bytes] = []
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            while part := answer.read(2**18):
                parts.append(part)
                report(len(part))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DataError(f"cannot download {url}: {getattr(error, 'reason', error)}") from None
    data = b"".join(parts)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise DataError(
            f"{url}: {len(data)} bytes with another checksum than onnxruntime-web {VERSION}: nothing is kept"
        )
    target = folder()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for name in (name for names in FILES.values() for name in names):
            member = archive.extractfile(f"package/dist/{name}")
            if member is None:
                raise DataError(f"{url}: has no dist/{name}")
            with atomic_path(target / name) as path:
                path.write_bytes(member.read())
    return target
