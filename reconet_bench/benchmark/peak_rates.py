"""What a machine gives at most: the ceilings of the roofline model, measured by PyTorch.

Arithmetic is the faster of a large matrix product and a large convolution, whose libraries differ (on some processors
the product reaches half of what a convolution does), memory a large copy. They are what the machine gave, not what
its data sheet says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F

from reconet_bench.core.machine import cpu_threads

#: Floating-point types whose ceiling is measured, by the name of the precision.
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Side of the matrices; images, channels and side of the convolution; bytes of the copy, beyond any cache.
_SIDE = {"cpu": 2048, "cuda": 8192}
_CONVOLUTION = {"cpu": (1, 256, 128), "cuda": (16, 512, 128)}
_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
#: The same where it must be quick: each still fills a processor of a few cores.
_QUICK_SIDE, _QUICK_CONVOLUTION, _QUICK_COPY_BYTES = 1024, (1, 128, 128), 2**27


@dataclass(frozen=True)
class Ceiling:
    """What the machine gives in one precision.

    Attributes:
        flops: operations a second.
        bandwidth: bytes a second of a copy, read and written ones counted.
        value_bytes: bytes of a number.
        source: what reached ``flops``.
    """

    flops: float
    bandwidth: float
    value_bytes: int
    source: str = "matrix product"


def measure_ceiling(
    precision: str, device: torch.device, threads: int, seconds: float = 1.0, quick: bool = False
) -> Ceiling:
    """The best arithmetic and the best copy, each trial within ``seconds``.

    Args:
        precision: of :data:`TYPES`.
        threads: CPU threads; PyTorch's own count is put back afterwards.
        quick: on a processor, take smaller pieces of work, of which more fit into a short time.
    """
    kind = TYPES[precision]
    small = quick and device.type == "cpu"
    side = _QUICK_SIDE if small else _SIDE[device.type]
    shape = _QUICK_CONVOLUTION if small else _CONVOLUTION[device.type]
    size = _QUICK_COPY_BYTES if small else _COPY_BYTES[device.type]
    with cpu_threads(threads), torch.inference_mode(), _ieee(device):
        flops = {
            "matrix product": _product(kind, device, seconds, side),
            "3x3 convolution": _convolution(kind, device, seconds, shape),
        }
        source = torch.ones(size // 4, device=device)
        target = torch.empty_like(source)
        copied = _best(lambda: target.copy_(source), device, seconds)
    fastest = max(flops, key=flops.__getitem__)
    return Ceiling(flops[fastest], 2 * 4 * source.numel() / copied, kind.itemsize, fastest)


def _product(kind: torch.dtype, device: torch.device, seconds: float, side: int) -> float:
    """Operations a second of the best product of square matrices."""
    # Not ones: a product of equal numbers flips few bits, and a GPU that draws less power runs faster.
    a, b, product = (torch.randn(side, side, device=device).to(kind) for _ in range(3))
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=product), device, seconds)


def _convolution(kind: torch.dtype, device: torch.device, seconds: float, shape: tuple[int, int, int]) -> float:
    """Operations a second of the best 3x3 convolution, channels last, counted as the roofline counts them."""
    images, channels, side = shape
    x, weight = (
        torch.randn(shape, device=device).to(kind, memory_format=torch.channels_last)
        for shape in ((images, channels, side, side), (channels, channels, 3, 3))
    )
    macs = weight.numel() * images * side * side
    return 2 * macs / _best(lambda: F.conv2d(x, weight, padding=1), device, seconds)


@contextlib.contextmanager
def _ieee(device: torch.device) -> Iterator[None]:
    """fp32 in fp32: on CUDA products and convolutions may be TF32, which is faster and something else."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _best(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest of as many goes as fit, three at least; whatever else runs here only ever adds."""
    taken: list[float] = []
    began = perf_counter()
    while perf_counter() - began < seconds or len(taken) < 3:
        start = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(perf_counter() - start)
    return min(taken)
