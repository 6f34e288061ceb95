"""How fast sessions are: one clock, one copy boundary, interleaved rounds, and raw samples kept.

Every runtime is measured in the same way. The clock is ``perf_counter`` and stops after the
session's own ``synchronize``. Two boundaries: ``device`` starts with the frame already on the
device and ends with the result there; ``end_to_end`` starts with an 8-bit frame in host memory and
ends with one. Batch 1, and another frame each time, so nothing is served from a warm cache.

Sessions take turns in rounds, and each round starts with another of them, so that a slow spell of
the machine falls on all alike. The clock runs where a session is: in its worker, if it has one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from reconet_bench.benchmark.speed_ratio import speed_ratio
from reconet_bench.benchmark.timing_samples import Samples
from reconet_bench.core.cpu_load import Span, moment
from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.core.memory import Peak, peak_memory
from reconet_bench.runtimes.base import CANNOT_RUN, Session, SessionHandle

BOUNDARIES = ("device", "end_to_end")
#: A warm-up is over when the medians of two successive windows of this many frames differ by less than 5 %.
WARMUP_WINDOW, WARMUP_WITHIN = 3, 0.05
#: A turn never has fewer frames than this, however slow they are.
MIN_FRAMES_PER_TURN = 3

Progress = Callable[[str, int, int], None]
Failure = Callable[[str, ReconetBenchError], None]


@dataclass
class Timing:
    """What was measured of one session.

    Attributes:
        runtime, device, precision, threads, load_seconds: the session's.
        first_frame: seconds of the first frame of all, end to end: what it allocates, compiles or tunes is in it;
            ``None`` where the session had run frames before.
        build_seconds: of compiling or building for this frame size, which the first frame of it waited for.
        warmup_frames: frames until it was warm, first one included, all boundaries.
        warm: whether every warm-up ended because frames took equal time, not because its time was over.
        peak_memory: bytes at the peak of loading and of the first frames, above a process that has PyTorch imported:
            weights and the pages of libraries count. Host memory on the CPU, device memory on CUDA without the
            context; ``None`` where it is not known, or the session had run frames before.
        placement: the session's: compute nodes by provider.
        processor: what others took of the processor during the turns.
        motion: seconds that estimates of the motion to the frame before took, within ``end_to_end``; empty where the
            model uses none.
        samples: by boundary.
    """

    runtime: str
    device: str
    precision: str
    threads: int
    load_seconds: float
    first_frame: float | None = None
    build_seconds: float = 0.0
    warmup_frames: int = 0
    warm: bool = True
    peak_memory: int | None = None
    placement: dict[str, int] = field(default_factory=dict)
    processor: Span = field(default_factory=Span)
    motion: list[float] = field(default_factory=list)
    samples: dict[str, Samples] = field(default_factory=dict)

    @property
    def stable(self) -> bool:
        """Whether every boundary is stable. A warm-up that was too short shows here too: the rounds get faster."""
        return all(one.stable for one in self.samples.values())


@dataclass(frozen=True)
class TimingOptions:
    """How long and where sessions are timed.

    Attributes:
        rounds: the fewest turns of each session at each boundary; with one alone nothing has an interval.
        seconds: how long a turn is; it ends with the frame that exceeds it, and has three frames at least.
        boundaries: of :data:`BOUNDARIES`.
        warmup_seconds: the most that a warm-up takes, per session and boundary, unless six frames take longer.
        reference: name of the row that the others' speeds are divided by; empty if there is none.
        budget: seconds after which there are no more rounds than ``rounds``; until then, more are taken while a ratio
            to the reference is not resolved (see :mod:`~reconet_bench.benchmark.speed_ratio`).

    Raises:
        ValueError: no rounds, or a boundary that does not exist.
    """

    rounds: int = 5
    seconds: float = 1.0
    boundaries: tuple[str, ...] = BOUNDARIES
    warmup_seconds: float = 5.0
    reference: str = ""
    budget: float = 0.0

    def __post_init__(self) -> None:
        if unknown := set(self.boundaries) - set(BOUNDARIES):
            raise ValueError(f"boundaries must be among {BOUNDARIES}, got {sorted(unknown)}")
        if self.rounds < 1:
            raise ValueError(f"rounds must be 1 or more, got {self.rounds}")


def measure(
    sessions: Mapping[str, SessionHandle],
    frames: Sequence[np.ndarray],
    options: TimingOptions | None = None,
    on_progress: Progress | None = None,
    on_failure: Failure | None = None,
) -> dict[str, Timing]:
    """Time sessions against one another.

    Args:
        sessions: by the name of their row.
        frames: ``(H, W, 3)`` or batches ``(N, H, W, 3)``, uint8, of one size, used in rotation; a dozen is plenty.
        options: how long, and at which boundaries.
        on_progress: called with (row, turns done, turns in all) before each turn, warm-ups included.
        on_failure: called with (row, error) if a session breaks off; it has no timing then, and the others go on.

    Raises:
        DataError: no frames, or frames of several sizes.
        RuntimeUnavailable, ModelError: a session broke off, and there is no ``on_failure``.
    """
    if not frames or len({frame.shape for frame in frames}) > 1:
        sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
        raise DataError(f"timing needs frames of one size, got {', '.join(sizes) or 'none'}")
    options = options or TimingOptions()
    total = len(sessions) * (options.rounds + 1)
    turn = itertools.count()
    progress = on_progress or (lambda *_: None)
    timings: dict[str, Timing] = {}
    # One rotation through all turns: a turn does not start over with the same few frames.
    taken_from = 0

    def attempt(name: str, work: Callable[[], int]) -> None:
        nonlocal taken_from
        done = next(turn)
        progress(name, done, max(total, done + 1))
        try:
            taken_from += work()
        except CANNOT_RUN as error:
            if on_failure is None:
                raise
            timings.pop(name, None)
            on_failure(name, error)

    def warm_up(name: str) -> int:
        timings[name] = sessions[name].ask(_warm_up, frames, taken_from, options.boundaries, options.warmup_seconds)
        return timings[name].warmup_frames

    def take_turn(name: str) -> int:
        turns, processor, motion = sessions[name].ask(_turns, frames, taken_from, options.boundaries, options.seconds)
        timings[name].processor = timings[name].processor.and_then(processor)
        timings[name].motion += motion
        for boundary, taken in turns.items():
            timings[name].samples[boundary].rounds.append(taken)
        return sum(len(taken) + 1 for taken in turns.values())

    names = list(sessions)
    for name in names:
        attempt(name, functools.partial(warm_up, name))
    began = perf_counter()
    for number in itertools.count():
        if number >= options.rounds and (perf_counter() - began >= options.budget or _resolved(timings, options)):
            break
        shift = number % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            if name in timings:
                attempt(name, functools.partial(take_turn, name))
    return timings


def _resolved(timings: Mapping[str, Timing], options: TimingOptions) -> bool:
    """Whether every ratio to the reference is known well enough, at every boundary."""
    base = timings.get(options.reference)
    if base is None:
        return True
    return all(
        speed_ratio(timing.samples[boundary].rounds, base.samples[boundary].rounds).resolved
        for timing in timings.values()
        if timing is not base
        for boundary in options.boundaries
    )


def time_frame(session: Session, frame: np.ndarray, boundary: str) -> float:
    """Seconds that one frame takes between the boundary's two ends."""
    if (own := session.timed(frame, boundary)) is not None:
        return own
    if boundary == "end_to_end":
        start = perf_counter()
        session(frame)
        return perf_counter() - start
    resident = session.upload(frame)
    session.synchronize()
    start = perf_counter()
    result = session.run(resident)
    session.synchronize()
    taken = perf_counter() - start
    del result  # bound until here, so that it is freed after the clock stopped
    return taken


def _rotation(frames: Sequence[np.ndarray], first: int) -> Iterator[np.ndarray]:
    """The frames over and over, from the one after ``first`` others."""
    return itertools.islice(itertools.cycle(frames), first % len(frames), None)


def _warm_up(
    session: Session, frames: Sequence[np.ndarray], first: int, boundaries: Sequence[str], limit: float
) -> Timing:
    """First frame, peak memory and warm-up: until two successive windows agree, or the time is over."""
    rotation = _rotation(frames, first)
    timing = Timing(session.runtime, session.device, session.precision, session.threads, session.load_seconds)
    timing.samples = {boundary: Samples() for boundary in boundaries}
    fresh, built = not session.used, session.build_seconds
    with peak_memory(session.device) as peak:
        first_frame = time_frame(session, next(rotation), "end_to_end")
        timing.warmup_frames = 1
        for boundary in boundaries:
            taken: list[float] = []
            while not _settled(taken) and (sum(taken) < limit or len(taken) < 2 * WARMUP_WINDOW):
                taken.append(time_frame(session, next(rotation), boundary))
            timing.warmup_frames += len(taken)
            timing.warm &= _settled(taken)
    timing.build_seconds = session.build_seconds - built
    # Known now, and not all of it before the first frame.
    timing.precision, timing.threads, timing.placement = session.precision, session.threads, dict(session.placement)
    if fresh:
        timing.first_frame = first_frame
        timing.peak_memory = peak_since_loading(session, peak)
    return timing


def peak_since_loading(session: Session, peak: Peak) -> int | None:
    """Bytes at the peak of loading a session and of its first frames; ``None`` where they are not known."""
    if (elsewhere := session.peak()) is not None:
        return elsewhere
    if peak.taken is None or session.load_memory is None:
        return None
    return session.load_memory + peak.taken


def _settled(taken: list[float]) -> bool:
    """Whether the last two windows of samples have the same median, within 5 %."""
    if len(taken) < 2 * WARMUP_WINDOW:
        return False
    before, now = np.median(taken[-2 * WARMUP_WINDOW : -WARMUP_WINDOW]), np.median(taken[-WARMUP_WINDOW:])
    return bool(abs(now - before) <= WARMUP_WITHIN * before)


def _turns(
    session: Session, frames: Sequence[np.ndarray], first: int, boundaries: Sequence[str], seconds: float
) -> tuple[dict[str, list[float]], Span, list[float]]:
    """One turn of one session at each boundary, what others did to the processor meanwhile, and times of motion."""
    rotation, before = _rotation(frames, first), moment()
    motion = session.history.seconds if session.history else []
    motion.clear()
    turns = {boundary: _turn(session, rotation, boundary, seconds) for boundary in boundaries}
    return turns, before.until(moment()) if before else Span(), list(motion)


def _turn(session: Session, rotation: Iterator[np.ndarray], boundary: str, seconds: float) -> list[float]:
    """One turn of one session: a frame that is not counted (others ran in between), then samples."""
    taken: list[float] = []
    with _no_collection():
        time_frame(session, next(rotation), boundary)
        while sum(taken) < seconds or len(taken) < MIN_FRAMES_PER_TURN:
            taken.append(time_frame(session, next(rotation), boundary))
    return taken


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's garbage collector, which would add its pauses to some frames."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
