"""The fastest runtime whose frames are still those of the reference: found by trying, then remembered.

Which runtime is fastest depends on the processor, the frame size and the versions, so no table is
right for long. Every runtime that is installed is tried on frames of a built-in clip, one at a time
in a process of its own, so that none slows the next or brings down the rest: it must pass the parity
gate of :mod:`reconet_bench.benchmark.speed_records`, and what passes is timed. The fastest few are then timed against
one another in interleaved rounds, and these alone decide. A choice that the machine made doubtful is
said to be so, and not remembered: the next run tries anew.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from reconet_bench.benchmark.reference_check import Expected, Fidelity, Probe, probe_clip
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import Timing, measure
from reconet_bench.core.errors import ReconetBenchError, RuntimeUnavailable
from reconet_bench.core.files import write_text
from reconet_bench.core.machine import cache_folder, cpu_name, pick_device, usable_cpus
from reconet_bench.core.provenance import versions
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, RUNTIMES, ModelSource
from reconet_bench.runtimes.selection import reference_runtime
from reconet_bench.runtimes.worker import load_apart, open_all

#: Whatever takes this many times as long as the fastest in the first trial has no part in the second.
FINALISTS_WITHIN = 1.5
#: Rounds and seconds a turn, of the first trial and of the second.
_TRIAL, _FINAL = (1, 0.3), (5, 0.3)
#: Seconds that the warm-up of a session takes at most.
_WARM_UP = 1.0
#: Seconds within which a second trial that the machine made doubtful is done again.
_PATIENCE = 15.0
#: Layout version of what is remembered.
_FORMAT = 2

Report = Callable[[str], None]


@dataclass
class Choice:
    """The runtime chosen.

    Attributes:
        name: of the runtime, with its variant.
        reason: why, in one line.
        milliseconds: a frame, end to end, of every runtime that passed; the median of its last trial, those of the
            second before those of the first alone.
        passed_over: why each of the others was not taken.
        doubt: why another run may choose otherwise, else empty; such a choice is not remembered.
        remembered: whether it was measured in an earlier run.
    """

    name: str
    reason: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    doubt: str = ""
    remembered: bool = False


def choose_runtime(
    model: Model,
    size: tuple[int, int],
    device: str = "auto",
    threads: int | None = None,
    report: Report = lambda text: None,
    candidates: Sequence[str] = (),
) -> Choice:
    """The fastest runtime for a model, end to end and frame by frame, among those that pass the parity gate on this machine.

    Args:
        model: the model; by its checksum the choice is remembered, with size, device, threads and
            versions. Without a checksum it is measured each time.
        size: height and width of the frames.
        report: told what is being tried, in a few words.
        candidates: names of runtimes; every one that is installed by default.

    Raises:
        RuntimeUnavailable: no such device, or no runtime runs the model at all.
        ModelError: the model does not take this size, or the reference cannot run it.
    """
    source, checksum = model.source, model.checksum
    names = list(candidates) or [name for name in RUNTIMES.names() if not RUNTIMES[name].missing()]
    values = (
        "" if source.network is not None else f" {source.input_range.name} {source.output_range.name} {source.layout}"
    )
    key = _key(checksum + values, size, device, threads, names)
    place = _place(key)
    if checksum and (known := _recall(place, key)):
        return known
    probe = Probe(probe_clip(size))
    reference_name, its_device = reference_runtime(source)
    with load_apart(reference_name, source, its_device or device, threads) as reference:
        expected = probe.expect(reference)
    trials = _try_all(names, source, (device, threads), probe, expected, report)
    final: dict[str, Timing] = {}
    while trials.timings and not final:  # those that break off in the second trial leave it to the next fastest
        final = _run_off(trials, source, (device, threads), probe, report)
    if not final:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in trials.passed_over.items())
        raise RuntimeUnavailable(f"no runtime passes for '{source.name}' on {device}: {reasons}")
    choice = _choice(trials, final, reference_name, size)
    if checksum and not choice.doubt:
        with contextlib.suppress(OSError):  # nowhere to write: it is measured again next time
            fields = {"format": _FORMAT, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
            write_text(place, json.dumps({**fields, "key": key, "choice": asdict(choice)}, indent=1))
    return choice


@dataclass
class _Trials:
    """What was found so far: timing and fidelity of those that passed, reasons of those that did not."""

    timings: dict[str, Timing] = field(default_factory=dict)
    fidelity: dict[str, Fidelity] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def pass_over(self, name: str, error: ReconetBenchError) -> None:
        """One that cannot run the model after all."""
        self.timings.pop(name, None)
        self.passed_over[name] = str(error)

    def finalists(self) -> list[str]:
        """Those near the fastest, by the fastest frame of each: whatever else runs here only ever adds."""
        least = {name: float(timing.samples["end_to_end"].seconds.min()) for name, timing in self.timings.items()}
        return [name for name, taken in least.items() if taken <= FINALISTS_WITHIN * min(least.values())]


def _try_all(
    names: Sequence[str],
    model: ModelSource,
    where: tuple[str, int | None],
    probe: Probe,
    expected: Expected,
    report: Report,
) -> _Trials:
    """Gate and time every runtime, with no other one open; ``expected`` is the reference's."""
    trials = _Trials()
    for name in names:
        report(f"trying {name}")
        try:
            with load_apart(name, model, *where) as session:
                fidelity = probe.compare(expected, session)
                if fidelity.failed:
                    trials.passed_over[name] = f"{fidelity.failed} ({fidelity})"
                    continue
                rounds, seconds = _TRIAL
                timing = measure(
                    {name: session}, probe.images, rounds, seconds, ("end_to_end",), warmup_seconds=_WARM_UP
                )[name]
        except CANNOT_RUN as error:
            trials.pass_over(name, error)
            continue
        trials.timings[name], trials.fidelity[name] = timing, fidelity
    return trials


def _run_off(
    trials: _Trials, model: ModelSource, where: tuple[str, int | None], probe: Probe, report: Report
) -> dict[str, Timing]:
    """The fastest few, timed against one another; again, while there is time, where the machine made it doubtful."""
    finalists = trials.finalists()
    report(f"timing {', '.join(finalists)}")
    rounds, seconds = _FINAL
    with contextlib.ExitStack() as stack:
        sessions = open_all(finalists, model, *where, stack, trials.pass_over)

        def drop(name: str, error: ReconetBenchError) -> None:
            sessions.pop(name)
            trials.pass_over(name, error)

        until = perf_counter() + _PATIENCE
        while True:
            timings = measure(
                sessions, probe.images, rounds, seconds, ("end_to_end",), warmup_seconds=_WARM_UP, on_failure=drop
            )
            if not _doubt(timings) or perf_counter() >= until:
                return timings


def _ranked(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Milliseconds a frame, the fastest first."""
    taken = {name: 1000 * timing.samples["end_to_end"].median for name, timing in timings.items()}
    return dict(sorted(taken.items(), key=lambda item: item[1]))


def _doubt(final: Mapping[str, Timing]) -> str:
    """What speaks against the timings of the first two, between which the choice is; empty where nothing does."""
    found = {name: doubts(final[name]) for name in list(_ranked(final))[:2]}
    return "; ".join(f"{name} {', '.join(why)}" for name, why in found.items() if why)


def _choice(trials: _Trials, final: Mapping[str, Timing], reference: str, size: tuple[int, int]) -> Choice:
    first, second = _ranked(trials.timings), _ranked(final)
    name = next(iter(second))
    # Like with like: the reference may have had no part in the second trial.
    ratios = [taken[reference] / taken[name] for taken in (second, first) if reference in taken]
    faster = f", {ratios[0]:.1f} × {reference}" if ratios and name != reference else ""
    taken = second | {other: ms for other, ms in first.items() if other not in second}
    others = ", ".join(f"{other} {ms:.1f} ms" for other, ms in list(taken.items())[1:3])
    doubt = _doubt(final)
    reason = (
        f"{name}: fastest of {len(taken)} that pass the parity gate at {size[1]}x{size[0]}: {taken[name]:.1f} ms a frame{faster}, "
        f"{trials.fidelity[name]}"
        + (f"; then {others}" if others else "")
        + (f"; doubtful, so not remembered and tried anew next time: {doubt}" if doubt else "")
    )
    return Choice(name, reason, taken, trials.passed_over, doubt)


def _key(
    checksum: str, size: tuple[int, int], device: str, threads: int | None, names: Sequence[str]
) -> dict[str, Any]:
    """All that the choice depends on; another in any of them is measured anew."""
    place = pick_device(device)
    return {
        "model": checksum,
        "size": list(size),
        "device": str(place),
        "processor": _processor(place.type),
        "threads": threads or usable_cpus(),
        "versions": dict(sorted(versions().items())),
        "candidates": sorted(names),
    }


def _processor(kind: str) -> str:
    if kind != "cuda":
        return cpu_name()
    import torch

    return str(torch.cuda.get_device_name())


def _place(key: Mapping[str, Any]) -> Path:
    """Where the choice for ``key`` is remembered."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "auto" / f"{digest[:32]}.json"


def _recall(place: Path, key: Mapping[str, Any]) -> Choice | None:
    """What was chosen before; ``None`` if nothing was, or the file is not what was written."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT or found["key"] != key or found["choice"]["name"] not in key["candidates"]:
            return None
        choice = Choice(**found["choice"])
        reason = f"{choice.reason} (measured {found['time']}; delete {place} to measure again)"
        return replace(choice, reason=reason, remembered=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
