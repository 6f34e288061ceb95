"""The speed section of a page: for each target a chart, and tables of what it takes and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconet_bench.core.record import Record
from reconet_bench.core.size import Size
from reconet_bench.report import figures, tables
from reconet_bench.report.figures import Bar, Series
from reconet_bench.report.targets import NOTES, by_target

#: Columns of the first table of a target; the second has the others.
FIRST = (
    "fps_device",
    "fps_end_to_end",
    "speed_up",
    "speed_up_end_to_end",
    "share_of_limit",
    "parity_psnr",
    "temporal_error_change",
)


@dataclass(frozen=True)
class SpeedTable:
    """Header and rows; the first three columns say what was timed."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class TargetSpeed:
    """What was timed for one target.

    Attributes:
        note: what to know about all of it; may be empty.
        charts: of frames a second, one for each size.
        first, others: the numbers to compare, and those to look up.
    """

    name: str
    note: str
    charts: list[str]
    first: SpeedTable
    others: SpeedTable


def speed_section(
    records: Sequence[Record], names: Mapping[str, str], series: Mapping[str, Series]
) -> list[TargetSpeed]:
    """The targets that were timed, in order."""
    better = tables.directions(records)
    found = []
    for name, own in by_target(records).items():
        rows, metrics = tables.speed_rows(own)
        if not rows:
            continue
        rows = [[names.get(model, model), *rest] for model, *rest in rows]
        kinds = [[m for m in metrics if (m in FIRST) == first] for first in (True, False)]
        first, others = (_table(rows, metrics, kind, better) for kind in kinds)
        first = SpeedTable(
            [*first.header, "note"], [[*cells, row[-1]] for cells, row in zip(first.rows, rows, strict=True)]
        )
        found.append(TargetSpeed(name, NOTES[name], speed_bars(own, series), first, others))
    return found


def _table(
    rows: Sequence[Sequence[str]], metrics: Sequence[str], kind: Sequence[str], better: dict[str, str]
) -> SpeedTable:
    header = ["method", "runtime, precision, device", "size", *(tables.heading(m, tables.SPEED, better) for m in kind)]
    return SpeedTable(header, [[*row[:3], *(row[3 + metrics.index(m)] for m in kind)] for row in rows])


def speed_bars(records: Sequence[Record], series: Mapping[str, Series]) -> list[str]:
    """A chart of frames a second for each frame size."""
    sizes: dict[Size, list[Bar]] = {}
    for r in records:
        if r.metric == "fps_device" and r.value is not None:
            place = f"{r.runtime} {r.precision}" + ("" if r.device == "cpu" else f" {r.device}")
            sizes.setdefault(r.size, []).append(Bar(series[r.model], place, r.value, r.doubts))
    return [figures.bars(f"frames a second at {size}", rows, "fps") for size, rows in sorted(sizes.items())]
