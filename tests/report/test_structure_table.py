"""Tables and plot of a structure study."""

from __future__ import annotations

import csv
import io

import pytest

from reconet_bench.core.errors import DataError
from reconet_bench.core.images import read_image
from reconet_bench.report.equal_style import Cell
from reconet_bench.report.structure_plot import plot_structures
from reconet_bench.report.structure_table import (
    Candidate,
    StructureResult,
    StructureRow,
    Time,
    summary_markdown,
    table_csv,
    table_header,
    table_rows,
)

CELLS = {"temporal_error": Cell(0.05, 0.04, 0.06), "style_distance": Cell(0.3)}
RESULT = StructureResult(
    "Structures",
    [
        StructureRow(Candidate("lite", "all", 427020), 300, 0.4, {"openvino": Time(10.0, 1.0)}, CELLS),
        StructureRow(Candidate("less", "3 blocks", 1), 400, 0.3, {"openvino": Time(8.0, 0.8, 0.78, 0.82)}, CELLS),
        StructureRow(Candidate("none", "5 | 6", 1), 1, 0.3, {"openvino": Time(None, note="no memory")}, {}, "failed"),
    ],
    ["openvino"],
    {"temporal_error": "lower", "style_distance": "lower"},
    ["command: study structure"],
    ["a doubt"],
)


def test_every_number_is_in_its_row():
    assert table_header(RESULT) == ["candidate", "openvino, ms", "steps", "E(V) ↓", "style dist. ↓"]
    assert table_rows(RESULT)[0] == ["lite", "10", "300", "0.05 [0.04, 0.06]", "0.3"]
    assert table_rows(RESULT)[1] == ["less", "8 (0.8 [0.78, 0.82])", "400", "0.05 [0.04, 0.06]", "0.3"]
    assert table_rows(RESULT, intervals=False)[1][1] == "8 (0.8)"
    assert table_rows(RESULT)[2] == ["none", "–", "–", "–", "–"]


def test_the_summary_says_what_is_missing_and_why():
    text = summary_markdown(RESULT)
    for line in (
        "none: failed",
        "none in openvino: no memory",
        "a doubt",
        "command: study structure",
        "time over that of `lite`",
    ):
        assert line in text
    assert "| less | 3 blocks | 1 | 300 |" in text


def test_the_table_for_programs_has_all_digits():
    rows = list(csv.DictReader(io.StringIO(table_csv(RESULT))))
    assert rows[1] | {"openvino_ms": "8", "openvino_low": "0.78", "temporal_error_high": "0.06"} == rows[1]
    assert rows[2]["openvino_ms"] == rows[2]["temporal_error"] == ""


def test_the_plot_has_every_candidate_that_was_timed_and_measured(tmp_path):
    assert read_image(plot_structures(tmp_path / "plot.png", RESULT)).std() > 0
    with pytest.raises(DataError, match="no candidate was both timed and measured"):
        plot_structures(tmp_path / "none.png", StructureResult("none", RESULT.rows[2:], ["openvino"], {}))
    with pytest.raises(DataError, match=r"use \.png, \.svg or \.pdf"):
        plot_structures(tmp_path / "plot.xyz", RESULT)
