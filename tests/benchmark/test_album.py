"""Pictures: the heat map is zero where nothing flickers, a page's weight is kept, what comes back is found."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from conftest import SIZE, TranslationClip

from reconet_bench.benchmark.album import DETAIL, UNTRACEABLE, Album, encode, find_return, heat_map
from reconet_bench.core.images import read_image
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.clip import Motion


def frames_of(clip) -> list[np.ndarray]:
    return [to_uint8(clip.frame(i))[0] for i in range(len(clip))]


def test_frames_that_move_as_they_should_are_dark_and_a_flash_is_bright():
    clip = TranslationClip(shift=(2.0, 1.0), length=3)
    frames = frames_of(clip)
    heat = heat_map(clip, frames, 0)
    traceable = clip.motion(0).mask[0, 0].numpy() > 0
    assert heat[traceable].max() <= 12, "rounding to 8 bits alone"
    assert (heat[~traceable] == UNTRACEABLE).all()
    frames[1] = np.clip(frames[1].astype(int) + 70, 0, 255).astype(np.uint8)
    assert heat_map(clip, frames, 0)[traceable].mean() > 100
    assert heat_map(clip, frames, 2) is None, "no next frame"


def test_the_album_is_laid_out_as_the_report_finds_it(tmp_path):
    from reconet_bench.report.player import find_clips

    clip = TranslationClip(length=4)
    album = Album(tmp_path, 8)
    album.add_content(clip, frames_of(clip))
    album.add("model", clip, frames_of(clip))
    (found,), problems = find_clips(tmp_path, [clip.name], ["model"])
    assert problems == []
    assert found.numbers == [1, 2, 3, 4]
    assert list(found.errors["model"]) == [1, 2, 3]
    assert read_image(found.content[1]).shape == (*SIZE, 3)
    assert read_image(found.errors["model"][1]).shape == (SIZE[0] // 2, SIZE[1] // 2, 3)


def test_many_frames_are_lighter_each_and_of_one_quality(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    clip = TranslationClip(length=3)
    sizes = []
    for count in (1, 10_000):
        Album(tmp_path / str(count), count).add_content(clip, [noise] * 3)
        sizes.append({path.stat().st_size for path in (tmp_path / str(count)).rglob("*.webp")})
    assert [len(size) for size in sizes] == [1, 1]
    assert max(sizes[1]) < 0.7 * min(sizes[0])


def test_footage_that_begins_black_is_as_light_as_the_rest_of_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    clip, sizes = TranslationClip(length=3), []
    for first in (noise, np.zeros_like(noise)):
        folder = tmp_path / str(len(sizes))
        Album(folder, 10_000).add_content(clip, [first, noise, noise])
        sizes.append([path.stat().st_size for path in sorted(folder.rglob("*.webp"))][1:])
    assert sizes[0] == sizes[1]


def test_a_wide_frame_is_made_smaller(tmp_path):
    clip = TranslationClip(length=2)
    Album(tmp_path, 2).add_content(clip, [np.zeros((300, 1280, 3), np.uint8)] * 2)
    assert read_image(tmp_path / "content" / clip.name / "0001.webp").shape == (150, 640, 3)


class Hiding(TranslationClip):
    """Nothing moves, and a square is hidden in the frame after next."""

    def motion(self, index: int, step: int = 1) -> Motion:
        mask = torch.ones(1, 1, *SIZE)
        if step == 2:
            mask[..., 5:12, 30:40] = 0
        return Motion(torch.zeros(1, 2, *SIZE), mask)


def test_what_is_hidden_and_comes_back_is_found():
    numbers, (rows, columns) = find_return(Hiding(length=7))
    assert numbers == (0, 2, 5)
    assert rows.start <= 5
    assert rows.stop >= 12
    assert columns.start <= 30
    assert columns.stop >= 40
    assert columns.stop - columns.start == min(DETAIL, SIZE[1])
    assert find_return(TranslationClip(shift=(0, 0), length=7)) is None
    assert find_return(TranslationClip(length=3)) is None


def test_pictures_are_as_opencv_reads_them():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    back = cv2.imdecode(np.frombuffer(encode(image, 75), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert abs(back.astype(int) - image).max() < 12, "red stays red"
