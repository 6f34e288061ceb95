"""Files: what goes in comes out, and every broken file has one clear error."""

from __future__ import annotations

import contextlib
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import picture

from reconet_bench.core import files, flow_files, images, tensor_files
from reconet_bench.core.errors import DataError, ModelError
from reconet_bench.core.files import portable_name


@pytest.fixture
def image() -> np.ndarray:
    return picture(0, (1.0, 0.0))


def test_flow_survives_the_round_trip(tmp_path):
    flow = np.random.default_rng(0).normal(0, 20, (2, 5, 7)).astype(np.float32)
    flow_files.write_flo(tmp_path / "new" / "a.flo", flow)
    read = flow_files.read_flo(tmp_path / "new" / "a.flo")
    np.testing.assert_array_equal(read, flow)
    assert read.dtype == np.float32
    assert read.flags.writeable


def test_flow_bytes_follow_middlebury(tmp_path):
    """Width before height, u before v, rows from the top (README of Middlebury's flow code)."""
    body = np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6], "<f4").tobytes()
    data = np.array([202021.25], "<f4").tobytes() + np.array([3, 2], "<i4").tobytes() + body
    (tmp_path / "a.flo").write_bytes(data)
    flow = flow_files.read_flo(tmp_path / "a.flo")
    assert flow[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert flow[1].tolist() == [[-1, -2, -3], [-4, -5, -6]]
    flow_files.write_flo(tmp_path / "b.flo", flow)
    assert (tmp_path / "b.flo").read_bytes() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "wrong magic"),
        (b"HEIP" + bytes(16), "wrong magic b'HEIP'"),
        (b"PIEH\1\0", "truncated .flo header"),
        (b"PIEH" + np.array([4, 3], "<i4").tobytes() + bytes(95), "4x3 needs 108 bytes, has 107"),
        (b"PIEH" + np.array([4, 3], "<i4").tobytes() + bytes(97), "4x3 needs 108 bytes, has 109"),
        (b"PIEH" + np.array([-4, -3], "<i4").tobytes() + bytes(96), "broken .flo: -4x-3"),
        (b"PIEH" + np.array([0, 3], "<i4").tobytes(), "broken .flo: 0x3"),
    ],
)
def test_broken_flow_is_one_clear_error(tmp_path, data, message):
    path = tmp_path / "bad.flo"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        flow_files.read_flo(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read flow .*none\.flo: No such file"):
        flow_files.read_flo(tmp_path / "none.flo")
    with pytest.raises(DataError, match=r"cannot read image .*none\.png: No such file"):
        images.read_image(tmp_path / "none.png")
    with pytest.raises(ModelError, match=r"no such file: .*none\.safetensors"):
        tensor_files.read_tensors(tmp_path / "none.safetensors")


def test_png_is_lossless_and_rgb(tmp_path, image):
    image[0, 0] = (255, 10, 0)
    images.write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), image)
    blue_green_red = cv2.imread(str(tmp_path / "a.png"))
    assert blue_green_red[0, 0].tolist() == [0, 10, 255]


def test_grey_alpha_and_16_bit_images_become_8_bit_rgb(tmp_path, image):
    grey = image[:, :, 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(images.read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([image[:, :, ::-1], grey]))
    np.testing.assert_array_equal(images.read_image(tmp_path / "alpha.png"), image)
    cv2.imwrite(str(tmp_path / "deep.png"), image[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(images.read_image(tmp_path / "deep.png"), image)


def test_mask_is_one_where_the_image_is_white(tmp_path):
    mask = np.zeros((4, 5, 3), np.uint8)
    mask[1, 2] = 255
    images.write_image(tmp_path / "m.png", mask)
    read = images.read_mask(tmp_path / "m.png")
    assert read.shape == (4, 5)
    assert read[1, 2] == read.sum() == 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.97])
def test_truncated_image_is_one_clear_error(tmp_path, image, name, share):
    path = tmp_path / name
    images.write_image(path, image)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)


def test_a_file_is_judged_by_its_content_not_by_its_suffix(tmp_path, image):
    images.write_image(tmp_path / "a.jpg", image)
    images.write_image(tmp_path / "a.png", image)
    (tmp_path / "photo.png").write_bytes((tmp_path / "a.jpg").read_bytes())
    assert images.read_image(tmp_path / "photo.png").shape == image.shape
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated PNG"):
        images.read_image(tmp_path / "cut.jpg")


def test_a_header_that_promises_too_many_pixels_is_no_image(tmp_path):
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
        (b"IEND", b""),
    )
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(DataError, match="not a readable image"):
        images.read_image(tmp_path / "a.png")


def test_text_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"not a readable image \(5 bytes\)"):
        images.read_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="cannot read image"):
        images.read_image(tmp_path)


def test_an_image_suffix_that_nothing_writes_is_refused(tmp_path, image):
    with pytest.raises(DataError, match=r"cannot write image .*a\.foo: its suffix must be one of \.png"):
        images.write_image(tmp_path / "a.foo", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            assert temporary.parent == path.parent
            assert temporary.suffix == path.suffix
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_replaces_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "é1")
    files.write_text(path, "é2")
    assert path.read_text(encoding="utf-8") == "é2"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_tensors_survive_the_round_trip(tmp_path):
    tensors = {
        "a": torch.arange(6.0).view(2, 3).t(),
        "b": torch.tensor(1.5),
        "c": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    tensor_files.write_tensors(tmp_path / "a.safetensors", tensors, {"k": "v"})
    read, metadata = tensor_files.read_tensors(tmp_path / "a.safetensors")
    assert metadata == {"k": "v"}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_tensors_are_one_clear_error(tmp_path, share):
    path: Path = tmp_path / "a.safetensors"
    tensor_files.write_tensors(path, {"a": torch.ones(100)}, {})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        tensor_files.read_tensors(path)


def test_texture_that_is_not_there_is_named():
    assert images.scikit_image_texture("chelsea").shape == (300, 451, 3)
    with pytest.raises(DataError, match="carries no image 'lena'"):
        images.scikit_image_texture("lena")


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("openvino:bf16", "openvino-bf16"),
        ("onnxruntime:cuda:fp16", "onnxruntime-cuda-fp16"),
        ("holiday (DIS flow)", "holiday (DIS flow)"),
        ("a/b\\c?.", "a-b-c-"),
        ("...", "-"),
        ("bébé_1.5", "bébé_1.5"),
    ],
)
def test_a_folder_is_named_so_that_every_system_takes_it(name, portable):
    assert portable_name(name) == portable


# --- one process in an output folder --------------------------------------------------------------------

HOLDER = """
import pathlib, sys
from reconet_bench.core.files import claimed
with claimed(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into a folder."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_folder_that_another_process_writes_into_is_refused(tmp_path):
    with holder(tmp_path / "run"), pytest.raises(DataError, match=r"another reconet-bench is writing into .*run"):
        files.claimed(tmp_path / "run").__enter__()
    with files.claimed(tmp_path / "run"), pytest.raises(DataError, match="another reconet-bench"):
        files.claimed(tmp_path / "run").__enter__()


def test_a_dead_process_holds_nothing(tmp_path):
    with holder(tmp_path / "run") as process:
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        process.wait()
        with files.claimed(tmp_path / "run") as folder:
            (folder / "a.txt").write_text("a")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.txt"]


def test_folders_made_for_nothing_are_gone(tmp_path):
    with files.claimed(tmp_path / "reports" / "run"):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyError), files.claimed(tmp_path / "mine"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
