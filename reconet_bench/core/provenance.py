"""Where a number came from: versions, commit, checksums, command line and machine."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.core.machine import cpu_name, usable_cpus
from reconet_bench.core.version import __version__

if TYPE_CHECKING:
    # Only for annotations: importing torch takes seconds, and --help needs none of it.
    import onnx

_PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "nncf",
    "tensorrt",
    "ncnn",
    "pnnx",
    "numpy",
    "scikit-image",
    "opencv-python-headless",
    "pandas",
)


@cache
def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    found = {"python": platform.python_version(), "reconet-bench": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> dict[str, Any]:
    """Git commit of the package's checkout and whether it is dirty; empty for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    head = git("rev-parse", "HEAD")
    return {"commit": head, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))} if head else {}


def checksum(path: Path) -> str:
    """SHA-256 of a file, as ``sha256:<hex>``."""
    with Path(path).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def model_checksum(path: Path) -> str:
    """SHA-256 of a model file; if an ONNX file has weights in files beside it, of all of them in order."""
    import onnx

    try:
        beside = external_files(onnx.load(str(path), load_external_data=False))
    except Exception:  # not ONNX, or not a readable one: whoever runs it says so; protobuf's errors have no public base
        beside = []
    parts = [checksum(one) for one in (path, *(Path(path).parent / name for name in beside)) if one.is_file()]
    return parts[0] if len(parts) == 1 else "sha256:" + hashlib.sha256("".join(parts).encode()).hexdigest()


def external_files(model: onnx.ModelProto) -> list[str]:
    """Files, beside that of the model, that hold its weights; each once, in the order in which they are named."""
    entries = [entry for tensor in _tensors(model.graph) for entry in tensor.external_data if entry.key == "location"]
    return list(dict.fromkeys(entry.value for entry in entries))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def command_line() -> str:
    """The command as a person would type it: the program by name, not by its place on this machine."""
    program = Path(sys.argv[0])
    name = (
        "reconet-bench" if program.parts[-2:] == ("reconet_bench", "cli.py") else program.name
    )  # python -m reconet_bench.cli
    return shlex.join([name, *sys.argv[1:]])


def describe() -> dict[str, Any]:
    """Provenance of a run: versions, hardware, threads, commit."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": command_line(),
        **commit(),
        "versions": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpus": usable_cpus(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }
