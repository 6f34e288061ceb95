"""The tidy result: one record per number, saved as JSON lines and CSV; everything reported comes from these."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import DataError

#: Between a clip's name and the estimator's: the motion of such a clip is estimated, not true.
MARK = "~"
#: No measurement is beyond this; of what is not, squares and sums are finite too.
LARGEST = 1e100


def is_measurable(value: float) -> bool:
    """Whether a number may be a measurement: neither infinite nor NaN nor beyond :data:`LARGEST`."""
    return abs(value) <= LARGEST


def known_twin(video: str, videos: Collection[str]) -> str | None:
    """The clip among ``videos`` with the same frames and its true motion, where ``video`` is one of estimated motion."""
    name, mark, _ = video.partition(MARK)
    return name if mark and name in videos else None


@dataclass(frozen=True)
class Record:
    """One number, or the reason why there is none.

    Attributes:
        run: identifier of the run; its provenance stands in ``provenance.json`` beside the records.
        time: when it was measured, ISO 8601, UTC.
        method, style, video: what was measured on what.
        runtime, precision, device: what computed the frames.
        height, width: size of the frames.
        metric, unit, better: what the number is; ``better`` is lower, higher or reference.
        value: the number; ``None`` where the metric is absent, and ``note`` says why.
        ci_low, ci_high: 95 % interval, ``None`` where ``n`` does not allow one.
        n: number of frames or pairs behind the value.
        model: name of the model (a method may have several).
        source: where the video is from, e.g. ``synthetic`` or ``sintel-clean``.
        note: why a value is absent, or what to know about it.
    """

    run: str
    time: str
    method: str
    style: str
    video: str
    runtime: str
    precision: str
    device: str
    height: int
    width: int
    metric: str
    unit: str
    better: str
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    model: str = ""
    source: str = ""
    note: str = ""


COLUMNS = tuple(field.name for field in dataclasses.fields(Record))


def to_jsonl(records: Iterable[Record]) -> str:
    """JSON lines.

    Raises:
        DataError: a number is not finite, which is no result; the message says whose it is.
    """
    return "".join(_line(record) + "\n" for record in records)


def _line(record: Record) -> str:
    try:
        return json.dumps(dataclasses.asdict(record), allow_nan=False)
    except ValueError:
        whose = f"{record.metric} of {record.model or record.method} on {record.video or record.runtime}"
        raise DataError(
            f"{whose} is not finite and is not recorded: {record.value} [{record.ci_low}, {record.ci_high}]"
        ) from None


def from_jsonl(text: str, where: str = "records") -> list[Record]:
    """Read JSON lines of this or an older version: unknown keys are dropped, missing ones take their default."""
    records, broken = salvage_jsonl(text)
    if broken:
        raise DataError(f"{where}, {broken[0]}")
    return records


def salvage_jsonl(text: str) -> tuple[list[Record], list[str]]:
    """What can be read of JSON lines, and a line about each that cannot: a run may have been cut short."""
    records, broken = [], []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            fields = {key: value for key, value in json.loads(line, parse_constant=_refuse).items() if key in COLUMNS}
            records.append(_typed(Record(**fields)))
        except (ValueError, TypeError, AttributeError) as error:
            broken.append(f"line {number}: not a record ({error})")
    return records, broken


def _typed(record: Record) -> Record:
    """A record whose fields are of their types: text that looks like a number is none, and null is no text."""
    for field in dataclasses.fields(Record):
        value = getattr(record, field.name)
        wanted = {"str": str, "int": int}.get(str(field.type), (int, float, type(None)))
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{field.name} is {json.dumps(value)}")
        if isinstance(value, (int, float)) and not is_measurable(value):
            raise ValueError(f"{field.name} is beyond {LARGEST:g}")
    return record


def _refuse(constant: str) -> None:
    """JSON has no NaN; Python reads it all the same unless told not to."""
    raise ValueError(f"{constant} is no number")


def read_records(path: Path) -> list[Record]:
    """Records of a ``records.jsonl`` file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read records {path}: {error}") from None
    return from_jsonl(text, str(path))


def to_csv(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """CSV text; ``None`` is an empty cell, floats keep nine significant digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def records_to_csv(records: Iterable[Record]) -> str:
    """All records as CSV, one row each, columns :data:`COLUMNS`."""
    # For machines: names stay letter for letter, whatever a spreadsheet would compute of them; summary.csv is for people.
    return to_csv((dataclasses.astuple(record) for record in records), COLUMNS)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else ""
    return "" if value is None else value
