"""Estimated flow beside true flow: how far apart, whether they agree on the order, and each frame counted once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import TranslationClip

from reconet_bench import cli
from reconet_bench.benchmark.paired_differences import differences
from reconet_bench.core.record import Record
from reconet_bench.core.samples import SampleKey
from reconet_bench.data.flow.base import EstimatedClip
from reconet_bench.models.loading import Model
from reconet_bench.report.flow_agreement import beside_true_flow, flow_markdown
from reconet_bench.report.ranking import overall
from reconet_bench.report.run import load_run
from reconet_bench.runtimes.base import ModelSource

BASE = Record("r", "t", "", "wave", "", "torch", "fp32", "cpu", 4, 4, "temporal_error", "", "lower", None)


def record(model: str, video: str, value: float, metric: str = "temporal_error", flow: str = "") -> Record:
    return replace(BASE, method=model, model=model, video=video, metric=metric, value=value, n=3, flow=flow)


def records(**estimated: float) -> list[Record]:
    """Two methods and the content on two clips with true flow, and on the first of them along estimated flow too."""
    true = {"reconet": 0.05, "johnson": 0.1, "identity": 0.01}
    found = [record(model, video, value) for model, value in true.items() for video in ("alley", "stroll")]
    found += [record(model, "alley", value, flow="dis") for model, value in estimated.items()]
    return [
        *found,
        record("reconet", "alley", 0.9, "traceable_share"),
        record("reconet", "alley", 0.8, "traceable_share", flow="dis"),
    ]


def test_each_method_has_both_values_their_difference_and_what_was_traced():
    (beside,) = beside_true_flow(records(reconet=0.045, johnson=0.11, identity=0.02))
    assert beside.rows == [
        ["alley", "dis", "reconet", "0.05", "0.045", "-10.0 %", "90.0 %", "80.0 %"],
        ["alley", "dis", "johnson", "0.1", "0.11", "+10.0 %", "–", "–"],
        ["alley", "dis", "identity", "0.01", "0.02", "+100.0 %", "–", "–"],
    ]
    assert beside.order == "alley: dis puts the methods in the same order as true flow: reconet < johnson"


def test_another_order_is_said():
    (beside,) = beside_true_flow(records(reconet=0.2, johnson=0.1))
    assert (
        beside.order
        == "alley: dis puts the methods in another order (johnson < reconet) than true flow (reconet < johnson)"
    )
    assert f"- {beside.order}" in flow_markdown(records(reconet=0.2, johnson=0.1))


def test_without_both_there_is_nothing_to_show():
    assert beside_true_flow(records()) == []
    assert flow_markdown(records()) == ""
    assert beside_true_flow([r for r in records(reconet=0.2) if r.flow or r.video != "alley"]) == []


def test_a_clip_counts_once_in_means_and_differences():
    rows = {row.model: row.cells["temporal_error"] for row in overall(records(reconet=9, johnson=9, identity=9))}
    assert (rows["reconet"].value, rows["reconet"].videos) == (0.05, 2)
    alone = overall([r for r in records(reconet=9, johnson=9, identity=9) if r.flow])
    assert alone[0].cells["temporal_error"].value == 9, "where true flow is not known the estimate is what there is"
    models = [Model(ModelSource(name, None, lambda: None), name, "wave") for name in ("a", "b")]
    clips = [
        TranslationClip(length=3, name="x"),
        EstimatedClip(TranslationClip(length=3, name="x"), "dis"),
        TranslationClip(length=3, name="y"),
    ]
    samples = {
        SampleKey(name, clip.title, "torch", "temporal_error"): {0: 0.1 * k, 1: 0.3 * k}
        for k, name in enumerate("ab", 1)
        for clip in clips
    }
    counted = {row.video: row.n for row in differences(models, clips, samples)}
    assert counted == {"all": 4, "these clips": 4, "x": 2, "x (DIS flow)": 2, "y": 2}


@pytest.mark.parametrize("video", ["stroll"])
def test_estimated_flow_puts_the_shipped_methods_in_the_same_order(tmp_path, capsys, video):
    cli.main(
        [
            "compare",
            "--videos",
            video,
            "--size",
            "160x96",
            "--frames",
            "3",
            "--flow",
            "dis",
            "--runtimes",
            "torch",
            "--device",
            "cpu",
            "--rounds",
            "0",
            "--no-pictures",
            "-o",
            str(tmp_path / "run"),
        ]
    )
    (beside,) = beside_true_flow(load_run(tmp_path / "run").records)
    assert beside.true == beside.estimated
    assert sorted(beside.true) == ["dougherty", "johnson", "reconet"]
    line = f"{video}: dis puts the methods in the same order as true flow"
    assert line in " ".join(capsys.readouterr().out.split())
    assert line in (tmp_path / "run" / "summary.md").read_text()
    assert line in (tmp_path / "run" / "report.html").read_text()
