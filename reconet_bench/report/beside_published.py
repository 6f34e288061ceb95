"""Numbers of the founding work with what a run measured of the same quantity beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconet_bench.core.record import Record
from reconet_bench.report.numbers import significant
from reconet_bench.report.published_results import BESIDE, FoundingNumber
from reconet_bench.report.ranking import ModelRow, fastest, first_runtime


@dataclass(frozen=True)
class PublishedRow:
    """One quantity: what was published, what was measured here, and what is not the same."""

    what: str
    source: str
    ours: str
    published: str
    differs: str


def published_rows(
    records: Sequence[Record], rows: Sequence[ModelRow], names: Mapping[str, str], recalled: bool = False
) -> list[PublishedRow]:
    """Published numbers with ours; the number of a video only where that video was measured.

    Args:
        rows: one for each model, over all videos.
        names: what each model is called.
        recalled: those that nobody has checked against the paper, instead of the others.
    """
    sintel = {record.video for record in records if record.source.startswith("sintel")}
    groups: dict[tuple[str, str], list[FoundingNumber]] = {}
    for number in BESIDE:
        shown = number.source.startswith("Mahakalkar") or number.video in sintel
        if shown and number.recalled == recalled:
            groups.setdefault((number.what, number.source), []).append(number)
    return [
        PublishedRow(
            what=what,
            source=source,
            ours=_ours(numbers[0], records, rows, names),
            published=", ".join(f"{number.method} {significant(number.value)}" for number in numbers),
            differs=_differs(numbers[0], records),
        )
        for (what, source), numbers in groups.items()
    ]


def _ours(number: FoundingNumber, records: Sequence[Record], rows: Sequence[ModelRow], names: Mapping[str, str]) -> str:
    if number.size:
        return _fastest(number, records)
    if number.video:
        if not any(record.video == number.video and record.source.startswith("sintel") for record in records):
            return "not measured: needs MPI-Sintel"
        known = {names[record.model]: record.value for record in _measured(number, records)}
    else:
        cells = {row.label: row.cells.get(number.metric) for row in rows if not row.reference}
        known = {name: cell.value for name, cell in cells.items() if cell}
    shown = ", ".join(f"{name} {significant(value)}" for name, value in known.items() if value is not None)
    return shown or "not measured"


def _fastest(number: FoundingNumber, records: Sequence[Record]) -> str:
    best = fastest(record for record in records if record.size == number.size)
    if best is None:
        return "not measured at this size"
    return f"up to {significant(best.value or 0)} ({best.runtime}, {best.device})"


def _differs(number: FoundingNumber, records: Sequence[Record]) -> str:
    """What is not the same, our frames included where the number is of one video."""
    # A video's numbers are of pairs of neighbours: one frame more than pairs.
    here = {
        f"here {r.n + 1} frames at {r.size}, {r.source.partition('-')[2] or 'unknown'} pass"
        for r in _measured(number, records)
    }
    return "; ".join([number.differs, *sorted(here)])


def _measured(number: FoundingNumber, records: Sequence[Record]) -> list[Record]:
    """Our records of the same quantity on the same video along true motion, in the first runtime."""
    return [
        record
        for record in first_runtime(records)
        if (record.metric, record.video, record.flow) == (number.metric, number.video, "")
        and record.value is not None
        and record.source.startswith("sintel")
    ]
