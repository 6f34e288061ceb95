"""``reproduce`` from end to end, with tiny trainings: what it writes, resumes, refuses, and how it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import picture

from reconet_bench import cli
from reconet_bench.commands import reproduce_start
from reconet_bench.commands.reproduce_start import SETTINGS_FILE, check
from reconet_bench.core import provenance
from reconet_bench.core.errors import TrainingError
from reconet_bench.core.images import write_image
from reconet_bench.core.size import Size
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.data import selection
from reconet_bench.report import loss_plot
from reconet_bench.report.reproduction import FILES
from reconet_bench.training import fleet, studies
from reconet_bench.training.reproduction import Costs

ITEMS = ("Table 5.1", "Fig. 5.1", "Fig. 5.2", "Fig. 6.1", "Fig. 6.2", "Fig. 6.3", "Table 6.1", "Table 6.2")
ITEMS += ("Fig. 6.4", "Fig. 6.5", "Fig. 6.6")


class Here:
    """Runs trainings in this process, which has imported PyTorch already."""

    begun: ClassVar[list[str]] = []

    def __init__(self, places):
        pass

    def run(self, command, log):
        self.begun.append(Path(command[command.index("-o") + 1]).name)
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                cli.main([*command[command.index("train") :], "network=small", "precision=fp32", "style_size=64"])
            except SystemExit as end:
                return int(end.code)
        return 0

    def signal(self, number):
        raise AssertionError("no signal came")


@pytest.fixture(scope="module")
def style(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("style") / "wave.png"
    write_image(path, picture(0, (0.0, 0.0), (64, 64)))
    return path


def given(style: Path, weights: Path, *more: object) -> list[str]:
    """Words of the command; one training at a time, because what they print is redirected for the whole process."""
    return ["reproduce", "--style", str(style), "--vgg", str(weights), "--jobs", "1", *map(str, more)]


@pytest.fixture
def words(style, stand_in_weights, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return given(style, stand_in_weights, "--size", "32", "-o", "out")


def small(patch: pytest.MonkeyPatch) -> None:
    """One built-in clip, few small frames, trainings in this process, and no plots beside the page, no repository."""
    patch.setattr(provenance, "commit", dict)
    patch.setattr(fleet, "Processes", Here)
    patch.setattr(Here, "begun", [])
    for module in (loss_plot, studies):
        patch.setattr(module, "plot_losses", lambda path, *rest: path)
    patch.setattr(selection, "DEFAULT_VIDEOS", ("carousel",))
    patch.setattr(reproduce_start, "_CLIP_SIZE", "64x48")
    patch.setattr(reproduce_start, "_CLIP_FRAMES", 7)


@pytest.fixture
def here(monkeypatch) -> type[Here]:
    small(monkeypatch)
    return Here


@pytest.fixture(scope="module")
def finished(style, stand_in_weights, tmp_path_factory) -> Path:
    """A reproduction that has come to its end; with the file ``begun``, what was trained for it."""
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        cli.main(given(style, stand_in_weights, "--size", "32", "--steps", "2", "-o", folder))
        folder.with_name("begun").write_text("\n".join(Here.begun))
    return folder


@pytest.fixture
def out(finished, tmp_path) -> Path:
    """A copy of it in the working folder."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "reproduction.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def refused(words: list[str], capsys) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_each_training_is_done_once_however_many_studies_share_it(finished):
    begun = finished.with_name("begun").read_text().splitlines()
    assert len(begun) == len(set(begun)) == 11
    assert {"epochs-run", "optimizers-adam", "johnson", "dougherty"} < set(begun)
    # The proposed method, Adamax, and the weights that were chosen are one training.
    assert "optimizers-adamax" not in begun
    assert "weights-st100-lt10-style100000" not in begun
    assert (finished / "studies" / "optimizers" / "summary.csv").read_text().count("\n") == 3
    assert (finished / "studies" / "weights" / "summary.csv").read_text().count("\n") == 9
    assert (finished / "studies" / "epochs" / "epochs.png").is_file()


def test_the_page_has_every_table_and_figure_and_needs_no_other_file(finished):
    assert all((finished / name).is_file() for name in FILES)
    page = (finished / "reproduction.html").read_text()
    for item in ITEMS:
        assert f"<h2>{item}: " in page
        assert f"## {item}: " in (finished / "reproduction.md").read_text()
    parts = dict(zip(ITEMS, re.split('<section id="(?:table|fig)-', page)[1:], strict=True))
    for item in ("Fig. 5.2", "Fig. 6.1", "Fig. 6.2", "Fig. 6.3", "Fig. 6.4"):
        assert "<path class=" in parts[item], item
    for item in ("Fig. 5.1", "Fig. 6.5", "Fig. 6.6"):
        assert "data:image/webp;base64," in parts[item], item
    assert "11 of 11 tables and figures" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "far from trained" in page


def test_published_numbers_stand_beside_ours_and_none_is_invented(finished):
    found = rows(finished)
    published = {(row["item"], row["what"], row["of"]): row for row in found if row["published"]}
    assert len(published) == 32 + 6 + 4
    chosen = published["Table 5.1", "style", "st100-lt10-style100000"]
    assert float(chosen["published"]) == 0.0001065
    assert float(chosen["difference"]) == pytest.approx(float(chosen["measured"]) - 0.0001065)
    assert float(published["Table 6.1", "Woodpecker–vangogh", "proposed"]["published"]) == 0.88
    assert published["Table 6.2", "alley_2", "proposed"]["measured"] == ""
    assert published["Table 6.2", "alley_2", "proposed"]["note"] == "needs MPI-Sintel"
    assert published["Table 6.2", "market_6", "Chen et al. 2017"]["note"] == "not implemented here"
    ours = {(row["item"], row["what"], row["of"]): row for row in found if row["what"] == "carousel"}
    assert len(ours) == 6
    assert not any(row["published"] or row["difference"] for row in ours.values())
    assert "| carousel | proposed | not known | " in (finished / "reproduction.md").read_text()
    # Beside a clip that nobody else has stands the mean over ours, which here is the only one.
    mean = published["Table 6.1", "Scenery–wave", "Johnson"]["measured"]
    assert mean == ours["Table 6.1", "carousel", "Johnson"]["measured"]


def test_what_is_finished_is_not_done_again(words, here, out, capsys):
    """Also with a time that would be too short for all: the steps are known."""
    results = [*out.glob("measured/carousel/*.*"), *out.glob("trained/*/*.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in results}
    cli.main([*words, "--minutes", "0.1"])
    assert here.begun == []
    said = capsys.readouterr().err
    assert "11 of 11 trainings are done already" in said
    assert "carousel: already measured (1 of 1)" in said
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_measurement_that_was_cut_short_is_done_again_alone(words, here, out, capsys):
    facts = out / "measured" / "carousel" / "provenance.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "interrupted": True}))
    shutil.rmtree(out / "trained" / "dougherty")
    cli.main(words)
    assert here.begun == ["dougherty"]
    assert "measuring carousel (1 of 1)" in capsys.readouterr().err
    assert json.loads(facts.read_text())["interrupted"] is False


def test_a_folder_goes_on_with_its_own_reproduction_alone(words, here, out, style, tmp_path, capsys):
    write_image(tmp_path / "dots.png", picture(3, (9.0, 4.0), (64, 64)))
    for more, message in (
        (["--steps", "3"], "out holds a reproduction with steps 2, now 3: choose another --output"),
        (["--size", "48"], "out holds a reproduction with size 32, now 48: choose another --output"),
        (["--style", "dots.png"], "out holds a reproduction with style "),
    ):
        assert message in refused([*words, *more], capsys)
    (out / SETTINGS_FILE).write_text("{")
    assert "is not the file of a reproduction" in refused(words, capsys)
    assert here.begun == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--style", "none.png"], "cannot read image none.png"),
        (["--vgg", "none.safetensors"], "no such file: none.safetensors"),
        (["--sintel", "none"], "MPI-Sintel not found (looked for 'training' in none)"),
        (["--sintel", "hollow"], "no clip is long enough to train on"),
        (["--size", "16"], "argument --size: '16': give a whole number, at least 32"),
        (["--steps", "0"], "argument --steps: '0': give a whole number, at least 1"),
        (["--minutes", "0"], "argument --minutes: '0': give a number above 0"),
        (["--jobs", "0"], "argument --jobs: '0'"),
        (["-o", "theirs"], "output folder theirs is not empty and is not a previous reproduction"),
        (["-o", "file.txt"], "is not a writable folder"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(words, here, tmp_path, capsys, more, message):
    for name in ("theirs/notes.txt", "file.txt", "hollow/training/clean/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    before = sorted(tmp_path.rglob("*"))
    assert message in refused([*words, *more], capsys)
    assert sorted(tmp_path.rglob("*")) == before
    assert here.begun == []


def test_the_painting_is_asked_for(capsys):
    assert "no style image: give the painting to learn from by --style FILE" in refused(["reproduce"], capsys)


def test_the_loss_network_is_asked_for(style, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONET_BENCH_VGG", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))
    assert "VGG" in refused(["reproduce", "--style", str(style)], capsys)
    assert list(tmp_path.iterdir()) == []


# --- time -----------------------------------------------------------------------------------------------


def test_minutes_choose_the_steps(words, here, monkeypatch, capsys):
    """10 trainings with three frames a step at 1 s, two with two at 0.5 s; 2 s to start each, 60 s to measure."""
    costs = Costs({"reconet": 1.0, "johnson": 0.5, "dougherty": 0.5}, 2.0, 60.0)
    monkeypatch.setattr(reproduce_start, "_costs", lambda checked: costs)

    def stop(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet, "run_fleet", stop)

    said = refused_last(words, capsys, "--minutes", "10")
    assert said == (
        "reconet-bench: reproduce: stopped: what is finished is kept in out; run the same command again to continue"
    )
    steps = json.loads((Path("out") / SETTINGS_FILE).read_text())["steps"]
    assert 0.8 * 540 < 9 * steps + 2 * 0.5 * steps + 11 * 2 <= 0.85 * 540


def refused_last(words: list[str], capsys, *more: str) -> str:
    with pytest.raises(SystemExit):
        cli.main([*words, *more])
    return str(capsys.readouterr().err.strip().splitlines()[-1])


def test_too_few_minutes_are_told_with_how_many_are_enough(words, here, monkeypatch, capsys):
    costs = Costs({"reconet": 1.0, "johnson": 1.0, "dougherty": 1.0}, 2.0, 60.0)
    monkeypatch.setattr(reproduce_start, "_costs", lambda checked: costs)
    line = refused_last(words, capsys, "--minutes", "1.5")
    (least,) = re.findall(r"too little time for 11 trainings .* give at least (\d+) minutes, or a smaller --size", line)
    assert here.begun == []
    assert not Path("out").exists()
    # That many are enough.
    monkeypatch.setattr(fleet, "run_fleet", lambda *given, **more: (_ for _ in ()).throw(TrainingError("begun")))
    assert refused_last(words, capsys, "--minutes", least) == "reconet-bench: begun"


# --- MPI-Sintel -----------------------------------------------------------------------------------------


@pytest.fixture
def asked(style, stand_in_weights, tiny_sintel) -> argparse.Namespace:
    return cli.parse(given(style, stand_in_weights, "--sintel", tiny_sintel))


def test_sintel_is_trained_and_measured_on_as_in_the_dissertation(asked):
    checked = check(asked)
    assert checked.size == 512
    assert checked.data.describe()["sequences"] == ["alley_2"]  # bandage_1 is left out, the others are too short
    assert reproduce_start._usual_steps(checked) == 60 * 2  # three samples are two batches
    recipe = checked.plan(120).models[0].recipe
    assert (recipe["data"], recipe["split"], recipe["fit"], recipe["batch"]) == ("sintel", "dissertation", "squash", 2)
    whole, built_in = checked.videos
    assert (whole.clip.name, len(whole.clip), whole.clip.size) == ("alley_2", 8, Size(40, 56))
    assert built_in.clip.name == "carousel"


def test_smaller_crops_mean_smaller_frames_of_sintel(asked):
    asked.size = 256
    whole, _ = check(asked).videos
    assert whole.clip.size == Size(20, 28)
    assert whole.words[-2:] == ("--size", "28x20")


def test_a_copy_of_sintel_without_its_sequences_or_with_a_damaged_one_is_refused(words, tiny_sintel, tmp_path, capsys):
    copy = Path(shutil.copytree(tiny_sintel, tmp_path / "copy"))
    (copy / "training" / "occlusions" / "alley_2" / "frame_0002.png").unlink()
    assert "missing mask" in refused([*words, "--sintel", str(copy)], capsys)
    for kind in ("clean", "flow", "occlusions", "invalid"):
        (copy / "training" / kind / "alley_2").rename(copy / "training" / kind / "alley_7")
    (copy / "training" / "occlusions" / "alley_7" / "frame_0002.png").write_bytes(
        (copy / "training" / "occlusions" / "alley_7" / "frame_0001.png").read_bytes()
    )
    assert "has neither alley_2 nor market_6 with flow" in refused([*words, "--sintel", str(copy)], capsys)


@pytest.mark.slow
def test_sintel_from_end_to_end(words, here, tiny_sintel):
    cli.main([*words, "--steps", "2", "--sintel", str(tiny_sintel)])
    found = {(row["item"], row["what"], row["of"]): row for row in rows(Path("out"))}
    ours = found["Table 6.2", "alley_2", "proposed"]
    assert float(ours["measured"]) > 0
    assert ours["published"] == "0.0821"
    assert found["Table 6.2", "market_6", "proposed"]["note"] == "no market_6 in this copy"
    assert found["Table 6.2", "alley_2", "Johnson"]["published"] == ""
    assert (Path("out") / "measured" / "carousel").is_dir()


# --- stopped in the middle ------------------------------------------------------------------------------


def started(words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reconet_bench.cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(there: Path, process: subprocess.Popen[str], seconds: float = 300) -> None:
    ends = time.monotonic() + seconds
    while not there.exists() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.1)
    assert there.exists(), process.communicate()[1] if process.poll() is not None else "it takes too long"


@pytest.mark.process
def test_a_reproduction_that_is_killed_goes_on(words):
    """SIGKILL to it alone: its training goes on by itself, and is waited for. Then Ctrl-C in a later training."""
    words = [*words, "--steps", "40"]
    trained = Path("out") / "trained"
    with started(words) as first:
        until(trained / "weights-st10-lt10-style10000" / "state.safetensors", first)
        first.kill()
        first.communicate()
    proposed = trained / "epochs-run" / "reconet-wave.safetensors"
    before = proposed.stat().st_mtime_ns
    with started(words) as again:
        until(trained / "weights-st10-lt100-style10000" / "state.safetensors", again)
        again.send_signal(signal.SIGINT)
        _, said = again.communicate(timeout=120)
    assert again.returncode == 2
    assert said.splitlines()[-1] == (
        "reconet-bench: reproduce: stopped: what is finished is kept in out; run the same command again to continue"
    )
    assert proposed.stat().st_mtime_ns == before, "what was finished is not trained again"
    for name in ("epochs-run", "weights-st10-lt10-style10000"):
        assert list((trained / name).glob("reconet-wave.safetensors"))
        steps = [int(row.split(",")[0]) for row in (trained / name / "curves.csv").read_text().splitlines()[1:]]
        assert steps == [*range(2, 41, 2)], "each step once"
    stopped = trained / "weights-st10-lt100-style10000"
    assert 0 < int(read_tensors(stopped / "state.safetensors")[1]["step"]) <= 40
    assert not (Path("out") / "reproduction.html").exists()
