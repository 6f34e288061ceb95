"""A run says which intervals it carries, whichever version made it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from run_folders import DIFFERENCES, PROVENANCE, quality

from reconet_bench.core.samples import ALL_VIDEOS, THESE_CLIPS, Difference
from reconet_bench.core.statistics import VERSION
from reconet_bench.report import tables, terminal
from reconet_bench.report.numbers import p_cell
from reconet_bench.report.page import page
from reconet_bench.report.ranking import overall, paired
from reconet_bench.report.run import Run, load_run
from reconet_bench.report.run_folder import write_run
from reconet_bench.report.verdict import verdict

OLD = DIFFERENCES
NEW = [
    dataclasses.replace(OLD[0], video=THESE_CLIPS, p=0.0001, p_corrected=0.0002),
    dataclasses.replace(OLD[0], p=0.031, p_corrected=0.062, verdict="no difference shown"),
]


def run(folder: Path, rows: list[Difference], **provenance: object) -> Run:
    write_run(folder, quality(), {}, [], rows, {**PROVENANCE, **provenance})
    return load_run(folder)


@pytest.mark.parametrize("row", [*OLD, *NEW])
def test_differences_come_back_as_they_were(tmp_path, row):
    assert run(tmp_path / "run", [row]).differences == [row]


def test_differences_of_an_older_version_have_no_p_value(tmp_path):
    run(tmp_path / "run", OLD)
    path = tmp_path / "run" / "differences.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(",".join(line.split(",")[:10]) for line in lines) + "\n")
    assert lines[0].split(",")[10:] == ["p", "p_corrected"]
    read = load_run(tmp_path / "run")
    assert read.differences == OLD
    assert not [line for line in read.problems if "differences" in line]


@pytest.mark.parametrize(
    ("rows", "provenance", "values", "differences"),
    [
        (OLD, {}, "is of an older version: the 95 % intervals of single videos", "a bootstrap of neighbouring frames"),
        (
            NEW,
            {"statistics": VERSION},
            "takes the video as the unit: it holds for other videos like these",
            "corrected for",
        ),
        (NEW, {}, "takes the video as the unit: it holds for other videos like these", "corrected for"),
        (NEW, {"statistics": 99}, "of a newer version (99; this one knows", "of a newer version (99;"),
    ],
)
def test_page_and_summary_say_what_the_intervals_mean(tmp_path, rows, provenance, values, differences):
    found = run(tmp_path / "run", rows, **provenance)
    for text in (page(found), tables.report_markdown(found.records, found.differences, found.provenance)):
        assert values in text
        assert differences in text


def test_a_row_is_ranked_by_what_holds_for_all_videos():
    assert [row.video for row in paired(NEW, "temporal_error", "johnson-wave", "reconet-wave")] == [
        ALL_VIDEOS,
        THESE_CLIPS,
    ]
    marks = {row.model: row.cells["temporal_error"].standing for row in overall(quality(), NEW)}
    assert marks["johnson-wave"] == "tie"


def test_the_verdict_says_what_was_shown_and_of_what():
    def detail(rows: list[Difference]) -> str:
        return verdict(quality(), overall(quality(), rows), rows, []).cards[0].detail

    assert "(no difference is shown for videos like these 2; for these alone one is)" in detail(NEW)
    both = [NEW[0], dataclasses.replace(NEW[1], p_corrected=0.04)]
    assert "(a difference is shown for videos like these 2)" in detail(both)
    assert "(a difference is shown on 98 paired frames)" in detail(OLD)
    assert "(not tested)" in detail([])


@pytest.mark.parametrize(
    ("p", "corrected", "cell"),
    [(None, None, "–"), (0.0123, None, "0.012"), (0.0123, 0.0246, "0.012 (0.025)"), (1e-9, 2e-9, "<0.0001 (<0.0001)")],
)
def test_a_cell_of_p_values(p, corrected, cell):
    assert p_cell(p, corrected) == cell


def test_the_terminal_has_one_row_for_two_models_and_a_metric():
    console = Console(width=160, file=io.StringIO())
    console.print(terminal.differences_table(NEW))
    lines = [line for line in console.file.getvalue().splitlines() if "temporal_error" in line]
    assert len(lines) == 1
    assert [cell.strip() for cell in lines[0].split("│")[3:7]] == [
        "-0.004 [-0.005, -0.003]",
        "0.031 (0.062)",
        "all: no difference shown",
        "reconet-wave is better",
    ]


def test_long_names_of_two_models_stand_on_a_line_each():
    first, second = "johnson-lite-starry_night+blend", "johnson-lite-starry_night+average"
    console = Console(width=160, file=io.StringIO())
    named = [dataclasses.replace(row, first=first, second=second, verdict=f"{second} is better") for row in NEW]
    console.print(terminal.differences_table(named))
    rows = [[cell.strip() for cell in line.split("│")] for line in console.file.getvalue().splitlines()]
    assert [row[2] for row in rows if len(row) > 2 and "johnson" in row[2]] == [first, f"− {second}"]
    assert any("the second is better" in cell for row in rows for cell in row)
