"""The fastest runtime whose frames are still those of the reference: found by trying, then remembered.

Which runtime is fastest depends on the processor, the frame size and the versions, so no table is
right for long. Every runtime that is installed is tried on frames of a built-in clip, one at a time
in a process of its own, so that none slows the next or brings down the rest: it must pass the parity
gate of :mod:`reconet_bench.speed`, and what passes is timed. The fastest few are then timed against
one another in interleaved rounds.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.data.base import Clip
from reconet_bench.data.files import write_text
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.environment import cache_folder, cpu_name, pick_device, usable_cpus, versions
from reconet_bench.errors import ReconetBenchError, RuntimeUnavailable
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.ops import from_uint8, to_uint8
from reconet_bench.runtimes.base import CANNOT_RUN, RUNTIMES, Loaded, Model, Parity, frames_parity, reference_frames
from reconet_bench.speed import gate
from reconet_bench.subjects import Subject, reference_runtime
from reconet_bench.timing import measure
from reconet_bench.workers import load_apart, open_all

#: Frames of the built-in clip that runtimes are tried on.
CLIP, FRAMES = "carousel", 4
#: Whatever takes this many times as long as the fastest in the first trial has no part in the second.
FINALISTS_WITHIN = 1.5
#: Rounds and seconds a turn, of the first trial and of the second.
_TRIAL, _FINAL = (1, 0.3), (5, 0.3)
#: Layout version of what is remembered.
_FORMAT = 1

Report = Callable[[str], None]


@dataclass
class Choice:
    """The runtime chosen.

    Attributes:
        name: of the runtime, with its variant.
        reason: why, in one line.
        milliseconds: a frame, end to end, of every runtime that passed; the median of its last trial.
        passed_over: why each of the others was not taken.
        remembered: whether it was measured in an earlier run.
    """

    name: str
    reason: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    remembered: bool = False


def choose_runtime(
    subject: Subject,
    size: tuple[int, int],
    device: str = "auto",
    threads: int | None = None,
    report: Report = lambda text: None,
    candidates: Sequence[str] = (),
) -> Choice:
    """The fastest runtime for a model, end to end, among those that pass the parity gate on this machine.

    Args:
        subject: the model; by its checksum the choice is remembered, with size, device, threads and
            versions. Without a checksum it is measured each time.
        size: height and width of the frames.
        report: told what is being tried, in a few words.
        candidates: names of runtimes; every one that is installed by default.

    Raises:
        RuntimeUnavailable: no such device, or no runtime runs the model at all.
        ModelError: the model does not take this size, or the reference cannot run it.
    """
    model, checksum = subject.model, subject.checksum
    names = list(candidates) or [name for name in RUNTIMES.names() if not RUNTIMES[name].missing()]
    values = "" if model.network is not None else f" {model.input_range.name} {model.output_range.name} {model.layout}"
    key = _key(checksum + values, size, device, threads, names)
    place = _place(key)
    if checksum and (known := _recall(place, key)):
        return known
    clip = synthetic_clip(CLIP, size, FRAMES)
    frames = [to_uint8(clip.frame(index))[0] for index in range(FRAMES)]
    reference_name, its_device = reference_runtime(model)
    with load_apart(reference_name, model, its_device or device, threads) as reference:
        expected, true_error = reference_frames(reference, frames), _temporal_error(reference, clip, frames)
    trials = _try_all(names, model, (device, threads), expected, true_error, clip, frames, report)
    if trials.milliseconds:
        _run_off(trials, model, (device, threads), frames, report)
    if not trials.milliseconds:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in trials.passed_over.items())
        raise RuntimeUnavailable(f"no runtime passes for '{model.name}' on {device}: {reasons}")
    choice = _choice(trials, reference_name, size)
    if checksum:
        with contextlib.suppress(OSError):  # nowhere to write: it is measured again next time
            fields = {"format": _FORMAT, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
            write_text(place, json.dumps({**fields, "key": key, "choice": asdict(choice)}, indent=1))
    return choice


@dataclass
class _Trials:
    """What was found so far: milliseconds and fidelity of those that passed, reasons of those that did not."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    fidelity: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def pass_over(self, name: str, error: ReconetBenchError) -> None:
        """One that cannot run the model after all."""
        self.milliseconds.pop(name, None)
        self.passed_over[name] = str(error)


def _try_all(
    names: Sequence[str], model: Model, where: tuple[str, int | None], expected: Sequence[np.ndarray], true_error: float,
    clip: Clip, frames: Sequence[np.ndarray], report: Report,
) -> _Trials:  # fmt: skip
    """Gate and time every runtime, with no other one open; ``expected`` and ``true_error`` are the reference's."""
    trials = _Trials()
    for name in names:
        report(f"trying {name}")
        try:
            with load_apart(name, model, *where) as session:
                parity = frames_parity(expected, session, frames)
                change = 100 * (_temporal_error(session, clip, frames) / true_error - 1) if true_error > 0 else None
                if failed := gate(parity, change):
                    trials.passed_over[name] = f"{failed} ({_fidelity(parity, change)})"
                    continue
                rounds, seconds = _TRIAL
                timing = measure({name: session}, frames, rounds, seconds, ("end_to_end",), warmup_seconds=1.0)[name]
        except CANNOT_RUN as error:
            trials.pass_over(name, error)
            continue
        trials.milliseconds[name] = 1000 * timing.samples["end_to_end"].median
        trials.fidelity[name] = _fidelity(parity, change)
    return trials


def _run_off(
    trials: _Trials, model: Model, where: tuple[str, int | None], frames: Sequence[np.ndarray], report: Report
) -> None:
    """Time the fastest few against one another; their milliseconds are then those of this trial."""
    limit = FINALISTS_WITHIN * min(trials.milliseconds.values())
    finalists = [name for name, taken in trials.milliseconds.items() if taken <= limit]
    if len(finalists) < 2:
        return
    report(f"timing {', '.join(finalists)}")
    with contextlib.ExitStack() as stack:
        sessions = open_all(finalists, model, *where, stack, trials.pass_over)
        rounds, seconds = _FINAL
        timings = measure(sessions, frames, rounds, seconds, ("end_to_end",), warmup_seconds=1.0, on_failure=trials.pass_over)
    for name, timing in timings.items():
        trials.milliseconds[name] = 1000 * timing.samples["end_to_end"].median


def _choice(trials: _Trials, reference: str, size: tuple[int, int]) -> Choice:
    taken = dict(sorted(trials.milliseconds.items(), key=lambda item: item[1]))
    name = next(iter(taken))
    base = taken.get(reference)
    faster = f", {base / taken[name]:.1f} × {reference}" if base and name != reference else ""
    others = ", ".join(f"{other} {ms:.1f} ms" for other, ms in list(taken.items())[1:3])
    reason = (
        f"{name}: fastest of {len(taken)} that pass the parity gate at {size[1]}x{size[0]}: {taken[name]:.1f} ms a frame{faster}, "
        f"{trials.fidelity[name]}" + (f"; then {others}" if others else "")
    )
    return Choice(name, reason, taken, trials.passed_over)


def _temporal_error(session: Loaded, clip: Clip, frames: Sequence[np.ndarray]) -> float:
    """E(V) of the frames that a session makes of the clip."""
    metric = METRICS["temporal_error"]
    samples = metric.samples(Footage(clip, [from_uint8(session(frame)) for frame in frames], None))
    return float(metric.reduce(np.array(list(samples.values()))))


def _fidelity(parity: Parity, change: float | None) -> str:
    return f"PSNR {parity.psnr:.1f} dB" + ("" if change is None else f", ΔE(V) {change:+.2f} %")


def _key(
    checksum: str, size: tuple[int, int], device: str, threads: int | None, names: Sequence[str]
) -> dict[str, Any]:
    """All that the choice depends on; another in any of them is measured anew."""
    place = pick_device(device)
    return {
        "model": checksum, "size": list(size), "device": str(place), "processor": _processor(place.type),
        "threads": threads or usable_cpus(), "versions": dict(sorted(versions().items())), "candidates": sorted(names),
    }  # fmt: skip


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
        return Choice(
            choice.name, f"{choice.reason} (measured {found['time']}; delete {place} to measure again)",
            choice.milliseconds, choice.passed_over, remembered=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
