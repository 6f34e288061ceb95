"""Tables of an equal-style study: what each method costs and buys where its style is that of the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from reconet_bench.core import statistics
from reconet_bench.core.record import to_csv
from reconet_bench.core.samples import ALL_VIDEOS, THESE_CLIPS, Difference
from reconet_bench.report import interval_meaning
from reconet_bench.report.markdown import as_text, markdown
from reconet_bench.report.numbers import significant, with_interval
from reconet_bench.report.tables import DIFFERENCES_HEADER, QUALITY, difference_cells, heading

#: The metric that is made equal.
STYLE = "style_distance"
#: Files of a study beside the run folders of its points.
FILES = ("summary.md", "table.csv", "points.csv", "differences.csv", "pareto.png")


@dataclass(frozen=True)
class Cell:
    """A mean over the clips with its 95 % interval, ``None`` where there is too little to tell."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class FieldPoint:
    """A trained point.

    Attributes:
        factor: of the temporal weights that the search began with.
        weights: the temporal weights themselves, by term; none of a method that has none.
        miss: how far its style distance over the baseline's is outside the band, signed; 0 inside.
    """

    method: str
    factor: float
    weights: Mapping[str, float]
    cells: Mapping[str, Cell]
    miss: float = 0.0

    @property
    def weight_text(self) -> str:
        """``temporal_short 600, temporal_long 300``; a dash where there is none."""
        return ", ".join(f"{term} {significant(weight)}" for term, weight in self.weights.items()) or "–"


@dataclass(frozen=True)
class FieldRow:
    """A method in the table.

    Attributes:
        point: to report; ``None`` if none was trained.
        note: what else to know: why there is no more, and what failed.
    """

    method: str
    point: FieldPoint | None
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether its style is that of the baseline."""
        return self.point is not None and not self.point.miss

    @property
    def remark(self) -> str:
        """Whether the style is equal, by how much it is missed if not, and the note."""
        if self.point is None:
            return self.note
        missed = f"not at equal style: {100 * self.point.miss:+.1f} % outside the band"
        return "; ".join(filter(None, ["" if self.equal else missed, self.note]))


@dataclass(frozen=True)
class FieldResult:
    """What came of a study.

    Attributes:
        title: one line about it.
        band: share within which two style distances are equal.
        baseline: the point that all are compared with; ``None`` if it was not trained.
        trunk: where all started; ``None`` if it was not measured.
        points: all that were trained.
        rows: one for each method.
        better: direction of each metric, in the order of the columns.
        differences: of the rows at equal style to the baseline.
        setup: lines about how it was made.
        remarks: reasons not to take the numbers as they stand.
    """

    title: str
    band: float
    baseline: FieldPoint | None
    trunk: FieldPoint | None
    points: Sequence[FieldPoint]
    rows: Sequence[FieldRow]
    better: Mapping[str, str]
    differences: Sequence[Difference] = ()
    setup: Sequence[str] = ()
    remarks: Sequence[str] = field(default_factory=list)


def percent(point: FieldPoint, baseline: FieldPoint | None, metric: str) -> float | None:
    """By how many percent a value is above the baseline's; ``None`` where that may be zero, as its interval says."""
    if baseline is None or metric not in point.cells or metric not in baseline.cells:
        return None
    base = baseline.cells[metric]
    if base.value == 0 or (base.low is not None and base.high is not None and base.low <= 0 <= base.high):
        return None
    return 100 * (point.cells[metric].value / base.value - 1)


def table_header(result: FieldResult) -> list[str]:
    """Columns of :func:`table_rows`."""
    return ["method", "temporal weight", *(heading(metric, QUALITY, dict(result.better)) for metric in result.better)]


def table_rows(result: FieldResult, intervals: bool = True) -> list[list[str]]:
    """Cells of the table: each value, with its interval, and in brackets how many percent it is above the baseline.

    What is not at equal style has a star at its name.
    """
    rows = []
    for row in result.rows:
        cells = []
        for metric in result.better:
            cell = row.point.cells.get(metric) if row.point else None
            change = percent(row.point, result.baseline, metric) if row.point else None
            text = with_interval(cell.value, *((cell.low, cell.high) if intervals else (None, None))) if cell else "–"
            own = row.point is result.baseline or change is None
            cells.append(text if own else f"{text} ({change:+.1f} %)")
        name = row.method if row.equal or row.point is None else f"{row.method}*"
        rows.append([name, row.point.weight_text if row.point else "–", *cells])
    return rows


def remarks(result: FieldResult) -> list[str]:
    """A line for each row that has something to be known."""
    return [f"{row.method}: {row.remark}" for row in result.rows if row.remark]


def summary_markdown(result: FieldResult) -> str:
    """The whole ``summary.md``."""
    parts = [f"# {as_text(result.title)}", "\n".join(f"- {as_text(line)}" for line in result.setup), _NOTE]
    parts.append(markdown(table_header(result), table_rows(result)))
    if lines := [*remarks(result), *result.remarks]:
        parts.append("\n".join(f"- {as_text(line)}" for line in lines))
    if shown := [row for row in result.differences if row.video in (ALL_VIDEOS, THESE_CLIPS)]:
        parts += [
            "## Paired differences at equal style",
            interval_meaning.of_differences(statistics.VERSION),
            markdown(DIFFERENCES_HEADER, [difference_cells(row) for row in shown]),
        ]
    parts += ["## All trained points", markdown(*_points(result))]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _points(result: FieldResult) -> tuple[list[str], list[list[str]]]:
    rows = []
    for point in [*([result.trunk] if result.trunk else []), *result.points]:
        cells = [significant(point.cells[metric].value) if metric in point.cells else "–" for metric in result.better]
        change = percent(point, result.baseline, STYLE)
        beside = "–" if change is None else f"{change:+.1f} %"
        rows.append([point.method, significant(point.factor), point.weight_text, beside, *cells])
    metrics = [heading(metric, QUALITY, dict(result.better)) for metric in result.better]
    return ["method", "factor", "temporal weight", "style to baseline", *metrics], rows


def table_csv(result: FieldResult) -> str:
    """``table.csv``: a row for each method and metric, with the difference to the baseline over all videos."""
    header = ["method", "weights", "equal_style", "miss", "metric", "better", "value", "ci_low", "ci_high", "percent"]
    header += ["difference", "difference_low", "difference_high", "p", "p_corrected", "verdict", "note"]
    over = {(row.first, row.metric): row for row in result.differences if row.video == ALL_VIDEOS}
    lines: list[list[object]] = []
    for row in result.rows:
        for metric, better in result.better.items():
            cell = row.point.cells.get(metric) if row.point else None
            if row.point is None or cell is None:
                lines.append([row.method, "", "", None, metric, better, *[None] * 10, row.remark])
                continue
            found = over.get((row.method, metric))
            paired = [getattr(found, name) for name in _PAIRED] if found else [None] * len(_PAIRED)
            own = [row.method, row.point.weight_text, row.equal, row.point.miss, metric, better]
            values = [cell.value, cell.low, cell.high, percent(row.point, result.baseline, metric)]
            lines.append([*own, *values, *paired, row.remark])
    return to_csv(lines, header)


def points_csv(result: FieldResult) -> str:
    """``points.csv``: a row for each trained point, and for the trunk."""
    header = ["method", "factor", "weights", "equal_style", "miss"]
    header += [f"{metric}{end}" for metric in result.better for end in ("", "_low", "_high")]
    lines: list[list[object]] = []
    for point in [*([result.trunk] if result.trunk else []), *result.points]:
        cells = [point.cells.get(metric) for metric in result.better]
        values = [value for one in cells for value in ((one.value, one.low, one.high) if one else (None,) * 3)]
        lines.append([point.method, point.factor, point.weight_text, not point.miss, point.miss, *values])
    return to_csv(lines, header)


def differences_csv(result: FieldResult) -> str:
    """``differences.csv``: every paired difference, as in a run folder of ``compare``."""
    names = [one.name for one in fields(Difference)]
    return to_csv(([getattr(row, name) for name in names] for row in result.differences), names)


#: Fields of a difference in ``table.csv``.
_PAIRED = ("difference", "ci_low", "ci_high", "p", "p_corrected", "verdict")
_NOTE = (
    "↓ lower is better, ↑ higher is better. Each value is the mean over the clips, with the 95 % interval for other "
    "videos like these; in brackets, how many percent it is above the baseline's. A row with a star is not at equal "
    "style: its numbers are those of the trained point nearest to it, and nothing is interpolated. Within the band "
    "the styles still differ a little: read E(V) beside the style distance. Every row is one "
    "training: the intervals do not contain what another seed would change."
)
