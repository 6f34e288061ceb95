"""Speed rows of a comparison: what was timed in a runtime, beside how true its frames are to the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reconet_bench.benchmark.error_change import ErrorChange
from reconet_bench.benchmark.speed_ratio import speed_ratio
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.doubts import Doubt
from reconet_bench.metrics.measure import Absent
from reconet_bench.runtimes.base import Parity
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Below this PSNR in dB, or above this change of E(V) in percent, a runtime changes the picture and not only rounds it.
GATE_PSNR, GATE_CHANGE = 40.0, 2.0
#: Share of the processor that others may use before a timing is in doubt.
OTHERS = 0.10
#: Metric of the ratio to the reference's speed, by boundary.
RATIOS = {"device": "speed_up", "end_to_end": "speed_up_end_to_end"}
#: Why a session has no first frame and no peak of memory at a second frame size.
USED = "the session had already run another frame size"


class SpeedNumber(NamedTuple):
    """A number with its unit and direction; ``note`` is the reason why there is no value, or what to know about it.

    ``n`` is the number of frames, pairs, rounds or measurements behind it; ``low`` and ``high`` are its 95 % interval.
    """

    value: float | None
    unit: str
    better: str
    note: str = ""
    doubts: tuple[Doubt, ...] = ()
    n: int = 1
    low: float | None = None
    high: float | None = None


def speed_rows(
    timing: Timing,
    base: Timing | None,
    parity: Parity | Absent,
    change: ErrorChange,
    against: str = "",
    itself: bool = False,
) -> dict[str, SpeedNumber]:
    """All rows of one model in one runtime at one size, by metric.

    Args:
        base: timing of the reference runtime in the same rounds, for the ratios to it.
        parity: to the reference on the same frames, or why it is not known.
        change: of E(V) against the reference.
        against: what the frames are compared with, in words, where it is not the model's network in PyTorch fp32.
        itself: whether this is what the others are compared with.
    """
    changed = Doubt.NO_PARITY if isinstance(parity, Absent) else gate(parity, change.percent)
    changes = [changed] if changed else []
    found = (*changes, *doubts(timing, alone=base is None))
    rows: dict[str, SpeedNumber] = {}
    for boundary, samples in timing.samples.items():
        n = len(samples.seconds)
        rows[f"fps_{boundary}"] = SpeedNumber(samples.fps, "frames/s", "higher", doubts=found, n=n)
        for name, seconds in {"": samples.median, "_p90": samples.p90, "_p99": samples.p99}.items():
            rows[f"latency_{boundary}{name}"] = SpeedNumber(1000 * seconds, "ms", "lower", doubts=found, n=n)
        rows[f"latency_{boundary}_spread"] = SpeedNumber(samples.spread, "", "lower", doubts=found, n=n)
    for boundary, name in RATIOS.items():
        if boundary in timing.samples:
            rows[name] = _ratio(timing, base, boundary, changes)
    if timing.motion:
        rows["motion_time"] = SpeedNumber(
            1000 * float(np.median(timing.motion)),
            "ms",
            "lower",
            "to estimate the motion to the frame before; part of end to end",
            n=len(timing.motion),
        )
    rows["load_time"] = SpeedNumber(timing.load_seconds, "s", "lower")
    rows["build_time"] = SpeedNumber(timing.build_seconds, "s", "lower")
    if timing.first_frame is None:
        rows["first_frame"] = SpeedNumber(None, "ms", "lower", USED, n=0)
        rows["peak_memory"] = SpeedNumber(None, "MiB", "lower", USED, n=0)
    else:
        rows["first_frame"] = SpeedNumber(1000 * timing.first_frame, "ms", "lower")
        peak = timing.peak_memory
        rows["peak_memory"] = (
            SpeedNumber(
                None,
                "MiB",
                "lower",
                "not known: this system does not report it, or the model was converted in the same process",
                n=0,
            )
            if peak is None
            else SpeedNumber(peak / 2**20, "MiB", "lower")
        )
    rows["threads"] = SpeedNumber(timing.threads, "", "reference")
    if (share := timing.processor.share) is not None:
        rows["other_work"] = SpeedNumber(
            100 * share, "%", "reference", "of the processor, used by other programs meanwhile"
        )
    if timing.placement:
        rows["compute_nodes"] = SpeedNumber(
            sum(timing.placement.values()), "", "reference", f"compute nodes all on {' and '.join(timing.placement)}"
        )
    if isinstance(parity, Absent):
        absent = {
            "parity_max_abs": ("", "lower"),
            "parity_psnr": ("dB", "higher"),
            "temporal_error_change": ("%", "reference"),
        }
        return rows | {
            name: SpeedNumber(None, unit, better, parity.reason, n=0) for name, (unit, better) in absent.items()
        }
    same = "reference" if itself else "identical"
    rows["parity_max_abs"] = SpeedNumber(parity.max_abs, "", "lower", against, n=parity.frames)
    psnr = parity.psnr if math.isfinite(parity.psnr) else None
    rows["parity_psnr"] = SpeedNumber(psnr, "dB", "higher", same if psnr is None else against, n=parity.frames)
    note = against if change.percent is not None else change.unknown
    rows["temporal_error_change"] = SpeedNumber(change.percent, "%", "reference", note, n=change.pairs)
    return rows


def _ratio(timing: Timing, base: Timing | None, boundary: str, changes: Sequence[Doubt]) -> SpeedNumber:
    """The speed over the reference's in the same rounds. A busy machine slows both alike, and is no doubt here."""
    if base is None:
        return SpeedNumber(None, "", "higher", f"{REFERENCE_RUNTIME} was not timed in this run", n=0)
    if base is timing:
        return SpeedNumber(1.0, "", "higher", doubts=tuple(changes), n=len(timing.samples[boundary].rounds))
    ratio = speed_ratio(timing.samples[boundary].rounds, base.samples[boundary].rounds)
    found = {Doubt.COLD: not timing.warm, Doubt.REFERENCE_COLD: not base.warm, Doubt.UNRESOLVED: not ratio.resolved}
    all_doubts = (*changes, *(doubt for doubt, holds in found.items() if holds))
    more = f"{timing.left_out} more round{'s' if timing.left_out > 1 else ''}"
    left_out = f"{more} left out: other programs took the processor" if timing.left_out else ""
    return SpeedNumber(
        ratio.value, "", "higher", note=left_out, doubts=all_doubts, n=ratio.n, low=ratio.low, high=ratio.high
    )


def doubts(timing: Timing, alone: bool = True) -> list[Doubt]:
    """Why not to trust what was timed; empty if there is no reason.

    Args:
        alone: whether the times stand for themselves. Beside a reference it is the ratio to it that counts, and that is
            steady where the times are not.
    """
    busy = (timing.processor.share or 0.0) > OTHERS
    found = {Doubt.COLD: not timing.warm, Doubt.UNSTABLE: alone and not timing.stable, Doubt.BUSY: busy}
    return [doubt for doubt, holds in found.items() if holds]


def gate(parity: Parity, change: float | None) -> Doubt | None:
    """The doubt about frames that are not those of the reference; ``change`` is that of E(V) in percent."""
    passed = parity.psnr >= GATE_PSNR and abs(change or 0.0) <= GATE_CHANGE
    return None if passed else Doubt.CHANGED_OUTPUT
