"""Frames that another tool rendered, as rows of a comparison."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reconet_bench import cli
from reconet_bench.benchmark import compare as compare_module
from reconet_bench.benchmark.evaluate import evaluate
from reconet_bench.core.errors import DataError
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.record import RENDERED
from reconet_bench.data.clip import Clip
from reconet_bench.data.footage import read_stylized
from reconet_bench.data.rendered import find_result, find_results
from reconet_bench.data.selection import Selection
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.style import painting_style
from reconet_bench.models.checkpoint import find_checkpoint, load_checkpoint
from reconet_bench.report.ranking import overall
from reconet_bench.report.run import load_run
from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file

SIZE, LENGTH = (64, 96), 7
CLIPS = ("stroll", "carousel")


def content(name: str) -> list[np.ndarray]:
    clip = synthetic_clip(name, SIZE, LENGTH)
    return [to_uint8(clip.frame(index))[0] for index in range(LENGTH)]


def save(folder: Path, frames: list[np.ndarray], first: int = 1) -> Path:
    for number, frame in enumerate(frames, first):
        write_image(folder / f"frame_{number:04d}.png", frame)
    return folder


def clips() -> list[Clip]:
    return [synthetic_clip(name, SIZE, LENGTH) for name in CLIPS]


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Two methods: ``negative`` of both clips, ``dark`` of one, whose folder has the other usual name."""
    for name in CLIPS:
        save(tmp_path / "all" / "negative" / name, [255 - frame for frame in content(name)])
    save(tmp_path / "all" / "dark" / "starry_night_stylized_Stroll", [frame // 2 for frame in content("stroll")])
    return tmp_path / "all"


def compare(tmp_path: Path, *words: str) -> list[dict]:
    """The records of a comparison."""
    size = ["--size", f"{SIZE[1]}x{SIZE[0]}", "--frames", str(LENGTH), "--videos", *CLIPS]
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    cli.main(["compare", *size, *words, "--rounds", "0", "--runtimes", "torch", "-o", str(run)])
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


def values(records: list[dict], model: str, video: str) -> dict[str, float]:
    found = [record for record in records if (record["model"], record["video"]) == (model, video)]
    return {record["metric"]: record["value"] for record in found if record["value"] is not None}


def test_the_numbers_are_those_of_evaluate(tmp_path: Path, renders: Path) -> None:
    records = compare(tmp_path, "--results", f"mine={renders / 'negative'}", "--no-pictures")
    selection = Selection(size=clips()[0].size, frames=LENGTH)
    for name in CLIPS:
        expected = evaluate(name, read_stylized(renders / "negative" / name), selection).estimates
        got = values(records, "mine", name)
        assert got.keys() == expected.keys()
        assert all(abs(got[metric] - expected[metric].value) < 1e-9 for metric in got)
    own = [record for record in records if record["model"] == "mine"]
    assert {record["runtime"] for record in own} == {RENDERED}
    assert not [record for record in own if record["metric"].startswith(("fps", "latency", "parity"))]


def test_results_stand_beside_models_in_table_differences_page_and_player(
    tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--results-root", str(renders), "--models", "reconet-lite-starry_night"]
    records = compare(tmp_path, *words)
    assert {record["model"] for record in records} == {"negative", "dark", "reconet-lite-starry_night", "identity"}
    shown = capsys.readouterr()
    assert "dark: no result of carousel" in shown.err
    assert values(records, "dark", "stroll")
    assert not values(records, "dark", "carousel")
    differences = (tmp_path / "run" / "differences.csv").read_text()
    assert "reconet-lite-starry_night,negative" in differences
    rows = {row.model: row for row in overall(load_run(tmp_path / "run").records)}
    assert "temporal_error" not in rows["dark"].cells, "a mean over fewer clips is not one to compare"
    assert all(rows[name].cells["temporal_error"].videos == 2 for name in ("negative", "identity"))
    pictures = tmp_path / "run" / "pictures"
    assert len(list((pictures / "stylised" / "negative" / "stroll").glob("*.webp"))) == LENGTH
    assert "negative" in (tmp_path / "run" / "report.html").read_text()


def test_alone_they_have_the_content_beside_them_and_json_is_all_there_is(
    tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = compare(tmp_path, "--results-root", str(renders), "--no-pictures", "--json")
    assert json.loads(capsys.readouterr().out) == [{**record, "doubts": record["doubts"]} for record in records]
    assert {record["model"] for record in records} == {"negative", "dark", "identity"}


def test_a_video_is_read_as_well_and_belongs_to_the_clip_of_its_name(tmp_path: Path, renders: Path) -> None:
    (tmp_path / "v").mkdir()
    footage = FootageInput(renders / "negative" / "stroll")
    stylize_file(lambda frame: frame, footage, FootageOutput(tmp_path / "v" / "stroll.mp4"))
    records = compare(
        tmp_path, "--results", f"v={tmp_path / 'v' / 'stroll.mp4'}", f"w={tmp_path / 'v'}", "--no-pictures"
    )
    assert values(records, "v", "stroll") == values(records, "w", "stroll")
    assert values(records, "v", "stroll")["temporal_error"] > 0


def test_frames_that_lag_are_named_and_the_offset_mends_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [255 - frame for frame in content("carousel")]
    late = save(tmp_path / "late" / "carousel", [frames[0], *frames[:-1]])
    early = save(tmp_path / "early" / "carousel", [*frames[1:], frames[-1]])
    save(tmp_path / "right" / "carousel", frames)
    words = [f"{name}={tmp_path / name}" for name in ("late", "early", "right")]
    records = compare(tmp_path, "--results", *words, "--no-pictures")
    said = capsys.readouterr().err
    place = "seem to be 1 frame {} the content, so their numbers are wrong: give --offset {}"
    assert f"carousel: the frames of late {place.format('behind', 'late=1')}" in said
    assert f"carousel: the frames of early {place.format('ahead of', 'early=-1')}" in said
    assert "right seem" not in said
    doubts = {record["model"]: record["doubts"] for record in records if record["video"] == "carousel"}
    assert "lag" in doubts["late"]
    remark = "so the numbers are wrong; give --offset late=1"
    assert remark in (tmp_path / "run" / "report.html").read_text()
    assert "lag" not in doubts["right"]
    mended = compare(tmp_path, "--results", *words, "--offset", "late=1", "early=-1", "--no-pictures")
    assert "seem to be" not in capsys.readouterr().err
    samples = (tmp_path / "run" / "frames.csv").read_text().splitlines()
    right, behind, ahead = (
        {tuple(line.split(",")[4:]) for line in samples if line.startswith(f"{name},carousel,rendered,temporal_error,")}
        for name in ("right", "late", "early")
    )
    assert behind < right, "frames without a partner are left out, all others are those of the clip"
    assert ahead < right
    assert len(behind) == len(ahead) == len(right) - 1
    assert values(mended, "late", "carousel")
    assert late.is_dir()
    assert early.is_dir()


def test_another_size_is_refused_or_resized_and_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "small" / "stroll", [frame[::2, ::2] for frame in content("stroll")])
    with pytest.raises(SystemExit):
        compare(tmp_path, "--results", f"small={tmp_path / 'small'}", "--no-pictures")
    said = capsys.readouterr().err
    assert "frames are 48x32, and stroll is 96x64: give --resize-results to resize them, or --size 48x32" in said
    assert not (tmp_path / "run" / "records.jsonl").exists()
    records = compare(tmp_path, "--results", f"small={tmp_path / 'small'}", "--resize-results", "--no-pictures")
    assert {doubt for record in records if record["model"] == "small" for doubt in record["doubts"]} == {
        "resized result"
    }


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "frame_0004.png").unlink(), "frame_0004.png is missing"),
        (
            lambda folder: (folder / "frame_0007.png").unlink(),
            "has 6 frames, and stroll has 7|frame_0007.png is missing",
        ),
        (lambda folder: write_image(folder / "frame_0003.png", np.zeros((8, 8, 3), np.uint8)), "frame"),
        (lambda folder: (folder / "frame_0002.png").write_bytes(b"\x89PNG\r\n\x1a\n"), "frame_0002.png: truncated PNG"),
    ],
)
def test_what_is_broken_costs_its_own_rows_and_is_named(
    tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str], damage: object, said: str
) -> None:
    damage(renders / "negative" / "stroll")  # type: ignore[operator]
    records = compare(tmp_path, "--results", f"mine={renders / 'negative'}", "--no-pictures")
    assert re.search(said, capsys.readouterr().err)
    assert not values(records, "mine", "stroll")
    assert values(records, "mine", "carousel")


def test_a_mask_beside_the_frames_is_no_frame(tmp_path: Path, renders: Path) -> None:
    before = compare(tmp_path, "--results", f"mine={renders / 'negative'}", "--no-pictures")
    write_image(renders / "negative" / "stroll" / "mask.png", np.zeros((*SIZE, 3), np.uint8))
    after = compare(tmp_path, "--results", f"mine={renders / 'negative'}", "--no-pictures")
    assert values(before, "mine", "stroll") == values(after, "mine", "stroll")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--results", "negative"], "give NAME=PATH"),
        (["--results", "a/b={renders}/negative"], "leave out its slashes"),
        (["--results", "a={renders}/gone"], "results of a: not found"),
        (["--results", "a={renders}/negative/stroll", "b={renders}/dark"], None),
        (["--results", "a={renders}"], "has none of stroll, carousel"),
        (["--results", "a={renders}/negative", "a={renders}/dark"], "two models are called 'a'"),
        (["--results-root", "{renders}/gone"], "no such folder"),
        (["--results-root", "{renders}/negative/stroll"], "no folders in it: the layout is METHOD/VIDEO"),
        (["--results", "a={renders}/negative", "--offset", "b=1"], "unknown rendered result 'b'"),
        (["--results", "a={renders}/negative", "--offset", "x"], "give a whole number, or NAME=N"),
        (["--results", "a={renders}/negative", "--offset", "6"], "leaves fewer than two of 7 frames"),
        (["--offset", "1"], "are for rendered results"),
        (["--resize-results"], "are for rendered results"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str | None
) -> None:
    filled = [word.format(renders=renders) for word in words]
    if said is None:  # a single folder is found by its name
        assert values(compare(tmp_path, *filled, "--no-pictures"), "a", "stroll")
        return
    with pytest.raises(SystemExit) as end:
        compare(tmp_path, *filled, "--no-pictures")
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_one_clip_for_two_videos_is_known_by_what_it_shows(
    tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = load_checkpoint(find_checkpoint("reconet-lite-wave")).network.eval()
    with torch.inference_mode():
        painted = [to_uint8(network(from_uint8(frame)))[0] for frame in content("carousel")]
    ours, dark = save(tmp_path / "a", painted), shutil.copytree(renders / "negative" / "stroll", tmp_path / "x")
    records = compare(tmp_path, "--results", f"ours={ours}", f"dark={dark}", "--no-pictures")
    said = capsys.readouterr().err
    assert f"ours: {ours} is taken for carousel, which its frames show" in said
    assert f"dark: {dark} is taken for stroll, which its frames show" in said
    assert values(records, "ours", "carousel")
    assert values(records, "dark", "stroll")
    assert not values(records, "ours", "stroll")


def test_one_clip_that_shows_none_of_the_videos_must_be_named(tmp_path: Path, renders: Path) -> None:
    draws = np.random.default_rng(3)
    noise = save(tmp_path / "noise", [draws.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(LENGTH)])
    with pytest.raises(DataError, match="its frames fit none of stroll, carousel clearly: name it after its clip"):
        find_result("mine", noise, clips())
    both = [frame // 2 + other // 2 for frame, other in zip(content("stroll"), content("carousel"), strict=True)]
    with pytest.raises(DataError, match="fit none of stroll, carousel clearly"):
        find_result("mine", save(tmp_path / "both", both), clips())
    assert find_result("mine", noise, clips()[:1]).places == {"stroll": noise}


def test_two_results_of_one_clip_are_refused(renders: Path) -> None:
    shutil.copytree(renders / "negative" / "stroll", renders / "negative" / "wave_stylised_STROLL")
    with pytest.raises(DataError, match="two are called stroll"):
        find_result("mine", renders / "negative", clips())
    assert [result.name for result in find_results(renders, clips())] == ["dark"]


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """The content as frames of one's own, numbered from 1; nothing says how many to measure."""
    return save(tmp_path / "content" / "walk", content("carousel"))


def walk(tmp_path: Path, footage: Path, *words: str) -> list[dict]:
    """The records of a comparison on that footage."""
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    cli.main(["compare", "--videos", str(footage), *words, "--rounds", "0", "--runtimes", "torch", "-o", str(run)])
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("count", "first", "said"),
    [
        (LENGTH + 1, 0, "has frame_0000.png without a content frame"),
        (LENGTH + 2, 1, "has frame_0008.png and frame_0009.png without a content frame"),
        (LENGTH - 1, 1, "frame_0007.png is missing"),
    ],
)
def test_a_frame_too_many_is_named_wherever_it_is(
    tmp_path: Path, footage: Path, capsys: pytest.CaptureFixture[str], count: int, first: int, said: str
) -> None:
    frames = [255 - frame for frame in content("carousel")]
    save(tmp_path / "r" / "walk", [*frames, *frames][:count], first)
    with pytest.raises(SystemExit):
        walk(tmp_path, footage, "--results", f"mine={tmp_path / 'r'}", "--no-pictures")
    printed = capsys.readouterr().err
    assert said in printed
    assert f"({LENGTH} content frames, {count} stylised)" in printed


def test_what_comes_after_the_frames_that_are_measured_does_not_matter(tmp_path: Path, footage: Path) -> None:
    frames = [255 - frame for frame in content("carousel")]
    save(tmp_path / "r" / "walk", [*frames, *frames])
    words = ["--results", f"mine={tmp_path / 'r'}", "--no-pictures", "--flow", "none"]
    records = walk(tmp_path, footage, *words, "--frames", "5")
    assert {record["n"] for record in records if record["metric"] == "content_similarity"} == {5}


def test_a_video_of_another_length_is_told_before_anything_is_measured(
    tmp_path: Path, footage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "walk.mp4"
    stylize_file(lambda frame: frame, FootageInput(footage), FootageOutput(video))
    (footage / "frame_0007.png").unlink()
    monkeypatch.setattr(compare_module, "compare", lambda *_: pytest.fail("the models come first"))
    with pytest.raises(SystemExit):
        walk(tmp_path, footage, "--results", f"mine={video}", "--no-pictures")
    said = capsys.readouterr().err
    assert "walk.mp4 has 7 frames, and walk has 6: render the whole clip, or give --frames 6" in said


def test_an_offset_and_a_style_give_what_evaluate_gives(tmp_path: Path, footage: Path, stand_in_weights: Path) -> None:
    frames = [255 - frame for frame in content("carousel")]
    late = save(tmp_path / "late", [frames[0], *frames[:-1]])
    painting = footage / "frame_0003.png"
    style = ["--style", str(painting), "--vgg", str(stand_in_weights)]
    words = ["--results", f"late={late}", "--offset", "1", *style]
    expected = evaluate(
        str(footage), read_stylized(late), style=painting_style(painting, 384, stand_in_weights), offset=1
    ).estimates
    records = walk(tmp_path, footage, *words)
    got = values(records, "late", "walk")
    assert got.keys() == expected.keys() >= {"style_distance", "temporal_error"}
    assert all(abs(got[metric] - expected[metric].value) < 1e-9 for metric in got)
    assert not [record for record in records if "lag" in record["doubts"]]
    stylised = tmp_path / "run" / "pictures" / "stylised" / "late" / "walk (DIS flow)"
    assert [path.stem for path in sorted(stylised.iterdir())] == [f"{n:04d}" for n in range(1, LENGTH)]


def test_tables_say_who_has_no_speed(tmp_path: Path, renders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(tmp_path, "--results-root", str(renders), "--no-pictures")
    sentence = "No speed of dark, negative: another tool rendered these frames."
    assert sentence in capsys.readouterr().out
    for name in ("report.html", "summary.md"):
        assert sentence in (tmp_path / "run" / name).read_text()
