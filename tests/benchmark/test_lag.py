"""Frames that lag behind their content are noticed, and the option that the warning names mends the numbers."""

from __future__ import annotations

import pytest
import torch
from conftest import TranslationClip, picture
from torch import Tensor

import reconet_bench
from reconet_bench import cli
from reconet_bench.benchmark.evaluate import evaluate
from reconet_bench.benchmark.lag import LARGEST, find_lag
from reconet_bench.core.errors import DataError
from reconet_bench.core.images import write_image
from reconet_bench.data.clip import Clip, ClipView
from reconet_bench.data.selection import DEFAULT_VIDEOS, Selection
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models

SIZE, LENGTH = (64, 96), 9


def painted(clip: Clip) -> list[Tensor]:
    """A clip in the style of a shipped model."""
    network = load_checkpoint(shipped_models()["reconet-starry_night"]).network
    with torch.no_grad():
        return [network(clip.frame(index)).clamp(0, 1) for index in range(len(clip))]


def behind(frames: list[Tensor], lag: int) -> list[Tensor]:
    """As a renderer gives them that repeats the first frame ``lag`` times, or drops so many and repeats the last."""
    return [frames[min(max(index - lag, 0), len(frames) - 1)] for index in range(len(frames))]


@pytest.mark.parametrize("video", DEFAULT_VIDEOS)
def test_the_lag_of_stylised_frames_is_found(video):
    clip = Selection(size=(96, 144), frames=12).clip(video)
    frames = painted(clip)
    for lag in range(-LARGEST, LARGEST + 1):
        assert find_lag(clip, behind(frames, lag)) == lag


def test_nothing_is_said_of_a_still_scene_or_of_other_pictures():
    still = TranslationClip(shift=(0.0, 0.0))
    assert find_lag(still, [still.frame(0)] * len(still)) == 0
    moving = TranslationClip(length=10)
    noise = torch.Generator().manual_seed(5)
    assert find_lag(moving, [torch.rand(1, 3, *moving.size, generator=noise) for _ in range(10)]) == 0
    assert find_lag(moving, [torch.zeros(1, 3, *moving.size)] * 10) == 0


@pytest.mark.parametrize("lag", [2, -1])
def test_the_offset_gives_the_numbers_of_frames_in_step(lag):
    clip = Selection(size=SIZE, frames=LENGTH).clip("carousel")
    frames = painted(clip)
    wrong = evaluate("carousel", behind(frames, lag))
    assert wrong.lag == lag
    assert ("2 frames behind" if lag == 2 else "1 frame ahead of") in wrong.warning
    right = evaluate("carousel", behind(frames, lag), offset=lag)
    assert (right.lag, right.warning) == (0, "")
    first, count = max(-lag, 0), LENGTH - abs(lag)
    expected = evaluate("carousel", frames).outcomes["temporal_error"].samples
    got = right.outcomes["temporal_error"].samples
    assert got == pytest.approx({index: expected[index + first] for index in range(count - 1)})
    assert wrong.estimates["temporal_error"].value > 1.05 * right.estimates["temporal_error"].value


def test_an_offset_that_leaves_nothing_is_one_error():
    clip = Selection(size=SIZE, frames=3).clip("carousel")
    frames = [clip.frame(index) for index in range(3)]
    for offset in (2, -2, 9, -9):
        with pytest.raises(DataError, match="at least two frames are needed"):
            evaluate("carousel", frames, offset=offset)


def test_a_view_from_a_later_frame_keeps_what_belongs_to_it():
    clip = TranslationClip(length=8)
    part = ClipView(clip, frames=5, first=2)
    assert (len(part), part.starts(), part.adjacent(), part.label(0)) == (5, [0, 1, 2, 3], [0, 1, 2, 3], "0003")
    assert torch.equal(part.frame(1), clip.frame(3))
    assert len(ClipView(clip, first=2)) == 6


def test_the_command_and_python_warn(tmp_path, capsys):
    for number in range(10):
        image = picture(number, (4.0, 2.0))
        write_image(tmp_path / "content" / f"{number:02d}.png", image)
        write_image(tmp_path / "stylised" / f"{number:02d}.png", picture(max(number - 2, 0), (4.0, 2.0)))
    words = ["evaluate", "--stylized", str(tmp_path / "stylised"), "--video", str(tmp_path / "content"), "--json"]
    cli.main(words)
    said = capsys.readouterr().err
    assert "seem to be 2 frames behind the content, so their numbers are wrong: give --offset 2" in said
    cli.main([*words, "--offset", "2"])
    assert "--offset" not in capsys.readouterr().err
    cli.main([*words, "--offset", "1"])
    assert "1 frame behind the content" in (said := capsys.readouterr().err)
    assert "give --offset 2" in said
    with pytest.warns(UserWarning, match="2 frames behind the content, so their numbers are wrong: leave out frames"):
        reconet_bench.measure(tmp_path / "content", tmp_path / "stylised")
