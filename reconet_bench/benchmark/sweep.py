"""How the time of a frame grows with its pixels: sizes × batches × threads × runtimes, timed in turns, with parity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from reconet_bench.benchmark.fastest_runtime import Choice, choose_runtime, with_auto_chosen
from reconet_bench.benchmark.reference_check import Fidelity, Probe, fidelities, probe_clip, remarks
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.errors import DataError, ModelError, ReconetBenchError, enough_memory
from reconet_bench.core.size import Size
from reconet_bench.metrics.measure import Absent
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, ModelSource, SessionHandle
from reconet_bench.runtimes.selection import Resources

#: Two squares, MPI-Sintel, 720p, 1080p.
SIZES = (Size(256, 256), Size(512, 512), Size(436, 1024), Size(720, 1280), Size(1080, 1920))
#: Seconds of a turn at each boundary.
SECONDS = 0.5
#: What to do about a size or batch that memory does not hold.
SMALLER = "for this size: leave it out, or use a smaller batch"


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One runtime at one size, batch and thread count.

    Attributes:
        batch: frames at once; the times are those of one frame, a share of its batch.
        device_ms, p90_ms, p99_ms: from device to device; median and percentiles.
        end_to_end_ms: from an 8-bit host frame to one; median.
        fps: frames a second, device to device.
        max_abs: largest absolute difference to the reference's frames in [0, 1]; ``None`` if the reference failed.
        psnr: to the reference runtime, dB; infinite where the frames are equal, ``None`` as for ``max_abs``.
        temporal_error_change: of E(V) against the reference, percent; ``None`` where there is none.
        note: why not to trust the row, or why it has no parity, else empty.
        node: of a cluster that it was timed on, else empty.
    """

    model: str
    runtime: str
    precision: str
    device: str
    threads: int
    width: int
    height: int
    batch: int
    device_ms: float
    p90_ms: float
    p99_ms: float
    end_to_end_ms: float
    fps: float
    max_abs: float | None
    psnr: float | None
    temporal_error_change: float | None
    note: str = ""
    node: str = ""

    @property
    def size(self) -> Size:
        """Of the frames."""
        return Size(self.height, self.width)


@dataclass(frozen=True)
class SweepPlan:
    """What to time.

    Attributes:
        sizes: of the frames.
        runtimes: names; ``auto`` is the fastest faithful runtime at each size, chosen by single frames for batches too.
        threads: of each runtime; ``None`` is all usable cores.
        batches: numbers of frames at once.
        device: of every runtime.
        timing: rounds, and seconds of a turn at each boundary.

    Raises:
        DataError: no sizes, no thread counts or no batches.
    """

    model: Model
    sizes: Sequence[Size]
    runtimes: Sequence[str]
    threads: Sequence[int | None] = (None,)
    batches: Sequence[int] = (1,)
    device: str = "auto"
    timing: TimingOptions = field(default_factory=lambda: TimingOptions(seconds=SECONDS))

    def __post_init__(self) -> None:
        if not self.sizes or not self.threads or not self.batches:
            raise DataError("a sweep needs at least one size, one batch and one number of threads")


@dataclass
class SweepResult:
    """What a sweep found.

    Attributes:
        chosen: what ``auto`` stood for, and why; a line for each size and thread count.
        skipped: what could not be timed, and why; a line each.
        nodes: provenance: those of a cluster, if it was timed on one.
        machine: their processor or GPU.
    """

    rows: list[SweepRow] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    nodes: dict[str, Any] = field(default_factory=dict)
    machine: str = ""

    def add(self, part: SweepResult) -> None:
        """Put what a part of the sweep found behind what is there."""
        self.rows += part.rows
        self.chosen += part.chosen
        self.skipped += part.skipped

    def clear(self) -> None:
        """Forget what was found."""
        for lines in (self.rows, self.chosen, self.skipped):
            lines.clear()


@dataclass(frozen=True)
class Growth:
    """How the time of one runtime grows with pixels.

    Attributes:
        exponent: ``b`` of ``time = a · pixels^b``, least squares on logarithms: 1 = in proportion.
        ms_per_megapixel: at the largest size.
        note: which of the rows behind it have a note of their own, else empty.
    """

    runtime: str
    threads: int
    batch: int
    exponent: float
    ms_per_megapixel: float
    note: str = ""


def sweep(
    plan: SweepPlan,
    report: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
    result: SweepResult | None = None,
) -> SweepResult:
    """Time every runtime at every size, batch and thread count; runtimes of one size take turns.

    Args:
        report: told which size is being timed, and what ``auto`` tries and chooses.
        warn: told what cannot run, and why.
        result: filled as the work goes on, so that an interrupted sweep keeps what was measured.

    Raises:
        ModelError: no runtime runs the model at any of the sizes.
    """
    result = SweepResult() if result is None else result
    sweep_all(plan, result, report, warn)
    check_any(plan, result)
    return result


def sweep_all(
    plan: SweepPlan,
    result: SweepResult,
    report: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> None:
    """What :func:`sweep` does, also where nothing runs."""
    for threads in dict.fromkeys(plan.threads):
        with _OneThreadCount(plan, threads, result, report, warn) as sweeping:
            for size in dict.fromkeys(plan.sizes):
                sweeping.all_batches(size)


def check_any(plan: SweepPlan, result: SweepResult) -> None:
    """Raise ModelError where nothing was timed."""
    if not result.rows:
        raise ModelError(
            f"no runtime runs '{plan.model.source.name}' on {plan.device}: {'; '.join(dict.fromkeys(result.skipped))}"
        )


class _OneThreadCount:
    """The sweep on one number of threads: a pool of runtimes that stays open for all sizes."""

    def __init__(
        self,
        plan: SweepPlan,
        threads: int | None,
        result: SweepResult,
        report: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._plan, self._threads, self._result, self._report, self._warn = plan, threads, result, report, warn
        self._place = ""
        self._pool = RuntimePool(plan.model, Resources(plan.device, threads), self._skip_runtime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()

    def all_batches(self, size: Size) -> None:
        """All runtimes at one size. A size or batch that does not fit in memory is skipped and noted."""
        self._place = self._name(size)
        try:
            with enough_memory(SMALLER):
                clip = probe_clip(size)
                names = self._choose(size)
        except DataError as error:
            self._skip(self._place, error)
            return
        for batch in dict.fromkeys(self._plan.batches):
            self._place = self._name(size, batch)
            self._report(f"timing {self._place}")
            try:
                with enough_memory(SMALLER):
                    self._time(Probe(clip, batch), size, batch, names)
            except DataError as error:
                self._skip(self._place, error)

    def _name(self, size: Size, batch: int = 1) -> str:
        """``48x32 in batches of 3 on 2 threads``."""
        text = f"{size}" + (f" in batches of {batch}" if batch > 1 else "")
        return text + (f" on {self._threads} threads" if self._threads else "")

    def _choose(self, size: Size) -> list[str]:
        """Runtimes by name, each once; for ``auto`` the one it stands for at this size."""

        def note(choice: Choice) -> None:
            self._result.chosen.append((f"on {self._threads} threads: " if self._threads else "") + choice.reason)
            self._report(f"auto: {self._result.chosen[-1]}")

        def choose() -> Choice:
            return choose_runtime(self._plan.model, size, self._pool.resources, self._report)

        return with_auto_chosen(self._plan.runtimes, choose, note, self._skip_runtime)

    def _skip_runtime(self, name: str, error: ReconetBenchError) -> None:
        self._skip(f"{name} at {self._place}", error)

    def _skip(self, what: str, error: Exception) -> None:
        """Note what is not timed, and why."""
        self._result.skipped.append(f"{what}: {str(error) or 'not enough memory'}")
        self._warn(f"skipped {self._result.skipped[-1]}")

    def _time(self, probe: Probe, size: Size, batch: int, names: Sequence[str]) -> None:
        """All runtimes at one size and batch."""
        sessions: dict[str, SessionHandle] = {}
        for name, session in self._pool.open(names).items():
            try:
                session(probe.images[0])  # what cannot run at this size says so here, before the clock runs
                sessions[name] = session
            except CANNOT_RUN as error:
                self._pool.drop(name, error)
        timings = measure(sessions, probe.images, self._plan.timing, on_failure=self._pool.drop)
        for name, fidelity in fidelities(self._pool, probe, {name: sessions[name] for name in timings}).items():
            row = _row(self._plan.model.source, name, size, batch, timings[name], fidelity)
            self._result.rows.append(row)


def _row(
    source: ModelSource, runtime: str, size: Size, batch: int, timing: Timing, fidelity: Fidelity | Absent
) -> SweepRow:
    on_device, each = timing.samples["device"], 1000 / batch
    known = fidelity if isinstance(fidelity, Fidelity) else None
    doubted = (*doubts(timing), *source.adaptations(*size, batch))
    return SweepRow(
        model=source.name,
        runtime=runtime,
        precision=timing.precision,
        device=timing.device,
        threads=timing.threads,
        width=size.width,
        height=size.height,
        batch=batch,
        device_ms=each * on_device.median,
        p90_ms=each * on_device.p90,
        p99_ms=each * on_device.p99,
        end_to_end_ms=each * timing.samples["end_to_end"].median,
        fps=batch * on_device.fps,
        max_abs=known.parity.max_abs if known else None,
        psnr=known.parity.psnr if known else None,
        temporal_error_change=known.change if known else None,
        note="; ".join(filter(None, (*remarks(fidelity), *(doubt.sentence for doubt in doubted)))),
    )


def growth(rows: Sequence[SweepRow]) -> list[Growth]:
    """How time grows with pixels, for each runtime, thread count and batch that has two sizes at least."""
    found = []
    for key in dict.fromkeys((row.runtime, row.threads, row.batch) for row in rows):
        group = [row for row in rows if (row.runtime, row.threads, row.batch) == key]
        pixels = np.array([row.size.pixels for row in group], np.float64)
        taken = np.array([row.device_ms for row in group])
        if len(set(pixels)) > 1:
            exponent = float(np.polyfit(np.log(pixels), np.log(taken), 1)[0])
            largest = int(pixels.argmax())
            noted = ", ".join(str(row.size) for row in group if row.note)
            note = f"rests on rows with a note: {noted}" if noted else ""
            found.append(Growth(*key, exponent, float(taken[largest] / pixels[largest] * 1e6), note))
    return found
