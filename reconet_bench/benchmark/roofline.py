"""How near a runtime is to what the machine can do: the roofline model (Williams, Waterman, Patterson, CACM 2009).

A frame takes at least ``operations / fastest arithmetic`` and at least ``bytes / fastest copy``; the
larger of the two is the limit, and a runtime's share is that limit over the time it takes. The two
ceilings are measured, see :mod:`reconet_bench.benchmark.peak_rates`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reconet_bench.benchmark.fastest_runtime import Choice, choose_runtime, with_auto_chosen
from reconet_bench.benchmark.peak_rates import TYPES, Ceiling, measure_ceiling
from reconet_bench.benchmark.reference_check import Fidelity, Probe, fidelities, probe_clip, remarks
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.errors import DataError, ModelError, ReconetBenchError
from reconet_bench.core.size import Size
from reconet_bench.metrics.measure import Absent
from reconet_bench.models.loading import Model
from reconet_bench.networks.base import smallest_frame
from reconet_bench.networks.layers import ReflectionPad, Upsample
from reconet_bench.runtimes.selection import Resources


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


def network_cost(network: nn.Module, height: int, width: int) -> Cost:
    """Cost of one frame of ``height`` x ``width`` pixels, counted on a network without memory behind it.

    Raises:
        DataError: the frame is too small for the network.
        ModelError: the network has no convolution, so there is nothing to compute.
    """
    if min(height, width) < (least := smallest_frame(network)):
        raise DataError(f"frame of {width}x{height} pixels is too small: at least {least} a side")
    counted = {"macs": 0, "values": 0}
    #: Padded or enlarged tensors and the count of numbers behind them; a kept tensor keeps its id unique.
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
        raise ModelError("the network has no convolutions, so there is nothing to compute")
    return Cost(**counted)


#: What a ceiling is one of: device, CPU threads and precision.
Place = tuple[str, int, str]


@dataclass(frozen=True)
class RooflineRow:
    """One runtime beside the limit.

    Attributes:
        seconds: a frame, from device to device; the median.
        flops: operations a second.
        limit: the least that a frame takes at the ceilings of this device, threads and precision, seconds; ``None``
            where no ceiling is measured in this precision.
        bound: what sets the limit: ``arithmetic`` or ``memory``; empty without one.
        fidelity: to PyTorch fp32 on the same frames, or why it is not known.
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
    fidelity: Fidelity | Absent
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
class RooflineResult:
    """Cost of a frame, ceilings by device, threads and precision, and a row for each runtime.

    Attributes:
        chosen: what ``auto`` stood for, and why; empty where it was not asked for.
        skipped: which runtimes could not be timed, and why; a line each.
    """

    cost: Cost
    ceilings: dict[Place, Ceiling]
    rows: list[RooflineRow]
    chosen: str
    skipped: list[str]


def measure_runtimes(
    model: Model,
    size: Size,
    runtimes: Sequence[str],
    resources: Resources,
    rounds: int = 5,
    report: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> RooflineResult:
    """Time runtimes against one another on frames of a built-in clip, and set them beside the limit.

    Args:
        size: of the frames.
        runtimes: names; ``auto`` is the fastest faithful one.
        report: told what ``auto`` tries and chooses.
        warn: told which runtime cannot run the model, and why.

    Raises:
        ModelError: an ONNX file, whose operations are not known; or no runtime runs the model.
    """
    if model.source.network is None:
        raise ModelError(f"'{model.source.name}' is an ONNX file: operations can only be counted in a checkpoint")
    cost = network_cost(model.source.network, *size)
    probe = Probe(probe_clip(size))
    left_out: dict[str, str] = {}

    def skip(name: str, error: ReconetBenchError) -> None:
        left_out[name] = f"{name}: {error}"
        warn(f"skipped {left_out[name]}")

    chosen: list[str] = []

    def note(choice: Choice) -> None:
        chosen.append(choice.reason)
        report(f"auto: {choice.reason}")

    names = with_auto_chosen(runtimes, lambda: choose_runtime(model, size, resources, report), note, skip)
    with RuntimePool(model, resources, skip) as pool:
        sessions = pool.open(names)
        timings = measure(sessions, probe.images, TimingOptions(rounds, 0.5, ("device",)), on_failure=pool.drop)
        found = fidelities(pool, probe, {name: sessions[name] for name in timings})
    timings = {name: timings[name] for name in found}
    if not timings:
        raise ModelError(f"no runtime runs '{model.source.name}' on {resources.device}: {'; '.join(left_out.values())}")
    places = {name: (timing.device, timing.threads, timing.precision) for name, timing in timings.items()}
    ceilings = {
        (where, count, precision): measure_ceiling(precision, torch.device(where), count)
        for where, count, precision in dict.fromkeys(places.values())
        if precision in TYPES
    }
    rows = [_row(name, timing, cost, ceilings.get(places[name]), found[name]) for name, timing in timings.items()]
    return RooflineResult(cost, ceilings, rows, "".join(chosen), list(left_out.values()))


def _row(name: str, timing: Timing, cost: Cost, ceiling: Ceiling | None, fidelity: Fidelity | Absent) -> RooflineRow:
    seconds, notes = (
        timing.samples["device"].median,
        [*remarks(fidelity), *(doubt.sentence for doubt in doubts(timing))],
    )
    limit, bound = None, ""
    if ceiling is None:
        notes.append(f"no ceiling is measured in {timing.precision}")
    else:
        limit = cost.seconds(ceiling)
        bound = "arithmetic" if cost.compute_seconds(ceiling) >= cost.copy_seconds(ceiling) else "memory"
    return RooflineRow(
        runtime=name,
        precision=timing.precision,
        device=timing.device,
        threads=timing.threads,
        seconds=seconds,
        flops=2 * cost.macs / seconds,
        limit=limit,
        bound=bound,
        fidelity=fidelity,
        note="; ".join(filter(None, notes)),
    )
