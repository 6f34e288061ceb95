"""Footage to train on: found, brought to size once, with motion that is right; and mixtures by weight."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip, scene
from conftest import TranslationClip, picture

from reconet_bench.core.errors import DataError, ModelError, TrainingError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.core.machine import cache_folder
from reconet_bench.core.ops import LUMINANCE_ANIMATION, LUMINANCE_CAMERA, to_uint8, warp
from reconet_bench.data.flow.base import ESTIMATORS, EstimatedClip
from reconet_bench.models.loading import trained_on
from reconet_bench.training import footage_cache
from reconet_bench.training.crops import ClipCrops, Mixture, RandomScenes
from reconet_bench.training.data import DataOptions, check_used, training_data
from reconet_bench.training.footage_cache import CachedFootage, footage_clips

SIZE = (96, 128)


@pytest.fixture
def film(tmp_path) -> Path:
    """Ten frames of a pan, one pixel to the left a frame."""
    (tmp_path / "footage").mkdir()
    return make_clip(tmp_path / "footage" / "pan.mp4", range(0, 24 * 10, 24), SIZE)


def frames_folder(folder: Path, count: int, size: tuple[int, int] = SIZE) -> Path:
    for number in range(count):
        write_image(folder / f"shot_{number:03d}.png", picture(number, (2.0, 1.0), size))
    return folder


def test_a_video_becomes_small_frames_once(film, monkeypatch):
    clip = CachedFootage(film, 48)
    assert (clip.name, clip.source, len(clip), clip.size) == ("pan", "footage", 10, (48, 64))
    assert clip.luminance == LUMINANCE_CAMERA
    assert clip.adjacent() == list(range(9))
    assert clip.starts() == []
    for number in (0, 9):
        small = to_uint8(clip.frame(number))[0].astype(int)
        whole = scene(number, SIZE).reshape(48, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(small - whole).mean() < 3
    monkeypatch.setattr(footage_cache, "open_source", lambda path: pytest.fail("it was read before"))
    again = CachedFootage(film, 48)
    assert torch.equal(again.frame(4), clip.frame(4))


def test_another_file_under_the_same_name_is_read_anew(film):
    before = CachedFootage(film, 48)
    make_clip(film, range(0, 24 * 7, 24), SIZE)
    assert (len(before), len(CachedFootage(film, 48))) == (10, 7)
    assert CachedFootage(film, 32).size == (32, 43)
    assert CachedFootage(film, 500).size == SIZE, "small footage is not enlarged"


def test_of_a_long_video_runs_are_kept_evenly_spread(film, monkeypatch):
    monkeypatch.setattr(footage_cache, "MAX_FRAMES", 12)
    long = make_clip(film.with_name("long.mp4"), range(0, 24 * 40, 24), SIZE)
    clip = CachedFootage(long, 48)
    assert [int(clip.label(i)) for i in range(len(clip))] == [*range(1, 7), *range(25, 31)]
    assert clip.adjacent() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert EstimatedClip(clip, "dis").starts(5) == [0, 6], "no pair goes over what was left out"


def test_estimated_motion_of_footage_is_that_of_the_pan(film):
    data = training_data("footage", DataOptions(48, footage=(film,)))
    moved = still = 0.0
    for index in range(6):
        frames, flows, masks, coefficients = data[index]
        assert frames.shape == (3, 3, 48, 48)
        assert coefficients.tolist() == pytest.approx(LUMINANCE_CAMERA)
        warped, _ = warp(frames[1:], flows)
        moved += float(((warped - frames[:1]).abs() * masks).sum() / masks.sum())
        still += float(((frames[1:] - frames[:1]).abs() * masks).sum() / masks.sum())
    assert moved < 0.3 * still
    assert list((cache_folder() / "flow").glob("*.safetensors")), "motion is kept on disk"


def test_what_footage_says_of_itself(film):
    frames_folder(film.parent / "holiday", 7)
    data = training_data("footage", DataOptions(32, footage=(film.parent,)))
    told = data.describe()
    assert told == {
        "name": "footage",
        "windows": 5 + 2,
        "sequences": ["holiday", "pan"],
        "motion": "estimated flow (dis)",
    }
    assert trained_on({"data": told}) == {"footage:holiday", "footage:pan"}


def test_sintel_given_as_footage_is_still_known_as_sintel(tiny_sintel, film):
    """True flow is kept, a sequence without it is estimated, and either is marked when it is measured later."""
    for folder in ("flow/bandage_1", "occlusions/bandage_1"):
        shutil.rmtree(tiny_sintel / "training" / folder)
    places = (tiny_sintel / "training" / "clean" / "alley_2", tiny_sintel / "training" / "clean" / "bandage_1", film)
    data = training_data("footage", DataOptions(32, footage=places))
    told = data.describe()
    assert trained_on({"data": told}) == {"sintel:alley_2", "sintel:bandage_1", "footage:pan"}
    by_name = dict(data.clips)
    assert not isinstance(by_name["alley_2"], EstimatedClip)
    assert by_name["bandage_1"].flow == "dis"
    assert by_name["bandage_1"].luminance == LUMINANCE_ANIMATION
    whole = footage_clips([tiny_sintel], 32)
    assert {clip.name for clip in whole} == {"alley_1", "alley_2", "bandage_1", "cave_2"}, "masks are no footage"


def test_a_model_is_marked_on_every_part_of_its_mixture():
    told = {
        "name": "footage:1 sintel:1",
        "parts": [
            {"name": "sintel-clean", "sequences": ["alley_1"]},
            {"name": "footage", "sequences": ["pan"]},
            {"name": "synthetic", "sequences": []},
        ],
    }
    assert trained_on({"data": told}) == {"sintel:alley_1", "footage:pan"}
    final = {"name": "sintel-final", "sequences": ["cave_2"]}
    assert trained_on({"data": final}) == {"sintel:cave_2"}
    branch = {"data": told, "trunk": {"data": final, "trunk": {"data": {"name": "footage", "sequences": ["old"]}}}}
    assert trained_on(branch) == {"sintel:alley_1", "sintel:cave_2", "footage:pan", "footage:old"}, (
        "nor is what its trunk saw forgotten"
    )
    assert trained_on({}) == frozenset()


def test_a_mixture_takes_its_parts_by_weight(tiny_sintel, film):
    options = DataOptions(32, 3, sintel=tiny_sintel, footage=(film,))
    data = training_data("sintel:3 footage:1", options)
    sintel, footage = training_data("sintel", options), training_data("footage", options)
    assert isinstance(data, Mixture)
    assert data.size == 32
    drawn: Counter[str] = Counter()
    for index in range(200):
        window = data[index]
        of = sintel if window[3].tolist() == pytest.approx(LUMINANCE_ANIMATION) else footage
        drawn["sintel" if of is sintel else "footage"] += 1
        assert all(torch.equal(a, b) for a, b in zip(window, of[index], strict=True)), (
            "a sample depends on seed and number alone"
        )
    assert 130 <= drawn["sintel"] <= 170  # 150 expected, standard deviation 6
    told = data.describe()
    assert told["name"] == "sintel:3 footage:1"
    assert trained_on({"data": told}) == {"sintel:bandage_1", "footage:pan"}
    assert not all(
        torch.equal(a[0], b[0])
        for a, b in zip((data[i] for i in range(5)), (Mixture(4, data.parts)[i] for i in range(5)), strict=True)
    )
    assert isinstance(training_data("synthetic:5", options), RandomScenes), "one part is no mixture"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sintel:0", "data must be NAME or NAME:WEIGHT with a weight above zero, got 'sintel:0'"),
        ("synthetic:2 sintel:-1", "got 'sintel:-1'"),
        ("sintel:nan", "got 'sintel:nan'"),
        ("sintel:much", "got 'sintel:much'"),
        ("sintel:", "got 'sintel:'"),
        ("synthetic synthetic:2", "data names 'synthetic' twice"),
        ("", "unknown training data ''"),
        ("syntetic:1", "unknown training data 'syntetic': did you mean 'synthetic'"),
        ("footage", "footage to train on is given by --footage DIR|FILE"),
    ],
)
def test_slips_in_mixtures_are_named(text, message):
    with pytest.raises((TrainingError, UnknownName)) as caught:
        training_data(text, DataOptions(32))
    assert message in str(caught.value)


def test_footage_that_is_none_is_one_line(tmp_path, film):
    def fails(*places: Path, **change: object) -> str:
        with pytest.raises((DataError, UnknownName, ModelError)) as caught:
            training_data("footage", replace(DataOptions(32, footage=places), **change))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert fails(tmp_path / "empty").startswith(f"no footage in {tmp_path / 'empty'}: it has neither videos (.mp4")
    assert fails(tmp_path / "none") == f"no such footage: {tmp_path / 'none'}"
    one = make_clip(tmp_path / "one.mp4", [0], SIZE)
    assert "(one: 1 frames): give clips with at least 6 consecutive frames with flow" in fails(one)
    image = frames_folder(tmp_path / "still", 1) / "shot_000.png"
    assert "is one image: footage is a video or a folder of frames" in fails(image)
    assert "(still: 1 frames)" in fails(tmp_path / "still")
    (tmp_path / "notes.mp4").write_text("no film")
    assert "notes.mp4: not a readable video" in fails(film, tmp_path / "notes.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:-400])
    assert "cut.mp4: " in fails(cut)
    mixed = frames_folder(tmp_path / "mixed", 7)
    write_image(mixed / "shot_003.png", picture(3, (2.0, 1.0), (60, 60)))
    assert "shot_003.png: frame is 60x60, the first is 128x96" in fails(mixed)
    (mixed / "shot_003.png").write_bytes(b"no picture")
    assert "shot_003.png: not a readable image" in fails(mixed)
    assert "unknown flow estimator 'dsi': did you mean 'dis'" in fails(film, flow="dsi")
    assert "no RAFT weights" in fails(film, flow="raft")
    assert not [p for p in (cache_folder() / "frames").iterdir() if p.name.startswith(".")], "nothing half-written"


def test_short_clips_among_long_ones_are_left_out(film):
    make_clip(film.with_name("short.mp4"), range(0, 24 * 3, 24), SIZE)
    assert training_data("footage", DataOptions(32, footage=(film.parent,))).describe()["sequences"] == ["pan"]


def test_a_digest_tells_other_files_and_not_another_place(film, tmp_path):
    def digest(path: Path) -> str:
        (clip,) = footage_clips([path], 32)
        return clip.digest

    first = digest(film)
    shutil.copytree(film.parent, tmp_path / "moved")
    assert digest(tmp_path / "moved" / film.name) == first
    (other := tmp_path / "other" / film.name).parent.mkdir()
    data = bytearray(film.read_bytes())
    other.write_bytes(bytes(data) + b" ")
    assert digest(other) != first
    photos = tmp_path / "photos"
    write_image(photos / "a.bmp", picture(0, (0.0, 0.0), (64, 64)))
    before = RandomScenes(32, 0, photos).digest()
    shutil.copytree(photos, tmp_path / "elsewhere" / "photos")
    assert RandomScenes(32, 0, tmp_path / "elsewhere" / "photos").digest() == before
    write_image(photos / "a.bmp", picture(1, (3.0, 0.0), (64, 64)))
    assert RandomScenes(32, 0, photos).digest() != before
    assert RandomScenes(32, 0).digest() == ""
    mixed = [
        Mixture(0, {"synthetic": (RandomScenes(32, 0, folder), 1.0)}).digest()
        for folder in (photos, tmp_path / "elsewhere" / "photos")
    ]
    assert mixed[0] != mixed[1]


def test_footage_may_be_drawn(film):
    data = training_data("footage", DataOptions(32, footage=(film,), luminance="animation"))
    assert tuple(round(value, 4) for value in data[0][3].tolist()) == LUMINANCE_ANIMATION
    assert data.describe()["luminance"] == "animation"
    assert "luminance" not in training_data("footage", DataOptions(32, footage=(film,))).describe()


def test_an_estimator_that_holds_a_gpu_is_done_before_the_loaders_begin(film, monkeypatch):
    monkeypatch.setattr(ESTIMATORS["dis"], "in_workers", False, raising=False)
    (clip,) = footage_clips([film], 32)
    monkeypatch.setattr(clip, "_estimate", lambda first, second: pytest.fail("estimated in a worker"))
    clip._step.cache_clear()
    ClipCrops(32, 0, [clip])[0]
    assert not ESTIMATORS["raft"].in_workers


def test_windows_of_several_clips_carry_their_own_luminance():
    camera = TranslationClip((2.0, 1.0), name="camera")
    camera.luminance = LUMINANCE_CAMERA
    data = ClipCrops(32, 0, [camera, TranslationClip((1.0, 1.0), name="drawn")])
    assert {tuple(round(v, 4) for v in data[i][3].tolist()) for i in range(20)} == {
        LUMINANCE_CAMERA,
        LUMINANCE_ANIMATION,
    }


@pytest.mark.parametrize(
    ("given", "data", "source"),
    [
        ({"footage": (Path("x"),)}, "synthetic", "footage"),
        ({"sintel": Path("x")}, "footage:2", "sintel"),
        ({"textures": Path(__file__).parent}, "sintel", "synthetic"),
        ({"raft": Path("x")}, "synthetic", "footage"),
    ],
)
def test_data_that_would_not_be_trained_on_is_told(given, data, source):
    with pytest.raises(
        TrainingError, match=f"--{next(iter(given))} has no effect with --data {data}: give --data {source}"
    ):
        check_used(data, DataOptions(64, **given))
    check_used(f"synthetic {source}" if source != "synthetic" else source, DataOptions(64, flow="raft", **given))
