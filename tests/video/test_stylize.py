"""Footage in, footage out: as many frames, at the same times, with the sound; nothing half-written in any case."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from clips import make_clip, scene, sound_end, sound_packets, times
from onnx import TensorProto, helper

from reconet_bench import cli
from reconet_bench.core.errors import DataError
from reconet_bench.core.images import read_image, write_image
from reconet_bench.models.checkpoint import save_checkpoint
from reconet_bench.models.finding import KeptExport, known_export, remember_export
from reconet_bench.video.frames import Frame, StreamFormat
from reconet_bench.video.media import Camera, open_source
from reconet_bench.video.reader import VideoReader
from reconet_bench.video.stylize import (
    FootageInput,
    FootageOutput,
    Interrupted,
    Look,
    fitted,
    stylize_file,
    stylize_video,
)
from reconet_bench.video.writer import VideoWriter


def negative(image: np.ndarray) -> np.ndarray:
    return 255 - image


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An ONNX that gives the negative of a frame."""
    shape = [1, 3, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["one", "frame"], ["out"])],
        "negative",
        [helper.make_tensor_value_info("frame", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    path = tmp_path_factory.mktemp("models") / "negative.onnx"
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(file, {"value_range": "0..1"})
    onnx.save(file, path)
    return path


@pytest.fixture
def frames(tmp_path) -> Path:
    """Five images with names of their own."""
    for number in range(5):
        write_image(tmp_path / "кадры" / f"shot {number}.png", scene(number))
    return tmp_path / "кадры"


def stylize(model: Path, *words: object) -> None:
    cli.main(["stylize", *map(str, words), "--model", str(model), "--device", "cpu", "--threads", "1"])


def last_line(capsys) -> str:
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return (printed.err or printed.out).strip()


def test_a_video_keeps_frames_times_and_sound(model, tmp_path, capsys):
    source = make_clip(tmp_path / "in put.mp4", [0, 24, 55, 60, 130], sound="aac")
    stylize(model, source, "-o", tmp_path / "sub" / "out.mp4")
    assert "5 frames" in last_line(capsys)
    out = tmp_path / "sub" / "out.mp4"
    assert times(out) == times(source)
    assert sound_packets(out) == sound_packets(source)
    with VideoReader(out) as reader:
        for number, frame in enumerate(reader):
            assert np.abs(frame.image.astype(int) - negative(scene(number))).mean() < 4
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in put.mp4", "out.mp4", "sub"]


@pytest.mark.parametrize(
    ("start", "end", "lasts"), [(0, 1.2, 1.2), (0.4, 1.2, 0.8), (0.4, 9, 1.9), (0, None, 2.3), (0, 2, 2)]
)
def test_sound_ends_where_the_part_ends(tmp_path, start, end, lasts):
    source = make_clip(tmp_path / "a.mp4", range(0, 24 * 50, 24), sound="aac", sounds_longer=0.3)
    stylize_file(negative, FootageInput(source, start=start, end=end), FootageOutput(tmp_path / "b.mp4"))
    assert len(times(tmp_path / "b.mp4")) == round(25 * (min(end or 2, 2) - start))
    assert sound_end(tmp_path / "b.mp4") == pytest.approx(lasts, abs=0.05)


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(24), Fraction(25), Fraction(30000, 1001)])
def test_a_part_of_images_begins_and_ends_at_the_frames_that_are_meant(tmp_path, rate):
    for number in range(40):
        write_image(tmp_path / f"{number:02d}.png", np.zeros((2, 2, 3), np.uint8))
    for first in range(40):
        for last in range(first + 1, 41):
            source = open_source(tmp_path, rate, float(first / rate), float(last / rate))
            assert source.names == [f"{number:02d}" for number in range(first, last)]


def test_a_gif_keeps_the_time_of_every_frame(tmp_path):
    for name in ("a.gif", "b.gif"):
        if name == "a.gif":
            writer = VideoWriter(tmp_path / name, (40, 56), StreamFormat(Fraction(1, 100), Fraction(10)))
            for number, (at, lasts) in enumerate(((0, 10), (10, 20), (30, 50))):
                writer.write(Frame(scene(9 * number), at, lasts))
            writer.close()
        else:
            stylize_file(negative, FootageInput(tmp_path / "a.gif"), FootageOutput(tmp_path / name))
        with VideoReader(tmp_path / name) as reader:
            assert [(frame.pts, frame.duration) for frame in reader] == [(0, 10), (10, 20), (30, 50)]


def test_frames_in_a_folder_keep_their_names(model, frames, tmp_path):
    stylize(model, frames, "-o", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"shot {n}.png" for n in range(5)]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "shot 3.png"), negative(scene(3)))


def test_patterns_images_and_frame_rates(model, frames, tmp_path):
    stylize(model, frames / "shot [1-3].png", "-o", tmp_path / "a" / "f_%03d.png")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["f_001.png", "f_002.png", "f_003.png"]
    stylize(model, frames / "shot %d.png", "-o", tmp_path / "b.gif", "--fps", "10")
    assert [float(t) for t in times(tmp_path / "b.gif")] == [0, 0.1, 0.2, 0.3, 0.4]
    stylize(model, frames / "shot 4.png", "-o", tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), negative(scene(4)))
    stylize(model, tmp_path / "b.gif", "-o", tmp_path / "d", "--start", "0.2")
    assert len(list((tmp_path / "d").iterdir())) == 3


def colour(path: Path) -> int:
    return int(read_image(path)[0, 0, 0])


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "100% [raw] *"
    for number in (1, 2, 10, 11):
        write_image(folder / f"frame_{number}.png", np.full((4, 4, 3), number, np.uint8))
        write_image(folder / f"frame_{number}_depth.png", np.full((4, 4, 3), 200, np.uint8))
    for name in (folder / "frame_%d.png", folder / "frame_*[0-9].png"):
        assert [int(frame.image[0, 0, 0]) for frame in open_source(name)] == [1, 2, 10, 11]
    assert open_source(folder / "frame_%02d.png").names == ["frame_10", "frame_11"]
    assert open_source(folder).names[:4] == ["frame_1", "frame_1_depth", "frame_2", "frame_2_depth"]
    assert open_source(tmp_path / "100%*" / "frame_1?.png").names == ["frame_10", "frame_11"]


def test_names_that_several_frames_have_are_counted(tmp_path):
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png")):
        write_image(tmp_path / "in" / name, np.full((4, 4, 3), number, np.uint8))
    done = stylize_file(
        lambda image: image, FootageInput(tmp_path / "in" / "*" / "*.png"), FootageOutput(tmp_path / "out")
    )
    assert "counted" in done.remark
    assert [colour(path) for path in sorted((tmp_path / "out").iterdir())] == [0, 1, 2, 3]
    write_image(tmp_path / "same" / "1.jpg", np.zeros((4, 4, 3), np.uint8))
    write_image(tmp_path / "same" / "1.png", np.zeros((4, 4, 3), np.uint8))
    stylize_file(lambda image: image, FootageInput(tmp_path / "same"), FootageOutput(tmp_path / "out2"))
    assert len(list((tmp_path / "out2").iterdir())) == 2


def test_a_percent_sign_in_a_name_stands_for_itself(frames, tmp_path):
    stylize_file(negative, FootageInput(frames), FootageOutput(tmp_path / "a" / "50%_%03d.png"))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        f"50%_{number:03d}.png" for number in range(1, 6)
    ]
    stylize_file(negative, FootageInput(frames / "shot 1.png"), FootageOutput(tmp_path / "b" / "100%done.png"))
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["100%done.png"]


def test_an_empty_folder_that_cannot_be_renamed_onto_is_filled(frames, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty", target_is_directory=True)
    stylize_file(negative, FootageInput(frames), FootageOutput(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == [f"shot {number}.png" for number in range(5)]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    stylize_file(negative, FootageInput(frames), FootageOutput(Path()))
    assert len(list(Path(tmp_path / "here").iterdir())) == 5
    (tmp_path / "failed").mkdir()

    def broken(image: np.ndarray) -> np.ndarray:
        raise DataError("no more")

    with pytest.raises(DataError):
        stylize_file(broken, FootageInput(frames), FootageOutput(tmp_path / "failed"))
    assert list((tmp_path / "failed").iterdir()) == []


def test_what_is_asked_of_the_look_is_done():
    content, stylized = scene(0), negative(scene(0))
    np.testing.assert_array_equal(Look().apply(content, stylized), stylized)
    np.testing.assert_array_equal(Look(strength=0).apply(content, stylized), content)
    half = Look(strength=0.5).apply(content, stylized)
    assert np.abs(half.astype(int) - 127.5).max() <= 1
    both = Look(side_by_side=True).apply(content, stylized)
    np.testing.assert_array_equal(both, np.hstack((content, stylized)))
    same = Look(keep_colors=True).apply(content, content)
    assert np.abs(same.astype(int) - content).max() <= 2
    grey = np.full_like(content, 128)
    kept = Look(keep_colors=True).apply(content, grey).astype(float)
    assert np.abs(kept @ [0.299, 0.587, 0.114] - 128).mean() < 8
    assert (
        np.corrcoef((kept[..., 0] - kept[..., 2]).ravel(), (content[..., 0].astype(float) - content[..., 2]).ravel())[
            0, 1
        ]
        > 0.95
    )
    with pytest.raises(DataError, match="strength must be between 0"):
        Look(strength=1.5)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((40, 56), None, (40, 56)),
        ((41, 57), 57, (41, 57)),
        ((400, 560), 56, (40, 56)),
        ((1000, 10), 100, (100, 2)),
        ((480, 640), 103, (78, 102)),
        ((640, 480), 17, (16, 12)),
    ],
)
def test_footage_is_only_ever_made_smaller(size, longest, expected):
    assert fitted(size, longest) == expected


def test_smaller_and_side_by_side(model, tmp_path):
    source = make_clip(tmp_path / "a.mp4", size=(80, 112))
    stylize(model, source, "-o", tmp_path / "b.mkv", "--max-size", "56", "--side-by-side", "--codec", "vp9")
    with VideoReader(tmp_path / "b.mkv") as reader:
        assert reader.size == (40, 112)
        assert len(list(reader)) == 8


def test_no_more_frames_are_held_than_the_queues_take(tmp_path):
    """However slow the network is, decoding waits for it."""
    read = 0

    class Counted:
        def __init__(self, source) -> None:
            self.size, self.format, self.length, self._source = source.size, source.format, source.length, source

        def __iter__(self):
            nonlocal read
            for frame in self._source:
                read += 1
                yield frame

        def close(self) -> None: ...

    ahead = []

    def slow(image):
        time.sleep(0.01)
        ahead.append(read - len(ahead))
        return image

    with VideoReader(make_clip(tmp_path / "a.mp4", range(0, 24 * 60, 24))) as reader:
        done = stylize_video(slow, Counted(reader), FootageOutput(tmp_path / "b.mp4"))
    assert done.frames == len(ahead) == 60
    assert max(ahead) <= 6, "four wait, one is read and one is at work"


@pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="this system does not tell how much memory is in use"
)
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Under 1 % between frame 200 and frame 2,000."""
    pages: dict[int, int] = {}

    def count(number: int) -> None:
        if number in (200, 2000):
            pages[number] = int(Path("/proc/self/statm").read_text().split()[1])

    images = [scene(number) for number in range(40)]
    source = tmp_path / "long.mp4"
    writer = VideoWriter(source, images[0].shape[:2], StreamFormat(Fraction(1, 25), Fraction(25)))
    for number in range(2010):
        writer.write(Frame(images[number % 40], number, 1))
    writer.close()
    with VideoReader(source) as reader:
        assert stylize_video(negative, reader, FootageOutput(tmp_path / "b.mp4"), progress=count).frames == 2010
    assert pages[2000] < 1.01 * pages[200]


def test_the_stages_overlap(tmp_path):
    names = set()

    def network(image):
        names.update(thread.name for thread in threading.enumerate())
        return image

    before = threading.active_count()
    stylize_file(network, FootageInput(make_clip(tmp_path / "a.mp4")), FootageOutput(tmp_path / "b.mp4"))
    assert len(names) >= 3
    assert threading.active_count() == before


def test_ctrl_c_leaves_what_was_done_and_it_plays(tmp_path):
    count = 0

    def network(image):
        nonlocal count
        count += 1
        if count == 20:
            raise KeyboardInterrupt
        return image

    source = make_clip(tmp_path / "a.mp4", range(0, 24 * 60, 24), sound="aac")
    with pytest.raises(Interrupted, match="stopped after 19 frames: they are in"):
        stylize_file(network, FootageInput(source), FootageOutput(tmp_path / "b.mp4"))
    assert times(tmp_path / "b.mp4") == times(source)[:19]
    assert len(sound_packets(tmp_path / "b.mp4")) * 1024 / 48000 == pytest.approx(19 / 25, abs=0.05)
    count = 19
    with pytest.raises(KeyboardInterrupt):
        stylize_file(network, FootageInput(source), FootageOutput(tmp_path / "c.mp4"))
    assert not (tmp_path / "c.mp4").exists(), "before the first frame there is nothing to keep"


@pytest.mark.parametrize("where", [1, 10])
def test_a_network_that_fails_leaves_nothing(tmp_path, where):
    count, before = 0, threading.active_count()

    def network(image):
        nonlocal count
        count += 1
        if count == where:
            raise DataError("no more")
        return image

    with pytest.raises(DataError, match="no more"):
        stylize_file(
            network,
            FootageInput(make_clip(tmp_path / "a.mp4", range(0, 24 * 30, 24))),
            FootageOutput(tmp_path / "b.mp4"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert threading.active_count() == before


def test_an_encoder_that_fails_is_heard(tmp_path):
    def network(image):
        return image[:20]

    with pytest.raises(DataError, match="cannot encode"):
        stylize_file(
            network,
            FootageInput(make_clip(tmp_path / "a.mp4", range(0, 24 * 30, 24))),
            FootageOutput(tmp_path / "b.mp4"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_camera_is_footage_without_end(tmp_path, monkeypatch):
    import cv2

    class Fake:
        left = 5

        def __init__(self, index):
            self.index = index

        def isOpened(self):  # noqa: N802
            return self.index == 0

        def get(self, what):
            return {cv2.CAP_PROP_FRAME_HEIGHT: 40, cv2.CAP_PROP_FRAME_WIDTH: 56}.get(what, 30)

        def read(self):
            self.left -= 1
            return self.left >= 0, scene(0)[:, :, ::-1]

        def release(self): ...

    monkeypatch.setattr(cv2, "VideoCapture", Fake)
    assert stylize_file(negative, FootageInput(camera=0), FootageOutput(tmp_path / "a.mp4")).frames == 5
    assert len(times(tmp_path / "a.mp4")) == 5
    with pytest.raises(DataError, match="camera 3 cannot be opened"):
        Camera(3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.mp4", "-o", "b.mp4"], "no such file: none.mp4"),
        (["none/*.png", "-o", "b.mp4"], "no image matches none/*.png"),
        (["-o", "b.mp4"], "give either an INPUT or --camera N"),
        (["a.mp4", "-o", "b.txt"], "cannot write b.txt"),
        (["a.mp4", "-o", "a.mp4"], "a.mp4 is the input"),
        (["a.mp4", "-o", "b.png"], "is one image, and there are more frames"),
        (["", "-o", "b.mp4"], "give either an INPUT or --camera N"),
        (["a.mp4", "-o", "folder.mp4"], "cannot write folder.mp4: it is a folder"),
        (["a.mp4", "-o", "folder.png"], "cannot write folder.png: it is a folder"),
        (["a.mp4", "-o", "%d_%d.png"], "a pattern has one number"),
        (
            ["a.mp4", "-o", "b.mp4", "--fps", "5"],
            "a.mp4 is a video and has its own frame times: leave out --fps, which is for images",
        ),
        (["a.mp4", "-o", "b/%d.png", "--codec", "hevc"], "--codec hevc is for videos"),
        (["--camera", "0", "-o", "b.mp4", "--end", "5"], "--start, --end and --fps work with files only"),
        (["a.mp4", "-o", "."], "not empty"),
        (["a.mp4", "-o", "b.mp4", "--strength", "2"], "argument --strength: '2': give a number from 0 to 1"),
        (["a.mp4", "-o", "b.mp4", "--start", "x"], "give a time such as"),
        (["a.mp4", "-o", "b.mp4", "--fps", "0"], "give frames per second"),
        (["a.mp4", "-o", "b.mp4", "--start", "5"], "no frame from 5"),
        (["a.mp4", "-o", "b.mp4", "--codec", "av2"], "unknown codec 'av2'"),
        (
            ["a.mp4", "-o", "b.mp4", "--runtime", "onxruntime"],
            "unknown runtime 'onxruntime': did you mean 'onnxruntime'?",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(model, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4")
    for folder in ("folder.mp4", "folder.png"):
        (tmp_path / folder).mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        stylize(model, *words)
    assert caught.value.code == 2
    line = last_line(capsys)
    assert message in line
    assert "\n" not in line
    assert sorted(tmp_path.rglob("*")) == before


def test_images_of_different_size_are_named(frames):
    write_image(frames / "shot 3.png", scene(0, (30, 56)))
    with pytest.raises(DataError, match=r"shot 3\.png: frame is 56x30, the first is 56x40"):
        list(open_source(frames))


# --- without PyTorch ------------------------------------------------------------------------------------

ALONE = """
import sys
from reconet_bench import cli
cli.main(sys.argv[1:])
assert "torch" not in sys.modules
"""


@pytest.mark.process
def test_one_picture_by_a_model_used_before_needs_no_pytorch(tmp_path, seeded):
    """The export in the cache is found by the checkpoint's file alone; the frames are the same."""
    model = tmp_path / "reconet-light.safetensors"
    save_checkpoint(model, seeded)
    write_image(tmp_path / "a.png", scene(0, (47, 61)))
    words = ["stylize", str(tmp_path / "a.png"), "--model", str(model), "--device", "cpu", "--threads", "1"]
    cli.main([*words, "-o", str(tmp_path / "first.png")])
    run = [sys.executable, "-c", ALONE, *words, "-o", str(tmp_path / "second.png")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime on cpu" in done.stdout
    assert np.array_equal(read_image(tmp_path / "first.png"), read_image(tmp_path / "second.png"))
    write_image(tmp_path / "a.png", scene(0, (12, 61)))
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "frame of 61x12 pixels is too small: 'reconet-light' needs 16 a side" in done.stderr


def test_an_export_of_another_file_or_a_lost_one_is_not_taken(tmp_path, seeded, monkeypatch):
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    model, other = tmp_path / "reconet-light.safetensors", tmp_path / "other.safetensors"
    save_checkpoint(model, seeded)
    other.write_bytes(model.read_bytes()[::-1])
    assert known_export(model) is None
    lost = KeptExport("0" * 32 + ".onnx.sum", 16)
    remember_export(model, lost)
    assert known_export(model) == lost
    assert lost.content() is None
    assert known_export(other) is None
