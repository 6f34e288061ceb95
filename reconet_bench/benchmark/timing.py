"""How fast sessions are: one clock, one copy boundary, interleaved rounds, and raw samples kept.

Every runtime is measured in the same way. The clock is ``perf_counter`` and stops after the
session's own ``synchronize``. Two boundaries: ``device`` starts with the frame already on the
device and ends with the result there; ``end_to_end`` starts with an 8-bit frame in host memory and
ends with one. Both are read of the same frame, so ``device`` lies within ``end_to_end``. Batch 1,
and another frame each time, so nothing is served from a warm cache.

Sessions take turns in rounds, and each round starts with another of them, so that a slow spell of
the machine falls on all alike. The clock runs where a session is: in its worker, if it has one.

A process keeps its place in memory for as long as it lives, and the same network in another process is up to
a tenth faster or slower. So each round may have processes of its own: then the interval over rounds is of that too,
and holds for the next run.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from reconet_bench.benchmark import turns
from reconet_bench.benchmark.calm_rounds import calm_rounds
from reconet_bench.benchmark.speed_ratio import speed_ratio
from reconet_bench.benchmark.timing_samples import Samples, Timing
from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.runtimes.base import CANNOT_RUN, SessionHandle

BOUNDARIES = ("device", "end_to_end")
#: Sessions that load and build in so many seconds start anew for each round; slower ones would do little else.
QUICK_START = 2.0

Progress = Callable[[str, int, int], None]
Failure = Callable[[str, ReconetBenchError], None]


@dataclass(frozen=True)
class TimingOptions:
    """How long and where sessions are timed.

    Attributes:
        rounds: the fewest turns of each session at each boundary; with one alone nothing has an interval.
        seconds: how long a turn is; it ends with the frame that exceeds it, and has three frames at least.
        boundaries: of :data:`BOUNDARIES`.
        warmup_seconds: the most that a warm-up takes, unless six frames take longer.
        reference: name of the row that the others' speeds are divided by; empty if there is none.
        budget: seconds after which there are no more rounds than ``rounds``; until then, more are taken while a ratio
            to the reference is not resolved (see :mod:`~reconet_bench.benchmark.speed_ratio`).
        restarts: whether sessions with a process of their own start anew for each round, where that is quick.

    Raises:
        ValueError: no rounds, or a boundary that does not exist.
    """

    rounds: int = 5
    seconds: float = 1.0
    boundaries: tuple[str, ...] = BOUNDARIES
    warmup_seconds: float = 5.0
    reference: str = ""
    budget: float = 0.0
    restarts: bool = False

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
        timings[name] = sessions[name].ask(
            turns.warm_up, frames, taken_from, options.boundaries, options.warmup_seconds
        )
        return timings[name].warmup_frames

    def take_turn(name: str, fresh: bool) -> int:
        uncounted = turns.FRAMES_TO_START if fresh else 1
        taken, processor, motion = sessions[name].ask(
            turns.take_turns, frames, taken_from, options.boundaries, options.seconds, uncounted
        )
        timings[name].turns.append(processor)
        timings[name].motion += motion
        for boundary, seconds in taken.items():
            timings[name].samples[boundary].rounds.append(seconds)
        return uncounted + max(map(len, taken.values()))

    def start_anew() -> None:
        """All at once, for nothing is timed meanwhile."""
        with ThreadPoolExecutor() as threads:
            started = {name: threads.submit(sessions[name].restart) for name in quick if name in timings}
        for name, restart in started.items():
            attempt(name, functools.partial(joined, restart))

    def joined(restart: Future[None]) -> int:
        restart.result()
        return 0

    names = list(sessions)
    for name in names:
        attempt(name, functools.partial(warm_up, name))
    quick = [name for name in timings if options.restarts and _starts_quickly(sessions[name])]
    began = perf_counter()
    for number in itertools.count():
        if number >= options.rounds and (perf_counter() - began >= options.budget or _resolved(timings, options)):
            break
        if quick and number:
            start_anew()
        shift = number % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            if name in timings:
                attempt(name, functools.partial(take_turn, name, bool(number) and name in quick))
    return _calm(timings, options)


def _calm(timings: Mapping[str, Timing], options: TimingOptions) -> dict[str, Timing]:
    """The timings with the rounds that count alone."""
    kept = calm_rounds([timing.turns for timing in timings.values()], options.rounds)
    return {
        name: replace(
            timing,
            turns=[timing.turns[number] for number in kept],
            left_out=len(timing.turns) - len(kept),
            samples={
                boundary: Samples([samples.rounds[number] for number in kept])
                for boundary, samples in timing.samples.items()
            },
        )
        for name, timing in timings.items()
    }


def _resolved(timings: Mapping[str, Timing], options: TimingOptions) -> bool:
    """Whether every ratio to the reference is known well enough, at every boundary."""
    timings = _calm(timings, options)
    base = timings.get(options.reference)
    if base is None:
        return True
    return all(
        speed_ratio(timing.samples[boundary].rounds, base.samples[boundary].rounds).resolved
        for timing in timings.values()
        if timing is not base
        for boundary in options.boundaries
    )


def _starts_quickly(session: SessionHandle) -> bool:
    return session.load_seconds + session.build_seconds <= QUICK_START
