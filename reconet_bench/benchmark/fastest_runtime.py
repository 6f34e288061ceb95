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
from reconet_bench.benchmark.runtime_pool import OnDrop, RuntimePool
from reconet_bench.benchmark.speed_records import doubts
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.cache import mark_used
from reconet_bench.core.errors import ReconetBenchError, RuntimeUnavailable
from reconet_bench.core.files import write_text
from reconet_bench.core.machine import cache_folder, cpu_name, pick_device, usable_cpus
from reconet_bench.core.provenance import versions
from reconet_bench.core.size import Size
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, RUNTIMES, SessionHandle
from reconet_bench.runtimes.selection import AUTO, Resources, reference_runtime

#: Whatever takes this many times as long as the fastest in the first trial has no part in the second.
FINALISTS_WITHIN = 1.5
#: How the first trial and the second are timed.
_TRIAL, _FINAL = (
    TimingOptions(rounds, seconds=0.3, boundaries=("end_to_end",), warmup_seconds=1.0) for rounds in (1, 5)
)
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
    size: Size,
    resources: Resources,
    report: Report = lambda text: None,
    candidates: Sequence[str] = (),
) -> Choice:
    """The fastest runtime for a model on this machine, end to end, among those that pass the parity gate.

    Args:
        model: the model; by its checksum the choice is remembered, with size, device, threads and
            versions. Without a checksum it is measured each time.
        size: of the frames.
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
    key = _key(checksum + values, size, resources, names)
    place = _place(key)
    if checksum and (known := _recall(place, key)):
        return known
    probe = Probe(probe_clip(size))
    trials = _Trials(model, resources, probe, report)
    trials.try_all(names)
    final: dict[str, Timing] = {}
    while trials.timings and not final:  # those that break off in the second trial leave it to the next fastest
        final = trials.run_off()
    if not final:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in trials.passed_over.items())
        raise RuntimeUnavailable(f"no runtime passes for '{source.name}' on {resources.device}: {reasons}")
    choice = _choice(trials, final, reference_runtime(source)[0], size)
    if checksum and not choice.doubt:
        with contextlib.suppress(OSError):  # nowhere to write: it is measured again next time
            fields = {"format": _FORMAT, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
            write_text(place, json.dumps({**fields, "key": key, "choice": asdict(choice)}, indent=1))
    return choice


class _Trials:
    """What was found so far: timing and fidelity of those that passed, reasons of those that did not."""

    def __init__(self, model: Model, resources: Resources, probe: Probe, report: Report) -> None:
        self._model, self._resources, self._probe, self._report = model, resources, probe, report
        self.timings: dict[str, Timing] = {}
        self.fidelity: dict[str, Fidelity] = {}
        self.passed_over: dict[str, str] = {}

    def pass_over(self, name: str, error: ReconetBenchError) -> None:
        """Leave out one that cannot run the model after all."""
        self.timings.pop(name, None)
        self.passed_over[name] = str(error)

    def _pool(self) -> RuntimePool:
        return RuntimePool(self._model, self._resources, self.pass_over)

    def try_all(self, names: Sequence[str]) -> None:
        """Gate and time every runtime, with no other one open.

        Raises:
            RuntimeUnavailable, ModelError: the reference cannot run the model.
        """
        with self._pool() as pool:
            expected = self._probe.expect(pool.reference())
        for name in names:
            self._report(f"trying {name}")
            with self._pool() as pool:
                try:
                    for session in pool.open([name]).values():
                        self._try(name, session, expected)
                except CANNOT_RUN as error:
                    pool.drop(name, error)

    def _try(self, name: str, session: SessionHandle, expected: Expected) -> None:
        fidelity = self._probe.compare(expected, session)
        if fidelity.failed:
            self.passed_over[name] = f"{fidelity.failed} ({fidelity})"
            return
        self.timings[name] = measure({name: session}, self._probe.images, _TRIAL)[name]
        self.fidelity[name] = fidelity

    def finalists(self) -> list[str]:
        """Those near the fastest, by the fastest frame of each: whatever else runs here only ever adds."""
        least = {name: float(timing.samples["end_to_end"].seconds.min()) for name, timing in self.timings.items()}
        return [name for name, taken in least.items() if taken <= FINALISTS_WITHIN * min(least.values())]

    def run_off(self) -> dict[str, Timing]:
        """The fastest few, timed against one another; repeated while there is time if the timings are in doubt."""
        finalists = self.finalists()
        self._report(f"timing {', '.join(finalists)}")
        with self._pool() as pool:
            sessions = pool.open(finalists)

            def drop(name: str, error: ReconetBenchError) -> None:
                sessions.pop(name)
                pool.drop(name, error)

            until = perf_counter() + _PATIENCE
            while True:
                timings = measure(sessions, self._probe.images, _FINAL, on_failure=drop)
                if not _doubt(timings) or perf_counter() >= until:
                    return timings


def with_auto_chosen(
    names: Sequence[str], choose: Callable[[], Choice], on_choice: Callable[[Choice], None], on_drop: OnDrop
) -> list[str]:
    """``names``, each once, with ``auto`` replaced by the runtime it stands for.

    Args:
        choose: finds that runtime, see :func:`choose_runtime`.
        on_choice: told what was chosen, and why.
        on_drop: told if no runtime can be chosen; then none stands in its place.
    """
    found: list[str] = []
    for name in names:
        if name != AUTO:
            found.append(name)
            continue
        try:
            choice = choose()
        except CANNOT_RUN as error:
            on_drop(name, error)
            continue
        on_choice(choice)
        found.append(choice.name)
    return list(dict.fromkeys(found))


def _ranked(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Milliseconds a frame, the fastest first."""
    taken = {name: 1000 * timing.samples["end_to_end"].median for name, timing in timings.items()}
    return dict(sorted(taken.items(), key=lambda item: item[1]))


def _doubt(final: Mapping[str, Timing]) -> str:
    """What speaks against the timings of the first two, between which the choice is; empty where nothing does."""
    found = {name: doubts(final[name]) for name in list(_ranked(final))[:2]}
    return "; ".join(f"{name} {', '.join(why)}" for name, why in found.items() if why)


def _choice(trials: _Trials, final: Mapping[str, Timing], reference: str, size: Size) -> Choice:
    first, second = _ranked(trials.timings), _ranked(final)
    name = next(iter(second))
    # Like with like: the reference may have had no part in the second trial.
    ratios = [taken[reference] / taken[name] for taken in (second, first) if reference in taken]
    faster = f", {ratios[0]:.1f} × {reference}" if ratios and name != reference else ""
    taken = second | {other: ms for other, ms in first.items() if other not in second}
    others = ", ".join(f"{other} {ms:.1f} ms" for other, ms in list(taken.items())[1:3])
    doubt = _doubt(final)
    reason = (
        f"{name}: fastest of {len(taken)} that pass the parity gate at {size}: {taken[name]:.1f} ms a frame{faster}, "
        f"{trials.fidelity[name]}"
        + (f"; then {others}" if others else "")
        + (f"; doubtful, so not remembered and tried anew next time: {doubt}" if doubt else "")
    )
    return Choice(name, reason, taken, trials.passed_over, doubt)


def _key(checksum: str, size: Size, resources: Resources, names: Sequence[str]) -> dict[str, Any]:
    """All that the choice depends on; another in any of them is measured anew."""
    place = pick_device(resources.device)
    return {
        "model": checksum,
        "size": list(size),
        "device": str(place),
        "processor": _processor(place.type),
        "threads": resources.threads or usable_cpus(),
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
        mark_used(place)
        if found["format"] != _FORMAT or found["key"] != key or found["choice"]["name"] not in key["candidates"]:
            return None
        choice = Choice(**found["choice"])
        reason = f"{choice.reason} (measured {found['time']}; delete {place} to measure again)"
        return replace(choice, reason=reason, remembered=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
