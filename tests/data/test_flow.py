"""Estimated motion: exact where the answer is known, doubted where it should be, kept for the next time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import TranslationClip, constant_flow

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.machine import cache_folder
from reconet_bench.data.clip import Clip
from reconet_bench.data.flow.base import ESTIMATORS, EstimatedClip, consistency_mask
from reconet_bench.data.sintel import SintelClip
from reconet_bench.metrics.base import Footage
from reconet_bench.metrics.measure import measure_footage, measured_samples

BIG = (96, 128)


def moving(shift: tuple[float, float], length: int = 3) -> Clip:
    return TranslationClip(shift, length, BIG)


def middle(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[..., 20:-20, 20:-20]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, 0.0), (0.0, -2.0), (4.0, 3.0), (0.5, 0.25)])
def test_a_translation_is_found(shift):
    clip = EstimatedClip(moving(shift), "dis")
    motion = clip.motion(0)
    assert (middle(motion.flow) - middle(constant_flow(shift, BIG))).abs().max() < 0.5
    assert (middle(motion.flow) - middle(constant_flow(shift, BIG))).abs().mean() < 0.1
    assert middle(motion.mask).mean() > 0.95
    values = measured_samples(measure_footage(Footage(clip, [clip.frame(i) for i in range(3)])))
    assert max(values["traceable_share"].values()) <= 1
    assert max(values["temporal_error"].values()) < 1e-3


def test_flow_there_and_back_is_trusted_and_disagreement_is_not():
    forward = constant_flow((3.0, 0.0), BIG)
    trusted = consistency_mask(forward, -forward)
    assert trusted[..., :-3].min() == 1, "inside the frame all can be traced"
    assert trusted[..., -3:].max() == 0, "three columns leave it"
    # |F + B|² against 0.01 (|F|² + |B|²) + 0.5: with F = 3 and B = −3 + e the limit is e ≈ 0.81.
    for error, expected in ((0.7, 1), (0.9, 0)):
        assert (
            consistency_mask(forward, -forward + torch.tensor([error, 0.0]).view(1, 2, 1, 1))[..., 40, 40] == expected
        )
    # With F = 10 the share counts more than the floor: the limit is e ≈ 1.67.
    forward = constant_flow((10.0, 0.0), BIG)
    for error, expected in ((1.6, 1), (1.8, 0)):
        backward = -forward - torch.tensor([error, 0.0]).view(1, 2, 1, 1)
        assert consistency_mask(forward, backward)[..., 40, 40] == expected


def test_a_motion_boundary_is_not_trusted():
    """|∇F|² against 0.01 |F|² + 0.002: with |F| = 1 the limit is a step of 0.11 pixels."""
    for step, expected in ((0.10, 1), (0.12, 0)):
        forward = constant_flow((0.0, 1.0), BIG)
        forward[..., 64:] += torch.tensor([step, 0.0]).view(2, 1, 1)
        backward = -forward
        mask = consistency_mask(forward, backward)
        assert mask[0, 0, 40, 63] == expected
        assert mask[0, 0, 40, 62] == mask[0, 0, 40, 66] == 1


def test_what_is_known_of_motion_decides_which_pairs_are_taken(tiny_sintel):
    true = SintelClip(tiny_sintel, "cave_2")
    clip = EstimatedClip(true, "dis")
    assert [clip.starts(step) for step in (1, 2, 5)] == [true.starts(step) for step in (1, 2, 5)]
    assert (clip.title, clip.source) == ("cave_2 (DIS flow)", "sintel-clean")
    (tiny_sintel / "training" / "flow" / "cave_2").rename(tiny_sintel / "elsewhere")
    assert EstimatedClip(SintelClip(tiny_sintel, "cave_2"), "dis").starts() == [0, 1, 3]


def test_motion_over_several_frames_is_composed():
    clip = EstimatedClip(moving((2.0, 1.0), 4), "dis")
    assert (middle(clip.motion(0, 3).flow) - middle(constant_flow((6.0, 3.0), BIG))).abs().mean() < 0.3


def test_what_was_estimated_is_kept_by_content(monkeypatch, tmp_path):
    clip = EstimatedClip(moving((3.0, 0.0)), "dis", cache=tmp_path)
    first = clip.motion(0)
    (kept,) = tmp_path.iterdir()

    def never(*_):
        raise AssertionError("estimated again")

    again = EstimatedClip(moving((3.0, 0.0)), "dis", cache=tmp_path)
    monkeypatch.setattr(again, "_estimate", never)
    assert again.motion(0).flow.equal(first.flow)
    assert again.motion(0).mask.equal(first.mask)
    other = EstimatedClip(moving((2.0, 0.0)), "dis", cache=tmp_path)
    monkeypatch.setattr(other, "_estimate", never)
    with pytest.raises(AssertionError):
        other.motion(0)
    for damage in (b"", kept.read_bytes()[:-50], b"nonsense" * 99):
        kept.write_bytes(damage)
        assert EstimatedClip(moving((3.0, 0.0)), "dis", cache=tmp_path).motion(0).flow.equal(first.flow)


def test_the_cache_is_where_it_belongs(monkeypatch, tmp_path):
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RECONET_BENCH_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "reconet-bench"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (40, 17)])
def test_small_and_odd_frames_have_motion_too(size):
    motion = EstimatedClip(TranslationClip((0.0, 0.0), 2, size), "dis").motion(0)
    assert motion.flow.shape == (1, 2, *size)
    assert motion.flow.isfinite().all()


def test_raft_needs_weights_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="no RAFT weights: give a safetensors file"):
        EstimatedClip(moving((0, 0)), "raft")
    with pytest.raises(ModelError, match="no such file"):
        EstimatedClip(moving((0, 0)), "raft", tmp_path / "none.safetensors")
    with pytest.raises(UnknownName, match="unknown flow estimator 'rafd': did you mean 'raft'"):
        EstimatedClip(moving((0, 0)), "rafd")


def test_weights_of_another_network_are_refused(stand_in_weights):
    with pytest.raises(ModelError, match="not torchvision's RAFT"):
        EstimatedClip(moving((0, 0)), "raft", stand_in_weights)


@pytest.mark.parametrize("estimator", ["dis", pytest.param("raft", marks=pytest.mark.slow)])
def test_real_flow_is_met(shared_data, estimator):
    """End-point error on a real pair; twice what was seen when the test was written."""
    weights = shared_data / "weights" / "raft_small.safetensors"
    if not weights.is_file() or not (shared_data / "sintel" / "training").is_dir():
        pytest.skip("no RAFT weights or no Sintel among the shared data")
    true = SintelClip(shared_data / "sintel", "alley_2")
    clip = EstimatedClip(true, estimator, weights)
    error = (clip.motion(0).flow - true.motion(0).flow).square().sum(1).sqrt().mean()
    assert float(error) < 0.4
    assert np.isfinite(float(clip.motion(0).mask.mean()))


def test_every_estimator_is_listed():
    assert list(ESTIMATORS) == ["dis", "raft"]
