"""How busy the processor is with the work of others, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

_STAT = Path("/proc/stat")
#: Columns of /proc/stat in which a core works, or another guest of the same host has it: see proc_stat(5).
_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL = 0, 1, 2, 5, 6, 7
#: The kernel counts in ticks of ten milliseconds: over less than this many seconds they say nothing.
MEASURABLE = 1.0


class Span(NamedTuple):
    """Seconds of core time: what others took, of all that there was on the cores that this process may use."""

    others: float = 0.0
    whole: float = 0.0

    def and_then(self, other: Span) -> Span:
        """Both together."""
        return Span(self.others + other.others, self.whole + other.whole)

    @property
    def share(self) -> float | None:
        """Of others, 0 to 1; ``None`` where it is not known, or too short to say."""
        return self.others / self.whole if self.whole >= MEASURABLE else None


class Moment(NamedTuple):
    """A clock reading, the seconds that the usable cores worked for anyone and for this process, and their number."""

    clock: float
    busy: float
    own: float
    cores: int

    def until(self, end: Moment | None) -> Span:
        """What others did since."""
        if end is None:
            return Span()
        others = (end.busy - self.busy) - (end.own - self.own)
        return Span(max(others, 0.0), (end.clock - self.clock) * self.cores)


def moment() -> Moment | None:
    """Now; ``None`` where the system does not count (not Linux)."""
    try:
        cores, ticks = os.sched_getaffinity(0), os.sysconf("SC_CLK_TCK")
        words = [line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu")]
        counts = [[int(word) for word in row[1:]] for row in words if row[0][3:].isdigit() and int(row[0][3:]) in cores]
        busy = sum(row[column] for row in counts for column in (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL))
    except (AttributeError, OSError, ValueError, IndexError):
        return None
    return Moment(perf_counter(), busy / ticks, process_time(), len(counts))
