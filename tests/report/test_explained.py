"""A run says what its metrics cannot see, and the main table leaves out what nobody asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from run_folders import DIFFERENCES, PROVENANCE, quality

from reconet_bench.report import tables, terminal
from reconet_bench.report.explained import explanations, hidden
from reconet_bench.report.page import Page, page
from reconet_bench.report.run import Run, load_run
from reconet_bench.report.run_folder import write_run

EXPLAINED = {
    "temporal_error": {"summary": "how frames <differ>", "blind_to": "what | is painted", "shown": True},
    "style_distance": {"summary": "how frames are alike", "blind_to": "motion", "shown": False},
}


def run(folder: Path, explained: object) -> Run:
    facts = PROVENANCE if explained is None else {**PROVENANCE, "explained": explained}
    write_run(folder, quality(), {}, [], DIFFERENCES, facts)
    return load_run(folder)


def test_page_and_summary_say_what_metrics_are_blind_to(tmp_path):
    found = run(tmp_path / "run", EXPLAINED)
    text = page(found)
    assert "What the metrics say, and what they are blind to" in text
    assert "how frames &lt;differ&gt;" in text
    assert "<td>motion</td>" in text
    assert "explained" not in dict(Page(found).facts)
    summary = tables.report_markdown(found.records, found.differences, found.provenance)
    assert "## What the metrics say, and what they are blind to" in summary
    assert "how frames are alike" in summary


def test_what_nobody_asked_for_is_in_the_details_alone(tmp_path):
    shown = Page(run(tmp_path / "run", EXPLAINED))
    assert "temporal_error" in shown.ranked
    assert "style_distance" not in shown.ranked
    assert "style_distance" in shown.metrics


@pytest.mark.parametrize(
    "explained", [None, {}, "text", {"temporal_error": "text"}, {"temporal_error": {"summary": 1}}]
)
def test_runs_of_older_versions_and_broken_ones_explain_nothing(tmp_path, explained):
    found = run(tmp_path / "run", explained)
    assert explanations(found.provenance) == []
    assert hidden(found.provenance) == set()
    assert "what they are blind to" not in page(found)
    assert "style_distance" in Page(found).ranked


def test_the_terminal_shows_what_was_asked_for_beside_the_usual_columns():
    more = [dataclasses.replace(record, metric="carpet") for record in quality() if record.metric == "temporal_error"]
    records = [*quality(), *more]
    usual, asked = (terminal.quality(records, names) for names in ((), ["carpet", "all", "style_distance_relu1_2"]))
    assert [column.header for column in asked.columns] == [*(column.header for column in usual.columns), "carpet ↓"]
