"""Speed rows of a comparison: what was timed in a runtime, beside how true its frames are to the reference."""

from __future__ import annotations

import math
from typing import NamedTuple

from reconet_bench.benchmark.timing import Timing
from reconet_bench.runtimes.base import Parity
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Below this PSNR in dB, or above this change of E(V) in percent, a runtime changes the picture and not only rounds it.
GATE_PSNR, GATE_CHANGE = 40.0, 2.0
#: What a row says whose rounds do not agree.
UNSTABLE = "unstable: rounds differ by over 10 %"
#: What a row says whose frames still changed their time when its warm-up was over.
COLD = "never got warm: frames had not settled when the warm-up was over"
#: Share of the processor from which on the work of others is said.
OTHERS = 0.10
#: Why a session has no first frame and no peak of memory at a second frame size.
USED = "it had run another frame size before"
#: Rows of fidelity to the reference, as against those of speed.
PARITY = ("parity_max_abs", "parity_psnr", "temporal_error_change")


class Row(NamedTuple):
    """A number with its unit and direction; ``note`` is a warning, or the reason why there is no value."""

    value: float | None
    unit: str
    better: str
    note: str = ""


def speed_rows(
    timing: Timing,
    base: Timing | None,
    parity: Parity,
    change: float | None,
    unknown: str,
    against: str = "",
    itself: bool = False,
) -> dict[str, Row]:
    """All rows of one model in one runtime at one size, by metric.

    Args:
        base: timing of the reference runtime in the same run, for ``speed_up``.
        change: of E(V) against the reference, in percent; ``None`` where there is none.
        unknown: why there is none.
        against: what the frames are compared with, in words, where it is not the model's network in PyTorch fp32.
        itself: whether this is what the others are compared with.
    """
    warning = "; ".join(filter(None, (gate(parity, change), *doubts(timing))))
    rows: dict[str, Row] = {}
    for boundary, samples in timing.samples.items():
        rows[f"fps_{boundary}"] = Row(samples.fps, "frames/s", "higher", warning)
        for name, seconds in {"": samples.median, "_p90": samples.p90, "_p99": samples.p99}.items():
            rows[f"latency_{boundary}{name}"] = Row(1000 * seconds, "ms", "lower", warning)
        rows[f"latency_{boundary}_spread"] = Row(samples.spread, "", "lower", warning)
    if base:
        ratio = base.samples["device"].median / timing.samples["device"].median
        of_base = [f"{REFERENCE_RUNTIME}: {doubt}" for doubt in doubts(base)] if base is not timing else []
        rows["speed_up"] = Row(ratio, "", "higher", "; ".join(filter(None, (warning, *of_base))))
    else:
        rows["speed_up"] = Row(None, "", "higher", f"{REFERENCE_RUNTIME} was not timed in this run")
    rows["load_time"] = Row(timing.load_seconds, "s", "lower")
    rows["build_time"] = Row(timing.build_seconds, "s", "lower")
    if timing.first_frame is None:
        rows["first_frame"] = Row(None, "ms", "lower", USED)
        rows["peak_memory"] = Row(None, "MiB", "lower", USED)
    else:
        rows["first_frame"] = Row(1000 * timing.first_frame, "ms", "lower")
        peak = timing.peak_memory
        rows["peak_memory"] = (
            Row(
                None,
                "MiB",
                "lower",
                "not known: this system does not tell, or the form that it runs was made beside it",
            )
            if peak is None
            else Row(peak / 2**20, "MiB", "lower")
        )
    rows["threads"] = Row(timing.threads, "", "reference")
    if timing.placement:
        rows["compute_nodes"] = Row(
            sum(timing.placement.values()), "", "reference", f"compute nodes all on {' and '.join(timing.placement)}"
        )
    same = "reference" if itself else "identical"
    rows["parity_max_abs"] = Row(parity.max_abs, "", "lower", against)
    rows["parity_psnr"] = (
        Row(parity.psnr, "dB", "higher", against) if math.isfinite(parity.psnr) else Row(None, "dB", "higher", same)
    )
    rows["temporal_error_change"] = Row(change, "%", "reference", against if change is not None else unknown)
    return rows


def doubts(timing: Timing) -> list[str]:
    """Why not to trust what was timed; empty where nothing speaks against it."""
    found = [doubt for doubt, holds in ((COLD, not timing.warm), (UNSTABLE, not timing.stable)) if holds]
    if (share := timing.processor.share or 0.0) > OTHERS:
        found.append(f"other work took {100 * share:.0f} % of the processor meanwhile")
    return found


def gate(parity: Parity, change: float | None) -> str:
    """``changed output`` where the frames are not those of the reference, else empty."""
    passed = parity.psnr >= GATE_PSNR and abs(change or 0.0) <= GATE_CHANGE
    return "" if passed else "changed output"
