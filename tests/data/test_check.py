"""Broken files are found before any work: each kind, in each source, with its name."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TranslationClip, picture

from reconet_bench import cli
from reconet_bench.core.errors import DataError
from reconet_bench.core.flow_files import flo_size, read_flo, write_flo
from reconet_bench.core.images import image_size, read_image, write_image
from reconet_bench.core.size import Size
from reconet_bench.data.clip import ClipView
from reconet_bench.data.flow.base import EstimatedClip
from reconet_bench.data.footage import FrameFolder
from reconet_bench.data.sintel import SintelClip


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_size_of_an_image_is_that_of_its_pixels(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    write_image(path, picture(0, (0.0, 0.0), (40, 56)))
    assert image_size(path) == Size(*read_image(path).shape[:2]) == Size(40, 56)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"truncated PNG|not a readable image"):
        image_size(path)
    with pytest.raises(DataError, match=r"cannot read image .*No such file"):
        image_size(tmp_path / "none.png")


def test_the_size_of_a_flow_file_is_that_of_its_header(tmp_path):
    path = tmp_path / "a.flo"
    write_flo(path, np.zeros((2, 5, 7), np.float32))
    assert flo_size(path) == Size(*read_flo(path).shape[1:]) == Size(5, 7)
    whole = path.read_bytes()
    for broken, message in ((whole[:-8], "truncated or broken .flo"), (whole[:9], "truncated .flo header")):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=message):
            flo_size(path)
    with pytest.raises(DataError, match="cannot read flow"):
        flo_size(tmp_path / "none.flo")


def spoil(tiny_sintel, fault: str) -> str:
    """Break one file of alley_2; returns what the message must name."""
    training = tiny_sintel / "training"
    frame, flow = training / "clean/alley_2/frame_0008.png", training / "flow/alley_2/frame_0006.flo"
    mask = training / "occlusions/alley_2/frame_0006.png"
    if fault == "truncated flow":
        flow.write_bytes(flow.read_bytes()[:-100])
        return "frame_0006.flo: truncated"
    if fault == "missing mask":
        mask.unlink()
        return f"missing mask {mask}"
    if fault == "mask of another size":
        write_image(mask, np.zeros((8, 9, 3), np.uint8))
        return "frame_0006.png: mask is 9x8"
    if fault == "truncated frame":
        frame.write_bytes(frame.read_bytes()[:300])
        return "frame_0008.png: truncated PNG"
    write_image(frame, picture(0, (0.0, 0.0), (40, 48)))
    return "frame_0008.png: frame is 48x40"


FAULTS = ["truncated flow", "missing mask", "mask of another size", "truncated frame", "last frame of another size"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_sequence_ends_a_comparison_before_a_model_is_loaded(
    tiny_sintel, tmp_path, capsys, monkeypatch, fault
):
    said = spoil(tiny_sintel, fault)
    monkeypatch.setattr("reconet_bench.models.loading.load_all", lambda *_: pytest.fail("a model was loaded"))
    words = ["compare", "--sintel", str(tiny_sintel), "--data", "sintel", "--videos", "alley_2"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--output", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_a_part_does_not_use_are_not_looked_at(tiny_sintel, fault):
    whole = SintelClip(tiny_sintel, "alley_2")
    whole.check(range(len(whole)))
    spoil(tiny_sintel, fault)
    part = ClipView(SintelClip(tiny_sintel, "alley_2"), frames=4)
    part.check(range(len(part)))
    with pytest.raises(DataError):
        SintelClip(tiny_sintel, "alley_2").check(range(8))


def test_a_folder_of_frames_and_estimated_motion_are_looked_at_too(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", picture(number, (1.0, 0.0), (40, 56)))
    write_image(tmp_path / "3.png", picture(3, (1.0, 0.0), (40, 48)))
    clip = EstimatedClip(FrameFolder(tmp_path), "dis")
    clip.check([0, 1, 2])
    with pytest.raises(DataError, match=r"3.png: frame is 48x40, the first is 56x40"):
        clip.check(range(len(clip)))
    TranslationClip().check([0, 1])
