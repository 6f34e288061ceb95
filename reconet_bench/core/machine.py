"""The machine: its processor and devices, the threads to use, and the folder for caches."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reconet_bench.core.errors import RuntimeUnavailable

if TYPE_CHECKING:
    # Only for annotations: importing torch takes seconds, and --help needs none of it.
    import torch


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; raises RuntimeUnavailable for what is not here."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeUnavailable(
            f"no CUDA GPU for device '{name}' (torch {torch.__version__} sees none): use --device cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
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
    """Whether the processor has bf16 instructions (AVX-512 BF16, AMX, Arm's BF16).

    Emulated bf16 is slower than fp32, often ten times.
    """
    import torch

    if platform.machine() in ("x86_64", "AMD64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except AttributeError:  # a build without oneDNN
        return False


def usable_cpus() -> int:
    """Cores that this process may use; if a container limits its processor time, that many, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota() if sys.platform.startswith("linux") else None
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processor time that control groups allow this process, in cores (``docker --cpus``); ``None`` without a limit.

    Version 2 writes quota and period in ``cpu.max``, version 1 in a file each; the smallest of a group and its parents
    counts.

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
    """PyTorch uses ``count`` CPU threads inside, in the whole process; the rounding of sums depends on the count."""
    import torch

    before = torch.get_num_threads()
    if count != before:  # to set it costs time even where nothing changes
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


def cache_folder() -> Path:
    """Where measurements and exports are kept: ``$RECONET_BENCH_CACHE``, else the platform's cache folder.

    It need not exist yet.
    """
    if folder := os.environ.get("RECONET_BENCH_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("reconet-bench", appauthor=False, opinion=False)
