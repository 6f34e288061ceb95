"""The comparison: a record for every number, speed beside its parity, the same numbers however they are taken."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import SIZE, TranslationClip
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from reconet_bench.benchmark import compare as compare_module
from reconet_bench.benchmark import paired_differences, quality_pass, speed_pass, speed_records
from reconet_bench.benchmark.compare import compare
from reconet_bench.benchmark.error_change import FRAMES as REFERENCE_FRAMES
from reconet_bench.benchmark.error_change import ErrorChange, change_between, error_change
from reconet_bench.benchmark.fastest_runtime import Choice
from reconet_bench.benchmark.plan import ComparisonResult, Plan
from reconet_bench.benchmark.provenance import provenance
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.timing import BOUNDARIES, TimingOptions
from reconet_bench.benchmark.timing_samples import Samples, Timing
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, MetricUnavailable, ModelError, RuntimeUnavailable, UnknownName
from reconet_bench.core.machine import usable_cpus
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.record import UNKNOWN_METHOD, Record, to_jsonl
from reconet_bench.core.samples import SampleKey, TimingKey
from reconet_bench.core.size import Size
from reconet_bench.core.statistics import FEWEST
from reconet_bench.data.clip import Clip
from reconet_bench.data.footage import read_frames
from reconet_bench.data.selection import Selection
from reconet_bench.methods.base import METHODS
from reconet_bench.metrics import style as style_module
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.measure import Measured, chosen_metrics, measure_footage
from reconet_bench.metrics.statistics import Estimate, difference_on_clips, difference_over_videos, estimate
from reconet_bench.metrics.style import StyleDistance, style_of
from reconet_bench.models.checkpoint import Checkpoint, save_checkpoint
from reconet_bench.models.loading import Model, load_all, load_by_name, trained_on
from reconet_bench.networks.base import Identity
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.networks.vgg import STYLE_TAPS, gram
from reconet_bench.report import tables
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Parity
from reconet_bench.runtimes.selection import Resources, usable_runtimes
from reconet_bench.training.crops import RandomScenes

#: What is measured where nothing is asked for, and of that what a slow pan of 56 pixels has not: it moves too little.
QUALITY, OF_MOTION = set(chosen_metrics()), {"ghosting", "texture_lock"}
ROUNDS = 2
CPU = Resources("cpu", 1)


@pytest.fixture(scope="module", autouse=True)
def _short_turns() -> Iterator[None]:
    """Speed is measured for the sake of its rows: a few frames are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed_pass, "SPEED", TimingOptions(seconds=0.01, warmup_seconds=0.01))
        yield


def seeded(seed: int) -> nn.Module:
    """A network with random weights: it paints nonsense, but always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ReCoNet().eval()


@pytest.fixture(scope="module")
def targets(loss_network) -> dict[str, Tensor]:
    """Gram matrices of a checkerboard."""
    board = from_uint8(
        np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((8, 8)))[..., None].repeat(3, 2).astype(np.uint8) * 255
    )
    return {name: gram(tap)[0] for name, tap in loss_network(board).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, targets) -> Path:
    """Checkpoints of two methods in one style; the first says that it was trained on a sequence of Sintel."""
    path = tmp_path_factory.mktemp("checkpoints")
    info = {"data": {"name": "sintel-clean", "windows": 6, "sequences": ["alley_1", "bandage_1"]}}
    save_checkpoint(path / "reconet-board.safetensors", Checkpoint(seeded(1), "reconet", "board", targets, info))
    save_checkpoint(path / "johnson-board.safetensors", Checkpoint(seeded(2), "johnson", "board", targets, {}))
    return path


@pytest.fixture(scope="module")
def models(folder) -> list[Model]:
    """Both of them, and the identity."""
    return load_all([str(folder / "johnson-board.safetensors"), str(folder / "reconet-board.safetensors")], [], folder)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Two rendered clips of seven frames: two long pairs each."""
    return Selection(size=SIZE, frames=7).clips(["stroll", "rush"])


@pytest.fixture(scope="module")
def timed(models, clips, stand_in_weights, tmp_path_factory) -> tuple[Plan, ComparisonResult, list[str]]:
    """One model and the identity on one clip in both runtimes, timed, frames kept; and what was reported."""
    chosen = [models[0], models[-1]]
    frames = tmp_path_factory.mktemp("frames")
    runtimes = ["torch", "onnxruntime"]
    plan = Plan(chosen, clips[:1], runtimes, CPU, ROUNDS, stand_in_weights, frames, metrics=["default"])
    said: list[str] = []
    return plan, compare(plan, said.append), said


@pytest.fixture(scope="module")
def untimed(models, clips, stand_in_weights) -> tuple[Plan, ComparisonResult]:
    """All three models on both clips in PyTorch."""
    plan = Plan(models, clips, ["torch"], CPU, 0, stand_in_weights)
    return plan, compare(plan)


def by_metric(records: list[Record], **wanted) -> dict[str, Record]:
    """Records with these fields, by metric."""
    found = [record for record in records if all(getattr(record, key) == value for key, value in wanted.items())]
    assert len({record.metric for record in found}) == len(found)
    return {record.metric: record for record in found}


# --- quality --------------------------------------------------------------------------------------------


def test_there_is_a_record_of_every_metric_in_every_runtime(timed):
    plan, result, _ = timed
    for model, runtime in itertools.product(plan.models, plan.runtimes):
        records = by_metric(result.records, model=model.source.name, runtime=runtime, video="stroll")
        assert records.keys() == QUALITY
        for name, record in records.items():
            assert record.better == METRICS[name].better
            if name in OF_MOTION:
                assert record.value is None
                assert "moves by more than 1 pixel" in record.note
                continue
            assert record.value is not None, record.note
            if record.n < FEWEST:
                assert (record.ci_low, record.ci_high) == (None, None)
            else:
                assert record.ci_low <= record.value <= record.ci_high
            counts = {"temporal_error_long": 2, "content_similarity": 7}
            assert record.n == (0 if record.value is None else counts.get(name, 6))
            assert (record.height, record.width, record.source, record.precision, record.device) == (
                *SIZE,
                "synthetic",
                "fp32",
                "cpu",
            )
            assert (record.method, record.style) == (model.method, model.style)
            assert (record.run, record.time) == (result.run, result.time)


def test_runtimes_after_the_first_are_measured_by_the_temporal_error_alone_unless_metrics_are_named(models, clips):
    def measured(metrics: list[str]) -> dict[str, set[str]]:
        plan = Plan(models[:1], clips[:1], ["torch", "onnxruntime"], CPU, 0, metrics=metrics)
        records = compare(plan).records
        return {name: {record.metric for record in records if record.runtime == name} for name in plan.runtimes}

    usual = measured([])
    assert usual["torch"] > {"temporal_error", "content_similarity", "ssim_adjacent"}
    assert usual["onnxruntime"] == {"temporal_error"}
    both = measured(["ssim_adjacent"])
    assert both["torch"] == both["onnxruntime"] == {"ssim_adjacent"}


def test_values_are_those_of_the_samples_that_are_kept(timed):
    _, result, _ = timed
    assert len(result.samples) == 2 * 2 * len(QUALITY - OF_MOTION)
    for key, samples in result.samples.items():
        record = by_metric(result.records, model=key.model, runtime=key.runtime, video=key.video)[key.metric]
        again = estimate(METRICS[key.metric], list(samples.values()))
        assert (record.value, record.ci_low, record.ci_high, record.n) == (again.value, again.low, again.high, again.n)


def test_the_identity_is_the_content(timed):
    _, result, _ = timed
    values = {
        name: record.value
        for name, record in by_metric(result.records, model="identity", runtime="torch", video="stroll").items()
    }
    assert values["temporal_error"] == pytest.approx(values["content_temporal_error"], rel=0.05)
    assert values["content_similarity"] == pytest.approx(1, abs=0.01)
    assert values["style_distance"] == pytest.approx(1, abs=0.01)
    painted = {
        name: record.value
        for name, record in by_metric(result.records, model="reconet-board", runtime="torch", video="stroll").items()
    }
    assert painted["content_temporal_error"] == values["content_temporal_error"]
    assert painted["content_similarity"] < 0.9


def test_saved_frames_measured_from_their_files_give_the_very_same_numbers(timed, clips):
    plan, result, _ = timed
    for model, runtime in itertools.product(plan.models, plan.runtimes):
        saved = plan.frames_folder / model.source.name / "stroll" / runtime
        assert [path.name for path in sorted(saved.iterdir())] == [f"{number:04d}.png" for number in range(1, 8)]
        outcomes = measure_footage(Footage(clips[0], read_frames(saved), style_of(model.style_targets, plan.vgg)))
        for metric in QUALITY - OF_MOTION:
            outcome = outcomes[metric]
            # The loss network alone differs in the last bits: its threads add in an order of their own.
            expected = result.samples[SampleKey(model.source.name, "stroll", runtime, metric)]
            assert outcome.samples == (pytest.approx(expected, rel=1e-6) if metric == "style_distance" else expected), (
                metric
            )


def test_the_same_run_twice_gives_the_same_numbers(untimed):
    plan, result = untimed
    again = compare(plan)
    assert result.samples == again.samples
    assert result.differences == again.differences
    undated = [[dataclasses.replace(record, run="", time="") for record in one.records] for one in (result, again)]
    assert undated[0] == undated[1]


def test_every_step_is_reported(timed):
    plan, _, said = timed
    assert len(said) == plan.steps == 2 * 2 + 1
    assert said == [
        "reconet-board on stroll in torch",
        "reconet-board on stroll in onnxruntime",
        "identity on stroll in torch",
        "identity on stroll in onnxruntime",
        "timing reconet-board at 56x40",
    ]


def test_the_quality_of_every_model_comes_before_any_speed(timed):
    _, result, _ = timed
    videos = [bool(record.video) for record in result.records]
    assert videos == sorted(videos, reverse=True)
    assert set(videos) == {True, False}


def test_runtimes_that_give_the_same_bytes_share_their_numbers(models, clips, monkeypatch, stand_in_weights):
    """The identity's frames are the same in both runtimes: metrics are computed once."""
    count = 0

    def counted(footage: Footage, metrics: Sequence[str]):
        nonlocal count
        count += 1
        return {"content_similarity": Measured(METRICS["content_similarity"].samples(footage))}

    monkeypatch.setattr(quality_pass, "measure_footage", counted)
    result = compare(Plan(models[-1:], clips[:1], ["torch", "onnxruntime"], CPU, 0, stand_in_weights))
    assert count == 1
    assert [record.runtime for record in result.records] == ["torch", "onnxruntime"]


# --- speed ----------------------------------------------------------------------------------------------


def test_no_speed_row_without_its_parity(timed):
    plan, result, _ = timed
    for runtime in plan.runtimes:
        rows = by_metric(result.records, model="reconet-board", runtime=runtime, video="")
        for boundary in BOUNDARIES:
            assert rows[f"fps_{boundary}"].value == pytest.approx(1000 / rows[f"latency_{boundary}"].value)
            assert (
                rows[f"latency_{boundary}"].value
                <= rows[f"latency_{boundary}_p90"].value
                <= rows[f"latency_{boundary}_p99"].value
            )
        assert rows["parity_max_abs"].value is not None
        assert rows["temporal_error_change"].value is not None
        assert {"load_time", "first_frame", "peak_memory", "speed_up"} <= rows.keys()
        assert rows["parity_max_abs"].n == 4
    torch_rows, onnx_rows = (
        by_metric(result.records, model="reconet-board", runtime=name, video="") for name in plan.runtimes
    )
    assert (torch_rows["parity_max_abs"].value, torch_rows["parity_psnr"].value, torch_rows["parity_psnr"].note) == (
        0,
        None,
        "reference",
    )
    assert (torch_rows["temporal_error_change"].value, torch_rows["speed_up"].value) == (0, 1)
    assert 0 < onnx_rows["parity_max_abs"].value < 1e-3
    assert onnx_rows["parity_psnr"].value > 60
    ratios = []
    for number in range(ROUNDS):
        taken = {
            name: np.median(
                [
                    t.seconds
                    for t in result.timings
                    if (t.model, t.runtime, t.boundary, t.round) == ("reconet-board", name, "device", number)
                ]
            )
            for name in plan.runtimes
        }
        ratios.append(taken["torch"] / taken["onnxruntime"])
    speed_up = onnx_rows["speed_up"]
    assert speed_up.value == pytest.approx(math.exp(np.mean(np.log(ratios))))
    assert speed_up.ci_low <= speed_up.value <= speed_up.ci_high
    assert speed_up.n == ROUNDS


def test_the_change_of_the_temporal_error_is_that_of_the_values(timed):
    _, result, _ = timed
    values = [
        by_metric(result.records, model="reconet-board", runtime=name, video="stroll")["temporal_error"].value
        for name in ("torch", "onnxruntime")
    ]
    change = by_metric(result.records, model="reconet-board", runtime="onnxruntime", video="")[
        "temporal_error_change"
    ].value
    assert change == pytest.approx(100 * (values[1] / values[0] - 1), abs=1e-9)


def test_the_change_pools_the_pairs_that_both_have():
    expected = {"a": {0: 1.0, 1: 99.0}, "b": {0: 4.0, 1: 4.0}, "c": {0: 1.0}}
    got = {"a": {0: 4.0}, "b": {0: 4.0, 1: 4.0}}
    change = change_between(expected, got)
    assert (change.percent, change.pairs) == (pytest.approx(100 * (2 / 3**0.5 - 1)), 3)
    assert change_between(got, got) == ErrorChange(0.0, 3)
    assert change_between(expected, {"d": {0: 1.0}}).percent is None
    assert change_between({"a": {0: 0.0}}, got).unknown == "the reference's E(V) is zero"


class Called(TranslationClip):
    """A clip as if its motion were estimated, beside the same with true motion."""

    flow = "dis"


@pytest.fixture
def pool(models):
    with RuntimePool(models[0], CPU, pytest.fail, apart=False) as pool:
        pool.open(["torch"])
        yield pool


def test_the_change_counts_a_clip_and_its_twin_along_estimated_flow_once(pool):
    clips = [TranslationClip(), Called(), Called(name="other")]
    name = pool.model.source.name
    samples = {
        SampleKey(name, clip.title, runtime, "temporal_error"): {0: error}
        for runtime, errors in (("torch", (1.0, 1.0, 1.0)), ("openvino", (4.0, 9.0, 4.0)))
        for clip, error in zip(clips, errors, strict=True)
    }
    assert error_change(pool, "openvino", clips, samples) == ErrorChange(100.0, 2)
    assert error_change(pool, "torch", [], samples).percent is None


def test_the_change_is_measured_against_a_reference_that_is_not_in_the_run(pool, models):
    """As for an ONNX file on a GPU: its frames there are not held against themselves."""
    clip = TranslationClip(length=12)
    name = pool.model.source.name
    footage = Footage(clip, [from_uint8(pool.reference()(to_uint8(clip.frame(i))[0])) for i in range(len(clip))])
    own = METRICS["temporal_error"].samples(footage)
    got = {SampleKey(name, clip.title, "openvino", "temporal_error"): {i: 4 * e for i, e in own.items()}}
    change = error_change(pool, "openvino", [clip], got)
    assert (change.percent, change.pairs) == (pytest.approx(100, abs=1e-6), REFERENCE_FRAMES - 1)


def test_a_foreign_file_on_another_device_is_not_its_own_reference(tmp_path):
    model = load_by_name(str(own_onnx(tmp_path / "mine.onnx")), tmp_path)
    with RuntimePool(model, CPU, pytest.fail, apart=False) as pool:
        (session,) = pool.open(["onnxruntime"]).values()
        assert pool.is_reference("onnxruntime")
        session.device = "cuda:0"  # as if it had been opened there
        assert not pool.is_reference("onnxruntime")
        clip = TranslationClip()
        got = {SampleKey("mine", clip.title, "onnxruntime", "temporal_error"): dict.fromkeys(range(7), 1.0)}
        # On the CPU this file paints one colour: the change is told from what was measured there, not from itself.
        assert error_change(pool, "onnxruntime", [clip], got) == ErrorChange(None, 7, "the reference's E(V) is zero")


def test_every_speed_says_how_many_measurements_are_behind_it(timed):
    plan, result, _ = timed
    rows = by_metric(result.records, model="reconet-board", runtime="onnxruntime", video="")
    for boundary in BOUNDARIES:
        key = TimingKey("reconet-board", "onnxruntime", Size(*SIZE), boundary)
        count = sum(one.key == key for one in result.timings)
        for metric in (f"fps_{boundary}", f"latency_{boundary}_p90", f"latency_{boundary}_spread"):
            assert rows[metric].n == count
    once = ("load_time", "build_time", "first_frame", "peak_memory", "threads", "compute_nodes")
    assert {rows[metric].n for metric in once if rows[metric].value is not None} == {1}
    assert rows["temporal_error_change"].n == len(plan.clips[0]) - 1
    assert rows["parity_psnr"].n == 4


def test_the_speed_table_says_each_doubt_once_and_leaves_facts_to_the_records(timed):
    _, result, _ = timed
    doubted = [
        dataclasses.replace(
            record,
            note="",
            doubts=(Doubt.UNSTABLE, *([Doubt.REFERENCE_COLD] if "speed_up" in record.metric else [])),
        )
        if record.metric in ("speed_up", "speed_up_end_to_end", "fps_device")
        else dataclasses.replace(
            record,
            doubts=() if any(part in record.metric for part in ("latency", "fps", "share_of_limit")) else record.doubts,
        )
        for record in result.records
    ]
    rows, _ = tables.speed_rows(doubted)
    assert {row[-1] for row in rows} == {f"{Doubt.UNSTABLE.sentence}; {Doubt.REFERENCE_COLD.sentence}"}
    (nodes,) = [record for record in result.records if record.metric == "compute_nodes"]
    assert (nodes.runtime, nodes.note) == ("onnxruntime", "compute nodes all on CPUExecutionProvider")


def test_a_runtime_without_a_form_of_the_model_costs_its_own_rows_alone(models, clips):
    """The content has no convolutions to quantise."""
    result = compare(Plan(models[-1:], clips[:1], ["torch", "onnxruntime:int8"], CPU, ROUNDS))
    (skipped,) = result.skipped
    assert skipped.startswith("identity in onnxruntime:int8: ")
    assert skipped.endswith("has no convolutions to quantise")
    assert {record.runtime for record in result.records} == {"torch"}


@pytest.mark.parametrize(
    ("rounds", "warm", "base_rounds", "says"),
    [
        ([[1.0], [1.0]], True, [[1.0], [1.0]], []),
        ([[1.0], [2.0]], True, [[1.0], [1.0]], [Doubt.UNRESOLVED]),
        ([[1.0], [2.0]], True, [[1.0], [2.0]], []),  # a slow spell of both
        ([[1.0], [1.0]], False, [[1.0], [1.0]], [Doubt.COLD]),
        ([[1.0]], True, [[1.0]], [Doubt.UNRESOLVED]),
    ],
)
def test_a_speed_says_why_not_to_trust_it(rounds, warm, base_rounds, says):
    def timing(rounds: list[list[float]], warm: bool = True) -> Timing:
        return Timing("r", "cpu", "fp32", 1, 0.1, warm=warm, samples={name: Samples(rounds) for name in BOUNDARIES})

    mine, base = timing(rounds, warm), timing(base_rounds)
    rows = speed_records.speed_rows(mine, base, Parity(0.0, 100.0, 4), ErrorChange(0.0))
    assert rows["speed_up"].doubts == tuple(says)
    assert rows["speed_up_end_to_end"].doubts == rows["speed_up"].doubts
    assert rows["fps_device"].doubts == tuple(doubt for doubt in says if doubt != Doubt.UNRESOLVED)
    alone = speed_records.speed_rows(mine, None, Parity(0.0, 100.0, 4), ErrorChange(0.0))
    assert (Doubt.UNSTABLE in alone["fps_device"].doubts) is not mine.stable
    assert "compute_nodes" not in rows


def test_the_identity_is_not_timed(timed):
    _, result, _ = timed
    assert not [record for record in result.records if record.model == "identity" and record.video == ""]


def test_every_timed_frame_is_kept(timed):
    plan, result, _ = timed
    for runtime, boundary in itertools.product(plan.runtimes, BOUNDARIES):
        mine = [one for one in result.timings if one.key == TimingKey("reconet-board", runtime, Size(40, 56), boundary)]
        assert [one.number for one in mine] == list(range(len(mine)))
        assert len(mine) >= 3 * ROUNDS
        median = by_metric(result.records, model="reconet-board", runtime=runtime, video="")[
            f"latency_{boundary}"
        ].value
        assert 1000 * np.median([one.seconds for one in mine]) == pytest.approx(median)


def test_without_rounds_nothing_is_timed(untimed):
    _, result = untimed
    assert result.timings == []
    assert all(record.video for record in result.records)


def test_without_the_reference_in_the_run_the_change_is_absent_for_that_reason(models, clips, stand_in_weights):
    """Parity is measured all the same, against PyTorch opened for the purpose."""
    result = compare(Plan(models[:1], clips[:1], ["onnxruntime"], CPU, ROUNDS, stand_in_weights))
    rows = by_metric(result.records, runtime="onnxruntime", video="")
    assert 0 < rows["parity_max_abs"].value < 1e-3
    assert rows["speed_up"].note == "torch was not timed in this run"
    change = rows["temporal_error_change"]
    if change.value is None:
        assert "no true flow" not in change.note, "there is true flow: that is not the reason"
        assert "torch" in change.note
    else:
        assert abs(change.value) < 2


# --- differences ----------------------------------------------------------------------------------------


def test_models_of_one_style_are_compared_frame_by_frame(untimed):
    _, result = untimed
    rows = {(row.metric, row.video): row for row in result.differences}
    assert rows.keys() == set(itertools.product(paired_differences.COMPARED, ("all", "these clips", "stroll", "rush")))
    assert len(rows) == len(result.differences)
    for (metric, video), row in rows.items():
        assert (row.first, row.second, row.better) == (
            "reconet-board",
            "johnson-board",
            METRICS[metric].better,
        )
        videos = ("stroll", "rush") if video in ("all", "these clips") else (video,)
        pairs = [
            tuple(
                list(result.samples[SampleKey(model, place, "torch", metric)].values())
                for model in (row.first, row.second)
            )
            for place in videos
        ]
        how = difference_over_videos if video == "all" else difference_on_clips
        expected = how(METRICS[metric], pairs)
        assert Estimate(row.difference, row.ci_low, row.ci_high, row.n, row.p) == expected
        assert row.n == sum(len(first) for first, _ in pairs)


def test_models_of_other_styles_are_compared_in_motion_and_not_in_style(models):
    other = dataclasses.replace(models[1], style="wave")
    samples = {
        SampleKey(s.source.name, "v", "torch", name): {0: 0.1, 1: 0.2}
        for s in models
        for name in ("temporal_error", "style_distance")
    }
    rows = paired_differences.differences([models[0], other, models[2]], [TranslationClip(name="v")], samples)
    assert [(row.metric, row.second) for row in rows] == [("temporal_error", "johnson-board")], (
        "the content is no model"
    )
    same = paired_differences.differences(models, [TranslationClip(name="v")], samples)
    assert [(row.metric, row.video, row.difference) for row in same] == [
        ("temporal_error", "v", 0),
        ("style_distance", "v", 0),
    ]


def test_what_is_ranked_is_what_is_tested(models):
    """A long wild clip does not outweigh a calm one: the mean over videos decides, in the row as on the page."""
    random = np.random.default_rng(0)
    samples = {
        SampleKey(model.source.name, video, "torch", "temporal_error"): dict(
            enumerate(value**2 * (1 + 0.01 * random.random(n)))
        )
        for model, values in zip(models, ((0.020, 0.100), (0.050, 0.085)), strict=False)
        for (video, n), value in zip({"calm": 11, "wild": 40}.items(), values, strict=True)
    }
    row = next(
        row
        for row in paired_differences.differences(
            models[:2], [TranslationClip(name=name) for name in ("calm", "wild")], samples
        )
        if row.video == "these clips"
    )
    assert row.difference == pytest.approx(0.060 - 0.0675, rel=0.02)
    assert row.verdict == "reconet-board is better"
    assert row.n == 51


def test_only_frames_that_both_models_have_are_compared(models):
    keys = [SampleKey(s.source.name, "v", "torch", "warping_error") for s in models[:2]]
    result = ComparisonResult("r", "t", samples={keys[0]: {0: 0.1, 1: 0.2, 5: 0.4}, keys[1]: {5: 0.1, 0: 0.1, 7: 9.0}})
    assert paired_differences._paired(keys[0].model, keys[1].model, "v", "warping_error", result.samples) == (
        [0.1, 0.4],
        [0.1, 0.1],
    )


# --- what takes part ------------------------------------------------------------------------------------


def test_models_come_in_order_with_the_identity_last(models):
    assert [model.source.name for model in models] == ["reconet-board", "johnson-board", "identity"]
    assert [model.method for model in models] == ["reconet", "johnson", "identity"]
    assert models[0].trained_on == {"sintel:alley_1", "sintel:bandage_1"}
    assert models[2].style_targets.keys() == models[0].style_targets.keys()
    assert models[0].checksum.startswith("sha256:")


def test_methods_named_without_the_identity_leave_it_out(folder):
    assert [model.method for model in load_all([], ["identity"], folder)] == ["identity"]
    with pytest.raises(UnknownName, match="unknown method 'recone': did you mean 'reconet'"):
        load_all([], ["recone"], folder)


def test_two_models_of_one_name_would_share_their_rows_and_are_refused(folder, tmp_path):
    """Two runs of one method and style write files of one name, in folders of their own."""
    other = tmp_path / "reconet-board.safetensors"
    other.write_bytes((folder / "johnson-board.safetensors").read_bytes())
    with pytest.raises(ModelError, match="two models are called 'reconet-board'"):
        load_all([str(folder / "reconet-board.safetensors"), str(other)], [], tmp_path)


def test_usable_runtimes_are_those_that_are_here(monkeypatch):
    assert usable_runtimes([])[0] == "torch"
    assert not [name for name in usable_runtimes([]) if name.startswith("torch-compile")], (
        "compiling is asked for, or not done"
    )
    every = usable_runtimes(["all"])
    assert (every[0], len(set(every))) == ("torch", len(every))
    assert {"torch:bf16", "onnxruntime"} < set(every)
    assert usable_runtimes(["torch:bf16", "torch:fp32", "torch"]) == ["torch:bf16", "torch"]
    assert usable_runtimes(["onnxruntime", "torch", "onnxruntime"]) == ["onnxruntime", "torch"]
    with pytest.raises(UnknownName, match="unknown runtime 'onnx'"):
        usable_runtimes(["onnx"])
    monkeypatch.setattr(RUNTIMES["torch"], "missing", lambda: "not here: pip install torch", raising=False)
    said: list[str] = []
    assert "torch" not in usable_runtimes([], said.append)
    assert said == ["skipped torch: not here: pip install torch"]
    with pytest.raises(RuntimeUnavailable, match="no usable runtime: not here: pip install torch"):
        usable_runtimes(["torch"])


def test_auto_stands_for_one_runtime_of_each_model_and_says_which(models, monkeypatch):
    asked = []

    def choose(model, size, resources):
        asked.append((model.source.name, size, resources))
        return Choice("torch:channels-last", "torch:channels-last: for a reason")

    monkeypatch.setattr(quality_pass, "choose_runtime", choose)
    clip = TranslationClip(length=3)
    result = compare(Plan(models[:1], [clip], usable_runtimes(["torch", "auto", "torch:channels-last"]), CPU, 0))
    assert asked == [("reconet-board", clip.size, CPU)]
    assert {record.runtime for record in result.records} == {"torch", "torch:channels-last"}
    assert result.chosen == ["reconet-board in torch:channels-last: for a reason"]


def test_a_model_trained_on_the_video_is_marked(tiny_sintel, models):
    clips = Selection(sintel=tiny_sintel, frames=3).clips(["bandage_1", "cave_2"])
    result = compare(Plan(models[:2], clips, ["torch"], CPU, 0))
    doubts = {(r.model, r.video): r.doubts for r in result.records if r.metric == "temporal_error"}
    assert doubts == {
        ("reconet-board", "bandage_1"): (Doubt.TRAINED_ON_VIDEO,),
        ("reconet-board", "cave_2"): (),
        ("johnson-board", "bandage_1"): (),
        ("johnson-board", "cave_2"): (),
    }


def test_a_model_trained_on_the_photographs_of_a_built_in_clip_is_marked(models):
    model = dataclasses.replace(models[0], trained_on=trained_on({"data": RandomScenes(48, 0).describe()}))
    result = compare(Plan([model], Selection(size=SIZE, frames=2).clips(["stroll"]), ["torch"], CPU, 0))
    assert {record.doubts for record in result.records if record.metric == "temporal_error"} == {
        (Doubt.TRAINED_ON_PHOTOGRAPHS,)
    }
    assert (
        trained_on(
            {"data": RandomScenes(48, 0, Path(compare_module.__file__).parents[2] / "docs" / "assets").describe()}
        )
        == frozenset()
    ), "photographs of one's own"


def test_a_rendered_clip_of_the_same_name_is_no_leak(models):
    clip = TranslationClip(length=3, name="bandage_1")
    result = compare(Plan(models[:1], [clip], ["torch"], CPU, 0))
    assert {record.remark for record in result.records if record.value is not None} == {""}


def test_absent_metrics_are_recorded_with_their_reason_and_without_a_number(models, monkeypatch):
    monkeypatch.setattr(
        style_module,
        "load_loss_network",
        lambda path: (_ for _ in ()).throw(MetricUnavailable("no weights")),
    )
    result = compare(Plan(models[:1], [TranslationClip(length=3)], ["torch"], CPU, 0))
    records = by_metric(result.records)
    assert records.keys() == QUALITY
    absent = {name: record.note for name, record in records.items() if record.value is None}
    assert absent == {
        **dict.fromkeys(("style_distance", *(f"style_distance_{tap}" for tap in STYLE_TAPS)), "no weights"),
        "temporal_error_long": "moving has 3 frames, pairs 5 apart need 6",
    }
    assert all(records[name].n == 0 for name in absent)
    assert not {key.metric for key in result.samples} & absent.keys()


def own_onnx(path: Path, operator: str = "Sigmoid", size: tuple[int | str, int | str] = ("h", "w")) -> Path:
    """An image-to-image ONNX file made by hand."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_an_onnx_file_of_ones_own_takes_part_and_torch_is_skipped_with_the_reason(tmp_path, stand_in_weights):
    model = load_by_name(str(own_onnx(tmp_path / "mine.onnx")), tmp_path)
    result = compare(
        Plan([model], [TranslationClip(length=3)], ["torch", "onnxruntime"], CPU, ROUNDS, stand_in_weights)
    )
    with pytest.raises(RuntimeUnavailable, match="cannot run an ONNX file") as caught:
        RUNTIMES["torch"].load(model.source, "cpu", 1)
    assert result.skipped == [f"mine in torch: {caught.value}"]
    assert {record.runtime for record in result.records} == {"onnxruntime"}
    records = by_metric(result.records, video="moving")
    assert records["ssim_adjacent"].value < 1
    assert "no style is known" in records["style_distance"].note
    rows = by_metric(result.records, video="")
    assert (rows["parity_max_abs"].value, rows["parity_psnr"].note) == (0, "reference")
    assert "same file in ONNX Runtime on the CPU" in rows["parity_max_abs"].note
    assert (rows["temporal_error_change"].value, rows["temporal_error_change"].n) == (None, 2)
    assert {record.method for record in result.records} == {UNKNOWN_METHOD}
    with pytest.raises(ModelError, match="no runtime runs 'mine': mine in torch: "):
        compare(Plan([model], [TranslationClip(length=3)], ["torch"], CPU, 0))


def test_a_model_that_nothing_runs_costs_its_own_rows_alone(tmp_path, models):
    own = load_by_name(str(own_onnx(tmp_path / "mine.onnx")), tmp_path)
    result = compare(Plan([own, *models], [TranslationClip(length=3)], ["torch"], CPU, 0))
    assert {record.model for record in result.records} == {model.source.name for model in models}
    (line,) = result.skipped
    assert line.startswith("mine in torch: torch cannot run an ONNX file")
    with pytest.raises(ModelError, match="no runtime runs 'mine': mine in torch: "):
        compare(Plan([own, models[-1]], [TranslationClip(length=3)], ["torch"], CPU, 0))


def test_rows_of_a_model_of_one_size_say_that_frames_were_resized(tmp_path, models):
    path = own_onnx(tmp_path / "fixed.onnx", size=(24, 32))
    clips = [TranslationClip(length=3), TranslationClip(length=3, size=(24, 32), name="small")]
    result = compare(Plan([load_by_name(str(path), tmp_path), models[-1]], clips, ["onnxruntime"], CPU, ROUNDS))
    assert result.skipped == []
    resized = {
        (record.model, record.video or f"{record.metric} at {record.size}")
        for record in result.records
        if Doubt.RESIZED in record.doubts
    }
    speeds = [record.metric for record in result.records if record.metric.startswith(("fps", "latency"))]
    assert resized == {("fixed", "moving"), *(("fixed", f"{metric} at 56x40") for metric in speeds)}
    assert not [record for record in result.records if Doubt.FIXED_BATCH in record.doubts]


def test_the_content_is_measured_though_the_runtime_has_no_form_of_it(models):
    """Nothing in it can be quantised; whoever asks for int8 alone still gets the row to compare with."""
    result = compare(Plan([models[-1]], [TranslationClip(length=3)], ["onnxruntime:int8"], CPU, ROUNDS))
    assert {(record.model, record.runtime) for record in result.records} == {("identity", "torch")}


def test_an_export_of_ours_is_held_against_the_network_it_came_from(seeded, exported, tmp_path):
    """A changed copy of a model, with the facts that say whose weights it had: it is not the reference of itself."""
    changed = onnx.load(exported)
    bias = next(tensor for tensor in changed.graph.initializer if list(tensor.dims) == [3])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.2), bias.name))
    brighter, original = tmp_path / "brighter.onnx", tmp_path / "reconet-seeded.safetensors"
    onnx.save(changed, brighter)
    save_checkpoint(original, seeded)
    models = load_all([str(brighter), str(original)], ["identity"], tmp_path)
    origins = {model.source.name: model.origin.name for model in models if model.origin}
    assert origins == {"brighter": "reconet-seeded"}
    result = compare(Plan(models, [TranslationClip(length=3)], ["torch", "onnxruntime"], CPU, ROUNDS))
    rows = by_metric(result.records, model="brighter", video="")
    assert rows["parity_psnr"].value < speed_records.GATE_PSNR
    assert Doubt.CHANGED_OUTPUT in rows["fps_device"].doubts
    assert rows["parity_psnr"].note == "compared with reconet-seeded in PyTorch fp32"
    assert rows["temporal_error_change"].value is not None


# --- what goes wrong ------------------------------------------------------------------------------------


class NotANumber(nn.Module):
    """A network that breaks down in one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[..., 3, 4] = float("nan")
        return y


@pytest.mark.parametrize("rounds", [0, ROUNDS])
def test_output_that_is_not_a_number_is_said_and_not_recorded(rounds, tmp_path):
    model = ModelSource("broken", NotANumber(), lambda: tmp_path / "none.onnx")
    plan = Plan([Model(model, "mine", "")], [TranslationClip(length=3)], ["torch"], CPU, rounds)
    with pytest.raises(ModelError) as caught:
        compare(plan)
    assert "'broken'" in str(caught.value)
    assert "contains NaN or infinity" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["flow", "clean"])
def test_a_broken_clip_stops_the_comparison(tiny_sintel, models, kind):
    path = next((tiny_sintel / "training" / kind / "alley_2").glob("frame_0003.*"))
    path.write_bytes(path.read_bytes()[:-40])
    clips = Selection(sintel=tiny_sintel).clips(["alley_2"])
    with pytest.raises(DataError, match=r"frame_0003\.(flo|png): truncated"):
        compare(Plan(models[-1:], clips, ["torch"], CPU, 0))


def test_a_bug_in_a_metric_is_not_taken_for_an_absent_number(models, monkeypatch):
    def broken(*_: object) -> dict[int, float]:
        raise ZeroDivisionError

    monkeypatch.setattr(StyleDistance, "samples", broken)
    with pytest.raises(ZeroDivisionError):
        compare(Plan(models[-1:], [TranslationClip(length=3)], ["torch"], CPU, 0))


# --- provenance -----------------------------------------------------------------------------------------


def test_provenance_says_where_the_numbers_come_from(untimed, monkeypatch, tmp_path):
    plan, result = untimed
    facts = json.loads(json.dumps(provenance(plan, seed=7)))
    assert facts["seed"] == 7
    assert facts["models"].keys() == {"reconet-board", "johnson-board", "identity"}
    assert facts["loss_network"].startswith("sha256:")
    assert facts["videos"]["stroll"]["size"] == list(SIZE)
    assert facts["videos"]["stroll"]["frames"] == 7
    assert len({video["pixels"] for video in facts["videos"].values()}) == 2
    assert {"command", "versions", "cpu", "threads"} <= facts.keys()
    assert facts["threads"] == plan.resources.threads == 1, "not those of this process"
    assert provenance(dataclasses.replace(plan, resources=Resources("cpu")), 0)["threads"] == usable_cpus()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert provenance(dataclasses.replace(plan, vgg=None), 0)["loss_network"] is None
    assert to_jsonl(result.records), "every number is finite"


def test_a_clip_that_breaks_does_not_take_the_provenance_with_it(models, monkeypatch):
    def broken(index: int) -> Tensor:
        raise DataError("frame 2: truncated")

    clip = TranslationClip(length=3)
    monkeypatch.setattr(clip, "frame", broken)
    facts = provenance(Plan(models[:1], [clip], ["torch"]), 0)["videos"]["moving"]
    assert (facts["broken"], facts["frames"]) == ("frame 2: truncated", 3)


# --- real data ------------------------------------------------------------------------------------------


def test_real_sintel_pairs_go_through(shared_data, models, stand_in_weights):
    root = shared_data / "sintel"
    names = ("alley_2", "cave_2", "market_5")
    if not all((root / "training" / "clean" / name).is_dir() for name in names):
        pytest.skip("no real Sintel: not all of alley_2, cave_2 and market_5 are among the shared data")
    clips = Selection(sintel=root, size=(48, 112), frames=2).clips(names)
    result = compare(Plan([models[0], models[-1]], clips, ["torch"], CPU, 0, stand_in_weights))
    for name in names:
        records = by_metric(result.records, model="identity", video=name)
        assert records["temporal_error"].n == 1
        assert records["temporal_error"].ci_low is None
        assert records["temporal_error"].value == pytest.approx(records["content_temporal_error"].value, abs=1e-3)
        assert 0 < records["content_temporal_error"].value < 0.1
        assert records["temporal_error_long"].note == f"{name} has 2 frames, pairs 5 apart need 6"
        assert records["ssim_adjacent_warped"].value > records["ssim_adjacent"].value, (
            "warping helps only if the flow points the right way"
        )


def test_the_identity_is_a_method_like_any_other():
    assert isinstance(METHODS["identity"].network(), Identity)
    assert not METHODS["identity"].trainable
