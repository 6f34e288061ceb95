"""The processor, memory and GPU."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import ClassVar

from reconet_bench.checks.base import CHECKS, Check, Finding, absent, ok, warning
from reconet_bench.core.machine import computes_bf16, cpu_name, usable_cpus
from reconet_bench.core.provenance import versions

#: Instructions that runtimes gain from, as PyTorch and the kernel call them.
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
#: Load of each core from which timings are in doubt.
_BUSY = 0.5


def _features() -> list[str]:
    """Those of the processor that are known to help."""
    from pathlib import Path

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for name in _FEATURES if name in flags]


@CHECKS.register("machine")
class Machine(Check):
    """What there is to compute with."""

    title: ClassVar[str] = "machine"
    order: ClassVar[int] = 10

    def findings(self, full: bool) -> Iterator[Finding]:
        found = versions()
        yield ok("software", ", ".join(f"{name} {found[name]}" for name in ("reconet-bench", "python", "torch")))
        cores = usable_cpus()
        known = ", ".join(_features()) or platform.machine()
        yield ok("processor", f"{cpu_name()}, {cores} usable cores, {known}")
        if computes_bf16():
            yield ok("bf16 on the processor", "in hardware: torch:bf16 and openvino:bf16 are worth trying")
        else:
            yield ok("bf16 on the processor", "emulated: bf16 runtimes are refused here, and training takes fp32")
        if hasattr(os, "getloadavg"):
            load = os.getloadavg()[0] / cores
            if load > _BUSY:
                yield warning(
                    "load", f"{load:.2f} on each core", "stop other programs before you measure: timings are in doubt"
                )
            else:
                yield ok("load", f"{load:.2f} on each core")
        yield from self._gpu()

    def _gpu(self) -> Iterator[Finding]:
        import torch

        if not torch.cuda.is_available():
            built = torch.version.cuda
            yield absent("GPU", f"PyTorch sees none (built for {f'CUDA {built}' if built else 'the CPU alone'})")
            return
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            x = torch.rand(512, 512, device=index)
            worst = float((x @ x - (x.cpu() @ x.cpu()).to(index)).abs().max())
            yield ok(
                f"GPU {index}",
                f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, a product is right "
                f"within {worst:.1g}",
            )
