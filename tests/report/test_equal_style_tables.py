"""Tables and plot of an equal-style study: every number beside its method, and what is not equal marked as such."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from reconet_bench.core.errors import DataError
from reconet_bench.core.images import read_image
from reconet_bench.core.samples import Difference
from reconet_bench.report.equal_style import (
    Cell,
    FieldPoint,
    FieldResult,
    FieldRow,
    differences_csv,
    percent,
    points_csv,
    remarks,
    summary_markdown,
    table_csv,
    table_header,
    table_rows,
)
from reconet_bench.report.pareto_plot import plot_pareto


def point(method: str, factor: float, error: float, style: float, miss: float = 0.0) -> FieldPoint:
    cells = {"temporal_error": Cell(error, 0.9 * error, 1.1 * error), "style_distance": Cell(style)}
    return FieldPoint(method, factor, {"temporal_short": 300 * factor} if factor else {}, cells, miss)


JOHNSON = point("johnson", 0, 0.1, 0.2)
HUANG = [point("huang2017", 1, 0.06, 0.203), point("huang2017", 4, 0.04, 0.23, 0.12)]
XU = [point("xu2021", 1, 0.05, 0.24, 0.17)]
DIFFERENCE = Difference(
    "temporal_error",
    "lower",
    "all",
    "huang2017",
    "johnson",
    -0.04,
    -0.05,
    -0.03,
    40,
    "shown",
    0.001,
    0.01,
)
RESULT = FieldResult(
    "What each objective buys",
    0.03,
    JOHNSON,
    point("trunk", 0, 0.11, 0.25),
    [JOHNSON, *HUANG, *XU],
    [
        FieldRow("johnson", JOHNSON),
        FieldRow("huang2017", HUANG[0]),
        FieldRow("xu2021", XU[0], "the time was over"),
        FieldRow("gao2018", None, "gao2018-x1: out of memory"),
    ],
    {"temporal_error": "lower", "style_distance": "lower"},
    [DIFFERENCE, replace(DIFFERENCE, video="stroll")],
    ["command: reconet-bench study field"],
    ["a doubt"],
)


def test_a_row_has_its_values_and_how_they_stand_to_the_baseline():
    assert table_header(RESULT) == ["method", "temporal weight", "E(V) ↓", "style dist. ↓"]
    assert table_rows(RESULT) == [
        ["johnson", "–", "0.1 [0.09, 0.11]", "0.2"],
        ["huang2017", "temporal_short 300", "0.06 [0.054, 0.066] (-40.0 %)", "0.203 (+1.5 %)"],
        ["xu2021*", "temporal_short 300", "0.05 [0.045, 0.055] (-50.0 %)", "0.24 (+20.0 %)"],
        ["gao2018", "–", "–", "–"],
    ]
    assert table_rows(RESULT, intervals=False)[1][2] == "0.06 (-40.0 %)"
    assert remarks(RESULT) == [
        "xu2021: not at equal style: +17.0 % outside the band; the time was over",
        "gao2018: gao2018-x1: out of memory",
    ]


def test_without_a_baseline_no_percentage_is_made_up():
    assert percent(HUANG[0], None, "temporal_error") is None
    assert percent(HUANG[0], JOHNSON, "ghosting") is None
    for nothing in (Cell(0.0), Cell(0.01, -0.02, 0.04)):
        assert percent(HUANG[0], replace(JOHNSON, cells={"temporal_error": nothing}), "temporal_error") is None


def test_the_summary_holds_table_differences_and_all_points():
    text = summary_markdown(RESULT)
    for part in (
        "# What each objective buys",
        "- command: reconet-bench study field",
        "- a doubt",
        "## Paired differences at equal style",
        "| temporal_error | all | huang2017 − johnson | -0.04 [-0.05, -0.03] | 40 | 0.001 (0.01) | shown |",
        "## All trained points",
        "| huang2017 | 4 | temporal_short 1200 | +15.0 % | 0.04 | 0.23 |",
        "| trunk | 0 | – | +25.0 % | 0.11 | 0.25 |",
        "nothing is interpolated",
    ):
        assert part in text
    assert "stroll" not in text, "single clips are in differences.csv"
    assert "Paired" not in summary_markdown(replace(RESULT, differences=[]))


def test_the_files_for_programs_hold_every_number():
    rows = list(csv.DictReader(io.StringIO(table_csv(RESULT))))
    assert [(row["method"], row["metric"]) for row in rows] == [
        (method, metric) for method in ("johnson", "huang2017", "xu2021", "gao2018") for metric in RESULT.better
    ]
    huang = rows[2]
    assert (float(huang["value"]), float(huang["ci_low"]), float(huang["percent"])) == pytest.approx((0.06, 0.054, -40))
    assert (huang["equal_style"], huang["difference"], huang["p_corrected"]) == ("True", "-0.04", "0.01")
    assert (rows[4]["equal_style"], rows[4]["miss"], rows[4]["difference"]) == ("False", "0.17", "")
    assert (rows[6]["value"], rows[6]["note"]) == ("", "gao2018-x1: out of memory")
    points = list(csv.DictReader(io.StringIO(points_csv(RESULT))))
    assert [(row["method"], row["factor"]) for row in points] == [
        ("trunk", "0"),
        ("johnson", "0"),
        ("huang2017", "1"),
        ("huang2017", "4"),
        ("xu2021", "1"),
    ]
    assert points[3]["temporal_error_low"] == "0.036"
    assert [row["video"] for row in csv.DictReader(io.StringIO(differences_csv(RESULT)))] == ["all", "stroll"]


def test_the_plot_shows_the_curves_and_rings_what_is_equal(tmp_path, monkeypatch):
    drawn: list[Figure] = []
    real = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), real(self, *a, **k))[1])
    path = plot_pareto(tmp_path / "pareto.png", RESULT)
    picture = read_image(path)
    assert picture.shape[0] > 400
    assert np.ptp(picture) > 200
    axes, closer = drawn[0].axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == {"trunk", "johnson", "huang2017", "xu2021", "equal-style point"}
    np.testing.assert_allclose(lines["huang2017"].get_xydata(), [(0.203, 0.06), (0.23, 0.04)])
    np.testing.assert_allclose(lines["equal-style point"].get_xydata(), [(0.203, 0.06)])
    (band,) = axes.patches
    assert band.get_x() == pytest.approx(0.194)
    assert band.get_width() == pytest.approx(0.012)
    # The closer look holds what is near the band: Johnson and one point, and not the others.
    (left, right), (bottom, top) = closer.get_xlim(), closer.get_ylim()
    assert left < 0.194 < 0.206 < right < 0.23
    assert bottom < 0.06 < 0.1 < top


def test_a_plot_that_cannot_be_made_says_why(tmp_path):
    with pytest.raises(DataError, match="no trained point was measured"):
        plot_pareto(tmp_path / "pareto.png", replace(RESULT, points=[]))
    with pytest.raises(DataError, match=r"use .png, .svg or .pdf"):
        plot_pareto(tmp_path / "pareto.xyz", RESULT)
    assert not list(tmp_path.iterdir())
