"""Broken, odd and foreign files: a right result, or one clear line and exit code 2; nothing half-written."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from clips import make_clip, make_sound, scene, times
from damaged import FEW, damage, harm
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from reconet_bench import cli
from reconet_bench.core.errors import ReconetBenchError
from reconet_bench.core.flow_files import read_flo, write_flo
from reconet_bench.core.images import read_image, write_image
from reconet_bench.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.networks.base import Identity
from reconet_bench.video.reader import VideoReader
from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file


def one_line(error: ReconetBenchError, path: Path) -> None:
    assert "\n" not in str(error)
    assert path.name in str(error)


def read_video(path: Path) -> int:
    with VideoReader(path) as reader:
        return sum(1 for frame in reader if frame.image.shape == (*reader.size, 3))


def identity(image: np.ndarray) -> np.ndarray:
    return image


def scaling() -> onnx.ModelProto:
    """A network with weights and constants: a convolution, a scale and a clip."""
    weights = {
        "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "k": np.array(255, np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(1, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "k"], ["m"]),
        helper.make_node("Div", ["m", "k"], ["d"]),
        helper.make_node("Clip", ["d", "low", "high"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, bytes]:
    """A whole file of each kind."""
    folder = tmp_path_factory.mktemp("samples")
    write_image(folder / "a.png", scene(0))
    write_flo(folder / "a.flo", np.ones((2, 20, 30), np.float32))
    save_checkpoint(folder / "a.safetensors", Checkpoint(Identity().eval(), "identity", ""))
    onnx.save(scaling(), folder / "a.onnx")
    for suffix in (".mp4", ".mkv", ".gif"):
        make_clip(
            folder / f"a{suffix}",
            sound="" if suffix == ".gif" else "aac",
            **({"codec": "gif", "pixels": "rgb8"} if suffix == ".gif" else {}),
        )
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


READERS = {
    ".onnx": inspect_onnx,
    ".png": read_image,
    ".flo": read_flo,
    ".safetensors": load_checkpoint,
    ".mp4": read_video,
    ".mkv": read_video,
    ".gif": read_video,
}


@pytest.mark.parametrize("suffix", READERS)
@given(how=damage)
@FEW
def test_a_damaged_file_is_read_or_refused(samples, folder, suffix, how):
    path = folder / f"harmed{suffix}"
    path.write_bytes(harm(samples[suffix], how))
    try:
        READERS[suffix](path)
    except ReconetBenchError as error:
        one_line(error, path)


@given(how=damage, suffix=st.sampled_from([".mp4", ".mkv"]))
@FEW
def test_stylising_a_damaged_video_ends_whole_or_not_at_all(samples, folder, how, suffix):
    source, target = folder / f"in{suffix}", folder / "out" / "out.mp4"
    source.write_bytes(harm(samples[suffix], how))
    target.unlink(missing_ok=True)
    try:
        done = stylize_file(identity, FootageInput(source), FootageOutput(target))
    except ReconetBenchError as error:
        one_line(error, source)
        assert not target.parent.exists() or list(target.parent.iterdir()) == []
    else:
        assert len(times(target)) == done.frames >= 1


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    suffix=st.sampled_from([".mp4", ".webm", ".gif", ".mkv"]),
    count=st.integers(1, 3),
)
@FEW
def test_any_size_and_length_comes_out_as_it_went_in(folder, height, width, suffix, count):
    frames, target = folder / "frames", folder / f"sized{suffix}"
    frames.mkdir(exist_ok=True)
    for old in frames.iterdir():
        old.unlink()
    for number in range(count):
        write_image(frames / f"{number}.png", scene(number, (height, width)))
    assert stylize_file(identity, FootageInput(frames), FootageOutput(target)).frames == count
    with VideoReader(target) as reader:
        assert reader.size == (height, width)
        assert len(list(reader)) == count


@pytest.mark.slow
def test_8k_and_one_pixel_in_and_out(tmp_path):
    """What goes in comes out, at either end of what a file may hold."""
    for height, width, count in ((4320, 7680, 2), (4320, 2430, 1), (1, 1, 3), (1, 64, 2), (64, 1, 2)):
        frames, target = tmp_path / f"{width}x{height}", tmp_path / f"{width}x{height}.mp4"
        for number in range(count):
            write_image(frames / f"{number}.png", scene(number, (height, width)))
        assert stylize_file(identity, FootageInput(frames), FootageOutput(target)).frames == count
        with VideoReader(target) as reader:
            assert reader.size == (height, width)
            first = next(iter(reader)).image.astype(int)
        assert np.abs(first[::7, ::7] - scene(0, (height, width))[::7, ::7]).mean() < 8


def _cmyk() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(scene(0)).convert("CMYK").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


IMAGES = {
    "grey.png": lambda: _encoded(scene(0)[..., 0]),
    "grey16.png": lambda: _encoded(scene(0)[..., 0].astype(np.uint16) * 257),
    "rgb16.png": lambda: _encoded(scene(0)[..., ::-1].astype(np.uint16) * 257),
    "rgba.png": lambda: _encoded(np.dstack((scene(0)[..., ::-1], np.full(scene(0).shape[:2], 7, np.uint8)))),
    "rgb.webp": lambda: _encoded(scene(0)[..., ::-1], ".webp"),
    "rgb.tiff": lambda: _encoded(scene(0)[..., ::-1], ".tiff"),
    "cmyk.jpg": _cmyk,
    "имя файла 東京.png": lambda: _encoded(scene(0)[..., ::-1]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_kind(tmp_path, name):
    (tmp_path / name).write_bytes(IMAGES[name]())
    stylize_file(identity, FootageInput(tmp_path / name), FootageOutput(tmp_path / "результат" / "out put.png"))
    expected = np.repeat(scene(0)[..., :1], 3, 2) if name.startswith("grey") else scene(0)
    got = read_image(tmp_path / "результат" / "out put.png").astype(int)
    assert np.abs(got - expected).mean() < (6 if name.endswith((".webp", ".jpg")) else 0.51)


@pytest.fixture(scope="module")
def same(tmp_path_factory) -> Path:
    """An ONNX that changes nothing."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path_factory.mktemp("models") / "same.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _flo_of(width: int, height: int) -> bytes:
    return b"PIEH" + struct.pack("<ii", width, height)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("empty.png", b""),
        ("text.mp4", b"hello" * 50),
        ("text.png", b"hello" * 50),
        ("odd.xyz", b"hello"),
        ("sound only.m4a", None),
        ("head.png", b"\x89PNG\r\n\x1a\n"),
        ("huge.flo", _flo_of(2**30, 2**30)),
    ],
)
def test_what_is_no_footage_is_one_line_and_exit_code_2(tmp_path, capsys, same, name, content):
    path = tmp_path / name
    if content is None:
        make_sound(path)
    else:
        path.write_bytes(content)
    for words in (
        ["stylize", path, "-o", tmp_path / "out.mp4", "--model", same],
        ["evaluate", "--stylized", path, "--video", path],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main([str(word) for word in words])
        printed = capsys.readouterr()
        assert caught.value.code == 2
        assert printed.err.count("\n") == 1, printed.err
        assert "Traceback" not in printed.err
        assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.fixture
def nobody() -> Iterator[None]:
    """Not the superuser, who may read everything."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def locked(samples) -> Iterator[Path]:
    """A whole file of each kind in a folder that everybody may enter, none of which anybody may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for suffix, content in samples.items():
        (folder / f"a{suffix}").write_bytes(content)
        (folder / f"a{suffix}").chmod(0)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_that_may_not_be_read(locked, nobody, suffix):
    """Either error ends as one line and exit code 2, see the tests of the command line."""
    with pytest.raises((ReconetBenchError, PermissionError)) as caught:
        READERS[suffix](locked / f"a{suffix}")
    assert f"a{suffix}" in str(caught.value)
    assert "\n" not in str(caught.value)
