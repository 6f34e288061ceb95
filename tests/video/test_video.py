"""Video files in and out: what a player would show, timestamps and sound kept, and one line for what is no video."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import TICK, make_clip, make_sound, remux, scene, sound_packets, times
from conftest import SIZE

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.video.frames import BT601, BT709, FULL, Frame, StreamFormat
from reconet_bench.video.reader import VideoReader, _matrix
from reconet_bench.video.writer import SUFFIXES, VideoWriter

VARIABLE = [0, 24, 55, 60, 130, 131, 200]


def copy(source: Path, target: Path, codec: str = "", **cut: float) -> VideoWriter:
    """Every frame of a file into another, with its sound."""
    with VideoReader(source, **cut) as reader:
        writer = VideoWriter(target, reader.size, reader.format, codec, source, reader.origin, reader.stop)
        for frame in reader:
            writer.write(frame)
        writer.close()
    return writer


def read(path: Path, **cut: float) -> list[Frame]:
    with VideoReader(path, **cut) as reader:
        return list(reader)


def timed(path: Path) -> list[tuple[Frame, Fraction]]:
    with VideoReader(path) as reader:
        return [(frame, reader.format.time_base) for frame in reader]


def far(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le", "yuv422p10le", "gray", "gray10le"])
@pytest.mark.parametrize("full", [False, True])
def test_any_pixel_format_is_read_as_8_bit_rgb(tmp_path, pixels, full):
    grey = "gray" in pixels
    frames = read(make_clip(tmp_path / "a.mkv", pixels=pixels, full=full, grey=grey))
    assert len(frames) == 8
    for number, frame in enumerate(frames):
        expected = scene(number)
        if grey:
            # FFmpeg converts to grey in full range whatever it is told; tagged as limited, a player stretches that.
            expected = np.repeat(expected[..., :1], 3, 2)
            expected = expected if full else np.clip((expected.astype(float) - 16) * 255 / 219, 0, 255)
        assert frame.image.dtype == np.uint8
        # Half the chroma resolution costs a little; a wrong matrix or range would cost 5 levels and more.
        assert far(frame.image, expected) < 3


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, 3), (180, 2)])
def test_pictures_are_turned_upright(tmp_path, rotation, turns):
    with VideoReader(make_clip(tmp_path / "a.mp4", rotation=rotation)) as reader:
        expected = np.rot90(scene(0), turns)
        assert reader.size == expected.shape[:2]
        assert far(next(iter(reader)).image, expected) < 3


@pytest.mark.parametrize("size", [SIZE, (41, 57), (40, 57), (2, 2), (1, 1)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_size_comes_back_as_it_was(tmp_path, suffix, size):
    path = tmp_path / f"out{suffix}"
    writer = VideoWriter(path, size, StreamFormat(TICK, Fraction(25)))
    for number in range(3):
        writer.write(Frame(scene(number, size), 24 * number, 24))
    writer.close()
    frames = read(path)
    assert len(frames) == 3
    for number, frame in enumerate(frames):
        assert far(frame.image, scene(number, size)) < (20 if size == (2, 2) else 7)  # four pixels share one chroma
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "codec", "found"),
    [(".mp4", "", "h264"), (".mkv", "hevc", "hevc"), (".webm", "", "vp9"), (".mp4", "vp9", "vp9"), (".gif", "", "gif")],
)
def test_the_suffix_or_the_user_chooses_the_codec(tmp_path, suffix, codec, found):
    copy(make_clip(tmp_path / "a.mp4"), tmp_path / f"b{suffix}", codec)
    with av.open(str(tmp_path / f"b{suffix}")) as file:
        assert file.streams.video[0].codec_context.name.removeprefix("lib") == found


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".gif"])
def test_variable_frame_rates_keep_their_timestamps(tmp_path, suffix):
    source = make_clip(tmp_path / "a.mov", VARIABLE)
    copy(source, tmp_path / f"b{suffix}")
    before, after = times(source), times(tmp_path / f"b{suffix}")
    assert len(after) == len(before) == len(VARIABLE)
    tick = {".mp4": 0, ".mov": 0, ".gif": Fraction(2, 100)}.get(suffix, Fraction(1, 1000))
    assert all(abs(a - b) <= tick for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", ""), (".mov", ""), (".mp4", "hevc"), (".mkv", ""), (".webm", "")]
)
def test_the_last_frame_is_shown_as_long_as_it_was(tmp_path, suffix, codec, count):
    """Whatever place it has in the order of decoding: a still at the end of a clip is a frame of two seconds."""
    writer = VideoWriter(tmp_path / f"a{suffix}", SIZE, StreamFormat(Fraction(1, 1000), Fraction(25)), codec)
    shown = [(number * 40, 40) for number in range(count - 1)] + [(count * 40 - 40, 2000)]
    for number, (pts, duration) in enumerate(shown):
        writer.write(Frame(scene(number), pts, duration))
    writer.close()
    back = [(frame.pts * tick, frame.duration * tick) for frame, tick in timed(writer.path)]
    assert back == [(Fraction(pts, 1000), Fraction(duration, 1000)) for pts, duration in shown]
    with av.open(str(writer.path)) as file:
        assert file.duration == (shown[-1][0] + 2000) * 1000


@pytest.mark.parametrize(
    ("source", "sound", "target"),
    [
        (".mp4", "aac", ".mp4"),
        (".mp4", "aac", ".mkv"),
        (".mkv", "flac", ".mkv"),
        (".mkv", "flac", ".mp4"),
        (".mkv", "libopus", ".webm"),
        (".mkv", "libopus", ".mp4"),
        (".mkv", "libmp3lame", ".mp4"),
        (".mov", "pcm_s16le", ".mov"),
        (".mov", "pcm_s16le", ".mkv"),
        (".mp4", "aac", ".m4v"),
    ],
)
def test_sound_is_copied_bit_for_bit(tmp_path, source, sound, target):
    clip = make_clip(tmp_path / f"a{source}", sound=sound)
    writer = copy(clip, tmp_path / f"b{target}")
    assert not writer.remark
    assert sound_packets(tmp_path / f"b{target}") == sound_packets(clip) != []


def heard(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Codec of a file's sound, when each sample sounds, seconds, and the samples of the first channel."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        name = stream.codec_context.codec.canonical_name
        resampler = av.AudioResampler("fltp")
        frames = [out for frame in file.decode(stream) for out in resampler.resample(frame)]
    moments = [float(frame.pts * frame.time_base) + np.arange(frame.samples) / frame.sample_rate for frame in frames]
    return name, np.concatenate(moments), np.concatenate([frame.to_ndarray()[0] for frame in frames])


def late(moments: np.ndarray, samples: np.ndarray) -> int:
    """By how many samples the tone of :func:`make_clip` sounds too late; a period has 126."""
    inside = slice(len(samples) // 4, -len(samples) // 4)
    likeness = {
        lag: np.corrcoef(samples[inside], np.sin(0.05 * (48000 * moments[inside] - lag)))[0, 1]
        for lag in range(-63, 63)
    }
    best = max(likeness, key=likeness.__getitem__)
    assert likeness[best] > 0.99
    return best


@pytest.mark.parametrize(
    ("source", "sound", "target", "codec"),
    [
        (".mov", "pcm_s16le", ".mp4", "aac"),
        (".mp4", "aac", ".webm", "opus"),
        (".mkv", "libmp3lame", ".webm", "opus"),
        (".mkv", "libopus", ".mov", "aac"),
        (".mkv", "flac", ".mov", "aac"),
        (".mov", "pcm_s16le", ".webm", "opus"),
    ],
)
def test_sound_that_the_file_cannot_hold_is_encoded_anew_in_step(tmp_path, source, sound, target, codec):
    clip = make_clip(tmp_path / f"a{source}", range(0, 24 * 25, 24), sound=sound)
    kind = sound.removeprefix("lib").removesuffix("lame")
    container = {".webm": "webm", ".mp4": "mp4", ".mov": "mov"}[target]
    assert (
        copy(clip, tmp_path / f"b{target}").remark
        == f"sound encoded again as {codec}: {container} files cannot hold {kind}"
    )
    name, moments, samples = heard(tmp_path / f"b{target}")
    assert name == codec
    assert len(times(tmp_path / f"b{target}")) == 25
    assert (moments[0], moments[-1]) == pytest.approx((0, 1), abs=0.05)
    assert abs(late(moments, samples)) <= (24 if target == ".webm" else 1), "WebM's timestamps are whole milliseconds"
    assert np.abs(samples[len(samples) // 4 : -len(samples) // 4]).max() == pytest.approx(0.3, abs=0.03)


def test_a_part_encoded_anew_begins_at_zero_and_in_step(tmp_path):
    clip = make_clip(tmp_path / "a.mov", range(0, 24 * 50, 24), sound="pcm_s16le")
    copy(clip, tmp_path / "b.mp4", start=0.4, end=1.2)
    _, moments, samples = heard(tmp_path / "b.mp4")
    assert (moments[0], moments[-1]) == pytest.approx((0, 0.8), abs=0.06)
    assert abs(late(moments + 0.4, samples)) <= 1


def test_sound_that_no_file_of_the_kind_holds_is_left_out_and_said(tmp_path):
    source = make_clip(tmp_path / "a.mp4", sound="aac")
    assert copy(source, tmp_path / "b.gif").remark == "sound left out: gif files cannot hold aac"
    assert len(times(tmp_path / "b.gif")) == 8


def test_a_part_begins_at_zero_with_its_sound(tmp_path):
    source = make_clip(tmp_path / "a.mp4", range(0, 24 * 50, 24), sound="aac")
    frames = read(source, start=0.4, end=1.2)
    assert frames[0].pts == 0
    assert len(frames) == 20
    assert far(frames[0].image, scene(10)) < 3
    copy(source, tmp_path / "b.mp4", start=0.4, end=1.2)
    assert times(tmp_path / "b.mp4") == [Fraction(i, 25) for i in range(20)]
    kept, all_packets = sound_packets(tmp_path / "b.mp4"), sound_packets(source)
    first = all_packets.index(kept[0])
    assert kept == all_packets[first : first + len(kept)]
    assert len(kept) * 1024 / 48000 == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("tick", "step"),
    [
        (Fraction(1, 1000), Fraction(1, 10)),
        (Fraction(1, 1000), Fraction(1001, 30000)),
        (Fraction(1, 24), Fraction(1, 24)),
        (Fraction(1, 90000), Fraction(1, 25)),
    ],
)
def test_a_part_begins_and_ends_at_the_frames_that_are_meant(tmp_path, tick, step):
    path = tmp_path / "a.mkv"
    writer = VideoWriter(path, SIZE, StreamFormat(tick, 1 / step))
    for number in range(16):
        writer.write(Frame(scene(number), round(number * step / tick), round(step / tick)))
    writer.close()
    for first in range(16):
        for last in (first + 1, 16):
            frames = read(path, start=float(first * step), end=float(last * step))
            assert len(frames) == last - first
            assert far(frames[0].image, scene(first)) < 4


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv", ".h264"])
def test_a_part_of_a_file_without_an_index_is_whole(tmp_path, suffix):
    """A search in it lands late, or is refused."""
    sound = "" if suffix == ".h264" else "aac"
    source = make_clip(tmp_path / f"a{suffix}", range(0, 24 * 100, 24), sound=sound)
    for start in (0.4, 1.0, 3.0):
        frames = read(source, start=start)
        assert len(frames) in (100 - round(25 * start), 101 - round(25 * start)), (
            "their first may be shown a moment after the file's zero"
        )
        assert far(frames[0].image, scene(100 - len(frames))) < 4
        if sound:
            copy(source, tmp_path / "b.mkv", start=start)
            assert len(sound_packets(tmp_path / "b.mkv")) == pytest.approx((4 - start) * 48000 / 1024, abs=2)


@pytest.mark.parametrize(
    "matrix", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)]
)
def test_pictures_are_mirrored_as_the_file_says(tmp_path, matrix):
    """A pixel at (x, y) from the centre is shown at (ax + cy, bx + dy)."""
    path = make_clip(tmp_path / "a.mp4", [0])
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    place = data.find(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, place) == (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    struct.pack_into(">5i", data, place, a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(data)
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    right, down = 2 * x - width + 1, 2 * y - height + 1
    shown = np.zeros((*SIZE[:: 1 if a else -1], 3), np.uint8)
    shown[(b * right + d * down + shown.shape[0] - 1) // 2, (a * right + c * down + shown.shape[1] - 1) // 2] = scene(0)
    (frame,) = read(path)
    assert far(frame.image, shown) < 3


def test_a_cut_without_encoding_is_whole(tmp_path):
    """Its pictures begin before its zero, where an edit list hides them, and its sound outlasts them."""
    source = make_clip(tmp_path / "a.mp4", range(0, 24 * 50, 24), sound="aac", sounds_longer=0.3)
    cut = remux(source, tmp_path / "cut.mp4", Fraction(3, 5))
    with av.open(str(cut)) as file:
        assert file.streams.video[0].frames == 50
    assert len(read(cut)) == 35
    copy(cut, tmp_path / "b.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_file_cut_off_is_told_and_can_be_read_up_to_there(tmp_path, suffix):
    source = make_clip(tmp_path / "a.mp4", range(0, 24 * 100, 24), sound="aac", sounds_longer=0.3)
    whole = remux(source, tmp_path / f"whole{suffix}", index_first=suffix != ".mkv")
    assert len(read(whole)) == 100
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=r"cut off after \d\.\d\d of 4\.0\d s: .* --end \d\.\d\d$") as caught:
        read(path)
    end = float(str(caught.value).split()[-1])
    assert len(read(path, end=end)) == pytest.approx(25 * end, abs=1.1)


def test_colours_keep_their_description(tmp_path):
    source = make_clip(tmp_path / "a.mp4", full=True)
    copy(source, tmp_path / "b.mp4")
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert reader.format.color_range == FULL
        assert far(next(iter(reader)).image, scene(0)) < 5


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "cam 12:30.mp4", sound="aac")
    copy(Path("cam 12:30.mp4"), Path("out 12:30.mp4"))
    assert sound_packets(tmp_path / "out 12:30.mp4")


def test_names_of_any_alphabet(tmp_path):
    source = make_clip(tmp_path / "мой фильм 東京.mp4")
    copy(source, tmp_path / "à côté" / "ünï côdé.mp4")
    assert len(times(tmp_path / "à côté" / "ünï côdé.mp4")) == 8


def test_what_is_written_is_not_there_before_it_is_whole(tmp_path):
    writer = VideoWriter(tmp_path / "b.mp4", SIZE, StreamFormat(TICK, Fraction(25)))
    writer.write(Frame(scene(0), 0))
    assert not (tmp_path / "b.mp4").exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def cut_off(path: Path) -> Path:
    """The first two thirds of a video whose index stands in front."""
    whole = path.with_name("whole.mp4")
    copy(make_clip(path.with_name("long.mp4"), range(0, 24 * 100, 24)), whole)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p, "no such file"),
        (lambda p: p.touch() or p, "not a readable video"),
        (lambda p: p.write_bytes(b"no video at all" * 99) and p, "not a readable video"),
        (make_sound, "no video stream in it, only audio"),
        (lambda p: p.mkdir() or p, "not a readable video"),
        (cut_off, "cut off after "),
    ],
)
def test_what_is_no_video_is_one_line(tmp_path, make, message):
    path = make(tmp_path / "a.mp4")
    with pytest.raises(DataError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("height", "matrix"), [(480, BT601), (719, BT601), (720, BT709), (2160, BT709)])
def test_untagged_footage_has_the_colours_of_its_height(height, matrix):
    """As players take it: BT.709 from 720 lines on."""
    assert _matrix(av.VideoFrame(64, height, "yuv420p")) == matrix


def test_what_cannot_be_written_is_one_line(tmp_path):
    described = StreamFormat(TICK, Fraction(25))
    for name, codec, error, message in (
        ("a.txt", "", DataError, r"the suffix of a video is one of \.mp4"),
        ("a.mp4", "h265", UnknownName, "unknown codec 'h265'"),
        ("a.webm", "h264", DataError, r"\.webm files cannot hold h264"),
        ("a.mkv", "hevc", DataError, "cannot write 1x1 hevc"),
    ):
        with pytest.raises(error, match=message):
            VideoWriter(tmp_path / name, (1, 1), described, codec)
    with pytest.raises(DataError, match="nothing to read from 2"):
        VideoReader(tmp_path / "a.mp4", start=2, end=1)
    with pytest.raises(DataError, match="no frame from 9"):
        VideoReader(make_clip(tmp_path / "a.mp4"), start=9)
    with pytest.raises(DataError, match=r"no frame from 0\.21 s to 0\.23 s"):
        VideoReader(tmp_path / "a.mp4", start=0.21, end=0.23)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
