"""One row for each model, video and runtime, with all that was measured there: the table for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reconet_bench.core.record import Record, to_csv
from reconet_bench.core.size import Size
from reconet_bench.report.numbers import with_interval
from reconet_bench.report.ranking import labels

#: Columns that say what a row is of.
_OF = ("method", "style", "model", "video", "source", "runtime", "precision", "device", "height", "width")


@dataclass(frozen=True)
class SummaryRow:
    """What was measured of a model on a video in a runtime.

    Attributes:
        label: the method, or the model's name where two models share a method.
        quality: records of this video, by metric.
        speed: records of the model in this runtime at this size, by metric: the same on every video of that size.
    """

    label: str
    quality: dict[str, Record] = field(default_factory=dict)
    speed: dict[str, Record] = field(default_factory=dict)

    @property
    def place(self) -> Record:
        """Any record of the row: all have the same model, video, runtime and size."""
        return next(iter(self.quality.values()))

    def value(self, metric: str) -> float | None:
        """The value of a metric of quality; ``None`` if there is none."""
        return self.quality[metric].value if metric in self.quality else None

    def cell(self, metric: str) -> str:
        """The value of a metric of quality with its interval, or a dash."""
        found = self.quality.get(metric)
        return with_interval(found.value, found.ci_low, found.ci_high) if found else "–"


#: Method, style and model, runtime, precision and device, and the size.
_Setup = tuple[str, str, str, str, str, str, Size]


def _setup(record: Record) -> _Setup:
    return (
        record.method,
        record.style,
        record.model,
        record.runtime,
        record.precision,
        record.device,
        record.size,
    )


def summary(records: Sequence[Record]) -> list[SummaryRow]:
    """A row for each model, video and runtime; rows to be compared stand together: by video, then model, then runtime,
    each in order of appearance."""
    quality = [record for record in records if record.video]
    names = labels(quality)
    rows: dict[tuple[str, str, _Setup], SummaryRow] = {}
    speed: dict[_Setup, dict[str, Record]] = {}
    for record in records:
        if record.video:
            key = (record.clip, record.source, _setup(record))
            rows.setdefault(key, SummaryRow(names[record.model])).quality[record.metric] = record
        else:
            speed.setdefault(_setup(record), {})[record.metric] = record
    for (_, _, setup), row in rows.items():
        row.speed.update(speed.get(setup, {}))
    orders = [
        {name: place for place, name in enumerate(dict.fromkeys(names_of))}
        for names_of in ((r.clip for r in quality), (r.model for r in quality), (r.runtime for r in quality))
    ]
    return sorted(
        rows.values(),
        key=lambda row: (
            orders[0][row.place.clip],
            orders[1][row.place.model],
            orders[2][row.place.runtime],
        ),
    )


def spreadsheet(records: Sequence[Record]) -> str:
    """The summary as CSV for people; columns are metrics, intervals ``METRIC_low`` and ``METRIC_high``.

    A name that a spreadsheet would run as a formula gets an apostrophe, which keeps it text. The files for programs
    (``records.csv`` and the like) hold names as they are.
    """
    rows = summary(records)
    quality = dict.fromkeys(column for record in records if record.video for column in _columns(record))
    # A metric of both, of which a broken run may have one, keeps its name where it is of a video.
    speed = {
        column: f"{column}_of_no_video" if column in quality else column
        for record in records
        if not record.video and rows
        for column in _columns(record)
    }
    header = [*_OF, *quality, *speed.values()]
    lines = []
    for row in rows:
        place = [row.place.clip if column == "video" else getattr(row.place, column) for column in _OF]
        of_video, of_none = _values(row.quality), _values(row.speed)
        lines.append(
            [*place, *(of_video.get(column) for column in quality), *(of_none.get(column) for column in speed)]
        )
    return to_csv([[_as_text(cell) for cell in line] for line in lines], [str(_as_text(name)) for name in header])


def _columns(record: Record) -> list[str]:
    """The columns that a record fills."""
    bounds = [f"{record.metric}_low", f"{record.metric}_high"] if record.ci_low is not None else []
    return [record.metric, *bounds]


def _values(records: dict[str, Record]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for record in records.values():
        found.update(zip(_columns(record), (record.value, record.ci_low, record.ci_high), strict=False))
    return found


def _as_text(cell: object) -> object:
    if isinstance(cell, float):
        return repr(cell)  # all digits
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
