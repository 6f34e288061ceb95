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


def time_frame(session: Session, frame: np.ndarray, boundary: str) -> float:
    """Seconds that one frame takes between the boundary's two ends."""
    return time_boundaries(session, frame, [boundary])[boundary]


def time_boundaries(session: Session, frame: np.ndarray, boundaries: Sequence[str]) -> dict[str, float]:
    """Seconds that one frame takes at each boundary; all are taken of the same frame, where the clock is ours."""
    own = {boundary: session.timed(frame, boundary) for boundary in boundaries}
    if known := {boundary: seconds for boundary, seconds in own.items() if seconds is not None}:
        return known
    start = perf_counter()
    resident = session.upload(frame)
    session.synchronize()
    uploaded = perf_counter()
    result = session.run(resident)
    session.synchronize()
    taken = {"device": perf_counter() - uploaded}
    if "end_to_end" in boundaries:
        shown = session.present(result, frame)
        taken["end_to_end"] = perf_counter() - start
        del shown
    del result  # bound until here, so that it is freed after the clock stopped
    return {boundary: taken[boundary] for boundary in boundaries}


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
        taken: dict[str, list[float]] = {boundary: [] for boundary in boundaries}
        while not _all_settled(taken) and (_longest(taken) < limit or _frames(taken) < 2 * WARMUP_WINDOW):
            _add(taken, time_boundaries(session, next(rotation), boundaries))
        timing.warmup_frames += _frames(taken)
        timing.warm = _all_settled(taken)
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


def _add(taken: dict[str, list[float]], frame: dict[str, float]) -> None:
    for boundary, seconds in frame.items():
        taken[boundary].append(seconds)


def _all_settled(taken: dict[str, list[float]]) -> bool:
    return all(map(_settled, taken.values()))


def _longest(taken: dict[str, list[float]]) -> float:
    """Seconds at the boundary that takes longest."""
    return max(map(sum, taken.values()))


def _frames(taken: dict[str, list[float]]) -> int:
    return len(next(iter(taken.values())))


def take_turns(
    session: Session,
    frames: Sequence[np.ndarray],
    first: int,
    boundaries: Sequence[str],
    seconds: float,
    uncounted: int = 1,
) -> tuple[dict[str, list[float]], Span, list[float]]:
    """One turn of one session.

    Args:
        uncounted: frames before the samples: one, for others ran in between, or :data:`FRAMES_TO_START`.

    Returns:
        Seconds per frame at each boundary, what others did to the processor meanwhile, and times of motion.
    """
    rotation, before = _rotation(frames, first), moment()
    motion = session.history.seconds if session.history else []
    motion.clear()
    taken: dict[str, list[float]] = {boundary: [] for boundary in boundaries}
    with _no_collection():
        for _ in range(uncounted):
            time_boundaries(session, next(rotation), boundaries)
        while _longest(taken) < seconds or _frames(taken) < MIN_FRAMES_PER_TURN:
            _add(taken, time_boundaries(session, next(rotation), boundaries))
    return taken, before.until(moment()) if before else Span(), list(motion)


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
