"""How much memory a piece of work took, host or device, as the kernel or the driver counts it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Peak:
    """Bytes taken at the peak above what was in use before; ``None`` while at work, or where it is not known."""

    taken: int | None = None


@contextlib.contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Measure what is done in the meantime: host memory of this process on ``"cpu"``, device memory on ``"cuda:0"``.

    What allocators of other libraries take on a GPU is seen by the driver only; allocators keep what
    they took, so what is in use afterwards was the peak.
    """
    before = memory_in_use(device)
    on_cuda = device.startswith("cuda")
    if not on_cuda:
        before = _reset_host_peak()
    peak = Peak()
    yield peak
    after = device_bytes(device) if on_cuda else host_bytes("VmHWM")
    if before is not None and after is not None:
        peak.taken = max(after - before, 0)


def memory_in_use(device: str) -> int | None:
    """Bytes in use where ``device`` computes, after what nobody needs any longer was given back; ``None`` if unknown.

    Library pages count, and on CUDA what other processes hold: only the difference of two calls means something.
    CUDA's context, which every process has that computes there, is made first and is in both.
    """
    gc.collect()
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            return None
        torch.empty(1, device=device)
        torch.cuda.empty_cache()
        return device_bytes(device)
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    return host_bytes("VmRSS")


def device_bytes(device: str) -> int:
    """Bytes of device memory in use, by whoever."""
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)


def _reset_host_peak() -> int | None:
    """Make the kernel's high-water mark start from here; returns the bytes resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return host_bytes("VmRSS")
    # No such file (not Linux) or not allowed: the mark stays, and a peak below an earlier one counts as nothing.
    return host_bytes("VmHWM")


def host_bytes(name: str) -> int | None:
    """``VmRSS`` (resident now) or ``VmHWM`` (high-water mark) of this process; the mark where there is no /proc."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
