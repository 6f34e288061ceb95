"""A study of all objectives: what is trained from what, in which order, and what failures, time and signals cost."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from reconet_bench.core.errors import MetricUnavailable, TrainingError, UnknownName
from reconet_bench.core.files import claimed
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from reconet_bench.training import field_pace
from reconet_bench.training.field_objectives import (
    COMMON_TERMS,
    Objective,
    beginning_at,
    objectives,
    trainable_methods,
    trunk_recipe,
    with_steps,
)
from reconet_bench.training.field_pace import Pace, shares
from reconet_bench.training.field_plan import BAND
from reconet_bench.training.field_study import Interrupted, Limits, run_field, trained_model
from reconet_bench.training.presets import load_recipe
from reconet_bench.training.settings import from_recipe


@pytest.fixture(scope="module")
def trunk() -> Checkpoint:
    return load_checkpoint(find_checkpoint("johnson-lite-starry_night"))


def field(trunk: Checkpoint, *names: str) -> list[Objective]:
    return objectives(names, trunk, Path("painting.jpg"), trunk_recipe(trunk, steps=9, size=32))


# --- the objectives -------------------------------------------------------------------------------------


def test_all_objectives_differ_in_their_own_terms_alone(trunk):
    found = field(trunk, *trainable_methods())
    assert found[0].name == "johnson"
    assert {one.name for one in found} == {name for name, method in METHODS.items() if method.trainable}
    assert len(found) >= 6
    for one in found:
        settings = from_recipe(one.recipe, one.style)
        weights, _ = settings.check()
        assert {term: weights[term] for term in COMMON_TERMS} == trunk.info["weights"]
        assert {term for term, weight in one.recipe["weights"].items() if weight} == {*COMMON_TERMS, *one.terms}
        shared = {name: one.recipe[name] for name in one.recipe if name not in ("method", "weights", "options")}
        assert shared == {name: found[0].recipe[name] for name in shared}
        for name in ("scale", "style_levels", "style_size", "learning_rate"):
            assert shared[name] == trunk.info[name]
    assert [one.name for one in found if not one.terms] == ["johnson", "dougherty-published"]


def test_every_objective_trains_the_network_of_the_trunk(trunk):
    """The dissertation's code changes the network: here that is switched off, or the trunk's weights would not fit."""
    for one in field(trunk, *trainable_methods()):
        settings = from_recipe(one.recipe, one.style)
        network = METHODS[one.name].network(settings.all_options(), settings.network).eval()
        network.load_state_dict(trunk.network.state_dict())
        frame = torch.rand(1, 3, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(network(frame), trunk.network(frame))


def test_a_trunk_that_the_baseline_cannot_train_is_refused():
    options = METHODS["dissertation-code"].options
    network = METHODS["dissertation-code"].network(options, "lite")
    trunk = Checkpoint(network, "dissertation-code", "x", info={"network": "lite", "options": options})
    with pytest.raises(TrainingError, match="'johnson' cannot train the network of a trunk of"):
        field(trunk, "dissertation-code")


def test_the_search_begins_at_the_weights_of_the_shipped_models(trunk):
    huang, reconet = field(trunk, "huang2017", "reconet")[1:]
    shipped = load_checkpoint(find_checkpoint("huang2017-lite-starry_night")).info["weights"]
    assert huang.terms == {
        "temporal_short": shipped["temporal_short"] * trunk.info["weights"]["style"] / shipped["style"]
    }
    assert reconet.terms["temporal_short"] == 2 * reconet.terms["temporal_long"]
    # There is no model of this network: the method's own weights.
    other = Checkpoint(METHODS["johnson"].network(), "johnson", "starry_night", info={"network": "reconet"})
    assert field(other, "xu2021")[1].terms == {"frame_difference": METHODS["xu2021"].weights["frame_difference"]}


def test_a_factor_changes_the_temporal_weights_alone(trunk):
    reconet = field(trunk, "reconet")[1]
    one, four = reconet.at(1.0), reconet.at(4.0)
    assert (one.name, four.name, reconet.at(0.0625).name) == ("reconet-x1", "reconet-x4", "reconet-x0.0625")
    assert field(trunk)[0].at(1.0).name == "johnson"
    for term, weight in one.recipe["weights"].items():
        assert four.recipe["weights"][term] == weight * (4 if term in reconet.terms else 1)
    assert {**one.recipe, "weights": 0} == {**four.recipe, "weights": 0}
    again = beginning_at(with_steps(reconet, 7), {"temporal_short": 8.0, "temporal_long": 2.0})
    assert (again.recipe["steps"], again.at(2.0).recipe["weights"]["temporal_short"]) == (7, 16.0)


def test_what_cannot_be_trained_is_told_by_name(trunk):
    with pytest.raises(UnknownName, match="did you mean 'xu2021'"):
        field(trunk, "xu2020")
    with pytest.raises(TrainingError, match="method 'identity' has nothing to train: leave it out of --methods"):
        field(trunk, "identity")


# --- the run --------------------------------------------------------------------------------------------


class Simulated:
    """Stands for the trainings: a model file that says its factor, so that a judge can tell a known style distance."""

    def __init__(self, fail: str = "", seconds: float = 0.0):
        self.fail, self.seconds, self.begun, self.signals = fail, seconds, [], []
        self.most, self._now, self._lock = 0, 0, threading.Lock()

    def run(self, command, log):
        run = Path(command[command.index("-o") + 1])
        with self._lock:
            self.begun.append(run.name)
            self._now += 1
            self.most = max(self.most, self._now)
        ends = time.monotonic() + self.seconds
        while time.monotonic() < ends and not self.signals:
            time.sleep(0.005)
        with self._lock:
            self._now -= 1
        if self.signals:
            log.write("reconet-bench: stopped at step 3\n")
            return 2
        if run.name == self.fail:
            log.write("reconet-bench: loss term 'style' is nan at step 3\n")
            return 2
        (run / "model.safetensors").write_text("")
        return 0

    def signal(self, number):
        self.signals.append(number)


#: Factor at which each method leaves the band.
EDGES = {"huang2017": 3.0, "xu2021": 0.3, "reconet": 12.0}


def judge(run: Path) -> float:
    """A style distance of 0.2 for the baseline, and one that rises with the factor for others."""
    assert trained_model(run).is_file()
    name, _, factor = run.name.partition("-x")
    return 0.2 if name == "johnson" else 0.2 * (1 + BAND) * (float(factor) / EDGES[name]) ** 0.2


def study(trunk, folder, runner, said=None, points=4, jobs=1, **limits):
    limits = Limits(points, jobs, jobs, **limits)
    return run_field(
        field(trunk, *EDGES), [], folder, judge, limits, said.append if said is not None else lambda text: None, runner
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_method_is_searched_beside_the_others(trunk, tmp_path, jobs):
    runner, said = Simulated(seconds=0.02), []
    courses = study(trunk, tmp_path, runner, said, points=5, jobs=jobs)
    assert [course.objective.name for course in courses] == ["johnson", *EDGES]
    assert runner.most <= jobs
    assert "johnson" in runner.begun[:jobs]
    assert [len(course.points) for course in courses] == [1, 5, 5, 5]
    for course in courses[1:]:
        chosen = course.chosen(0.2)
        assert chosen.fits
        assert EDGES[course.objective.name] / 2.1 <= chosen.factor <= EDGES[course.objective.name]
        assert not course.ended
    assert set(runner.begun) == {path.name for path in tmp_path.iterdir()}
    if jobs == 1:  # beside others it may end before there is anything to compare it with
        assert any(line.startswith("xu2021-x1: style distance 0.26") and "% to johnson" in line for line in said)
    assert any(line.endswith("(equal)") for line in said)


def test_all_methods_have_a_point_before_any_has_its_second(trunk, tmp_path):
    runner = Simulated()
    study(trunk, tmp_path, runner)
    assert runner.begun[:4] == ["johnson", "huang2017-x1", "xu2021-x1", "reconet-x1"]


def test_what_is_finished_is_not_trained_again_and_more_points_go_on(trunk, tmp_path):
    first, again, more = Simulated(), Simulated(), Simulated()
    before = study(trunk, tmp_path, first, points=3)
    after = study(trunk, tmp_path, again, points=3)
    assert again.begun == []
    assert [course.points for course in after] == [course.points for course in before]
    study(trunk, tmp_path, more, points=4)
    assert len(more.begun) == 3
    assert not set(more.begun) & set(first.begun)


def test_a_job_that_fails_costs_its_row_and_is_named(trunk, tmp_path):
    said = []
    courses = study(trunk, tmp_path, Simulated(fail="xu2021-x0.0625"), said)
    failed = next(course for course in courses if course.objective.name == "xu2021")
    assert failed.failed
    assert failed.ended == "xu2021-x0.0625: reconet-bench: loss term 'style' is nan at step 3"
    assert list(failed.points) == [1.0], "the point before it stays"
    assert [len(course.points) for course in courses] == [1, 4, 1, 4]
    assert any("xu2021 ends here" in line for line in said)


def test_a_point_that_cannot_be_measured_costs_its_row_too(trunk, tmp_path):
    def broken(run: Path) -> float:
        if run.name.startswith("reconet"):
            raise MetricUnavailable("no style distance")
        return judge(run)

    courses = run_field(field(trunk, *EDGES), [], tmp_path, broken, Limits(2), runner=Simulated())
    assert [course.ended for course in courses] == ["", "", "", "reconet-x1: no style distance"]


def test_without_the_baseline_there_is_nothing_to_compare(trunk, tmp_path):
    runner = Simulated(fail="johnson")
    with pytest.raises(TrainingError, match=r"johnson, which all are compared with, failed: johnson: .*nan at step 3"):
        study(trunk, tmp_path, runner)
    assert runner.begun == ["johnson"]


@pytest.mark.clock
def test_the_time_ends_the_study_with_what_is_finished(trunk, tmp_path):
    """Each point takes as long as expected: five of them fit, and no other begins."""
    runner, costs = Simulated(seconds=0.3), dict.fromkeys(("johnson", *EDGES), 0.3)
    ends = time.monotonic() + 10 + 5.7 * 0.3
    courses = study(trunk, tmp_path, runner, ends=ends, costs=costs)
    assert time.monotonic() < ends - 10 + 1.0
    assert 3 <= sum(len(course.points) for course in courses) <= 5
    assert not runner.signals
    assert {course.ended for course in courses[1:]} == {"the time was over"}
    assert not any(course.failed for course in courses)


def test_a_training_that_outlasts_the_time_is_told_to_save_itself(trunk, tmp_path):
    runner, said = Simulated(seconds=30), []
    courses = study(trunk, tmp_path, runner, said, ends=time.monotonic() + 10.5)
    assert runner.signals == [signal.SIGTERM]
    assert runner.begun == ["johnson"]
    assert courses[0].ended == "the time was over"
    assert not courses[0].failed
    assert said == ["the time was over: trainings that are not finished save their state"]


class Stopped(Simulated):
    """Is asked to stop in the midst of a point, as a process is."""

    def run(self, command, log):
        if self.begun[-1:] == ["johnson"]:
            os.kill(os.getpid(), signal.SIGINT)
            self.seconds = 30
        return super().run(command, log)


def test_an_interrupt_keeps_what_was_measured(trunk, tmp_path):
    runner = Stopped()
    with pytest.raises(Interrupted, match="stopped: run the same study again to continue") as caught:
        study(trunk, tmp_path, runner)
    assert runner.begun == ["johnson", "huang2017-x1"]
    assert runner.signals == [signal.SIGINT]
    assert caught.value.courses[0].points == {1.0: 0.2}
    assert [course.ended for course in caught.value.courses[1:]] == ["interrupted"] * 3


def test_a_training_that_a_killed_study_left_is_waited_for(trunk, tmp_path):
    """It still writes into its folder, and its model is taken when it has ended."""
    runner, run = Simulated(), tmp_path / "johnson"
    held, let_go = threading.Event(), threading.Event()

    def orphan() -> None:
        with claimed(run):
            held.set()
            let_go.wait(20)
            (run / "model.safetensors").write_text("")

    thread = threading.Thread(target=orphan)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.7, let_go.set).start()
    courses = study(trunk, tmp_path, runner, points=1)
    thread.join()
    assert courses[0].points == {1.0: 0.2}
    assert "johnson" not in runner.begun


def test_the_time_left_is_told_from_what_points_took(trunk, tmp_path, monkeypatch):
    monkeypatch.setattr("reconet_bench.training.field_study.EVERY", 0.0)
    said = []
    study(trunk, tmp_path, Simulated(seconds=0.7), said, points=1, costs=dict.fromkeys(("johnson", *EDGES), 60.0))
    lines = [line for line in said if "points" in line]
    assert lines[0].startswith("0 of at most 4 points, about 4 min left   johnson 0/9")
    assert lines[-1].startswith("3 of at most 4 points, about 1 min left")


# --- the pace -------------------------------------------------------------------------------------------


def test_jobs_count_as_far_as_there_are_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(field_pace, "usable_cpus", lambda: 8)
    assert shares(1, None) == (8, 1)
    assert shares(4, None) == (2, 4)
    assert shares(4, 4) == (4, 2)
    assert shares(16, None) == (1, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert shares(4, None) == (8, 1)


def test_too_little_time_is_told_with_what_would_do(trunk):
    found, pace = field(trunk, "huang2017"), Pace({"johnson": 1.0, "huang2017": 2.0}, 10.0)
    assert pace.costs(5) == {"johnson": 15.0, "huang2017": 20.0}
    steps = pace.steps_in(600.0, found, 4)
    assert 5 * 10 + steps * 9 <= 600
    with pytest.raises(TrainingError, match="too little time for 5 points: give at least 4 minutes, fewer --points"):
        pace.steps_in(60.0, found, 4)
    assert pace.steps_in(240.0, found, 4) >= 10


def test_the_recipe_of_a_study_is_the_preset_where_the_trunk_says_nothing():
    bare = Checkpoint(METHODS["johnson"].network(None, "lite"), "johnson", "x", info={"network": "lite"})
    recipe, preset = trunk_recipe(bare, steps=7, size=32), load_recipe("lite")
    assert recipe["weights"] == preset["weights"]
    assert {name for name in recipe if recipe[name] != preset[name]} == {"steps", "size", "save_every", "sample_every"}
