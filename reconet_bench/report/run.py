"""A run folder, read back: whatever is there is taken, and whatever is missing or broken is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import DataError
from reconet_bench.core.record import Record, is_measurable
from reconet_bench.core.record_reading import REDEFINED, dated_metric, salvage_jsonl, updated_title
from reconet_bench.core.samples import Difference, SampleKey, TimingKey
from reconet_bench.core.size import Size

#: Columns that a table needs to be of use.
COLUMNS = {
    "frames.csv": ("model", "video", "runtime", "metric", "frame", "value"),
    "timings.csv": ("model", "runtime", "size", "boundary", "seconds"),
    "differences.csv": ("metric", "video", "first", "second", "difference", "ci_low", "ci_high", "n", "verdict"),
}

#: Facts of a run that reports do more with than show them, and their types; null is unknown.
FACTS = {
    "command": str,
    "cpu": str,
    "gpu": str,
    "versions": dict,
    "videos": dict,
    "skipped": list,
    "statistics": int,
    "metrics": dict,
    "explained": dict,
}


@dataclass
class Run:
    """Everything that a run left behind.

    Attributes:
        samples: value by frame index; empty if the file is missing.
        timings: seconds of every timed frame, a list for each round; empty if the file is missing.
        differences: paired differences between models.
        curves: text of the loss curves by model.
        problems: a line for each file that is missing, broken or cut short.
    """

    folder: Path
    records: list[Record]
    samples: dict[SampleKey, dict[int, float]] = field(default_factory=dict)
    timings: dict[TimingKey, list[list[float]]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it: the name of its folder."""
        return self.folder.resolve().name

    @property
    def time(self) -> str:
        """When it was measured, ISO 8601; empty where no record is."""
        return self.records[0].time if self.records else ""

    @property
    def models(self) -> list[str]:
        """Names in order of appearance."""
        return list(dict.fromkeys(record.model for record in self.records))

    @property
    def clips(self) -> list[str]:
        """Titles in order of appearance."""
        return list(dict.fromkeys(record.clip for record in self.records if record.video))


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        DataError: there is no folder, or not one record in it.
    """
    folder = Path(folder)
    path = folder / "records.jsonl"
    if not folder.is_dir():
        raise DataError(f"no such run folder: {folder}")
    if not path.is_file():
        raise DataError(
            f"{folder} is not a run folder: it has no records.jsonl. Create a run with reconet-bench compare"
        )
    records, broken = salvage_jsonl(_text(path))
    if not records:
        raise DataError(f"{path} contains no record{f' ({broken[0]})' if broken else ''}")
    run = Run(folder, records)
    if broken:
        rest = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        run.problems.append(f"records.jsonl is damaged, {broken[0]}{rest}: the report shows the other records")
    for row in _table(run, "frames.csv", "curves and paired differences"):
        key = SampleKey(row["model"], updated_title(row["video"]), row["runtime"], row["metric"])
        run.samples.setdefault(key, {})[int(row["frame"])] = float(row["value"])
    rounds: dict[TimingKey, dict[str, list[float]]] = {}
    for row in _table(run, "timings.csv", "intervals of speed"):
        place = TimingKey(row["model"], row["runtime"], Size.parse(row["size"]), row["boundary"])
        # Older files do not say the round: as one, they allow no interval.
        rounds.setdefault(place, {}).setdefault(row.get("round", ""), []).append(float(row["seconds"]))
    run.timings = {place: list(taken.values()) for place, taken in rounds.items()}
    for row in _table(run, "differences.csv", "significance"):
        run.differences.append(
            Difference(
                metric=row["metric"],
                better=row.get("better", ""),
                video=updated_title(row["video"]),
                first=row["first"],
                second=row["second"],
                difference=float(row["difference"]),
                ci_low=_number(row["ci_low"]),
                ci_high=_number(row["ci_high"]),
                n=int(row["n"]),
                verdict=row["verdict"],
                p=_number(row.get("p", "")),
                p_corrected=_number(row.get("p_corrected", "")),
            )
        )
    run.provenance = _provenance(run)
    _date_metrics(run)
    for curve in sorted((folder / "curves").glob("*.csv")):
        run.curves[curve.stem] = _text(curve)
    return run


def _date_metrics(run: Run) -> None:
    """Give metrics whose definition has changed since another name, so that nothing compares the two."""
    if not run.provenance:  # a run that was cut short: of which version is unknown, and this one is the likeliest
        return
    versions = run.provenance.get("metrics") or {}
    old = {name for name in REDEFINED if dated_metric(name, versions) != name}
    if not old:
        return

    def dated(metric: str) -> str:
        return dated_metric(metric, versions)

    run.records = [replace(record, metric=dated(record.metric)) for record in run.records]
    run.samples = {replace(key, metric=dated(key.metric)): values for key, values in run.samples.items()}
    run.differences = [replace(one, metric=dated(one.metric)) for one in run.differences]


def find_runs(folder: Path) -> list[Path]:
    """Run folders in a folder, itself included, oldest first as far as their names tell."""
    if not Path(folder).is_dir():
        raise DataError(f"no such folder: {folder}")
    return sorted(path.parent for path in Path(folder).glob("**/records.jsonl"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _number(text: str) -> float | None:
    return float(text) if text else None


def _table(run: Run, name: str, serves: str) -> Iterable[dict[str, str]]:
    """Rows of a CSV file whose cells are all there and read as they should; what is not becomes a problem."""
    path = run.folder / name
    if not path.is_file():
        run.problems.append(f"{name} is missing: no {serves}")
        return
    reader, broken = csv.DictReader(io.StringIO(_text(path))), 0
    try:
        if lacking := [column for column in COLUMNS[name] if column not in (reader.fieldnames or ())]:
            run.problems.append(f"{name} has no column {', '.join(lacking)}: no {serves}")
            return
        for row in reader:
            if None in row or None in row.values() or not _reads(row):
                broken += 1
                continue
            yield row
    except csv.Error as error:
        run.problems.append(f"{name}, line {reader.line_num}: {error}: the rest is left out")
    if broken:
        run.problems.append(f"{name}: {broken} broken row{'s' if broken > 1 else ''} left out")


def _reads(row: dict[str, str]) -> bool:
    """Whether what must be a number is one: a file may be cut in the middle of a line."""
    try:
        for key in ("frame", "n", "number"):
            if not is_measurable(int(row.get(key) or 0)):
                return False
        for key in ("value", "seconds", "difference", "ci_low", "ci_high", "p", "p_corrected"):
            if not is_measurable(float(row.get(key) or 0)):
                return False
        Size.parse(row.get("size", "1"))
    except ValueError:
        return False
    return all(row.get(key, "0") for key in ("frame", "n", "value", "seconds", "difference"))


def _provenance(run: Run) -> dict[str, Any]:
    path = run.folder / "provenance.json"
    if not path.is_file():
        run.problems.append("provenance.json is missing: machine, versions and command are unknown")
        return {}
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        run.problems.append(f"provenance.json cannot be read ({error})")
        return {}
    if not isinstance(found, dict):
        run.problems.append("provenance.json is not a JSON object: machine, versions and command are unknown")
        return {}
    if wrong := [key for key, kind in FACTS.items() if not isinstance(found.get(key), kind | None)]:
        run.problems.append(
            f"provenance.json: {', '.join(wrong)} cannot be read and {'are' if len(wrong) > 1 else 'is'} unknown"
        )
    facts = {key: value for key, value in found.items() if key not in wrong}
    if videos := facts.get("videos"):
        facts["videos"] = {updated_title(video): its for video, its in videos.items()}
    return facts
