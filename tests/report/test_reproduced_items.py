"""The items of a reproduction: known answers for what is computed of curves and tables."""

from __future__ import annotations

import pytest

from reconet_bench.report.loss_curves import Curves
from reconet_bench.report.reproduced_items import (
    WeightSetting,
    converged,
    figure_5_2,
    rank_correlation,
    table_5_1,
    tail,
)
from reconet_bench.report.reproduction import Item, Reproduction, Row, SetUp, reproduction_csv, reproduction_markdown


def test_a_rank_correlation_knows_the_order_alone():
    assert rank_correlation([(1, 10), (2, 100), (3, 1000)]) == pytest.approx(1)
    assert rank_correlation([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)
    # Ranks 1, 2, 3, 4 beside 1, 3, 2, 4: 1 − 6·2 / (4·15).
    assert rank_correlation([(1, 5), (2, 7), (3, 6), (4, 8)]) == pytest.approx(0.8)
    assert rank_correlation([(1, 3), (2, 3)]) is None
    assert rank_correlation([]) is None


def test_a_loss_has_converged_where_nine_tenths_of_its_fall_are_done():
    curves = Curves(list(range(1, 101)), {"style": [101.0 - step for step in range(1, 101)], "content": [1.0] * 100})
    # It falls from 100 to 5.5, the mean of the last ten; nine tenths of it are done at 14.95, in step 87.
    assert converged(curves, "style") == pytest.approx(0.87)
    assert converged(curves, "content") is None
    assert converged(curves, "pop") is None
    assert tail([]) is None
    assert tail([1.0, 2.0]) == 2.0


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (Row("a", "b", 0.08, 0.1), ["0.08", "0.1", "+0.02 (×1.25)"]),
        (Row("a", "b", 0.1, 0.08), ["0.1", "0.08", "−0.02 (×0.8)"]),
        (Row("a", "b", 0.1, 0.1), ["0.1", "0.1", "0 (×1)"]),
        (Row("a", "b", None, 0.1), ["not known", "0.1", "–"]),
        (Row("a", "b", 0.1, None), ["0.1", "not measured", "–"]),
        (Row("a", "b", 0.1, None, note="needs data"), ["0.1", "needs data", "–"]),
        (Row("a", "b", None, 58.0, "after 35", unit=" %"), ["after 35", "58 %", "–"]),
    ],
)
def test_a_row_shows_both_numbers_and_their_difference(row, cells):
    assert row.cells == ["a", "b", *cells]


def test_the_order_of_the_settings_is_compared_for_each_loss():
    from types import SimpleNamespace

    weights = [
        WeightSetting("one", {"content": 1.0, "style": 3.0}, {"content": 5.0, "style": 1.0}),
        WeightSetting("two", {"content": 2.0, "style": 2.0}, {"content": 6.0, "style": 1.0}),
    ]
    item = table_5_1(SimpleNamespace(weights=weights))
    assert item.here == "Rank correlation of the published order of the settings with ours: content +1.00."
    assert [row.which for row in item.rows] == ["one", "two", "one", "two"]


def test_the_optimizer_with_the_lower_loss_is_named():
    from types import SimpleNamespace

    header = "step,style,total"
    curves = {"adam": f"{header}\n1,4,5\n2,2,3\n", "adamax": f"{header}\n1,4,5\n2,1,2\n"}
    item = figure_5_2(SimpleNamespace(optimizers=curves))
    assert item.here == "Adamax ends with the lower total loss."
    assert [row.measured for row in item.rows] == [3.0, 2.0]
    assert ">total<" in item.charts[0]


def test_what_was_not_measured_is_counted_and_said():
    items = [
        Item("Table 1", "One", "said", rows=[Row("a", "b", 1.0, 2.0), Row("c", "d", 1.0, None, note="no data")]),
        Item("Fig. 2", "Two", "said", "Nothing to show"),
    ]
    made = Reproduction(items, [SetUp("batch", "2", "1")], [], ["one | two"], "reconet-bench reproduce")
    assert made.sentence.startswith("1 of 2 tables and figures")
    assert "1 of 2 published numbers" in made.sentence
    assert reproduction_csv(made).splitlines()[1:] == [
        "Table 1,a,b,1,2,1,,",
        "Table 1,c,d,1,,,,no data",
    ]
    text = reproduction_markdown(made)
    assert "| c | d | 1 | no data | – |" in text
    assert "| batch | 2 | 1 |" in text
