"""How the time of a frame grows with its pixels: sizes × batches × threads × runtimes, timed in turns, with parity."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reconet_bench.benchmark.fastest_runtime import choose_runtime
from reconet_bench.benchmark.reference_check import Expected, Probe, probe_clip
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import measure
from reconet_bench.core.errors import DataError, ModelError, ReconetBenchError, RuntimeUnavailable, enough_memory
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, SessionHandle
from reconet_bench.runtimes.selection import AUTO, reference_runtime
from reconet_bench.runtimes.worker import load_apart, open_all

#: Sizes as (height, width): two squares, MPI-Sintel, 720p, 1080p.
SIZES = ((256, 256), (512, 512), (436, 1024), (720, 1280), (1080, 1920))
#: Seconds of a turn at each boundary.
SECONDS = 0.5
#: What to do about a size or batch that memory does not hold.
SMALLER = "for it: leave it out, or take a smaller batch"


@dataclass(frozen=True)
class Row:
    """One runtime at one size, batch and thread count.

    Attributes:
        batch: frames at once; the times are those of one frame, a share of its batch.
        device_ms, p90_ms, p99_ms: from device to device; median and percentiles.
        end_to_end_ms: from an 8-bit host frame to one; median.
        fps: frames a second, device to device.
        max_abs: largest absolute difference to the reference's frames in [0, 1]; ``None`` where the reference gave none.
        psnr: to the reference runtime, dB; infinite where the frames are equal, ``None`` as for ``max_abs``.
        temporal_error_change: of E(V) against the reference, percent; ``None`` where there is none.
        note: why not to trust the row, or why it has no parity, else empty.
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
    note: str


@dataclass
class Result:
    """What a sweep found.

    Attributes:
        chosen: what ``auto`` stood for, and why; a line for each size and thread count.
        skipped: what could not be timed, and why; a line each.
    """

    rows: list[Row] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


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
    model: Model,
    sizes: Sequence[tuple[int, int]],
    runtimes: Sequence[str],
    threads: Sequence[int | None] = (None,),
    device: str = "auto",
    rounds: int = 5,
    report: Callable[[str], None] = lambda text: None,
    seconds: float = SECONDS,
    batches: Sequence[int] = (1,),
    result: Result | None = None,
) -> Result:
    """Time every runtime at every size, batch and thread count; runtimes of one size take turns.

    Args:
        sizes: heights and widths.
        runtimes: names; ``auto`` is the one at each size that is the fastest faithful one frame by frame, for batches too.
        threads: of each runtime; ``None`` is all usable cores.
        report: told which size is being timed, what ``auto`` tries and chooses, and what cannot run.
        batches: numbers of frames at once.
        result: filled as the work goes on; who is interrupted still has what was measured until then.

    Raises:
        DataError: no sizes or no thread counts. ModelError: no runtime runs the model at any of the sizes.
    """
    if not sizes or not threads or not batches:
        raise DataError("a sweep needs at least one size, one batch and one number of threads")
    result = Result() if result is None else result
    for count in dict.fromkeys(threads):
        with contextlib.ExitStack() as stack:
            opened = _Opened(model, device, count, result, report, stack)
            for size in dict.fromkeys(sizes):
                _all_batches(opened, size, list(dict.fromkeys(batches)), runtimes, rounds, seconds)
    if not result.rows:
        raise ModelError(
            f"no runtime runs '{model.source.name}' on {device}: {'; '.join(dict.fromkeys(result.skipped))}"
        )
    return result


class _Opened:
    """The model in one runtime after another on one number of threads, each in a worker that stays for all sizes."""

    def __init__(
        self,
        model: Model,
        device: str,
        threads: int | None,
        result: Result,
        report: Callable[[str], None],
        stack: contextlib.ExitStack,
    ) -> None:
        self.model, self.device, self.threads, self.result, self.report = model, device, threads, result, report
        self._stack = stack
        self._sessions: dict[str, SessionHandle] = {}
        self._given_up: set[str] = set()
        self._reference: SessionHandle | None = None

    def place(self, size: tuple[int, int], batch: int = 1) -> str:
        """``48x32 in batches of 3 on 2 threads``."""
        text = f"{size[1]}x{size[0]}" + (f" in batches of {batch}" if batch > 1 else "")
        return text + (f" on {self.threads} threads" if self.threads else "")

    def choose(self, asked: Sequence[str], size: tuple[int, int]) -> list[str]:
        """Runtimes by name, each once; for ``auto`` the one it stands for at this size, which is noted, or nothing."""
        names: list[str] = []
        for name in asked:
            try:
                names.append(self._auto(size) if name == AUTO else name)
            except CANNOT_RUN as error:
                self.skip(f"{name} at {self.place(size)}", error)
        return list(dict.fromkeys(names))

    def _auto(self, size: tuple[int, int]) -> str:
        choice = choose_runtime(self.model, size, self.device, self.threads, self.report)
        self.result.chosen.append((f"on {self.threads} threads: " if self.threads else "") + choice.reason)
        self.report(f"auto: {self.result.chosen[-1]}")
        return choice.name

    def get(self, names: Sequence[str], place: str) -> dict[str, SessionHandle]:
        """Those of ``names`` that run the model; of the others it is said once that they do not."""
        new = [name for name in names if name not in self._sessions and name not in self._given_up]
        drop = functools.partial(self.drop, place)
        self._sessions |= open_all(new, self.model.source, self.device, self.threads, self._stack, drop)
        return {name: self._sessions[name] for name in names if name in self._sessions}

    def drop(self, place: str, name: str, error: ReconetBenchError) -> None:
        """A runtime that cannot be loaded takes no further part; one that broke off is loaded anew for what follows.

        One that only does not take these frames (a fixed size or batch) stays as it is.
        """
        self.skip(f"{name} at {place}", error)
        if name not in self._sessions:
            self._given_up.add(name)
        elif isinstance(error, RuntimeUnavailable):
            self._sessions.pop(name).close()  # what memory it still holds is wanted by others

    def skip(self, what: str, error: Exception) -> None:
        """Note what is not timed, and why."""
        self.result.skipped.append(f"{what}: {str(error) or 'not enough memory'}")
        self.report(f"skipped {self.result.skipped[-1]}")

    def expect(self, probe: Probe) -> Expected:
        """What the others are compared with.

        Raises:
            RuntimeUnavailable, ModelError: the reference itself cannot do it, which is no other's fault.
        """
        if self._reference is None:
            name, device = reference_runtime(self.model.source)
            self._reference = self._stack.enter_context(
                load_apart(name, self.model.source, device or self.device, self.threads)
            )
        try:
            return probe.expect(self._reference)
        except RuntimeUnavailable:
            self._reference.close()
            self._reference = None  # it may be gone; the next size gets another
            raise


def _all_batches(
    opened: _Opened, size: tuple[int, int], batches: Sequence[int], runtimes: Sequence[str], rounds: int, seconds: float
) -> None:
    """All runtimes at one size; what cannot be rendered, or has no room in memory, costs this size or batch alone."""
    try:
        with enough_memory(SMALLER):
            clip = probe_clip(size)
            names = opened.choose(runtimes, size)
    except DataError as error:
        opened.skip(opened.place(size), error)
        return
    for batch in batches:
        opened.report(f"timing {opened.place(size, batch)}")
        try:
            with enough_memory(SMALLER):
                _at(opened, Probe(clip, batch), size, batch, names, rounds, seconds)
        except DataError as error:
            opened.skip(opened.place(size, batch), error)


def _at(
    opened: _Opened, probe: Probe, size: tuple[int, int], batch: int, names: Sequence[str], rounds: int, seconds: float
) -> None:
    """All runtimes at one size and batch."""
    place = opened.place(size, batch)
    drop = functools.partial(opened.drop, place)
    sessions: dict[str, SessionHandle] = {}
    for name, session in opened.get(names, place).items():
        try:
            session(probe.images[0])  # what cannot run at this size says so here, and not in the midst of the clock
            sessions[name] = session
        except CANNOT_RUN as error:
            drop(name, error)
    timings = measure(sessions, probe.images, rounds, seconds, on_failure=drop)
    expected, absent = None, ""
    try:
        expected = opened.expect(probe) if timings else None
    except CANNOT_RUN as error:
        absent = f"no parity, the reference failed: {error}"
    for name, timing in timings.items():
        try:
            fidelity = probe.compare(expected, sessions[name]) if expected else None
        except CANNOT_RUN as error:
            drop(name, error)
            continue
        samples, each, parity = timing.samples["device"], 1000 / batch, fidelity.parity if fidelity else None
        remarks = fidelity.remarks if fidelity else (absent,)
        opened.result.rows.append(
            Row(
                opened.model.source.name,
                name,
                timing.precision,
                timing.device,
                timing.threads,
                size[1],
                size[0],
                batch,
                each * samples.median,
                each * samples.p90,
                each * samples.p99,
                each * timing.samples["end_to_end"].median,
                batch * samples.fps,
                parity.max_abs if parity else None,
                parity.psnr if parity else None,
                fidelity.change if fidelity else None,
                "; ".join(filter(None, (*remarks, *(doubt.sentence for doubt in doubts(timing))))),
            )
        )


def growth(rows: Sequence[Row]) -> list[Growth]:
    """How time grows with pixels, for each runtime, thread count and batch that has two sizes at least."""
    found = []
    for key in dict.fromkeys((row.runtime, row.threads, row.batch) for row in rows):
        group = [row for row in rows if (row.runtime, row.threads, row.batch) == key]
        pixels = np.array([row.width * row.height for row in group], np.float64)
        taken = np.array([row.device_ms for row in group])
        if len(set(pixels)) > 1:
            exponent = float(np.polyfit(np.log(pixels), np.log(taken), 1)[0])
            largest = int(pixels.argmax())
            noted = ", ".join(f"{row.width}x{row.height}" for row in group if row.note)
            note = f"rests on rows with a note: {noted}" if noted else ""
            found.append(Growth(*key, exponent, float(taken[largest] / pixels[largest] * 1e6), note))
    return found
