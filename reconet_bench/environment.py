"""Where a number came from: machine, versions, commit, checksums; and the device to use."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.errors import RuntimeUnavailable

if TYPE_CHECKING:
    # Only for annotations: importing torch takes seconds, and --help needs none of it.
    import onnx
    import torch

_PACKAGES = ("reconet-bench", "torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "nncf", "tensorrt",
             "ncnn", "pnnx", "numpy", "scikit-image", "opencv-python-headless", "pandas")  # fmt: skip


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; raises RuntimeUnavailable for what is not here."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeUnavailable(f"device '{name}' asked for, but torch {torch.__version__} sees no CUDA GPU; use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise RuntimeUnavailable(f"no device '{name}' here: use auto, cpu or cuda ({torch.cuda.device_count()} found)")
    return device


@cache
def cpu_name() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


@cache
def computes_bf16() -> bool:
    """Whether the processor computes bf16 by itself (AVX-512 BF16, AMX, Arm's BF16): emulated it is slower than fp32, often ten times."""
    import torch

    if platform.machine() in ("x86_64", "AMD64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except AttributeError:  # a build without oneDNN
        return False


def usable_cpus() -> int:
    """Cores this process may run on, or as many as its share of time is worth where a container limits it, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota() if sys.platform.startswith("linux") else None
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processor time that control groups let this process have, in cores (``docker --cpus``); ``None`` where nothing limits it.

    Version 2 writes quota and period in ``cpu.max``, version 1 in a file each; the smallest of a group and those above it counts.

    Args:
        root: of the file system.
    """
    found: list[float] = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
            inside = Path(group.lstrip("/"))
            found += [quota for place in (inside, *inside.parents) if (quota := _quota(top / place))]
    return min(found, default=None)


def _quota(group: Path) -> float | None:
    """The limit of one control group, in cores."""
    with contextlib.suppress(OSError, ValueError):
        names = ("cpu.max",) if (group / "cpu.max").exists() else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = " ".join((group / name).read_text() for name in names).split()
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    return None


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """PyTorch computes with ``count`` CPU threads inside; the count is the whole process's, and sums in it round by it."""
    import torch

    before = torch.get_num_threads()
    if count != before:  # to set it costs time even where nothing changes
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


@cache
def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> dict[str, Any]:
    """Git commit of the package's checkout and whether it is dirty; empty for an installed package."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
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
    """SHA-256 of a model: of its file, and where an ONNX file has weights in files beside it, of all of them in order."""
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


def cache_folder() -> Path:
    """Where what was measured here is remembered: ``$RECONET_BENCH_CACHE``, else the platform's place; it need not exist."""
    if folder := os.environ.get("RECONET_BENCH_CACHE"):
        return Path(folder)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "reconet-bench"


def command_line() -> str:
    """The command as a person would type it: the program by name, not by its place on this machine."""
    program = Path(sys.argv[0])
    name = "reconet-bench" if program.parts[-2:] == ("reconet_bench", "cli.py") else program.name  # python -m reconet_bench.cli
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
