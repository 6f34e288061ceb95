"""diff and runs: a run equals itself, a worse one fails by name, and noise does not."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from run_folders import PROVENANCE, record, speed
from scipy import stats

from reconet_bench import cli
from reconet_bench.benchmark import diff as diff_module
from reconet_bench.benchmark import gate
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.record import to_jsonl
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.report.run import load_run
from reconet_bench.report.run_folder import write_run

VIDEOS = ("alley_2", "stroll")


def make_run(
    folder: Path,
    factor: float = 1.0,
    noise: float = 0.0,
    model: str = "reconet-wave",
    seconds: float = 0.1,
    **provenance,
) -> Path:
    """A run of one model: squared temporal errors times ``factor``, plus noise of a fixed seed."""
    random = np.random.default_rng(7)
    base = {video: 0.01 + 0.002 * random.random(12) for video in VIDEOS}
    samples = {
        SampleKey(model, v, "torch", "temporal_error"): {
            i: max(float(x * factor + noise * random.normal()), 0) for i, x in enumerate(base[v])
        }
        for v in VIDEOS
    }
    samples |= {SampleKey(model, v, "torch", "depth_error"): dict.fromkeys(range(4), 0.5) for v in VIDEOS}
    records = [record("temporal_error", 0.1, video=video, model=model) for video in VIDEOS]
    records += [record("depth_error", 0.5, model=model), speed("fps_device", 1 / seconds, model=model)]
    timings = [
        TimedFrame(model, "torch", Size(436, 1024), "device", i, seconds * (1 + 0.01 * (i % 3)), i // 3)
        for i in range(12)
    ]
    write_run(folder, records, samples, timings, [], {**PROVENANCE, **provenance})
    return folder


def diff(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code and what was printed."""
    code = 0
    try:
        cli.main(["diff", *map(str, arguments)])
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_run_equals_itself(tmp_path, capsys):
    run = make_run(tmp_path / "a")
    code, out, err = diff(capsys, run, run)
    assert code == 0, err
    assert "No regression" in out
    assert "worse" not in out
    assert "What else changed" not in out


def test_a_worse_run_fails_with_the_metric_named(tmp_path, capsys):
    code, out, err = diff(capsys, make_run(tmp_path / "a"), make_run(tmp_path / "b", factor=1.44))
    assert code == 1
    assert "regression: temporal_error of reconet-wave in torch" in err
    assert "+20.0 %" in err
    assert "fps" not in err
    assert "No regression" not in out


def test_a_better_run_passes(tmp_path, capsys):
    assert diff(capsys, make_run(tmp_path / "a", factor=1.44), make_run(tmp_path / "b"))[0] == 0


def test_a_large_change_that_its_interval_does_not_show_passes(tmp_path):
    found, _ = diff_module.changes(load_run(make_run(tmp_path / "a")), load_run(make_run(tmp_path / "b", noise=0.01)))
    (change,) = [change for change in found if change.metric == "temporal_error"]
    assert change.low < 0 < change.high
    assert change.verdict == "no difference shown"
    assert not gate.failures(found, gate.parse_limits("temporal_error>-50%", ["temporal_error"]))


def test_a_slower_run_fails_by_its_timings(tmp_path, capsys):
    code, _, err = diff(
        capsys, make_run(tmp_path / "a"), make_run(tmp_path / "b", seconds=0.12), "--fail-on", "fps<-5%"
    )
    assert code == 1
    assert "fps_device of reconet-wave in torch fp32 cpu 1024x436: 10 → 8.333 (-16.7 %), limit fps<-5%" in err


def test_all_frames_of_the_shared_videos_are_paired(tmp_path):
    found, _ = diff_module.changes(load_run(make_run(tmp_path / "a")), load_run(make_run(tmp_path / "b", factor=4)))
    (change,) = [change for change in found if change.metric == "temporal_error"]
    assert change.n == 24
    assert change.after == pytest.approx(2 * change.before)
    assert change.low < change.after - change.before < change.high
    (unknown,) = [change for change in found if change.metric == "depth_error"]
    assert (unknown.before, unknown.n) == (0.5, 8), "a metric of another version is compared by its mean"


def test_a_retrained_model_is_found_by_its_method(tmp_path):
    found, notes = diff_module.changes(
        load_run(make_run(tmp_path / "a")), load_run(make_run(tmp_path / "b", model="reconet-half"))
    )
    assert {change.model for change in found} == {"reconet-wave"}
    assert notes == ["reconet-wave is compared with reconet-half: the only other reconet"]


def test_videos_of_other_pixels_are_left_out(tmp_path):
    a, b = (
        make_run(tmp_path / name, videos={"stroll": {"pixels": name}, "alley_2": {"pixels": "same"}}) for name in "ab"
    )
    found, notes = diff_module.changes(load_run(a), load_run(b))
    assert {change.n for change in found if change.metric == "temporal_error"} == {12}
    assert notes == ["stroll is left out: it has other pixels in b"]


def test_what_changed_around_the_numbers_is_listed(tmp_path, capsys):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", versions={"torch": "3.0"}, cpu="Another")
    _, out, _ = diff(capsys, a, b)
    assert "What else changed" in out
    assert "  versions torch: 2.9.1 → 3.0\n" in out
    assert "Another" in out


def test_a_long_command_stays_readable_and_hides_no_other_fact(tmp_path, capsys):
    commands = [f"reconet-bench compare --models {'/very/long' * 30}/{name}.safetensors" for name in "ab"]
    a, b = (make_run(tmp_path / name, command=command) for name, command in zip("ab", commands, strict=True))
    _, out, _ = diff(capsys, a, b)
    lines = "".join(line.rstrip("\n") for line in out.splitlines())
    assert all(command in lines for command in commands), "whole, to be copied"
    assert "  command: " in out


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ("temporal_error", "is not a limit"),
        ("temporal_error>2%%", "is not a limit"),
        ("temporal_eror>2%", "did you mean 'temporal_error'"),
        ("style_distance>1%", "unknown metric of the run to compare with"),
    ],
)
def test_a_gate_that_cannot_judge_is_a_mistake_and_no_pass(tmp_path, capsys, limits, reason):
    run = make_run(tmp_path / "a")
    code, _, err = diff(capsys, run, run, "--fail-on", limits)
    assert code == 2
    assert reason in err
    assert err.count("\n") == 1


def without(folder: Path, file: str, *parts: str) -> None:
    """Take the lines that hold all these parts out of a file of a run."""
    path = folder / file
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not all(part in line for part in parts)]
    assert len(kept) < len(lines)
    path.write_text("".join(kept), encoding="utf-8")


@pytest.mark.parametrize("gone", ["frames", "metric", "runtime", "one metric of one model", "model"])
def test_a_number_that_is_gone_is_a_regression(tmp_path, capsys, gone):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    for run in (a, b):  # a second model and a second runtime, by copying the first's rows
        for file in ("records.jsonl", "frames.csv", "timings.csv"):
            text = (run / file).read_text(encoding="utf-8")
            body = text if file.endswith("jsonl") else text.partition("\n")[2]
            for old, new in (("reconet-wave", "johnson-wave"), ("torch", "openvino")):
                other = body.replace(old, new).replace(
                    '"method": "reconet"', '"method": "johnson"' if "johnson" in new else '"method": "reconet"'
                )
                text += other
            (run / file).write_text(text, encoding="utf-8")
    assert diff(capsys, a, b)[0] == 0
    limits: list[str] = []
    if gone == "frames":
        (b / "frames.csv").unlink()
    elif gone == "metric":
        without(b, "frames.csv", "temporal_error")
        without(b, "records.jsonl", "temporal_error")
    else:
        parts = {
            "runtime": ["openvino"],
            "one metric of one model": ["johnson-wave", "temporal_error"],
            "model": ["johnson-wave"],
        }[gone]
        limits = ["--fail-on", "temporal_error>+2%"]
        for file in ("records.jsonl", "frames.csv"):
            without(b, file, *parts)
    code, out, err = diff(capsys, a, b, *limits)
    assert code == 1, err
    assert re.search(r"regression: temporal_error of \S+ in \S+ is missing in b", err)
    assert "No regression" not in out


def test_speed_is_judged_on_one_machine_only(tmp_path, capsys):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", seconds=0.2, threads=8)
    code, _, err = diff(capsys, a, b, "--fail-on", "fps<-5%")
    assert code == 0
    assert "fps<-5% not judged: threads of the two runs differ" in err


@pytest.mark.parametrize("doubt", [Doubt.UNSTABLE, Doubt.COLD, Doubt.BUSY])
def test_a_disturbed_row_and_one_without_rounds_are_not_judged(tmp_path, capsys, doubt):
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", seconds=0.2)
    path = b / "records.jsonl"
    whole = path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    path.write_text("".join(json.dumps({**line, "doubts": [] if line["video"] else [doubt]}) + "\n" for line in lines))
    code, out, err = diff(capsys, a, b, "--fail-on", "fps<-5%")
    assert code == 0
    assert "unstable or disturbed, not judged" in err
    path.write_text(whole)
    old = (b / "timings.csv").read_text(encoding="utf-8").splitlines()
    (b / "timings.csv").write_text("\n".join(line.rpartition(",")[0] for line in old), encoding="utf-8")
    code, out, err = diff(capsys, a, b, "--fail-on", "fps<-5%")
    assert code == 0
    assert "no interval, not judged" in err
    assert "worse" not in out


def test_a_slow_round_is_no_slower_network(tmp_path):
    """The same network twice: frames of one turn share the machine's mood, and one turn in three was slow."""
    runs = []
    for name, slow in (("a", {0}), ("b", {1, 2})):
        folder = make_run(tmp_path / name)
        path = folder / "timings.csv"
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        rows = [
            ",".join([*row.split(",")[:5], f"{0.1 + 0.015 * (int(row[-1]) in slow) + 0.0001 * n:.4f}", row[-1]])
            for n, row in enumerate(rows)
        ]
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        runs.append(load_run(folder))
    change = next(change for change in diff_module.changes(*runs)[0] if change.metric == "fps_device")
    assert change.low < 0 < change.high


def test_no_limit_is_taken_that_nothing_could_be_held_to(tmp_path, capsys):
    """Peaks, tails and counts are of one run and have no pairs: a gate on them would fail a run against itself."""
    run = make_run(tmp_path / "a")
    write_run(
        run,
        [*load_run(run).records, speed("peak_memory", 512.0, model="reconet-wave")],
        load_run(run).samples,
        [],
        [],
        PROVENANCE,
    )
    code, _, err = diff(capsys, run, run, "--fail-on", "peak_memory>+5%")
    assert code == 2
    assert "unknown metric of the run to compare with 'peak_memory'" in err


def test_limits_are_in_percent_or_in_units():
    one = diff_module.Change(
        "temporal_error", "lower", "m", "torch", 0.10, 0.11, 0.005, 0.015, 9, p=0.01, p_corrected=0.02
    )
    unshown = dataclasses.replace(one, p_corrected=0.06)
    assert not gate.parse_limits("temporal_error>+5%", ["temporal_error"])[0].broken_by(unshown)
    for text, broken in (
        ("temporal_error>+5%", True),
        ("temporal_error>15%", False),
        ("temporal_error>0.005", True),
        ("temporal_error>0.05", False),
        ("temporal_error<0%", False),
    ):
        (limit,) = gate.parse_limits(text, ["temporal_error"])
        assert limit.broken_by(one) is broken, text
    assert gate.parse_limits("", []) == []
    from_zero = dataclasses.replace(one, before=0.0)
    assert gate.parse_limits("temporal_error>+2%", ["temporal_error"])[0].broken_by(from_zero)
    with pytest.raises(UnknownName):
        gate.parse_limits("fps<-5%", ["temporal_error"])


def test_runs_with_nothing_in_common_are_a_mistake(tmp_path):
    one, other = load_run(make_run(tmp_path / "a")), load_run(make_run(tmp_path / "b"))
    other.records = [dataclasses.replace(r, model="x", method="x") for r in other.records]
    with pytest.raises(DataError, match="nothing in common"):
        diff_module.changes(one, other)


# --- runs and report on the command line ----------------------------------------------------------------


def test_past_runs_are_listed_and_broken_ones_named(tmp_path, capsys):
    make_run(tmp_path / "reports" / "second")
    (tmp_path / "reports" / "broken").mkdir()
    (tmp_path / "reports" / "broken" / "records.jsonl").write_text("{")
    cli.main(["runs", str(tmp_path / "reports")])
    printed = capsys.readouterr()
    text = "".join(printed.out.split())
    assert all(part in text for part in ("second", "reconet-wave", "alley_2,stroll", "2026-01-01"))
    assert "broken" in printed.err


@pytest.mark.parametrize(
    "arguments", [["runs", "nowhere"], ["report", "nowhere"], ["diff", "nowhere", "nowhere"], ["runs", "."]]
)
def test_a_folder_that_is_no_run_is_one_line_and_code_2(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_report_rebuilds_what_compare_wrote(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    before = {name: (run / name).read_text(encoding="utf-8") for name in ("report.html", "summary.md", "summary.csv")}
    for name in before:
        (run / name).unlink()
    cli.main(["report", str(run), "--latex"])
    assert {name: (run / name).read_text(encoding="utf-8") for name in before} == before
    assert r"\begin{tabular}{lrr}" in (run / "table.tex").read_text(encoding="utf-8")
    other = tmp_path / "elsewhere"
    cli.main(["report", str(run), str(make_run(tmp_path / "two")), "-o", str(other)])
    assert sorted(path.name for path in other.iterdir()) == ["run", "two"]
    assert list(csv.DictReader(io.StringIO((other / "two" / "summary.csv").read_text(encoding="utf-8"))))
    assert json.loads((run / "provenance.json").read_text()) == PROVENANCE


# --- statistics -----------------------------------------------------------------------------------------


def test_speeds_are_compared_by_their_rounds():
    """Known answer: Welch's t of the rounds' medians; a frame that hangs does not move them."""
    random = np.random.default_rng(0)
    before, after = 0.1 + 0.002 * random.random((5, 7)), 0.11 + 0.004 * random.random((4, 7))
    before[0, 3] = 5.0
    e = diff_module._median_difference([before.tolist(), after.tolist()], rate=False)
    theirs = stats.ttest_ind(1000 * np.median(after, 1), 1000 * np.median(before, 1), equal_var=False)
    assert e.value == pytest.approx(1000 * (np.median(after) - np.median(before)))
    low, high = theirs.confidence_interval()
    assert e.high - e.low == pytest.approx(high - low, rel=1e-9)
    rate = diff_module._median_difference([before.tolist(), after.tolist()], rate=True)
    assert rate.value == pytest.approx(1 / np.median(after) - 1 / np.median(before))
    assert rate.low < rate.value < rate.high < 0
    assert diff_module._median_difference([[[0.1]], after.tolist()], rate=True).p is None, "one round tells nothing"


def test_changes_are_corrected_for_their_number(tmp_path):
    before, after = load_run(make_run(tmp_path / "a")), load_run(make_run(tmp_path / "b", factor=1.44, seconds=0.2))
    found = {change.metric: change for change in diff_module.changes(before, after)[0]}
    assert {metric: change.verdict for metric, change in found.items()} == {
        "temporal_error": "worse",
        "depth_error": "the same",
        "fps_device": "worse",
    }
    assert found["depth_error"].p_corrected is None, "what is the same was not asked about"
    assert found["temporal_error"].p_corrected == found["temporal_error"].p, "the larger of two"
    assert found["fps_device"].p_corrected == min(1, 2 * found["fps_device"].p)


def test_a_run_of_an_older_version_is_judged_by_the_statistics_of_this_one(tmp_path, capsys):
    """Intervals are computed from the samples of both runs, whatever their records say."""
    old = make_run(tmp_path / "a")
    new = make_run(tmp_path / "b", factor=1.44, statistics=2)
    records = [dataclasses.replace(r, ci_low=0.0, ci_high=1.0) if r.video else r for r in load_run(old).records]
    (old / "records.jsonl").write_text(to_jsonl(records))
    code, out, err = diff(capsys, old, new)
    assert (code, "regression: temporal_error" in err) == (1, True)
    assert "statistics: – → 2" in out


def timed_beside_torch(folder: Path, torch_seconds: float, seconds: float) -> Path:
    """A run of one model in PyTorch and in ONNX Runtime, whose rounds share the moods of the machine."""
    make_run(folder)
    moods = (1.0, 1.3, 0.9, 1.1, 1.05)
    times = {"torch": torch_seconds, "onnxruntime": seconds}
    timings = [
        TimedFrame("reconet-wave", runtime, Size(436, 1024), "device", 3 * turn + i, base * mood * (1 + 0.01 * i), turn)
        for runtime, base in times.items()
        for turn, mood in enumerate(moods)
        for i in range(3)
    ]
    records = [record("temporal_error", 0.1, video=video) for video in VIDEOS]
    records += [speed("speed_up", torch_seconds / seconds, runtime="onnxruntime")]
    samples = {SampleKey("reconet-wave", "alley_2", "torch", "temporal_error"): dict.fromkeys(range(12), 0.01)}
    write_run(folder, records, samples, timings, [], PROVENANCE)
    return folder


def test_a_machine_that_became_slower_is_no_regression_but_a_runtime_that_did_is(tmp_path, capsys):
    before = timed_beside_torch(tmp_path / "a", 0.2, 0.1)
    busy = timed_beside_torch(tmp_path / "b", 0.3, 0.15)
    slower = timed_beside_torch(tmp_path / "c", 0.2, 0.125)
    code, out, _ = diff(capsys, before, busy)
    assert code == 0
    assert "No regression" in out
    code, _, err = diff(capsys, before, slower)
    assert code == 1
    assert "speed_up of reconet-wave in onnxruntime" in err
    assert "2 → 1.6 (-20.0 %), limit speed_up<-10%" in err
    (change,) = [c for c in diff_module.changes(load_run(before), load_run(slower))[0] if c.metric == "speed_up"]
    assert change.low == pytest.approx(-0.4, abs=1e-6)
    assert change.n == 5


def test_a_ratio_without_rounds_of_the_reference_is_not_judged(tmp_path):
    found, _ = diff_module.changes(
        *(load_run(timed_beside_torch(tmp_path / name, 0.2, seconds)) for name, seconds in (("a", 0.1), ("b", 0.125)))
    )
    (change,) = [c for c in found if c.metric == "speed_up"]
    assert change.judged
    runs = [load_run(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        run.timings = {key: rounds for key, rounds in run.timings.items() if key.runtime != "torch"}
    (change,) = [c for c in diff_module.changes(*runs)[0] if c.metric == "speed_up"]
    assert not change.judged
