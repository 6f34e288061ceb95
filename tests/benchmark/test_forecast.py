"""What a comparison will take: the arithmetic, and a dry run that leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TranslationClip

from reconet_bench import cli
from reconet_bench.benchmark import forecast as forecast_module
from reconet_bench.benchmark.calibration import Calibration, Cost, Line, _exported
from reconet_bench.benchmark.forecast import forecast
from reconet_bench.benchmark.plan import Plan
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import checkpoint_model
from reconet_bench.models.loading import Model, load_by_name
from reconet_bench.runtimes.selection import Resources


@pytest.fixture
def plan(seeded: Checkpoint, tmp_path: Path) -> Plan:
    """Two models on four clips of ten frames, without timing."""
    models = [Model(checkpoint_model(seeded, tmp_path, name), "reconet", "") for name in ("first", "second")]
    clips = [TranslationClip(name=name, length=10) for name in "abcd"]
    return Plan(models, clips, ["torch"], Resources("cpu", 1), 0)


@pytest.fixture
def calibration(plan: Plan) -> Calibration:
    """Loading takes 1 s, a clip 2 s and 1 s a frame, half of it where it is known; clip d takes 0.5 s more a frame."""
    cost = Cost(1.0, Line(2.0, 1.0), Line(1.0, 0.5), {"torch": 0.1}, 1000)
    beyond = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.5}
    return Calibration({"first": cost, "second": cost}, beyond, 2**30, 10, plan.clips[0].size.pixels)


def test_a_line_goes_through_two_measurements():
    assert Line.through([6, 12], [8.0, 14.0]) == Line(2.0, 1.0)
    assert Line.through([4], [8.0]) == Line(0.0, 2.0)
    assert Line.through([6, 12], [9.0, 6.0]) == Line(0.0, 0.5), "noise: the longer took no longer"


def test_here_one_task_follows_the_other(plan, calibration):
    found = forecast(plan, calibration, 3.0)
    # The first model decodes: 4 x 12 s and 5 s more for clip d; the second finds the clips as they are, 4 x 6 s.
    assert found.seconds == {"first": 1 + 48 + 5, "second": 1 + 24}
    assert found.estimates[0].total == 3 + 54 + 25
    assert (found.estimates[0].sent, found.estimates[0].nodes) == (0, 0)


def test_an_export_is_made_once_and_not_again_of_what_was_measured(plan, calibration):
    costs = {name: replace(cost, export=7.0) for name, cost in calibration.costs.items()}
    known = forecast(plan, replace(calibration, costs=costs, exported=frozenset(["first"])), 3.0)
    assert known.seconds == {"first": 1 + 48 + 5, "second": 1 + 7 + 24}
    # On nodes the exports are at hand: they are sent.
    assert known.estimates[1:] == forecast(plan, calibration, 3.0).estimates[1:]


@pytest.mark.slow
def test_what_is_exported_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    model = load_by_name("reconet-lite-starry_night", tmp_path)
    assert not _exported(model)
    model.source.onnx()
    assert _exported(model)
    assert not _exported(replace(model, source=replace(model.source, name="of another folder")))


def test_nodes_share_the_tasks_and_none_is_shorter_than_its_longest_task(plan, calibration, monkeypatch):
    monkeypatch.setattr(forecast_module, "usable_cpus", lambda: 2)
    found = forecast(plan, calibration, 3.0, (1, 4, 64)).estimates[1:]
    assert [one.at_once for one in found] == [2, 8, 128]
    # Eight tasks of 13 s, two of them of 18 s: 114 s in all, 57 s on each of two cores.
    assert found[0].quality == pytest.approx(57, abs=5)
    assert found[1].quality == found[2].quality == 18
    assert found[2].sent == 64 * found[0].sent > 0
    assert found[2].back == found[0].back


def test_a_timing_takes_its_rounds_or_its_budget(plan, calibration):
    costs = {name: replace(cost, frame={"torch": 0.1, "onnxruntime": 0.1}) for name, cost in calibration.costs.items()}
    both = replace(plan, rounds=5, runtimes=["torch", "onnxruntime"])
    known = replace(calibration, costs=costs)
    short, long = (forecast(replace(both, speed_budget=s), known, 0.0).estimates[0].speed for s in (0.0, 60.0))
    assert long - short == pytest.approx(2 * (60 - 5 * 2 * 0.3 - 0.2 - 4 * (1 + 3 * 0.2)))
    timed = replace(plan, rounds=5)
    alone = [forecast(replace(timed, speed_budget=s), calibration, 0.0).estimates[0].speed for s in (0.0, 60.0)]
    assert alone[0] == alone[1], "without others there is no ratio to resolve"


def test_longer_clips_need_more_memory(plan, calibration):
    known = forecast(plan, calibration, 0.0).memory
    longer = forecast(replace(plan, clips=[TranslationClip(name="a", length=100)]), calibration, 0.0).memory
    assert known == 2**30
    assert longer > known
    assert forecast(plan, replace(calibration, peak=None), 0.0).memory is None


def test_a_dry_run_says_what_to_expect_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))
    words = ["compare", "--dry-run", "--methods", "identity", "--runtimes", "torch", "--threads", "1", "--rounds", "0"]
    words += ["--videos", "stroll", "lantern", "--size", "56x40", "--frames", "7"]
    cli.main(words)
    printed = capsys.readouterr().out
    for expected in ("identity", "here, no engine", "1 node like this", "64 nodes like this", "of frames"):
        assert expected in printed
    cli.main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [one["nodes"] for one in found["estimates"]] == [0, 1, 4, 16, 64]
    assert found["content"] == 2 * 7 * 56 * 40 * 3
    assert list(tmp_path.iterdir()) == []
