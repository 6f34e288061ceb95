"""How fast candidates for the network are: in each runtime all of them take turns, and one is the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reconet_bench.benchmark.speed_ratio import speed_ratio
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.core.errors import ReconetBenchError
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import checkpoint_model
from reconet_bench.runtimes.base import CANNOT_RUN, ModelSource, SessionHandle
from reconet_bench.runtimes.selection import Resources
from reconet_bench.runtimes.worker import load_apart

#: Seconds of a turn.
SECONDS = 0.25
_BOUNDARY = "device"


@dataclass(frozen=True)
class CandidateSpeed:
    """How long a frame takes in one runtime.

    Attributes:
        ms: median, device to device; ``None`` where it could not be timed.
        ratio: time over that of the reference, with its 95 % interval over the rounds.
        note: why it is not known, or what to doubt.
    """

    ms: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def untrained(name: str, method: str, folder: Path) -> ModelSource:
    """A network with random weights, which is as fast as a trained one.

    Args:
        folder: for its export.
    """
    torch.manual_seed(0)
    network = METHODS[method].network(None, name).eval()
    return checkpoint_model(Checkpoint(network, method, "", info={"network": name}), folder)


def time_candidates(
    sources: Mapping[str, ModelSource],
    runtime: str,
    frames: Sequence[np.ndarray],
    rounds: int,
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, CandidateSpeed]:
    """Time all candidates in one runtime, in turns on the same frames; one that fails has its reason instead.

    Args:
        sources: by name, the reference first.
    """
    found: dict[str, CandidateSpeed] = {}

    def failed(name: str, error: ReconetBenchError) -> None:
        found[name] = CandidateSpeed(note=str(error))
        report(f"{name} in {runtime}: {error}")

    with contextlib.ExitStack() as stack:
        sessions: dict[str, SessionHandle] = {}
        for name, source in sources.items():
            try:
                sessions[name] = stack.enter_context(load_apart(runtime, source, Resources()))
                sessions[name](frames[0])  # what cannot run says so here, before the clock runs
            except CANNOT_RUN as error:
                sessions.pop(name, None)
                failed(name, error)
        reference = next(iter(sources))
        options = TimingOptions(rounds, SECONDS, (_BOUNDARY,), reference=reference, restarts=True)
        timings = measure(sessions, frames, options, on_failure=failed) if sessions else {}
    base = timings.get(reference)
    for name, timing in timings.items():
        own, note = timing.samples[_BOUNDARY], "; ".join(doubt.sentence for doubt in doubts(timing))
        ratio, low, high = None, None, None
        if base is not None:
            speed = speed_ratio(base.samples[_BOUNDARY].rounds, own.rounds)
            known = (speed.value, None, None) if base is timing else (speed.value, speed.low, speed.high)
            ratio, low, high = known
        found[name] = CandidateSpeed(1000 * own.median, ratio, low, high, note)
    return {name: found[name] for name in sources}
