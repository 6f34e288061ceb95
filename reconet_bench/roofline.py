"""How near a runtime is to what the machine can do: the roofline model (Williams, Waterman, Patterson, CACM 2009).

A frame takes at least ``operations / fastest arithmetic`` and at least ``bytes / fastest copy``; the
larger of the two is the limit, and a runtime's share is that limit over the time it takes. The two
ceilings are measured here, by PyTorch: a large matrix product or convolution, whichever is faster
(their libraries differ: on some processors the product reaches half of what a convolution does), and a
large copy. They are what the machine gave, not what its data sheet says.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconet_bench.auto import choose_runtime
from reconet_bench.environment import cpu_threads
from reconet_bench.errors import DataError, ModelError, ReconetBenchError
from reconet_bench.fidelity import Expected, Fidelity, Probe, probe_clip
from reconet_bench.networks import MIN_SIZE, ReflectionPad, Upsample
from reconet_bench.runtimes.base import CANNOT_RUN, Loaded
from reconet_bench.speed import doubts
from reconet_bench.subjects import AUTO, REFERENCE_RUNTIME, Subject
from reconet_bench.timing import Timing, measure
from reconet_bench.workers import load_apart, open_all

#: Floating-point types whose ceiling is measured, by the name of the precision.
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Side of the matrices; images, channels and side of the convolution; bytes of the copy, beyond any cache.
_SIDE = {"cpu": 2048, "cuda": 8192}
_CONVOLUTION = {"cpu": (1, 256, 128), "cuda": (16, 512, 128)}
_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}


@dataclass(frozen=True)
class Cost:
    """What one frame costs at least.

    Attributes:
        macs: multiply-adds of the convolutions; an operation is half of one.
        values: numbers read and written by the convolutions, weights included; what is padded or enlarged before it
            goes into one counts as it was before. A runtime that fuses everything in between (padding, norm, ReLU,
            enlargement) moves these and no more.
    """

    macs: int
    values: int

    def seconds(self, ceiling: Ceiling) -> float:
        """The limit: no frame takes less on such a machine."""
        return max(self.compute_seconds(ceiling), self.copy_seconds(ceiling))

    def compute_seconds(self, ceiling: Ceiling) -> float:
        """Seconds of arithmetic alone."""
        return 2 * self.macs / ceiling.flops

    def copy_seconds(self, ceiling: Ceiling) -> float:
        """Seconds of memory traffic alone."""
        return self.values * ceiling.value_bytes / ceiling.bandwidth


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


def network_cost(network: nn.Module, height: int, width: int) -> Cost:
    """Cost of one frame of ``height`` x ``width`` pixels, counted on a network without memory behind it.

    Raises:
        DataError: the frame is too small for the network.
        ModelError: the network has no convolution, so there is nothing to compute.
    """
    if min(height, width) < MIN_SIZE:
        raise DataError(f"frame of {width}x{height} pixels is too small: at least {MIN_SIZE} a side")
    counted = {"macs": 0, "values": 0}
    #: Tensors that only repeat or blend numbers of another, and how many that one holds; the tensor is kept, or its id may return.
    derived: dict[int, tuple[Tensor, int]] = {}

    def stored(x: Tensor) -> int:
        return derived[id(x)][1] if id(x) in derived else x.numel()

    def derive(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        derived[id(output)] = output, stored(inputs[0])

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weights = module.get_parameter("weight").numel()
        counted["macs"] += weights * output.shape[-2] * output.shape[-1]
        counted["values"] += stored(inputs[0]) + output.numel() + weights

    bare = copy.deepcopy(network).to("meta").eval()
    for module in bare.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
        elif isinstance(module, (ReflectionPad, Upsample)):
            module.register_forward_hook(derive)
    with torch.inference_mode():
        bare(torch.empty(1, 3, height, width, device="meta"))
    if not counted["macs"]:
        raise ModelError("the network has no convolutions: its roofline is zero")
    return Cost(**counted)


def measure_ceiling(precision: str, device: torch.device, threads: int, seconds: float = 1.0) -> Ceiling:
    """The best arithmetic and the best copy, each trial within ``seconds``.

    Args:
        precision: of :data:`TYPES`.
        threads: CPU threads; PyTorch's own count is put back afterwards.
    """
    kind = TYPES[precision]
    with cpu_threads(threads), torch.inference_mode(), _ieee(device):
        flops = {"matrix product": _product(kind, device, seconds), "3x3 convolution": _convolution(kind, device, seconds)}
        source = torch.ones(_COPY_BYTES[device.type] // 4, device=device)
        target = torch.empty_like(source)
        copied = _best(lambda: target.copy_(source), device, seconds)
    fastest = max(flops, key=flops.__getitem__)
    return Ceiling(flops[fastest], 2 * 4 * source.numel() / copied, kind.itemsize, fastest)


def _product(kind: torch.dtype, device: torch.device, seconds: float) -> float:
    """Operations a second of the best product of square matrices."""
    side = _SIDE[device.type]
    # Not ones: a product of equal numbers flips few bits, and a GPU that draws less power runs faster.
    a, b, product = (torch.randn(side, side, device=device).to(kind) for _ in range(3))
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=product), device, seconds)


def _convolution(kind: torch.dtype, device: torch.device, seconds: float) -> float:
    """Operations a second of the best 3x3 convolution, channels last, counted as :func:`network_cost` counts them."""
    images, channels, side = _CONVOLUTION[device.type]
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
    while sum(taken) < seconds or len(taken) < 3:
        start = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(perf_counter() - start)
    return min(taken)


#: What a ceiling is one of: device, CPU threads and precision.
Place = tuple[str, int, str]


@dataclass(frozen=True)
class Row:
    """One runtime beside the limit.

    Attributes:
        seconds: a frame, from device to device; the median.
        flops: operations a second.
        limit: the least that a frame takes at the ceilings of this device, threads and precision, seconds; ``None``
            where no ceiling is measured in this precision.
        bound: what sets the limit: ``arithmetic`` or ``memory``; empty without one.
        fidelity: to PyTorch fp32 on the same device, on the same frames.
        note: why not to trust the row, or why it has no limit, else empty.
    """

    runtime: str
    precision: str
    device: str
    threads: int
    seconds: float
    flops: float
    limit: float | None
    bound: str
    fidelity: Fidelity
    note: str

    @property
    def place(self) -> Place:
        """That of its ceiling."""
        return self.device, self.threads, self.precision

    @property
    def share(self) -> float | None:
        """Limit over time: 1 = as fast as the ceilings allow."""
        return None if self.limit is None else self.limit / self.seconds


@dataclass(frozen=True)
class Found:
    """Cost of a frame, ceilings by device, threads and precision, and a row for each runtime.

    Attributes:
        chosen: what ``auto`` stood for, and why; empty where it was not asked for.
        skipped: which runtimes could not be timed, and why; a line each.
    """

    cost: Cost
    ceilings: dict[Place, Ceiling]
    rows: list[Row]
    chosen: str
    skipped: list[str]


def measure_runtimes(
    subject: Subject,
    size: tuple[int, int],
    runtimes: Sequence[str],
    device: str = "auto",
    threads: int | None = None,
    rounds: int = 5,
    report: Callable[[str], None] = lambda text: None,
) -> Found:
    """Time runtimes against one another on frames of a built-in clip, and set them beside the limit.

    Args:
        size: height and width.
        runtimes: names; ``auto`` is the fastest faithful one.
        report: told what ``auto`` tries and chooses, and which runtime cannot run the model, and why.

    Raises:
        ModelError: an ONNX file, whose operations are not known; or no runtime runs the model.
    """
    if subject.model.network is None:
        raise ModelError(f"'{subject.model.name}' is an ONNX file: its operations are counted on a checkpoint's network only")
    cost = network_cost(subject.model.network, *size)
    probe = Probe(probe_clip(size))
    left_out: dict[str, str] = {}

    def skip(name: str, error: ReconetBenchError) -> None:
        left_out[name] = f"{name}: {error}"
        report(f"skipped {left_out[name]}")

    names: list[str] = []
    chosen = ""
    for asked in runtimes:
        try:
            if asked == AUTO:
                choice = choose_runtime(subject, size, device, threads, report)
                chosen = choice.reason
                report(f"auto: {chosen}")
            names.append(choice.name if asked == AUTO else asked)
        except CANNOT_RUN as error:
            skip(asked, error)
    with contextlib.ExitStack() as stack:
        sessions = open_all(names, subject.model, device, threads, stack, skip)
        timings = measure(sessions, probe.images, rounds, 0.5, ("device",), on_failure=skip)
        fidelities = _fidelities(subject, sessions, timings, probe, skip)
    timings = {name: timing for name, timing in timings.items() if name in fidelities}
    if not timings:
        raise ModelError(f"no runtime runs '{subject.model.name}' on {device}: {'; '.join(left_out.values())}")
    places = {name: (timing.device, timing.threads, timing.precision) for name, timing in timings.items()}
    ceilings = {
        (where, count, precision): measure_ceiling(precision, torch.device(where), count)
        for where, count, precision in dict.fromkeys(places.values()) if precision in TYPES
    }  # fmt: skip
    rows = [_row(name, timing, cost, ceilings.get(places[name]), fidelities[name]) for name, timing in timings.items()]
    return Found(cost, ceilings, rows, chosen, list(left_out.values()))


def _row(name: str, timing: Timing, cost: Cost, ceiling: Ceiling | None, fidelity: Fidelity) -> Row:
    seconds, notes = timing.samples["device"].median, [*fidelity.remarks, *doubts(timing)]
    limit, bound = None, ""
    if ceiling is None:
        notes.append(f"no ceiling is measured in {timing.precision}")
    else:
        limit = cost.seconds(ceiling)
        bound = "arithmetic" if cost.compute_seconds(ceiling) >= cost.copy_seconds(ceiling) else "memory"
    return Row(
        name, timing.precision, timing.device, timing.threads, seconds, 2 * cost.macs / seconds, limit, bound, fidelity,
        "; ".join(filter(None, notes)),
    )  # fmt: skip


def _fidelities(
    subject: Subject, sessions: dict[str, Loaded], timings: dict[str, Timing], probe: Probe,
    skip: Callable[[str, ReconetBenchError], None],
) -> dict[str, Fidelity]:  # fmt: skip
    """No speed without its parity here either: by runtime, against the reference on its own device."""
    found: dict[str, Fidelity] = {}
    expected: dict[str, Expected] = {}
    for name, timing in timings.items():
        if timing.device not in expected:
            with load_apart(REFERENCE_RUNTIME, subject.model, timing.device, timing.threads) as reference:
                expected[timing.device] = probe.expect(reference)
        try:
            found[name] = probe.compare(expected[timing.device], sessions[name])
        except CANNOT_RUN as error:
            skip(name, error)
    return found
