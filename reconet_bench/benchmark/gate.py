"""Limits on what may change from one run to another: a gate for CI."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reconet_bench.benchmark.diff import SPEED, Change, place_of
from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.report.run import Run

#: What fails a comparison of two runs unless said otherwise.
DEFAULT_GATE = "temporal_error>+2%,temporal_error_long>+2%,style_distance>+5%,speed_up<-10%"
#: Short names that a gate may use.
ALIASES = {"fps": "fps_device", "latency": "latency_device"}


@dataclass(frozen=True)
class Limit:
    """``temporal_error>+2%``: fails where the change is shown and beyond the limit."""

    metric: str
    sign: str
    amount: float
    percent: bool
    text: str

    def broken_by(self, change: Change) -> bool:
        """Whether a change is over it; one that is not shown is not, however large."""
        got = change.relative if self.percent else change.after - change.before
        if got is None:
            # From nothing to something: no percentage says how much, but the direction is known.
            got = (
                float("inf") if change.after > change.before else float("-inf") if change.after < change.before else 0.0
            )
        return (
            change.metric == self.metric
            and change.shown
            and (got > self.amount if self.sign == ">" else got < self.amount)
        )


def parse_limits(text: str, known: Sequence[str]) -> list[Limit]:
    """Limits from ``temporal_error>+2%,fps<-5%``; an empty text has none.

    Raises:
        DataError: not of this form. UnknownName: no such metric in the run before.
    """
    limits = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        found = re.fullmatch(r"(\w+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(%?)", part)
        if not found:
            raise DataError(
                f"'{part}' is not a limit: write METRIC>NUMBER or METRIC<NUMBER, with % for percent, "
                "such as temporal_error>+2%"
            )
        name = ALIASES.get(found[1], found[1])
        if name not in known:
            raise UnknownName("metric of the run to compare with", found[1], known)
        limits.append(Limit(name, found[2], float(found[3]), bool(found[4]), part))
    return limits


def default_limits(known: Sequence[str]) -> list[Limit]:
    """Those of :data:`DEFAULT_GATE` whose metrics the run before has."""
    parts = (part for part in DEFAULT_GATE.split(",") if ALIASES.get(name := re.split("[<>]", part)[0], name) in known)
    return parse_limits(",".join(parts), known)


def gated_metrics(run: Run) -> list[str]:
    """The metrics that a gate may be set on: those with numbers in the run that ``diff`` pairs."""
    recorded = (r.metric for r in run.records if r.value is not None and (r.video or SPEED.fullmatch(r.metric)))
    return list(dict.fromkeys([*recorded, *(key.metric for key in run.samples)]))


def missing(before: Run, after: Run, found: Sequence[Change], limits: Sequence[Limit]) -> list[str]:
    """A line for each number under a limit that the run before has and that nothing in the run after can be held to."""
    wanted = {limit.metric for limit in limits}
    keys = {(r.metric, r.model, place_of(r)): None for r in before.records if r.value is not None}
    keys |= {(key.metric, key.model, key.runtime): None for key in before.samples}
    known = {(change.metric, change.model, change.where) for change in found}
    whose = after.name if before.samples or not after.samples else before.name
    return [
        f"{metric} of {model} in {where} is missing in {whose}, or the runs share no frame of it"
        for metric, model, where in keys
        if metric in wanted and (metric, model, where) not in known
    ]


def same_machine(before: Run, after: Run, limits: Sequence[Limit]) -> tuple[list[Limit], list[str]]:
    """The limits that two runs can be held to, and a line where speed is not among them: it is of one machine."""
    other = [key for key in ("cpu", "gpu", "threads") if before.provenance.get(key) != after.provenance.get(key)]
    speeds = [limit for limit in limits if limit.metric.startswith(("fps_", "latency_", "speed_up"))]
    if not other or not speeds:
        return list(limits), []
    line = f"{', '.join(limit.text for limit in speeds)} not judged: {' and '.join(other)} of the two runs differ"
    return [limit for limit in limits if limit not in speeds], [line]


def unjudged(found: Sequence[Change], limits: Sequence[Limit]) -> list[str]:
    """A line for each change under a limit that has no interval, or no rounds that agree."""
    wanted = {limit.metric for limit in limits}
    return [
        f"{c.metric} of {c.model} in {c.where}: {c.verdict}"
        for c in found
        if c.metric in wanted and not c.judged and c.before != c.after
    ]


def failures(found: Sequence[Change], limits: Sequence[Limit]) -> list[str]:
    """A line for each limit that a change breaks."""
    lines = []
    for limit, change in itertools.product(limits, found):
        if limit.broken_by(change):
            amount = (
                f"{change.relative:+.1f} %" if change.relative is not None else f"{change.after - change.before:+.3g}"
            )
            lines.append(
                f"{change.metric} of {change.model} in {change.where}: "
                f"{change.before:.4g} → {change.after:.4g} ({amount}), limit {limit.text}"
            )
    return lines
