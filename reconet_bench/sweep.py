"""How the time of a frame grows with its pixels: sizes × batches × threads × runtimes, timed in turns, with parity."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reconet_bench.auto import choose_runtime
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.errors import DataError, ModelError, ReconetBenchError, RuntimeUnavailable
from reconet_bench.ops import to_uint8
from reconet_bench.runtimes.base import CANNOT_RUN, Loaded, Parity, frames_parity, reference_frames
from reconet_bench.speed import doubts, gate
from reconet_bench.subjects import AUTO, Subject, reference_runtime
from reconet_bench.timing import measure
from reconet_bench.workers import load_apart, open_all

#: Sizes as (height, width): two squares, MPI-Sintel, 720p, 1080p.
SIZES = ((256, 256), (512, 512), (436, 1024), (720, 1280), (1080, 1920))
#: Frames of the built-in clip in rotation, and seconds of a turn at each boundary.
FRAMES, SECONDS = 4, 0.5


@dataclass(frozen=True)
class Row:
    """One runtime at one size, batch and thread count.

    Attributes:
        batch: frames at once; the times are those of one frame, a share of its batch.
        device_ms, p90_ms, p99_ms: from device to device; median and percentiles.
        end_to_end_ms: from an 8-bit host frame to one; median.
        fps: frames a second, device to device.
        psnr: to the reference runtime, dB; infinite where the frames are equal, ``None`` where the reference gave none.
        note: why not to trust the row, or why it has no parity, else empty.
    """

    runtime: str
    precision: str
    device: str
    threads: int
    width: int
    height: int
    device_ms: float
    p90_ms: float
    p99_ms: float
    end_to_end_ms: float
    fps: float
    psnr: float | None
    note: str
    batch: int = 1


@dataclass(frozen=True)
class Growth:
    """How the time of one runtime grows with pixels.

    Attributes:
        exponent: ``b`` of ``time = a · pixels^b``, least squares on logarithms: 1 = in proportion.
        ms_per_megapixel: at the largest size.
    """

    runtime: str
    threads: int
    batch: int
    exponent: float
    ms_per_megapixel: float


def sweep(
    subject: Subject,
    sizes: Sequence[tuple[int, int]],
    runtimes: Sequence[str],
    threads: Sequence[int | None] = (None,),
    device: str = "auto",
    rounds: int = 5,
    report: Callable[[str], None] = lambda text: None,
    seconds: float = SECONDS,
    batches: Sequence[int] = (1,),
) -> list[Row]:
    """Time every runtime at every size, batch and thread count; runtimes of one size take turns.

    Args:
        sizes: heights and widths.
        runtimes: names; ``auto`` is the fastest faithful one at each size.
        threads: of each runtime; ``None`` is all usable cores.
        report: told which size is being timed, and what cannot run.
        batches: numbers of frames at once.

    Raises:
        DataError: no sizes or no thread counts. ModelError: no runtime runs the model.
    """
    if not sizes or not threads or not batches:
        raise DataError("a sweep needs at least one size, one batch and one number of threads")
    rows: list[Row] = []
    for count in dict.fromkeys(threads):
        with contextlib.ExitStack() as stack:
            opened = _Opened(subject, device, count, report, stack)
            for size, batch in itertools.product(dict.fromkeys(sizes), dict.fromkeys(batches)):
                place = f"{size[1]}x{size[0]}" + (f" in batches of {batch}" if batch > 1 else "")
                report(f"timing {place}" + (f" on {count} threads" if count else ""))
                rows += _at(opened, size, batch, runtimes, rounds, seconds, place)
    if not rows:
        raise ModelError(f"no runtime runs '{subject.model.name}' on {device}")
    return rows


class _Opened:
    """The model in one runtime after another on one number of threads, each in a worker that stays for all sizes."""

    def __init__(
        self, subject: Subject, device: str, threads: int | None, report: Callable[[str], None], stack: contextlib.ExitStack
    ) -> None:
        self.subject, self.device, self.threads, self.report, self._stack = subject, device, threads, report, stack
        self._sessions: dict[str, Loaded] = {}
        self._given_up: set[str] = set()
        self._reference: Loaded | None = None

    def get(self, names: Sequence[str], place: str) -> dict[str, Loaded]:
        """Those of ``names`` that run the model; of the others it is said once that they do not."""
        new = [name for name in names if name not in self._sessions and name not in self._given_up]
        drop = functools.partial(self.drop, place)
        self._sessions |= open_all(new, self.subject.model, self.device, self.threads, self._stack, drop)
        return {name: self._sessions[name] for name in names if name in self._sessions}

    def drop(self, place: str, name: str, error: ReconetBenchError) -> None:
        """A runtime that broke off takes no further part; at a larger size it would again.

        One that does not take these frames alone (a fixed size or batch) is kept for others.
        """
        self.report(f"skipped {name} at {place}: {error}")
        if isinstance(error, ModelError) and name in self._sessions:
            return
        self._sessions.pop(name, None)
        self._given_up.add(name)

    def reference_frames(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the others are compared with.

        Raises:
            RuntimeUnavailable, ModelError: the reference itself cannot do it, which is no other's fault.
        """
        if self._reference is None:
            name, device = reference_runtime(self.subject.model)
            self._reference = self._stack.enter_context(load_apart(name, self.subject.model, device or self.device, self.threads))
        try:
            return reference_frames(self._reference, images)
        except RuntimeUnavailable:
            self._reference = None  # it may be gone; the next size gets another
            raise


def _at(
    opened: _Opened, size: tuple[int, int], batch: int, runtimes: Sequence[str], rounds: int, seconds: float, place: str
) -> list[Row]:
    """All runtimes at one size and batch."""
    clip = synthetic_clip("carousel", size, FRAMES)
    frames = [to_uint8(clip.frame(index))[0] for index in range(FRAMES)]
    # Another frame in each place of a batch, and another batch each time.
    images = [np.stack([frames[(start + n) % FRAMES] for n in range(batch)]) for start in range(FRAMES)] if batch > 1 else frames
    drop = functools.partial(opened.drop, place)
    names: list[str] = []
    for asked in runtimes:
        try:
            names.append(choose_runtime(opened.subject, size, opened.device, opened.threads).name if asked == AUTO else asked)
        except CANNOT_RUN as error:
            opened.report(f"skipped {asked} at {place}: {error}")
    sessions: dict[str, Loaded] = {}
    for name, session in opened.get(list(dict.fromkeys(names)), place).items():
        try:
            session(images[0])  # what cannot run at this size says so here, and not in the midst of the clock
            sessions[name] = session
        except CANNOT_RUN as error:
            drop(name, error)
    timings = measure(sessions, images, rounds, seconds, on_failure=drop)
    shown = images[:1] if batch > 1 else images
    expected, absent = None, ""
    try:
        expected = opened.reference_frames(shown) if timings else None
    except CANNOT_RUN as error:
        absent = f"no parity, the reference failed: {error}"
    rows = []
    for name, timing in timings.items():
        parity: Parity | None = None
        try:
            parity = frames_parity(expected, sessions[name], shown) if expected else None
        except CANNOT_RUN as error:
            drop(name, error)
            continue
        samples, each = timing.samples["device"], 1000 / batch
        note = "; ".join(filter(None, (gate(parity, None) if parity else absent, *doubts(timing))))
        row = Row(
            name, timing.precision, timing.device, timing.threads, size[1], size[0], each * samples.median,
            each * samples.p90, each * samples.p99, each * timing.samples["end_to_end"].median, batch * samples.fps,
            parity.psnr if parity else None, note, batch,
        )  # fmt: skip
        rows.append(row)
    return rows


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
            found.append(Growth(*key, exponent, float(taken[largest] / pixels[largest] * 1e6)))
    return found
