"""The command line: what it prints and writes, and one line with exit code 2 for everything that a user can mend."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from clips import make_clip
from conftest import DESIGN, picture
from onnx import TensorProto, helper
from rich.console import Console
from run_folders import quality
from safetensors.torch import save_file

from reconet_bench import cli
from reconet_bench.benchmark import compare as compare_module
from reconet_bench.benchmark.gate import parse_limits
from reconet_bench.benchmark.quality_pass import QualityPass
from reconet_bench.commands import base, compare_progress
from reconet_bench.commands import list as list_command
from reconet_bench.commands.compare_plan import quicken
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.files import LOCK, claimed
from reconet_bench.core.flow_files import read_flo, write_flo
from reconet_bench.core.images import write_image
from reconet_bench.core.size import Size
from reconet_bench.metrics.base import METRICS
from reconet_bench.models import export_formats
from reconet_bench.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.networks.base import Identity
from reconet_bench.report.numbers import significant
from reconet_bench.report.run import load_run
from reconet_bench.report.run_folder import FILES
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.training import step_benchmark

SMALL = ["--size", "56x40", "--frames", "3"]
#: One model, one runtime, no timing: seconds are for the tests of the comparison.
QUICK = [
    "compare",
    "--methods",
    "identity",
    "--runtimes",
    "torch",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--rounds",
    "0",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A working folder without data, and a cache without weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))


@pytest.fixture(scope="module")
def model(seeded, tmp_path_factory) -> Path:
    """A checkpoint with random weights."""
    path = tmp_path_factory.mktemp("models") / "reconet-seeded.safetensors"
    save_checkpoint(path, seeded)
    return path


@pytest.fixture
def frames(tmp_path) -> Path:
    """Three frames in a folder."""
    for number in range(1, 4):
        write_image(tmp_path / "frames" / f"{number:02d}.png", picture(number, (1, 0)))
    return tmp_path / "frames"


@pytest.fixture
def run(capsys) -> Callable[..., str]:
    """Runs a command that succeeds; gives what it printed."""

    def command(*arguments: object) -> str:
        capsys.readouterr()
        cli.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return command


@pytest.fixture
def fails(capsys, tmp_path) -> Callable[..., str]:
    """Runs a command that fails: one line on standard error, exit code 2, nothing written; gives the line."""

    def command(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert caught.value.code == 2
        assert printed.out == ""
        assert printed.err.count("\n") == 1, printed.err
        assert printed.err.startswith("reconet-bench: ")
        assert "Traceback" not in printed.err
        assert "Error(" not in printed.err
        assert sorted(tmp_path.rglob("*")) == before, "nothing may be left behind"
        return printed.err.strip()

    return command


def in_a_process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it."""
    words = [sys.executable, "-m", "reconet_bench.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)


# --- help and lists -------------------------------------------------------------------------------------

OPTIONS = {
    "compare": "--style-name --network --speed-budget --quick "
    "--videos --methods --models --runtimes --device --threads --rounds --metrics "
    "--save-frames --no-pictures --output "
    "--style --style-size --vgg "
    "--input-range --output-range --layout --stabilise --stabilise-strength --state-flow "
    "--results --results-root --offset --resize-results --json --resume --dry-run --on "
    "--data --sintel --pass --size --frames --flow --raft --seed",
    "evaluate": "--stylized --video --offset --style --style-size --json --threads --on --vgg --metrics "
    "--data --sintel --pass --size --frames --flow --raft --seed",
    "train": "--method --style --data --textures --sintel --pass --split --steps --size --batch "
    "--learning-rate "
    "--style-size "
    "--weights --seed --device --precision --compile --save-every --branch-from --resume --download-vgg --output --vgg "
    "--preset --set --show --optimizer --epochs --footage --flow --raft --workers --tensorboard --benchmark "
    "--network --minutes --crops --fleet --jobs --stored-crops --store --no-graphs",
    "export": "--output --all --form --size",
    "study": "--jobs --output --on "
    "--trunk --style-image --methods --network --points --steps --minutes --size --threads --seed --precision "
    "--textures --stored-crops --video-size --frames --vgg "
    "--candidates --cpu-minutes --speed-size --runtimes --rounds",
    "reproduce": "--style --sintel --size --steps --minutes --jobs --output --vgg",
    "curves": "--output",
    "render": "--output --data --sintel --pass --size --frames --flow --raft --seed",
    "list": "--sintel --sheet",
    "sweep": "--sizes --runtimes --threads --batch --device --rounds --on --output "
    "--input-range --output-range --layout",
    "roofline": "--size --runtimes --device --threads --rounds --output",
    "inspect": "--output --description --input-range --output-range --layout",
    "report": "--latex --parquet --output",
    "diff": "--fail-on",
    "runs": "",
    "doctor": "--full --json --report",
    "live": "--models --port --export --no-browser",
    "data": "--videos --output --url --clear --threads --on "
    "--data --sintel --pass --size --frames --flow --raft --seed",
    "stylize": "--output --model --runtime --device --threads --camera --codec --max-size --strength --keep-colors "
    "--side-by-side --start --end --fps --on --stabilise --stabilise-strength --state-flow "
    "--input-range --output-range --layout",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option_and_gives_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for option in OPTIONS[command].split():
        assert f"{option} " in printed or f"{option},\n" in printed or f"{option}\n" in printed, option
    assert f"reconet-bench {command}" in printed[printed.index("Example:") :]


@pytest.mark.parametrize("command", OPTIONS)
def test_the_example_of_a_command_can_be_typed(command):
    _, *words = shlex.split(base.COMMANDS[command].example)
    asked = cli.parse(words)
    if command == "diff":
        assert [limit.text for limit in parse_limits(asked.fail_on, ["temporal_error", "speed_up"])] == [
            "temporal_error>+2%",
            "speed_up<-5%",
        ]


def test_a_quick_comparison_leaves_what_the_user_says():
    options = cli.parse(["compare", "--quick"])
    quicken(options)
    assert (options.size, options.frames, options.runtimes) == (Size(128, 224), 7, ["torch", "onnxruntime"])
    assert (options.rounds, options.speed_budget, options.no_pictures) == (2, 0.0, True)
    words = ["--size", "96x64", "--frames", "3", "--runtimes", "torch", "--rounds", "4"]
    options = cli.parse(["compare", "--quick", *words])
    quicken(options)
    assert (options.size, options.frames, options.runtimes, options.rounds) == (Size(64, 96), 3, ["torch"], 4)


def test_a_study_hands_on_what_follows_the_dashes():
    options = cli.parse(
        ["study", "weights", "--jobs", "2", "--", "--preset", "dissertation", "--style", "x", "--footage", "a", "b"]
    )
    assert (options.study, options.jobs, options.output) == ("weights", 2, None)
    assert options.handed_on == ["--preset", "dissertation", "--style", "x", "--footage", "a", "b"]
    assert (options.handed_on_options.preset, options.handed_on_options.style) == ("dissertation", Path("x"))
    assert cli.parse(["study", "weights"]).handed_on == []


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in OPTIONS)
    assert "reconet-bench compare" in printed
    actions = next(action for action in cli.build_parser()._actions if action.choices)
    assert actions.choices.keys() == OPTIONS.keys()
    for command, parser in actions.choices.items():
        known = {max(action.option_strings, key=len) for action in parser._actions if action.option_strings}
        assert known == {*OPTIONS[command].split(), "--help"}, "a new option belongs into this test"


def test_list_shows_everything_there_is(run):
    printed = run("list")
    for name in [*METRICS, *RUNTIMES, "reconet", "identity", "stroll", "motorcycle", "sintel"]:
        assert name in printed
    assert "missing: MPI-Sintel not found" in printed


def test_list_shows_one_kind_and_why_something_is_missing(run, monkeypatch, tiny_sintel):
    monkeypatch.setattr(
        RUNTIMES["onnxruntime"], "missing", lambda: "not installed: pip install onnxruntime", raising=False
    )
    printed = run("list", "runtimes")
    assert "missing: not installed: pip install onnxruntime" in printed
    assert "openvino:bf16" in printed
    assert "style_distance" not in printed
    assert "sintel clean alley_1, alley_2, bandage_1, cave_2" in " ".join(
        run("list", "data", "--sintel", tiny_sintel).split()
    )


# --- render, evaluate, compare --------------------------------------------------------------------------


def test_a_rendered_clip_is_evaluated_with_its_own_flow(run, capsys, tmp_path):
    printed = run("render", "stroll", "-o", tmp_path / "rendered", "--size", "56x40", "--frames", "7")
    folder = tmp_path / "rendered" / "training" / "clean" / "stroll"
    assert f"Written: {folder} (7 frames of 56x40" in printed
    cli.main(["evaluate", "--stylized", str(folder), "--video", str(folder), "--json"])
    printed = capsys.readouterr()
    values = json.loads(printed.out)
    assert values.keys() & DESIGN == DESIGN.keys() - {"style_distance"}
    assert values["temporal_error"] == values["content_temporal_error"] > 0
    assert values["content_similarity"] == 1
    assert values["ssim_adjacent"] < values["ssim_adjacent_warped"] < 1
    assert any(line.startswith("style_distance not measured: no style is known") for line in printed.err.splitlines())
    built_in = json.loads(
        run("evaluate", "--stylized", folder, "--video", "stroll", "--size", "56x40", "--frames", "7", "--json")
    )
    assert built_in["temporal_error"] == pytest.approx(values["temporal_error"], rel=1e-3)


def test_a_rendered_clip_never_mixes_with_a_longer_one(run, fails, tmp_path):
    run("render", "stroll", "-o", tmp_path / "rendered", "--size", "56x40", "--frames", "4")
    before = {path: path.read_bytes() for path in (tmp_path / "rendered").rglob("*.*")}
    line = fails("render", "stroll", "-o", tmp_path / "rendered", "--size", "56x40", "--frames", "3")
    assert (
        "contains another clip (frame_0004.png; this one has 3 frames): delete it, or choose another --output" in line
    )
    assert {path: path.read_bytes() for path in (tmp_path / "rendered").rglob("*.*")} == before
    run("render", "stroll", "-o", tmp_path / "rendered", "--size", "56x40", "--frames", "5")


def test_evaluate_shows_a_table_with_reasons(run, frames):
    printed = run("evaluate", "--stylized", frames, "--video", frames, "--flow", "none")
    assert not any(name in printed for name, metric in METRICS.items() if metric.detail)
    for name in DESIGN:
        (line,) = [line for line in printed.splitlines() if f" {name} " in line]
        if name in ("ssim_adjacent", "content_similarity"):
            assert METRICS[name].summary.split(",")[0][:40] in printed
        else:
            assert "–" in line
    assert "frames has no true flow" in printed


def test_metrics_are_chosen_by_name(run, fails, frames, tmp_path):
    words = ["evaluate", "--stylized", frames, "--video", frames, "--flow", "none", "--json", "--metrics"]
    assert json.loads(run(*words, "flicker_raw", "content_similarity")).keys() == {"flicker_raw", "content_similarity"}
    assert json.loads(run(*words, "default", "flicker_raw")).keys() == {
        "flicker_raw",
        "content_similarity",
        "ssim_adjacent",
    }
    line = fails(*words, "flicker_rav")
    assert "unknown metric 'flicker_rav': did you mean 'flicker_raw'?" in line
    compared = ["compare", "--methods", "identity", "--videos", frames, "--flow", "none", "--runtimes", "torch"]
    compared += ["--rounds", "0", "-o", tmp_path / "run", "--no-pictures"]
    assert "unknown metric 'ghost': did you mean 'ghosting'?" in fails(*compared, "--metrics", "ghost")
    printed = run(*compared, "--metrics", "flicker_raw")
    assert "raw flicker" in printed
    assert "SSIM adj" not in printed
    loaded = load_run(tmp_path / "run")
    assert {record.metric for record in loaded.records} == {"flicker_raw"}
    run(*compared, "--metrics", "all")
    loaded = load_run(tmp_path / "run")
    assert {record.metric for record in loaded.records} == set(METRICS)
    shown = {name for name, text in loaded.provenance["explained"].items() if text["shown"]}
    assert shown == {name for name, metric in METRICS.items() if metric.default and not metric.detail}
    assert METRICS["flicker_raw"].blind_to in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")


def test_list_says_what_each_metric_is_blind_to_and_which_are_measured_on_request(run):
    printed = " ".join(run("list", "metrics").split())
    assert f"Blind to {METRICS['ghosting'].blind_to}" in printed
    assert "(on request: --metrics). Blind to motion, which it counts as flicker" in printed


def test_names_with_brackets_are_shown_as_they_are(run, frames, tmp_path):
    shutil.copytree(frames, tmp_path / "take [b]")
    printed = run("evaluate", "--stylized", frames, "--video", tmp_path / "take [b]", "--flow", "none")
    assert "take [b] has no true flow" in printed


def test_evaluate_measures_the_distance_to_a_painting(run, frames, tmp_path, stand_in_weights):
    write_image(tmp_path / "painting.png", picture(5, (3, 2), (64, 80)))
    words = [
        "evaluate",
        "--stylized",
        frames,
        "--video",
        frames,
        "--json",
        "--style",
        tmp_path / "painting.png",
        "--style-size",
        "64",
    ]
    assert json.loads(run(*words, "--vgg", stand_in_weights))["style_distance"] == pytest.approx(1)
    assert "style_distance" not in json.loads(run(*words))


def test_compare_writes_every_file_and_prints_a_table(run, model, tmp_path, stand_in_weights):
    target = tmp_path / "deep" / "run"
    words = [
        "compare",
        "--models",
        model,
        "--videos",
        "stroll",
        *SMALL,
        *QUICK[3:],
        "--save-frames",
        "--vgg",
        stand_in_weights,
        "-o",
        target,
    ]
    printed = run(*words)
    assert sorted(path.name for path in target.iterdir()) == sorted([*FILES, "frames", "pictures"])
    records = load_run(target).records
    assert {(record.model, record.video, record.runtime) for record in records} == {
        ("reconet-seeded", "stroll", "torch"),
        ("identity", "stroll", "torch"),
    }
    values = {
        record.metric: record.value
        for record in records
        if record.model == "reconet-seeded" and record.value is not None
    }
    for part in (
        "stroll",
        "reconet",
        "identity",
        "Written to",
        "summary.md",
        f"{values['ssim_adjacent']:.3g}",
        "stroll has 3 frames, pairs 5 apart need 6",
    ):
        assert part in printed
    saved = target / "frames" / "reconet-seeded" / "stroll" / "torch"
    again = json.loads(run("evaluate", "--stylized", saved, "--video", "stroll", *SMALL, "--json"))
    assert again == values, "frames that compare saved, measured by evaluate"
    facts = json.loads((target / "provenance.json").read_text())
    assert facts["models"].keys() == {"reconet-seeded", "identity"}


def test_a_painting_gives_foreign_models_a_style(run, fails, exported, tmp_path, stand_in_weights):
    write_image(tmp_path / "wave.png", picture(5, (3, 2), (64, 80)))
    shutil.copy(exported, tmp_path / "mine.onnx")
    words = [
        "--models",
        tmp_path / "mine.onnx",
        "--videos",
        "stroll",
        *SMALL,
        "--runtimes",
        "onnxruntime",
        "--device",
        "cpu",
        "--rounds",
        0,
        "--style",
        tmp_path / "wave.png",
        "--style-size",
        "64",
    ]
    run("compare", *words, "--vgg", stand_in_weights, "-o", tmp_path / "run")
    found = {record.model: record for record in load_run(tmp_path / "run").records if record.metric == "style_distance"}
    assert found["mine"].style == "wave"
    assert found["identity"].value == pytest.approx(1)
    assert found["mine"].value != pytest.approx(1, abs=1e-3)
    run("compare", *words, "-o", tmp_path / "without")
    (reason,) = {record.note for record in load_run(tmp_path / "without").records if record.metric == "style_distance"}
    assert "--vgg FILE" in reason
    assert "No such file" in fails("compare", *words[:-3], tmp_path / "moon.png")


def test_a_slip_in_the_name_of_a_video_is_told(fails, tmp_path):
    assert "unknown video 'strol': did you mean 'stroll'?" in fails(*QUICK, "--videos", "strol")
    assert f"no such file or folder: {tmp_path / 'film.mp4'}" in fails(*QUICK, "--videos", "film.mp4")


def test_compare_has_a_folder_of_its_own_by_default(run, tmp_path):
    run(*QUICK, "--videos", "stroll", *SMALL)
    (folder,) = (tmp_path / "reports").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "pictures"])


@pytest.mark.parametrize("more", [[], ["--no-pictures"]])
def test_compare_touches_no_folder_that_is_not_its_own(fails, tmp_path, more):
    theirs = tmp_path / "project"
    write_image(theirs / "pictures" / "holiday.png", picture(0, (1, 0)))
    (theirs / "report.html").write_text("mine")
    said = fails(*QUICK, "--videos", "stroll", *SMALL, *more, "-o", theirs)
    assert f"{theirs} is not empty and is not a previous run" in said
    assert "choose another --output" in said
    assert (theirs / "report.html").read_text() == "mine"


@pytest.mark.parametrize(
    "words", [["sweep", "--sizes", "32"], ["study", "epochs", "--", "--style", "STYLE", "--vgg", "VGG"]]
)
def test_other_commands_touch_no_folder_that_is_not_theirs_either(fails, tmp_path, words, stand_in_weights):
    write_image(tmp_path / "style.png", picture(0, (1, 0), (64, 64)))
    theirs = tmp_path / "run"
    theirs.mkdir()
    (theirs / "provenance.json").write_text("{}")
    words = [{"STYLE": tmp_path / "style.png", "VGG": stand_in_weights}.get(word, word) for word in words]
    said = fails(words[0], "-o", theirs, *words[1:])
    assert f"output folder {theirs} is not empty and is not a previous {words[0]}" in said
    assert [path.name for path in theirs.iterdir()] == ["provenance.json"]


@pytest.mark.parametrize(
    "words",
    [
        [*QUICK, "--videos", "stroll"],
        ["sweep", "--sizes", "32"],
        ["study", "epochs", "--", "--style", "STYLE", "--vgg", "VGG"],
    ],
)
def test_a_second_command_into_the_same_folder_is_refused(fails, tmp_path, words, stand_in_weights):
    write_image(tmp_path / "style.png", picture(0, (1, 0), (64, 64)))
    words = [{"STYLE": tmp_path / "style.png", "VGG": stand_in_weights}.get(word, word) for word in words]
    target = tmp_path / "run"
    with claimed(target):
        said = fails(words[0], "-o", target, *words[1:])
        assert f"another reconet-bench is writing into {target}: wait until it has ended" in said
        assert [path.name for path in target.iterdir()] == [LOCK]
    assert not target.exists()


def test_compare_makes_a_run_of_its_own_again(run, tmp_path):
    target = tmp_path / "empty"
    target.mkdir()
    for more in ([], ["--no-pictures"]):
        run(*QUICK, "--videos", "stroll", *SMALL, *more, "-o", target)
        assert (target / "pictures").is_dir() is not bool(more)


def test_a_second_run_into_a_folder_leaves_nothing_of_the_first(run, tmp_path):
    target = tmp_path / "run"
    run(*QUICK, "--videos", "stroll", *SMALL, "--save-frames", "-o", target)
    assert (target / "frames" / "identity" / "stroll" / "torch" / "0001.png").is_file()
    (target / "curves").mkdir()
    (target / "curves" / "of-another-model.csv").write_text("step,content\n1,2\n")
    run(*QUICK, "--videos", "lantern", *SMALL, "--save-frames", "-o", target)
    assert [path.name for path in (target / "frames" / "identity").iterdir()] == ["lantern"]
    run(*QUICK, "--videos", "lantern", *SMALL, "-o", target)
    assert sorted(path.name for path in target.iterdir()) == sorted([*FILES, "pictures"])


def test_compare_takes_folders_of_frames(run, frames, tmp_path):
    assert "frames has no true flow" in run(*QUICK, "--videos", frames, "--flow", "none", "-o", tmp_path / "run")
    printed = run(*QUICK, "--videos", frames, "-o", tmp_path / "run2")
    assert "frames (DIS flow): motion is estimated, not true" in printed
    records = {record.metric: record for record in load_run(tmp_path / "run2").records}
    assert records["temporal_error"].doubts == records["traceable_share"].doubts == (Doubt.ESTIMATED_FLOW,)
    assert records["content_similarity"].doubts == ()
    assert records["temporal_error"].value == records["content_temporal_error"].value
    assert 0 < records["traceable_share"].value <= 1


def test_true_and_estimated_flow_stand_side_by_side(run, tmp_path, tiny_sintel):
    run(*QUICK, "--videos", "alley_2", "--sintel", tiny_sintel, "--flow", "dis", "-o", tmp_path / "run")
    records = [record for record in load_run(tmp_path / "run").records if record.metric == "temporal_error"]
    assert [(record.clip, record.doubts) for record in records] == [
        ("alley_2", ()),
        ("alley_2 (DIS flow)", (Doubt.ESTIMATED_FLOW,)),
    ]
    assert records[0].n == records[1].n == 7


def test_videos_are_measured_and_take_videos(run, capsys, tmp_path):
    make_clip(tmp_path / "my pan.mp4")
    cli.main(
        [
            "evaluate",
            "--stylized",
            str(tmp_path / "my pan.mp4"),
            "--video",
            str(tmp_path / "my pan.mp4"),
            "--json",
            "--frames",
            "5",
        ]
    )
    printed = capsys.readouterr()
    values = json.loads(printed.out)
    assert values["content_similarity"] == 1
    assert values["temporal_error"] == values["content_temporal_error"] < 0.02
    assert "my pan: estimated flow (dis)" in printed.err


def test_a_runtime_that_is_not_here_is_skipped_with_the_reason(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(
        RUNTIMES["onnxruntime"], "missing", lambda: "not installed: pip install onnxruntime", raising=False
    )
    words = [
        *QUICK[:3],
        "--runtimes",
        "onnxruntime",
        "torch",
        *QUICK[5:],
        "--videos",
        "stroll",
        *SMALL,
        "-o",
        str(tmp_path / "run"),
    ]
    cli.main(words)
    assert "skipped onnxruntime: not installed: pip install onnxruntime\n" in capsys.readouterr().err
    assert {record.runtime for record in load_run(tmp_path / "run").records} == {"torch"}


def test_export_tells_how_true_the_file_is(run, model, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(
        export_formats, "export_onnx", lambda checkpoint, path, size, form: Path(shutil.copy(exported, path))
    )
    printed = " ".join(run("export", model, "-o", tmp_path / "out.onnx").split())
    assert f"Written: {tmp_path / 'out.onnx'} (fp32, opset 18, dynamic batch, height and width; 6.4 MiB)" in printed
    said = re.search(r"against PyTorch fp32: max abs (\S+), PSNR (\S+) dB", printed)
    assert 0 < float(said[1]) < 1e-4
    assert float(said[2]) > 90


def test_export_takes_a_size(run, tmp_path):
    save_checkpoint(tmp_path / "same.safetensors", Checkpoint(Identity().eval(), "identity", ""))
    said = run("export", tmp_path / "same.safetensors", "-o", tmp_path / "fixed.onnx", "--size", "66x51")
    printed = " ".join(said.split())
    assert "one frame of 66x51" in printed
    assert "max abs" in printed
    assert inspect_onnx(tmp_path / "fixed.onnx").width == 66


def test_train_leaves_a_model_that_loads(run, tmp_path, stand_in_weights):
    write_image(tmp_path / "squares.png", picture(5, (3, 2), (64, 80)))
    words = [
        "train",
        "--method",
        "johnson",
        "--style",
        tmp_path / "squares.png",
        "--vgg",
        stand_in_weights,
        "--steps",
        2,
        "--size",
        32,
    ]
    printed = run(
        *words,
        "--style-size",
        64,
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--weights",
        "style=1",
        "-o",
        tmp_path / "run",
    )
    path = tmp_path / "run" / "johnson-squares.safetensors"
    assert path.name in printed.replace("\n", "")
    assert load_checkpoint(path).info["steps"] == 2


# --- what goes wrong: names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["compare", "--data", "synthetic", "--videos", "strol"],
            "unknown built-in clip 'strol': did you mean 'stroll'?",
        ),
        (["compare", "--data", "sintl"], "unknown data source 'sintl': did you mean 'sintel'?"),
        (["compare", "--pass", "finale"], "unknown pass 'finale': did you mean 'final'? known: albedo, clean, final"),
        (
            ["compare", "--methods", "reconnet", "--videos", "stroll", *SMALL],
            "unknown method 'reconnet': did you mean 'reconet'?",
        ),
        (
            ["compare", "--runtimes", "onnxruntim", "--videos", "stroll", *SMALL],
            "unknown runtime 'onnxruntim': did you mean 'onnxruntime'?",
        ),
        (["compare", "--models", "nonsense", "--runtimes", "torch"], "unknown model 'nonsense'"),
        (["compare", "--models", "none.onnx", "--runtimes", "torch"], "model file not found: none.onnx"),
        (["compare", "--videos", "no/such/folder"], "no such file or folder: "),
        (["compare", "--frames", "1"], "argument --frames: '1': give a whole number, at least 2"),
        (["compare", "--frames", "0"], "argument --frames: '0': give a whole number, at least 2"),
        ([*QUICK, "--videos", "stroll", *SMALL, "--device", "tpu"], "no device 'tpu' here"),
        (
            [*QUICK, "--videos", "stroll", *SMALL, "--threads", "0"],
            "argument --threads: '0': give a whole number, at least 1",
        ),
        ([*QUICK, "--videos", "stroll", *SMALL, "--rounds", "-1"], "rounds"),
        ([*QUICK, "--videos", "stroll", *SMALL, "--seed", "-1"], "seed"),
        ([*QUICK, "--videos", "stroll", *SMALL, "--vgg", "none.safetensors"], "no such file: none.safetensors"),
        (["render", "strol", "--data", "synthetic", "-o", "out"], "unknown built-in clip 'strol'"),
        (["compare", "--raft", "weights.safetensors"], "--raft gives the weights for --flow raft: use both options"),
        (
            [
                "train",
                "--method",
                "reconet",
                "--style",
                "none.png",
                "--data",
                "footage",
                "--footage",
                "x",
                "--raft",
                "w",
            ],
            "--raft gives the weights for --flow raft",
        ),
        (["render", "stroll", "--frames", "1", "-o", "out"], "argument --frames: '1': give a whole number, at least 2"),
        (["export", "nonsense", "-o", "out.onnx"], "unknown model 'nonsense'"),
        (
            ["list", "metricks"],
            "unknown kind 'metricks': did you mean 'metrics'? known: data, methods, metrics, models, networks, ",
        ),
        (["evaluate", "--stylized", "none", "--video", "stroll", *SMALL], "no such folder of frames: none"),
        (
            ["evaluate", "--stylized", ".", "--video", "x", "--frames", "0"],
            "argument --frames: '0': give a whole number",
        ),
        (
            ["evaluate", "--stylized", ".", "--video", "x", "--frames", "-2"],
            "argument --frames: '-2': give a whole number",
        ),
        (["train", "--size", "16"], "argument --size: '16': give a whole number, at least 32"),
        (["train", "--batch", "-1"], "argument --batch: '-1': give a whole number, at least 1"),
        (["train", "--method", "reconnet", "--style", "none.png"], "unknown method 'reconnet'"),
        (
            ["train", "--method", "reconet", "--style", "none.png", "--weights", "flicker=3"],
            "unknown loss term of reconet 'flicker'",
        ),
        (
            ["train", "--method", "reconet", "--style", "none.png", "--weights", "style"],
            "--weights takes TERM=NUMBER, got 'style'",
        ),
        (
            ["train", "--method", "reconet", "--style", "none.png", "--steps", "0"],
            "argument --steps: '0': give a whole number, at least 1",
        ),
        (
            ["train", "--method", "reconet", "--style", "none.png", "--split", "half", "--data", "sintel"],
            "cannot read image none.png",
        ),
        (
            ["train", "--method", "reconet", "--style", "none.png", "--data", "kinetics"],
            "unknown training data 'kinetics'",
        ),
        (["train", "--preset", "disertation"], "unknown preset 'disertation': did you mean 'dissertation'"),
        (["train", "--set", "step=3"], "unknown setting in --set step=3 'step': did you mean 'steps'"),
        (["train"], "no style image: give the painting to learn from by --style FILE"),
        (
            ["study", "optimizers", "--", "--optimizer", "adamax"],
            "study optimizers sets optimizer itself, differently for each run: leave it out after --",
        ),
        (
            ["study", "optimizers", "--", "--set", "steps=3", "optimizer=adamax"],
            "study optimizers sets optimizer itself",
        ),
        (["study", "weights", "--jobs", "2", "--", "--weights", "style=5"], "study weights sets weights.style itself"),
        (["study", "weights", "--", "--set", "weights={style=5}"], "study weights sets weights.content itself"),
        (["study", "weights", "--", "--show"], "--show cannot follow --: "),
        (["study", "weights", "--", "--benchmark"], "--benchmark cannot follow --: "),
        (["study", "weights", "--", "-o", "elsewhere"], "--output cannot follow --: "),
        (["study", "weights", "--", "--step", "x"], "(see: reconet-bench train --help)"),
        (["study", "weights", "--steps", "3"], "--steps belongs to study field: give study weights the options of"),
        (["study", "weights", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (["study", "weight", "--", "--steps", "3"], "unknown study 'weight': did you mean 'weights'"),
        (["train", "--method", "identity", "--style", "none.png"], "method 'identity' has nothing to train"),
    ],
)
def test_wrong_names_and_numbers_are_one_line(fails, words, message):
    assert message in fails(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "--size", "big"], "give WIDTHxHEIGHT such as 1024x436"),
        (["compare", "--size", "8x8"], "at least 16"),
        (["compare", "--size", "64x64x64"], "give WIDTHxHEIGHT"),
        (["compare", "--size", "64x"], "give WIDTHxHEIGHT"),
        (["compare", "--frames", "many"], "many"),
        (["compare", "--vidoes", "stroll"], "--vidoes"),
        (["render", "stroll"], "--output"),
        (["nonsense"], "nonsense"),
        ([], "COMMAND"),
    ],
)
def test_words_that_are_no_command_line_are_one_line_too(fails, words, message):
    assert message in fails(*words)


def test_a_recipe_is_shown_and_nothing_trained(run, tmp_path):
    printed = run("train", "--preset", "dissertation", "--steps", 9, "--set", "weights.style=4", "--show")
    assert 'optimizer = "adamax"' in printed
    assert "steps = 9\nepochs = 0" in printed
    assert "style = 4.0" in printed
    assert not list(tmp_path.iterdir())


def test_sizes_are_width_by_height():
    assert base.size("1024x436") == (436, 1024)
    assert base.size("1024X436") == (436, 1024)
    assert base.size("256") == (256, 256)


# --- what goes wrong: training --------------------------------------------------------------------------


@pytest.fixture
def trains(fails, tmp_path, stand_in_weights) -> Callable[..., str]:
    """A training that fails before it begins: one line, and no run folder."""
    write_image(tmp_path / "good.png", picture(5, (3, 2), (64, 80)))

    def command(*words: object, style: Path = tmp_path / "good.png", vgg: Path = stand_in_weights) -> str:
        return fails(
            "train",
            "--style",
            style,
            "--vgg",
            vgg,
            "--steps",
            2,
            "--size",
            32,
            "--device",
            "cpu",
            "-o",
            tmp_path / "run",
            *words,
        )

    return command


def test_a_style_that_is_no_painting(trains, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    write_image(tmp_path / "tiny.png", picture(0, (0, 0), (40, 50)))
    assert "broken.png: not a readable image" in trains(style=tmp_path / "broken.png")
    assert "cannot read image" in trains(style=tmp_path / "none.png")
    assert "tiny.png: a style image needs at least 64 pixels a side, got 50x40" in trains(style=tmp_path / "tiny.png")


def test_a_loss_network_that_is_none(trains, tmp_path):
    save_file({"0.weight": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    assert "not the weights of vgg16.features, '0.bias' is missing" in trains(vgg=tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    assert "not a readable safetensors file" in trains(vgg=tmp_path / "broken.safetensors")


def test_nothing_to_train_on(trains, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no images in" in trains("--textures", tmp_path / "empty")
    assert "no footage in" in trains("--data", "footage", "--footage", tmp_path / "empty")
    assert "--footage DIR|FILE" in trains("--data", "footage")
    assert "with a weight above zero, got 'sintel:0'" in trains("--data", "synthetic:1", "sintel:0")


def test_numbers_that_no_training_can_have(trains):
    assert "weight of 'style' must be zero or more, got -1.0" in trains("--weights", "style=-1")
    zero = [f"{term}=0" for term in ("content", "style", "tv", "temporal_short", "temporal_long")]
    assert "all weights of reconet are zero: there is nothing to optimise" in trains("--weights", *zero)
    assert "precision fp16 needs a CUDA GPU" in trains("--precision", "fp16")
    assert "at least 0" in trains("--workers", "-1")
    assert "unknown flow estimator 'dsi': did you mean 'dis'" in trains(
        "--data", "footage", "--footage", "x", "--flow", "dsi"
    )


def test_curves_are_plotted_on_demand(run, fails, tmp_path):
    for name, losses in (("adam", "3 2 1"), ("adamax", "3 1 1")):
        (tmp_path / name).mkdir()
        rows = "".join(f"{step},{loss}\n" for step, loss in enumerate(losses.split(), 1))
        (tmp_path / name / "curves.csv").write_text(f"step,content\n{rows}")
    assert f"Written: {tmp_path / 'adam' / 'curves.png'}" in run("curves", tmp_path / "adam").replace("\n", "")
    run("curves", tmp_path / "adam", tmp_path / "adamax", "-o", tmp_path / "both.svg")
    assert "<!-- adamax -->" in (tmp_path / "both.svg").read_text()
    assert "no curves in" in fails("curves", tmp_path)
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    assert "notes.csv: not the curves of a training" in fails("curves", tmp_path / "notes.csv")


def test_the_benchmark_of_a_recipe_trains_nothing(run, tmp_path, stand_in_weights, monkeypatch):
    write_image(tmp_path / "squares.png", picture(5, (3, 2), (64, 80)))
    words = [
        "train",
        "--benchmark",
        "--method",
        "johnson",
        "--style",
        tmp_path / "squares.png",
        "--vgg",
        stand_in_weights,
        "--size",
        32,
    ]
    monkeypatch.setattr(step_benchmark, "compare_steps", partial(step_benchmark.compare_steps, rounds=2, steps=1))
    printed = run(*words, "--style-size", 64, "--device", "cpu", "-o", tmp_path / "run")
    assert re.search(
        r"\d+\.\d\d times as fast, \d+\.\d\d to \d+\.\d\d over 2 rounds; size 32, batch 1, precision (bf16|fp32); ",
        " ".join(printed.split()),
    )
    assert not (tmp_path / "run").exists()


# --- what goes wrong: data ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["--videos", "alley_2"], ["--data", "sintel"], ["--videos", "stroll", "alley_2", "--sintel", "nowhere"]]
)
def test_missing_sintel_says_where_it_looked_how_to_get_it_and_what_runs_without(fails, words):
    line = fails(*QUICK, *words)
    assert "MPI-Sintel not found (looked for 'training' in " in line
    assert ("nowhere" if "nowhere" in words else "data/MPI-Sintel*") in line
    for part in ("http://sintel.is.tue.mpg.de", "--sintel", "$RECONET_BENCH_SINTEL", "reconet-bench compare"):
        assert part in line


def test_an_absent_sequence_gets_a_list_of_those_that_are_here(fails, tiny_sintel):
    line = fails(*QUICK, "--videos", "alley_2", "market_6", "--sintel", tiny_sintel)
    assert "'market_6'" in line
    assert "known: alley_1, alley_2, bandage_1, cave_2" in line


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def other_magic(path: Path) -> None:
    path.write_bytes(b"FLOW" + path.read_bytes()[4:])


def other_size(path: Path) -> None:
    if path.suffix == ".flo":
        write_flo(path, read_flo(path)[:, :-2])
    else:
        write_image(path, picture(0, (0, 0), (38, 56)))


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("flow/alley_2/frame_0002.flo", truncate, "frame_0002.flo: truncated or broken .flo: 56x40 needs"),
        ("flow/alley_2/frame_0002.flo", other_magic, "frame_0002.flo: wrong magic b'FLOW'"),
        ("flow/alley_2/frame_0002.flo", other_size, "frame_0002.flo: flow is 56x38, the frames are 56x40"),
        ("clean/alley_2/frame_0003.png", truncate, "frame_0003.png: truncated PNG"),
        (
            "clean/alley_2/frame_0003.png",
            lambda path: path.write_text("no picture"),
            "frame_0003.png: not a readable image",
        ),
        ("clean/alley_2/frame_0003.png", other_size, "frame_0003.png: frame is 56x38, the sequence is 56x40"),
        ("occlusions/alley_2/frame_0002.png", Path.unlink, "missing mask"),
        ("invalid/alley_2/frame_0002.png", Path.unlink, "missing mask"),
        ("occlusions/alley_2/frame_0002.png", other_size, "frame_0002.png: mask is 56x38, the frames are 56x40"),
        ("invalid/alley_2/frame_0002.png", truncate, "frame_0002.png: truncated PNG"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_broken_data_are_one_line_that_names_the_file(fails, tiny_sintel, tmp_path, command, file, spoil, message):
    stylized = tmp_path / "stylized"
    shutil.copytree(tiny_sintel / "training" / "clean" / "alley_2", stylized)
    spoil(tiny_sintel / "training" / file)
    where = ["--sintel", tiny_sintel]
    words = (
        [*QUICK, "--videos", "alley_2", "-o", "run"]
        if command == "compare"
        else ["evaluate", "--video", "alley_2", "--stylized", stylized]
    )
    line = fails(*words, *where)
    assert message in line
    assert file in line


def test_one_frame_is_not_enough(fails, frames):
    for name in ("02.png", "03.png"):
        (frames / name).unlink()
    assert "at least two frames are needed to compare them, found 1" in fails(*QUICK, "--videos", frames)
    assert "at least two frames are needed" in fails("evaluate", "--stylized", frames, "--video", frames)


def test_stylised_folders_that_do_not_fit(fails, frames, tmp_path):
    def evaluate(folder: Path) -> str:
        return fails("evaluate", "--stylized", folder, "--video", frames, "--json")

    few, other, empty = (tmp_path / name for name in ("few", "other", "empty"))
    shutil.copytree(frames, few)
    (few / "02.png").unlink()
    assert evaluate(few) == (
        f"reconet-bench: frames: 02.png is missing from the stylised frames in {few} (3 content frames, 2 stylised): "
        "stylise the whole clip again"
    )
    shutil.copytree(frames, other)
    write_image(other / "02.png", picture(0, (0, 0), (40, 64)))
    assert evaluate(other) == "reconet-bench: frames: stylised frame 02 is 64x40, the content 56x40: resize one of them"
    empty.mkdir()
    assert evaluate(empty).startswith(f"reconet-bench: no frames in {empty}")
    assert evaluate(tmp_path / "missing") == f"reconet-bench: no such folder of frames: {tmp_path / 'missing'}"
    assert evaluate(frames / "01.png").startswith("reconet-bench: no such folder of frames")
    truncate(few / "01.png")
    assert "truncated PNG" in evaluate(few)


def test_tiny_frames_have_reasons_and_no_traceback(run, tmp_path):
    for number in range(2):
        write_image(tmp_path / "tiny" / f"{number}.png", np.full((4, 5, 3), 40 * number, np.uint8))
    printed = run("evaluate", "--stylized", tmp_path / "tiny", "--video", tmp_path / "tiny", "--json", "--flow", "none")
    assert json.loads(printed).keys() & DESIGN == set()


# --- what goes wrong: models ----------------------------------------------------------------------------


def onnx_file(path: Path, shape: list[object], operator: str = "Sigmoid", output: list[object] | None = None) -> Path:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", output or shape))
    ]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.onnx", "this is no model", "text.onnx: not an ONNX model"),
        ("text.safetensors", "this is no model", "text.safetensors: not a readable safetensors file"),
        ("empty.onnx", "", "empty.onnx: not an ONNX model"),
        ("empty.safetensors", "", "empty.safetensors: not a readable safetensors file"),
        ("words.onnx", ["n", 128], "words.onnx: not image to image"),
        ("grey.onnx", [1, 1, "h", "w"], "grey.onnx"),
    ],
)
def test_files_that_are_no_style_transfer_models(fails, tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        onnx_file(path, content)
    assert message in fails("compare", "--models", path, *QUICK[3:], "--videos", "stroll", *SMALL, "-o", "run")


def test_a_truncated_checkpoint(fails, model, tmp_path):
    short = tmp_path / "short.safetensors"
    short.write_bytes(model.read_bytes()[:5000])
    assert "short.safetensors: not a readable safetensors file" in fails(
        "compare", "--models", short, *QUICK[3:], "--videos", "stroll", *SMALL
    )
    assert "short.safetensors" in fails("export", short, "-o", "out.onnx")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_that_are_no_loss_network(fails, tmp_path, suffix):
    (tmp_path / f"weights.{suffix}").write_text("these are no weights")
    assert f"weights.{suffix}" in fails(*QUICK, "--videos", "stroll", *SMALL, "--vgg", f"weights.{suffix}")


@pytest.mark.parametrize("size", ["0", "-5", "4"])
def test_a_painting_has_a_size(fails, frames, tmp_path, stand_in_weights, size):
    write_image(tmp_path / "painting.png", picture(5, (3, 2), (64, 80)))
    words = [
        "evaluate",
        "--stylized",
        frames,
        "--video",
        frames,
        "--style",
        tmp_path / "painting.png",
        "--vgg",
        stand_in_weights,
    ]
    assert "style" in fails(*words, "--style-size", size)


# --- what goes wrong: the machine -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [*QUICK, "--videos", "stroll", *SMALL],
        [*QUICK, "--videos", "stroll", *SMALL, "--save-frames"],
        ["render", "stroll", *SMALL],
    ],
)
@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
def test_output_that_cannot_be_written_is_one_line(fails, tmp_path, words, place):
    (tmp_path / "taken").write_text("a file")
    assert "taken" in fails(*words, "-o", tmp_path / place)


def test_output_is_refused_before_the_work_is_done_and_not_after(fails, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(compare_module, "compare", lambda *_: pytest.fail("hours of work would be lost"))
    assert "taken" in fails(*QUICK, "--videos", "stroll", *SMALL, "-o", tmp_path / "taken")


@pytest.mark.parametrize(
    ("said", "line"),
    [("", "stopped"), ("stopped at step 7: go on with --resume", "stopped at step 7: go on with --resume")],
)
def test_an_interrupted_command_says_so_in_one_line(fails, monkeypatch, said, line):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt(said) if said else KeyboardInterrupt

    monkeypatch.setattr(QualityPass, "measure", stop)
    monkeypatch.setattr(list_command, "inventory", stop)
    assert fails("list") == f"reconet-bench: {line}"
    assert fails(*QUICK, "--videos", "stroll", *SMALL) == f"reconet-bench: {line}"


def test_a_bug_is_not_dressed_up_as_a_users_mistake(monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(list_command, "inventory", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["list"])


# --- as a process ---------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_real_process_fails_with_one_line(tmp_path):
    done = in_a_process(*QUICK, "--videos", "alley_2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("reconet-bench: 'alley_2' is not a built-in clip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_real_process_prints_json_and_nothing_else(frames, tmp_path):
    done = in_a_process("evaluate", "--stylized", frames, "--video", frames, "--json", cwd=tmp_path)
    assert done.returncode == 0
    unmeasured = {"temporal_error_long", "style_distance"}  # three frames, no painting
    assert json.loads(done.stdout).keys() & DESIGN == DESIGN.keys() - unmeasured
    assert "Warning" not in done.stderr
    said, *reasons = done.stderr.splitlines()
    assert "estimated" in said, "flow that is no true flow says so"
    assert {reason.partition(" not measured: ")[0] for reason in reasons} == unmeasured


# --- what goes wrong: memory ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            [*QUICK, "--videos", "stroll", "--size", "1000000", "--frames", "2"],
            "not enough memory to render stroll at 1000000x1000000: use a smaller --size",
        ),
        (["roofline", "--size", "1000000", "--runtimes", "torch"], "not enough memory"),
        (
            ["export", "reconet-starry_night", "-o", "large.onnx", "--size", "1000000"],
            "not enough memory for this: take smaller frames",
        ),
    ],
)
def test_a_size_that_no_memory_holds_is_one_line(fails, tmp_path, words, says):
    assert says in fails(*words)
    assert not list(tmp_path.glob("*.onnx"))


def test_an_error_of_ours_loses_nothing_that_was_measured(tmp_path, breaks_on_rush):
    breaks_on_rush(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([*QUICK, "--videos", "stroll", "rush", *SMALL, "-o", str(tmp_path / "run")])
    assert {record.video for record in load_run(tmp_path / "run").records} == {"stroll"}


@pytest.fixture
def breaks_on_rush(monkeypatch):
    """Makes ``compare`` do something else where it comes to the clip ``rush``."""
    whole = QualityPass.measure

    def set_up(breaks: Callable[[], object]) -> None:
        def quality(self, opened, clip, style):
            if clip.name == "rush":
                breaks()
            whole(self, opened, clip, style)

        monkeypatch.setattr(QualityPass, "measure", quality)

    return set_up


def test_what_was_measured_before_memory_ran_out_is_kept(capsys, tmp_path, breaks_on_rush):
    breaks_on_rush(lambda: np.empty((10**7, 10**7)))  # what a library does that wants more than there is
    with pytest.raises(SystemExit, match="2"):
        cli.main([*QUICK, "--videos", "stroll", "rush", *SMALL, "-o", str(tmp_path / "run")])
    line = capsys.readouterr().err
    assert "not enough memory for this comparison: give a smaller --size or fewer --frames" in line
    assert f"the results so far are in {tmp_path / 'run'}" in line
    assert {record.video for record in load_run(tmp_path / "run").records} == {"stroll"}


def test_numbers_are_shown_as_they_come(capsys, tmp_path, model, monkeypatch):
    """A line for each model and video on standard error, before the next one is begun."""
    seen: list[str] = []
    whole = QualityPass.measure

    def quality(self, opened, clip, style):
        seen.append(f"{opened.name} on {clip.title}")
        said = [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()]
        assert not seen[:-2] or said == seen[-3:-2], "the one before is shown when the next one has begun"
        whole(self, opened, clip, style)

    monkeypatch.setattr(QualityPass, "measure", quality)
    words = ["compare", "--models", str(model), *QUICK[3:], "--videos", "stroll", "rush", *SMALL, "--no-pictures"]
    cli.main([*words, "-o", str(tmp_path / "run")])
    line = capsys.readouterr().err.splitlines()[-1]
    known = {
        r.metric: r.value for r in load_run(tmp_path / "run").records if (r.model, r.video) == ("identity", "rush")
    }
    assert line == f"identity on rush: E(V) {significant(known['temporal_error'])}, content SSIM 1"


def test_on_a_terminal_they_are_a_table(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(compare_progress, "err", console)
    records = quality()
    with compare_progress.CompareProgress(6, 2) as progress:
        progress.step("reconet-wave on alley_2 in torch", [])
        progress.step("reconet-wave on stroll in torch", records[:2])
        progress.show(records)
    screen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "reconet-wave on stroll in torch" in screen
    table = screen[screen.rindex("So far") :]
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in table.splitlines() if " of 2" in line]
    assert rows[0][:4] == ["reconet", "2 of 2", significant(0.055), significant(0.03)]
    assert [row[0] for row in rows] == ["reconet", "johnson", "identity"]


@pytest.mark.process
def test_a_killed_comparison_leaves_what_it_had_measured(run, tmp_path):
    """As kill -9 or a lost machine ends it: half a minute of work is not lost, and the next run may have the folder."""
    target = tmp_path / "run"
    words = [*QUICK, "--videos", "stroll", "lantern", "carousel", "rush", "--frames", "9", "--size", "256", "-o", "run"]
    process = subprocess.Popen([sys.executable, "-m", "reconet_bench.cli", *words], cwd=tmp_path)
    try:
        while process.poll() is None and "stroll" not in read(target):
            time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert "report.html" in run("report", target)
    page = (target / "report.html").read_text(encoding="utf-8")
    assert "stroll" in page
    assert "the run was stopped before it was complete" in page
    killed = load_run(target)
    assert {key.video for key in killed.samples} >= {"stroll"}
    run(*QUICK, "--videos", "stroll", *SMALL, "-o", target)
    assert load_run(target).clips == ["stroll"]


def read(target: Path) -> str:
    return (target / "records.jsonl").read_text(encoding="utf-8") if (target / "records.jsonl").exists() else ""
