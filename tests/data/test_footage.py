"""Frames in folders, and which clip a name means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip, scene
from conftest import DESIGN, SIZE, TINY_SEQUENCES, picture

from reconet_bench.benchmark.evaluate import evaluate
from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.images import image_files, write_image
from reconet_bench.core.ops import LUMINANCE_CAMERA, to_uint8
from reconet_bench.data import footage
from reconet_bench.data.clip import ClipView
from reconet_bench.data.flow.base import EstimatedClip
from reconet_bench.data.footage import FrameFolder, VideoClip, read_frames
from reconet_bench.data.selection import DEFAULT_VIDEOS, Selection
from reconet_bench.data.sintel import SintelClip
from reconet_bench.data.synthetic import CLIPS, DEFAULT_LENGTH, DEFAULT_SIZE
from reconet_bench.metrics.base import Footage
from reconet_bench.metrics.measure import Absent, measure_footage, measured_samples


@pytest.fixture
def folder(tmp_path):
    """Three frames with names of their own, and files that are none."""
    path = tmp_path / "holiday"
    for number, suffix in ((2, "png"), (10, "PNG"), (1, "png")):
        write_image(path / f"shot_{number:02d}.{suffix.lower()}", picture(number, (1, 0)))
        (path / f"shot_{number:02d}.{suffix.lower()}").rename(path / f"shot_{number:02d}.{suffix}")
    (path / "notes.txt").write_text("no frame")
    (path / "shot_03.flo").write_bytes(b"no frame")
    return path


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_frames_come_in_the_order_of_their_names(folder, monkeypatch):
    backwards = sorted(folder.iterdir(), reverse=True)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(backwards))
    assert [path.name for path in image_files(folder)] == ["shot_01.png", "shot_02.png", "shot_10.PNG"]
    for frame, number in zip(read_frames(folder), (1, 2, 10), strict=True):
        assert frame.dtype == torch.float32
        np.testing.assert_array_equal(to_uint8(frame)[0], picture(number, (1, 0)))


def test_numbers_in_names_count_by_value(tmp_path):
    for number in (10, 2, 1):
        write_image(tmp_path / f"frame_{number}.png", picture(number, (1, 0)))
    assert [path.name for path in image_files(tmp_path)] == ["frame_1.png", "frame_2.png", "frame_10.png"]
    assert [FrameFolder(tmp_path).label(index) for index in range(3)] == ["frame_1", "frame_2", "frame_10"]


def test_stylised_frames_of_a_folder_are_cut_and_kept_within_memory(tmp_path, monkeypatch):
    for number in range(5):
        write_image(tmp_path / f"{number}.png", picture(number, (1, 0)))
    assert len(footage.read_stylized(tmp_path)) == 5
    monkeypatch.setattr(footage, "MEMORY", 3 * 3 * SIZE[0] * SIZE[1])
    with pytest.raises(DataError, match="too long to measure as a whole: use --frames 3 or fewer"):
        footage.read_stylized(tmp_path)
    np.testing.assert_array_equal(to_uint8(footage.read_stylized(tmp_path, 3)[2])[0], picture(2, (1, 0)))


def test_a_folder_of_frames_is_a_clip_without_motion(folder):
    clip = FrameFolder(folder)
    assert (clip.name, clip.source, len(clip), clip.size) == ("holiday", "footage", 3, SIZE)
    assert clip.luminance == LUMINANCE_CAMERA
    assert [clip.label(index) for index in range(3)] == ["shot_01", "shot_02", "shot_10"]
    assert clip.frame(1).equal(read_frames(folder)[1])
    assert clip.starts() == clip.starts(5) == []
    with pytest.raises(DataError, match="holiday has no true flow"):
        clip.motion(0)


def test_on_plain_footage_only_what_needs_no_flow_is_measured(folder):
    for clip in (FrameFolder(folder), ClipView(FrameFolder(folder), size=(24, 32))):
        outcomes = measure_footage(Footage(clip, [clip.frame(index) for index in range(3)]))
        assert measured_samples(outcomes).keys() & DESIGN == {"ssim_adjacent", "content_similarity"}
        assert outcomes["temporal_error"] == Absent("holiday has no true flow (only frames were found)")
        assert outcomes["style_distance"].reason.startswith("no style is known")


def test_a_folder_that_is_not_one_of_frames(folder, tmp_path):
    with pytest.raises(DataError) as caught:
        FrameFolder(tmp_path / "nowhere")
    assert one_line(caught) == f"no such folder of frames: {tmp_path / 'nowhere'}"
    with pytest.raises(DataError) as caught:
        read_frames(folder / "notes.txt")
    assert one_line(caught).startswith("no such folder of frames")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        read_frames(tmp_path / "empty")
    assert one_line(caught).startswith(f"no frames in {tmp_path / 'empty'}: put .png, .jpg")


def test_one_frame_is_no_clip(folder):
    for name in ("shot_02.png", "shot_10.PNG"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"at least two frames are needed to compare them, found 1"):
        FrameFolder(folder)


def test_a_frame_of_another_size_is_named(folder):
    write_image(folder / "shot_02.png", picture(0, (0, 0), (30, 56)))
    clip = FrameFolder(folder)
    with pytest.raises(DataError, match=r"shot_02\.png: frame is 56x30, the first is 56x40"):
        clip.frame(1)


# --- which clip a name means ----------------------------------------------------------------------------


def test_without_names_the_built_in_clips_are_meant():
    clips = Selection().clips()
    assert [clip.name for clip in clips] == list(DEFAULT_VIDEOS)
    assert {(clip.source, clip.size, len(clip)) for clip in clips} == {("synthetic", DEFAULT_SIZE, DEFAULT_LENGTH)}


def test_a_built_in_clip_is_rendered_at_the_size_and_length_asked_for():
    clip = Selection(size=(24, 40), frames=3).clip("stroll")
    assert not isinstance(clip, ClipView)
    assert (clip.size, len(clip)) == ((24, 40), 3)
    assert clip.frame(0).shape == (1, 3, 24, 40)


def test_the_seed_is_that_of_the_noise():
    first, again, other = (Selection(size=(24, 40), frames=2, seed=seed).clip("stroll").frame(0) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


def test_other_names_are_sintel_sequences(tiny_sintel):
    selection = Selection(sintel=tiny_sintel, render_pass="final")
    clip = selection.clip("alley_2")
    assert isinstance(clip, SintelClip)
    assert (clip.source, len(clip), clip.size) == ("sintel-final", 8, SIZE)
    assert [clip.name for clip in selection.clips(["cave_2", "stroll", "cave_2"])] == ["cave_2", "stroll"]
    assert [clip.name for clip in Selection(data="sintel", sintel=tiny_sintel).clips()] == sorted(TINY_SEQUENCES)


def test_sintel_is_cut_and_resized_by_a_view(tiny_sintel):
    clip = Selection(sintel=tiny_sintel, size=(20, 28), frames=3).clip("alley_2")
    assert (clip.size, len(clip), clip.frame(2).shape) == ((20, 28), 3, (1, 3, 20, 28))
    assert clip.motion(0).flow[0, :, 5, 5].tolist() == [1.0, 0.5]
    assert len(Selection(sintel=tiny_sintel, frames=100).clip("alley_2")) == 8
    assert isinstance(Selection(sintel=tiny_sintel, size=SIZE, frames=8).clip("alley_2"), SintelClip)


def test_a_path_into_sintel_brings_its_flow_and_any_other_is_plain_footage(tiny_sintel, folder):
    clip = Selection().clip(str(tiny_sintel / "training" / "final" / "alley_2"))
    assert (clip.name, clip.source) == ("alley_2", "sintel-final")
    assert clip.starts() == list(range(7))
    assert isinstance(Selection(flow="none").clip(str(folder)), FrameFolder)
    estimated = Selection().clip(str(folder))
    assert isinstance(estimated, EstimatedClip)
    assert (estimated.title, estimated.source, estimated.remark) == (
        "holiday (DIS flow)",
        "footage",
        "estimated flow (dis)",
    )


def test_a_video_is_a_clip(tmp_path):
    path = make_clip(tmp_path / "my film.mp4")
    clip = Selection(flow="none").clip(str(path))
    assert (clip.name, clip.source, len(clip), clip.size) == ("my film", "footage", 8, SIZE)
    assert np.abs(to_uint8(clip.frame(3))[0].astype(int) - scene(3)).mean() < 3
    assert clip.starts() == []
    assert len(Selection(frames=3).clip(str(path))) == 3
    assert Selection(size=(20, 28)).clip(str(path)).motion(0).flow.shape == (1, 2, 20, 28)
    with pytest.raises(DataError, match="my film has no true flow"):
        clip.motion(0)
    with pytest.raises(DataError, match="at least two frames are needed to compare them, found 1"):
        VideoClip(make_clip(tmp_path / "one.mp4", [0]))


def test_a_video_that_memory_cannot_hold_is_told_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(footage, "MEMORY", 5 * 3 * SIZE[0] * SIZE[1])
    with pytest.raises(DataError, match="too long to measure as a whole: give --frames 5 or fewer"):
        VideoClip(make_clip(tmp_path / "long.mp4"))
    assert len(VideoClip(tmp_path / "long.mp4", 5)) == 5


@pytest.mark.parametrize(
    ("settings", "name", "error", "message"),
    [
        (
            {"data": "synthetic"},
            "strol",
            UnknownName,
            "unknown built-in clip 'strol': did you mean 'stroll'? known: " + ", ".join(sorted(CLIPS)),
        ),
        ({"data": "vimeo"}, "stroll", UnknownName, "unknown data source 'vimeo': known: davis, sintel, synthetic"),
        (
            {"render_pass": "clear"},
            "stroll",
            UnknownName,
            "unknown pass 'clear': did you mean 'clean'? known: albedo, clean, final",
        ),
        ({"frames": 1}, "stroll", DataError, "frames must be at least 2 to compare one with the next, got 1"),
        ({"frames": 0}, "stroll", DataError, "frames must be at least 2 to compare one with the next, got 0"),
        ({"frames": -3}, "stroll", DataError, "frames must be at least 2 to compare one with the next, got -3"),
        ({}, "no/such/folder", DataError, "no such file or folder: "),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(settings, name, error, message):
    with pytest.raises(error) as caught:
        Selection(**settings).clip(name)
    assert one_line(caught).startswith(message)


def test_a_sequence_that_is_not_there_gets_a_list_of_those_that_are(tiny_sintel):
    with pytest.raises(UnknownName) as caught:
        Selection(sintel=tiny_sintel).clips(["alley_2", "market_6"])
    assert "'market_6'" in one_line(caught)
    assert "known: alley_1, alley_2, bandage_1, cave_2" in one_line(caught)


def test_missing_sintel_says_where_it_looked_how_to_get_it_and_what_runs_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        Selection().clip("alley_2")
    message = one_line(caught)
    for part in (
        "'alley_2' is not a built-in clip",
        "stroll",
        "data/MPI-Sintel*",
        "http://sintel.is.tue.mpg.de",
        "--sintel",
        "reconet-bench compare",
    ):
        assert part in message
    with pytest.raises(DataError, match="nowhere"):
        Selection(sintel=tmp_path / "nowhere").clip("alley_2")


def test_two_videos_of_one_name_would_share_a_row_and_are_refused(tiny_sintel, folder):
    path = str(tiny_sintel / "training" / "final" / "alley_2")
    with pytest.raises(DataError) as caught:
        Selection(sintel=tiny_sintel).clips(["alley_2", path])
    assert one_line(caught) == f"two videos are called 'alley_2' ('alley_2' and '{path}'): compare them in two runs"
    (folder / "holiday").mkdir()
    for number in range(2):
        write_image(folder / "holiday" / f"{number}.png", picture(number, (1, 0)))
    with pytest.raises(DataError, match=r"two videos are called 'holiday \(DIS flow\)'"):
        Selection().clips([str(folder), str(folder / "holiday")])


def named_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        write_image(folder / name, picture(index, (1, 0)))
    return folder


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["frame_0001", "frame_0002", "frame_0010"], [1, 2, 10]),
        (["a_7", "a_08"], [7, 8]),
        (["x2_1_big", "x2_3_big"], [1, 3]),
        (["00000"], [0]),
        (["1", "01"], []),
        (["a_1", "b_2"], []),
        (["first", "second"], []),
        (["1_1", "2_2"], []),
        ([], []),
    ],
)
def test_a_numbered_series_is_recognised(names, numbers):
    assert footage.frame_numbers(names) == numbers


def test_hidden_files_and_images_without_a_number_are_no_frames(tmp_path):
    folder = named_frames(tmp_path, ["f_1.png", "f_2.png", "f_3.png", "mask.png", "._f_1.png", ".f_9.png"])
    assert [path.name for path in footage.frame_files(folder)] == ["f_1.png", "f_2.png", "f_3.png"]
    assert len(FrameFolder(folder)) == len(footage.read_stylized(folder)) == 3
    assert len(read_frames(named_frames(tmp_path / "words", ["first.png", "second.png", "take1.png"]))) == 3


SERIES = [f"frame_{number:04d}.png" for number in range(1, 8)]


@pytest.mark.parametrize(
    ("stylized", "told"),
    [
        (SERIES, None),
        ([f"out{number}.png" for number in range(7)], None),  # counted from 0
        (["mask.png", *SERIES], None),
        ([f"{word}.png" for word in "abcdefg"], None),  # no numbers: by order
        (SERIES[:5] + SERIES[6:], r"frame_0006\.png is missing from the stylised frames"),
        (SERIES[1:], r"frame_0001\.png is missing"),
        (SERIES[:1] + SERIES[3:], r"frame_0002\.png and frame_0003\.png are missing"),
        (SERIES[:1] + SERIES[5:], r"frame_0002\.png and 3 more are missing"),
        ([*SERIES[:5], SERIES[6], "frame_0008.png"], r"frame_0006\.png is missing"),  # as many, and not the same
        ([*SERIES, "frame_0008.png"], r"has frame_0008\.png without a content frame"),
        ([f"{number}.png" for number in (0, 1, 3, 4, 5, 6)], r"2\.png is missing"),
    ],
)
def test_a_missing_or_an_extra_stylised_frame_is_named(tmp_path, stylized, told):
    clip = FrameFolder(named_frames(tmp_path / "content", SERIES))
    frames = footage.read_stylized(named_frames(tmp_path / "stylised", stylized))
    if told is None:
        frames.check_numbers(clip)
        assert len(frames) == len(clip)
        return
    with pytest.raises(DataError, match=told):
        frames.check_numbers(clip)
    with pytest.raises(DataError, match=told):
        evaluate(str(tmp_path / "content"), frames)
