"""The run folder: records, tables, samples and provenance, each file written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
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
    frames = [(*_cells(key), index, value) for key, values in samples.items() for index, value in values.items()]
    write_text(folder / "frames.csv", to_csv(frames, (*_columns(SampleKey), "frame", "value")))
    write_text(folder / "timings.csv", to_csv(map(_cells, timings), _columns(TimedFrame)))
    write_text(folder / "differences.csv", to_csv(map(_cells, differences), _columns(Difference)))
    write_text(folder / "provenance.json", json.dumps(provenance, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(folder / "curves", ignore_errors=True)  # of a run before this one
    for model, text in (curves or {}).items():
        write_text(folder / "curves" / f"{model}.csv", text)
    write_reports(load_run(folder), folder)


def _columns(table: type[SampleKey | TimedFrame | Difference]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(table))


def _cells(row: SampleKey | TimedFrame | Difference) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in _columns(type(row)))


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
