"""The run folder: records, tables, samples and provenance; it grows while it is measured, and is written whole then."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconet_bench.core.files import write_text
from reconet_bench.core.record import Record, records_to_csv, to_csv, to_jsonl
from reconet_bench.core.samples import Difference, SampleKey, Samples, TimedFrame
from reconet_bench.report.flow_agreement import flow_markdown
from reconet_bench.report.latex import latex_table
from reconet_bench.report.page import Page, render
from reconet_bench.report.run import Run, load_run
from reconet_bench.report.summary import spreadsheet
from reconet_bench.report.tables import report_markdown

FILES = (
    "report.html",
    "summary.md",
    "summary.csv",
    "records.csv",
    "records.jsonl",
    "frames.csv",
    "differences.csv",
    "timings.csv",
    "provenance.json",
)
#: What is finished of a run that is being measured, for its own use: it is no part of the result.
JOURNAL = "journal.jsonl"


def write_run(
    folder: Path,
    records: Sequence[Record],
    samples: Samples,
    timings: Sequence[TimedFrame],
    differences: Sequence[Difference],
    provenance: dict[str, Any],
    curves: Mapping[str, str] | None = None,
) -> None:
    """Write :data:`FILES` into ``folder``.

    Args:
        curves: text of the loss curves by model.
    """
    write_text(folder / "records.jsonl", to_jsonl(records))
    write_text(folder / "records.csv", records_to_csv(records))
    write_text(folder / "frames.csv", to_csv(_frame_rows(samples), FRAMES_HEADER))
    write_text(folder / "timings.csv", to_csv(map(_cells, timings), _columns(TimedFrame)))
    write_text(folder / "differences.csv", to_csv(map(_cells, differences), _columns(Difference)))
    _write_provenance(folder, provenance)
    shutil.rmtree(folder / "curves", ignore_errors=True)  # of a run before this one
    for model, text in (curves or {}).items():
        write_text(folder / "curves" / f"{model}.csv", text)
    write_reports(load_run(folder), folder)


class GrowingRun:
    """A run folder that grows while the run is measured: whatever ends the process leaves what was measured so far.

    Records, samples and timings are appended; :func:`write_run` writes them once more, whole, when the run has ended.
    The first numbers take the place of an earlier run in the folder, which is not touched before.

    Args:
        facts: the provenance, asked for with the first numbers.
        resumed: whether the earlier run is the same one, which goes on: its journal stays.
    """

    def __init__(self, folder: Path, facts: Callable[[], dict[str, Any]], resumed: bool = False) -> None:
        self._folder, self._facts, self._resumed = folder, facts, resumed
        self._known: dict[str, Any] = {}
        self._records = self._timings = 0
        self._samples: set[SampleKey] = set()

    def grow(
        self, records: Sequence[Record], samples: Samples, timings: Sequence[TimedFrame], skipped: Sequence[str]
    ) -> None:
        """Append what has come since the last call; all are those of the whole run so far."""
        if not records:
            return
        if not self._known:
            self._begin()
        if skipped != self._known.get("skipped"):
            self._known["skipped"] = list(skipped)
            _write_provenance(self._folder, self._known)
        self._append("records.jsonl", to_jsonl(records[self._records :]))
        new = {key: values for key, values in samples.items() if key not in self._samples}
        self._append("frames.csv", to_csv(_frame_rows(new)))
        self._append("timings.csv", to_csv(map(_cells, timings[self._timings :])))
        self._records, self._timings = len(records), len(timings)
        self._samples.update(new)

    def _begin(self) -> None:
        """Nothing of an earlier run, and empty tables."""
        self._known = {**self._facts(), "interrupted": True}
        for name in (*FILES, "table.tex", *(() if self._resumed else (JOURNAL,))):
            (self._folder / name).unlink(missing_ok=True)
        for name in ("pictures", "frames", "curves"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        self._append("frames.csv", to_csv((), FRAMES_HEADER))
        self._append("timings.csv", to_csv((), _columns(TimedFrame)))

    def _append(self, name: str, text: str) -> None:
        with (self._folder / name).open("a", encoding="utf-8", newline="") as file:
            file.write(text)


def _write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    write_text(folder / "provenance.json", json.dumps(provenance, indent=2, sort_keys=True) + "\n")


def _frame_rows(samples: Samples) -> list[tuple[Any, ...]]:
    return [(*_cells(key), index, value) for key, values in samples.items() for index, value in values.items()]


def _columns(table: type[SampleKey | TimedFrame | Difference]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(table))


def _cells(row: SampleKey | TimedFrame | Difference) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in _columns(type(row)))


#: Columns of ``frames.csv``.
FRAMES_HEADER = (*_columns(SampleKey), "frame", "value")


def write_reports(run: Run, folder: Path, latex: bool = False, keep: bool = False) -> tuple[list[str], list[str]]:
    """Write everything that people read of a run into ``folder``.

    Args:
        keep: leave a page alone that shows pictures where the run has none any more: they cannot be made again.

    Returns:
        Names of the files, and a line about each thing that is not in them.
    """
    shown = Page(run)
    texts = {
        "report.html": render(shown),
        "summary.md": report_markdown(run.records, run.differences, run.provenance, flow_markdown(run.records)),
        "summary.csv": spreadsheet(run.records),
        **({"table.tex": latex_table(run.records, run.differences)} if latex else {}),
    }
    problems = list(shown.problems)
    if keep and not shown.clips and _has_pictures(folder / "report.html"):
        del texts["report.html"]
        problems.append(
            f"{folder / 'report.html'} is kept because its pictures cannot be made again: "
            "write a page without pictures elsewhere with -o DIR"
        )
    for name, text in texts.items():
        write_text(folder / name, text)
    return list(texts), problems


def _has_pictures(page: Path) -> bool:
    """Whether a page that is there holds a player."""
    return page.is_file() and 'id="player"' in page.read_text(encoding="utf-8", errors="replace")
