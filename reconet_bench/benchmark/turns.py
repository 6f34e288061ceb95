"""What a session does while it is timed: its first frames, its warm-up, and its turns; in its worker, if it has one."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from reconet_bench.benchmark.timing_samples import Samples, Timing
from reconet_bench.core.cpu_load import Span, moment
from reconet_bench.core.memory import Peak, peak_memory
from reconet_bench.runtimes.base import Session

#: A warm-up is over when the medians of two successive windows of this many frames differ by less than 5 %.
WARMUP_WINDOW, WARMUP_WITHIN = 3, 0.05
#: A turn never has fewer frames than this, however slow they are.
MIN_FRAMES_PER_TURN = 3
#: Frames that a new process runs before its turn: the first ones allocate and tune.
FRAMES_TO_START = 3


def start(session: Session, frames: Sequence[np.ndarray], first: int) -> int:
    """Run the frames that a new process needs before its turn; how many they were."""
    for frame in itertools.islice(_rotation(frames, first), FRAMES_TO_START):
        session(frame)
    return FRAMES_TO_START


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


def warm_up(
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


def take_turns(
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
