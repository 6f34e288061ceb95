"""The tidy result: one record per number, saved as JSON lines and CSV; everything reported comes from these."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError
from reconet_bench.core.size import Size

#: The method that is no network: the content itself. It shows the floor, and never wins.
CONTENT_METHOD = "identity"
#: The method of an ONNX file that names no network of ours: nothing is known of how it was trained.
UNKNOWN_METHOD = "onnx"
#: Method and runtime of frames that another tool rendered.
RENDERED = "rendered"
#: Methods that tell nothing: models that share one have no more in common.
UNTOLD = (UNKNOWN_METHOD, RENDERED)
#: No measurement is beyond this; of what is not, squares and sums are finite too.
LARGEST = 1e100


def is_measurable(value: float) -> bool:
    """Whether a number may be a measurement: neither infinite nor NaN nor beyond :data:`LARGEST`."""
    return abs(value) <= LARGEST


def clip_title(video: str, flow: str) -> str:
    """What a clip is called in tables, files and pages: clips of one video differ in what estimated their motion."""
    return f"{video} ({flow.upper()} flow)" if flow else video


#: A measurement: see :func:`is_measurable`.
Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
#: How many there are of something: pixels, frames.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


@dataclass(frozen=True)
class Record:
    """One number, or the reason why there is none.

    Attributes:
        run: identifier of the run; its provenance stands in ``provenance.json`` beside the records.
        time: when it was measured, ISO 8601, UTC.
        method, style, video: what was measured on what; no video means that it is a speed.
        runtime, precision, device: what computed the frames.
        height, width: size of the frames.
        metric, unit, better: what the number is; ``better`` is lower, higher or reference.
        value: the number; ``None`` where the metric is absent, and ``note`` says why.
        ci_low, ci_high: 95 % interval, ``None`` where ``n`` does not allow one.
        n: number of frames or pairs behind the value.
        model: name of the model (a method may have several).
        source: where the video is from, e.g. ``synthetic`` or ``sintel-clean``.
        note: why a value is absent, or what else to know about it.
        flow: what estimated the motion of the video; empty if that is true, or not known.
        doubts: why not to take the value as it stands.
        node: which machine of several it was timed on; empty where there is one, which provenance describes.
    """

    run: str
    time: str
    method: str
    style: str
    video: str
    runtime: str
    precision: str
    device: str
    height: Count
    width: Count
    metric: str
    unit: str
    better: str
    value: Number | None
    ci_low: Number | None = None
    ci_high: Number | None = None
    n: Count = 0
    model: str = ""
    source: str = ""
    note: str = ""
    flow: str = ""
    doubts: tuple[Doubt, ...] = ()
    node: str = ""

    @property
    def clip(self) -> str:
        """Title of the clip; empty for a speed."""
        return clip_title(self.video, self.flow)

    @property
    def size(self) -> Size:
        """Size of the frames."""
        return Size(self.height, self.width)

    @property
    def is_content(self) -> bool:
        """Whether the content itself was measured, and not a model."""
        return self.method == CONTENT_METHOD

    @property
    def changed(self) -> bool:
        """Whether the frames behind it are not those of the reference, so that it must not be called the best."""
        return Doubt.CHANGED_OUTPUT in self.doubts

    @property
    def remarks(self) -> list[str]:
        """Everything to know about the value, a sentence each."""
        return [*(doubt.sentence for doubt in self.doubts), *([self.note] if self.note else [])]

    @property
    def remark(self) -> str:
        """:attr:`remarks` on one line."""
        return "; ".join(self.remarks)


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
        whose = f"{record.metric} of {record.model} on {record.video or record.runtime}"
        raise DataError(
            f"{whose} is not finite and is not recorded: {record.value} [{record.ci_low}, {record.ci_high}]"
        ) from None


def to_csv(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """CSV text; ``None`` is an empty cell, floats keep nine significant digits. Without a header: rows to append."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def records_to_csv(records: Iterable[Record]) -> str:
    """All records as CSV, one row each, columns :data:`COLUMNS`."""
    # For programs: names stay as they are, even if a spreadsheet would run them as formulas; summary.csv is for people.
    return to_csv(([getattr(record, column) for column in COLUMNS] for record in records), COLUMNS)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else ""
    if isinstance(value, tuple) and not isinstance(value, Size):
        return "; ".join(map(str, value))
    return "" if value is None else value
