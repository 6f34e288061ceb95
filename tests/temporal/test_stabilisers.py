"""Stabilisers: what they do to frames whose motion is known, and as rows of a comparison."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TranslationClip

from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.data.clip import Clip, Motion
from reconet_bench.data.footage import read_stylized
from reconet_bench.data.synthetic import RENDERED, synthetic_clip
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.temporal.base import STABILISERS, Neighbours, ShownFrames, Stabilisation
from reconet_bench.temporal.history import FrameHistory, MotionEstimator, glance, is_cut


def cut(now: np.ndarray, before: np.ndarray) -> bool:
    return is_cut(glance(now), glance(before))


def neighbours(motion: Motion | None, change: float = 0.0) -> Neighbours:
    """A frame whose past moved by two pixels to the right; the content changed by ``change`` in each channel."""
    past = torch.rand(1, 3, 24, 32, generator=torch.manual_seed(0))
    now = torch.rand(1, 3, 24, 32, generator=torch.manual_seed(1))
    content = torch.full((1, 3, 24, 32), 0.5)
    return Neighbours(now, past, content, content + change, motion)


def moved(mask: float = 1.0) -> Motion:
    flow = torch.tensor((-2.0, 0.0)).view(1, 2, 1, 1).expand(1, 2, 24, 32).contiguous()
    return Motion(flow, torch.full((1, 1, 24, 32), mask))


def test_blend_mixes_in_what_came_from_there() -> None:
    frames = neighbours(moved())
    mixed = STABILISERS["blend"].mix(frames, 0.75)
    expected = 0.75 * frames.shown[..., :-2] + 0.25 * frames.stylized[..., 2:]
    assert torch.allclose(mixed[..., 2:], expected, atol=1e-5)
    assert torch.equal(mixed[..., :2], frames.stylized[..., :2]), "nothing came from outside of the frame"


def test_blend_leaves_alone_what_cannot_be_traced_and_what_changed() -> None:
    hidden = neighbours(moved(mask=0))
    assert torch.equal(STABILISERS["blend"].mix(hidden, 0.9), hidden.stylized)
    for change, weight in ((0.1, np.exp(-10 * 0.03)), (0.5, np.exp(-10 * 0.75))):
        frames = neighbours(moved(), change)
        mixed = STABILISERS["blend"].mix(frames, 0.5)[..., 2:]
        w = 0.5 * weight
        expected = w * frames.shown[..., :-2] + (1 - w) * frames.stylized[..., 2:]
        assert torch.allclose(mixed, expected, atol=1e-5)


def test_average_ignores_motion_and_no_strength_is_no_change() -> None:
    frames = neighbours(None)
    mixed = STABILISERS["average"].mix(frames, 0.3)
    assert torch.allclose(mixed, 0.3 * frames.shown + 0.7 * frames.stylized)
    for name in STABILISERS:
        frames = neighbours(moved())
        assert torch.equal(STABILISERS[name].mix(frames, 0.0), frames.stylized)


def shown(clip: Clip, name: str, noise: float = 0.1) -> list[torch.Tensor]:
    """A clip with noise that is new in each frame, stabilised."""
    rng, history = np.random.default_rng(0), FrameHistory(MotionEstimator())
    apply, found = ShownFrames(Stabilisation(name)), []
    for index in range(len(clip)):
        frame = to_uint8(clip.frame(index))[0]
        history.begin(frame)
        flicker = from_uint8(frame) + torch.from_numpy(rng.normal(0, noise, (1, 3, *clip.size))).float()
        found.append(apply(flicker.clamp(0, 1), history))
    return found


def test_both_lower_the_temporal_error_and_blend_keeps_the_content() -> None:
    clip = TranslationClip(size=(96, 128), length=8)
    content = [clip.frame(index) for index in range(len(clip))]
    rng = np.random.default_rng(0)
    plain = [(x + torch.from_numpy(rng.normal(0, 0.1, tuple(x.shape))).float()).clamp(0, 1) for x in content]
    results = {"plain": plain, **{name: shown(clip, name) for name in ("blend", "average")}}

    def measured(name: str, frames: list[torch.Tensor]) -> float:
        samples = METRICS[name].samples(Footage(clip, frames, None))
        return float(METRICS[name].reduce(np.array(list(samples.values()))))

    error = {name: measured("temporal_error", frames) for name, frames in results.items()}
    content_kept = {name: measured("content_similarity", frames) for name, frames in results.items()}
    assert error["blend"] < 0.5 * error["plain"]
    assert content_kept["blend"] > content_kept["plain"] > content_kept["average"]


def test_cuts_are_seen_and_nothing_else_is() -> None:
    clips = {name: [to_uint8(synthetic_clip(name, (64, 112), 12).frame(i))[0] for i in range(12)] for name in RENDERED}
    clips["rush, small"] = [to_uint8(synthetic_clip("rush", (64, 96), 4).frame(i))[0] for i in range(4)]
    for frames in clips.values():
        assert not any(cut(after, before) for before, after in itertools.pairwise(frames))
    del clips["rush, small"]
    names = list(clips)
    pairs = [(a, b) for a in names for b in names if a != b]
    assert sum(cut(clips[a][0], clips[b][-1]) for a, b in pairs) >= 0.8 * len(pairs)
    flash = clips["stroll"][0] // 2
    assert not cut(flash, clips["stroll"][0])
    assert not cut(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8))


def test_cuts_in_real_footage(shared_data: Path) -> None:
    clips = shared_data / "clips"
    names = ("bmx-trees", "bikes.mp4", "ambush_4")
    frames = {name: [to_uint8(one)[0] for one in read_stylized(clips / name, 40)] for name in names}
    cuts = {name: [i for i in range(1, len(seen)) if cut(seen[i], seen[i - 1])] for name, seen in frames.items()}
    assert cuts == {"bmx-trees": [], "bikes.mp4": [30], "ambush_4": []}
    bmx, bikes, ambush = (one[0][:240, :432] for one in frames.values())
    assert cut(bmx, bikes)
    assert cut(bikes, ambush)


def test_a_sequence_begins_anew_after_another_size() -> None:
    history = FrameHistory(MotionEstimator())
    history.begin(np.zeros((32, 32, 3), np.uint8))
    history.begin(np.zeros((32, 32, 3), np.uint8))
    assert history.before is not None
    history.begin(np.zeros((32, 48, 3), np.uint8))
    assert history.before is None
    with pytest.raises(ValueError, match="no frame before"):
        history.flow()
