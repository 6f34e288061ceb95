"""Tables of a structure study: how fast each candidate for the network is, and what it reaches in equal time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reconet_bench.core.record import to_csv
from reconet_bench.report.equal_style import Cell
from reconet_bench.report.markdown import as_text, markdown
from reconet_bench.report.numbers import significant, with_interval
from reconet_bench.report.tables import QUALITY, heading

#: Files of a study beside the run folders of its candidates.
FILES = ("summary.md", "table.csv", "structures.png")
#: Columns of quality, in their order.
METRICS = ("temporal_error", "temporal_error_long", "style_distance", "content_similarity", "ghosting", "carpet")
#: Why a candidate has no quality.
UNTRAINED, UNMEASURED = "not trained yet, or its training failed", "trained, and not measured yet"


@dataclass(frozen=True)
class Candidate:
    """A network.

    Attributes:
        change: what is changed in it.
        parameters: how many.
    """

    name: str
    change: str
    parameters: int


@dataclass(frozen=True)
class Time:
    """Milliseconds of a frame in one runtime, and its ratio to that of the first candidate with a 95 % interval."""

    ms: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def text(self, intervals: bool = True) -> str:
        """``5.3 (0.71 [0.70, 0.72])``."""
        if self.ms is None:
            return "–"
        if self.ratio is None or self.low is None:
            return significant(self.ms)
        ends = (self.low, self.high) if intervals else (None, None)
        return f"{significant(self.ms)} ({with_interval(self.ratio, *ends)})"


@dataclass(frozen=True)
class StructureRow:
    """A candidate with all that is known of it.

    Attributes:
        steps: of its training.
        step_seconds: processor time of one.
        times: by runtime.
        cells: quality by metric; empty where it was not trained.
        note: why there is none.
    """

    candidate: Candidate
    steps: int
    step_seconds: float
    times: Mapping[str, Time]
    cells: Mapping[str, Cell]
    note: str = ""


@dataclass(frozen=True)
class StructureResult:
    """What came of a study.

    Attributes:
        rows: what the others are compared with first.
        runtimes: that were timed.
        better: direction of each metric, in the order of the columns.
        setup: lines about how it was made.
        remarks: reasons not to take the numbers as they stand.
    """

    title: str
    rows: Sequence[StructureRow]
    runtimes: Sequence[str]
    better: Mapping[str, str]
    setup: Sequence[str] = ()
    remarks: Sequence[str] = field(default_factory=list)


def table_header(result: StructureResult) -> list[str]:
    """Columns of :func:`table_rows`."""
    times = [f"{runtime}, ms" for runtime in result.runtimes]
    return ["candidate", *times, "steps", *(heading(metric, QUALITY, dict(result.better)) for metric in result.better)]


def table_rows(result: StructureResult, intervals: bool = True) -> list[list[str]]:
    """Cells of the table, with or without their intervals."""
    rows = []
    for row in result.rows:
        times = [row.times[runtime].text(intervals) for runtime in result.runtimes]
        found = [row.cells.get(metric) for metric in result.better]
        cells = [
            with_interval(cell.value, *((cell.low, cell.high) if intervals else (None, None))) if cell else "–"
            for cell in found
        ]
        rows.append([row.candidate.name, *times, str(row.steps) if row.cells else "–", *cells])
    return rows


def remarks(result: StructureResult) -> list[str]:
    """A line for each row that has something to be known."""
    lines = [f"{row.candidate.name}: {row.note}" for row in result.rows if row.note]
    for runtime in result.runtimes:
        noted: dict[str, list[str]] = {}
        for row in result.rows:
            if row.times[runtime].note:
                noted.setdefault(row.times[runtime].note, []).append(row.candidate.name)
        lines += [f"{', '.join(names)} in {runtime}: {note}" for note, names in noted.items()]
    return lines


def summary_markdown(result: StructureResult) -> str:
    """The whole ``summary.md``."""
    first = result.rows[0].candidate.name
    header = ["candidate", "what it changes", "parameters", "processor ms of a training step"]
    of_each = [
        [row.candidate.name, row.candidate.change, str(row.candidate.parameters), significant(1000 * row.step_seconds)]
        for row in result.rows
    ]
    parts = [
        f"# {as_text(result.title)}",
        "\n".join(f"- {as_text(line)}" for line in result.setup),
        _NOTE.format(first=first),
        markdown(table_header(result), table_rows(result)),
        "\n".join(f"- {as_text(line)}" for line in (*remarks(result), *result.remarks)),
        "## Candidates",
        markdown(header, of_each),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def table_csv(result: StructureResult) -> str:
    """``table.csv``: a row for each candidate."""
    header = ["candidate", "change", "parameters", "steps", "step_processor_seconds", "note"]
    header += [f"{runtime}{end}" for runtime in result.runtimes for end in ("_ms", "_ratio", "_low", "_high")]
    header += [f"{metric}{end}" for metric in result.better for end in ("", "_low", "_high")]
    lines: list[list[object]] = []
    for row in result.rows:
        of = row.candidate
        line: list[object] = [of.name, of.change, of.parameters, row.steps, row.step_seconds, row.note]
        for runtime in result.runtimes:
            time = row.times[runtime]
            line += [time.ms, time.ratio, time.low, time.high]
        for metric in result.better:
            cell = row.cells.get(metric)
            line += [cell.value, cell.low, cell.high] if cell else [None] * 3
        lines.append(line)
    return to_csv(lines, header)


_NOTE = (
    "↓ lower is better, ↑ higher is better. Times are medians, device to device; in brackets the time over that of "
    "`{first}` in the same rounds, with its 95 % interval. Quality is the mean over the clips, with the 95 % interval "
    "for other videos like these. All were trained for the same processor time: a faster network took more steps. "
    "E(V) falls where the style is weaker: read it beside the style distance. Every row is one training: the intervals "
    "do not contain what another seed would change."
)
