"""MPI-Sintel in its own layout: finding it, reading it, and what is said when a copy is broken or not whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import OCCLUDED, SIZE, TINY_SEQUENCES, picture

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.flow_files import read_flo, write_flo
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import warp
from reconet_bench.data import sintel
from reconet_bench.data.clip import ClipView


@pytest.fixture
def alley(tiny_sintel):
    return sintel.SintelClip(tiny_sintel, "alley_2")


def flow_file(root, name, number):
    return root / "training" / "flow" / name / f"frame_{number:04d}.flo"


def test_the_folder_may_be_given_with_or_without_training(tiny_sintel):
    assert sintel.find_sintel(tiny_sintel) == tiny_sintel
    assert sintel.find_sintel(tiny_sintel / "training") == tiny_sintel


def test_the_folder_may_come_from_the_environment(tiny_sintel, monkeypatch, tmp_path):
    monkeypatch.setenv("RECONET_BENCH_SINTEL", str(tiny_sintel))
    monkeypatch.chdir(tmp_path)
    assert sintel.find_sintel() == tiny_sintel
    with pytest.raises(DataError):  # what is given wins, also where it is wrong
        sintel.find_sintel(tmp_path / "elsewhere")


def test_the_folder_is_found_below_data(tiny_sintel, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    tiny_sintel.rename(tmp_path / "data" / "MPI-Sintel-complete")
    monkeypatch.chdir(tmp_path)
    found = sintel.find_sintel()
    assert found.name == "MPI-Sintel-complete"
    assert "alley_2" in sintel.sequences(found)


def test_not_found_says_where_it_looked_and_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        sintel.find_sintel()
    for part in ("data/MPI-Sintel*", "sintel.is.tue.mpg.de", "--sintel", "RECONET_BENCH_SINTEL"):
        assert part in str(caught.value)
    with pytest.raises(DataError) as caught:
        sintel.find_sintel(tmp_path / "films")
    assert str(tmp_path / "films") in str(caught.value)


def test_sequences_are_those_with_a_pair_to_compare(tiny_sintel):
    assert sintel.sequences(tiny_sintel) == sorted(TINY_SEQUENCES)
    clean = tiny_sintel / "training" / "clean"
    (clean / "shaman_2").mkdir()  # frames, no flow
    write_image(clean / "shaman_2" / "frame_0001.png", picture(0, (0, 0)))
    (clean / "alley_1" / "frame_0002.png").unlink()  # flow, but a single frame
    (clean / "bandage_1" / "frame_0002.png").unlink()
    for number in range(3, 7):
        flow_file(tiny_sintel, "bandage_1", number).unlink()  # the flow that is left belongs to no pair
    assert sintel.sequences(tiny_sintel) == ["alley_2", "cave_2"]
    assert sintel.sequences(tiny_sintel, "final") == ["alley_1", "alley_2", "bandage_1", "cave_2"]
    assert sintel.sequences(tiny_sintel, "albedo") == []


def test_splits_hold_out_what_papers_report_on(tiny_sintel):
    assert set(sintel.HELD_OUT) == {"alley_2", "ambush_5", "bandage_2", "market_6", "temple_2"}
    assert sintel.training_sequences(tiny_sintel) == ["alley_1", "bandage_1", "cave_2"]
    assert sintel.training_sequences(tiny_sintel, split="dissertation") == ["alley_1", "alley_2", "cave_2"]
    assert sintel.training_sequences(tiny_sintel, split="all") == sorted(TINY_SEQUENCES)
    assert sintel.SPLITS["dissertation"] == ("bandage_1",)


def test_unknown_names_list_what_is_there(tiny_sintel):
    with pytest.raises(
        UnknownName,
        match=r"unknown Sintel sequence .*'aley_2': did you mean 'alley_2'\? "
        "known: alley_1, alley_2, bandage_1, cave_2",
    ):
        sintel.SintelClip(tiny_sintel, "aley_2")
    with pytest.raises(UnknownName, match=r"unknown pass 'cleen': did you mean 'clean'"):
        sintel.SintelClip(tiny_sintel, "alley_2", "cleen")
    with pytest.raises(UnknownName, match="unknown pass"):
        sintel.sequences(tiny_sintel, "cleen")
    with pytest.raises(UnknownName, match=r"unknown split 'test': .*known: all, dissertation, train"):
        sintel.training_sequences(tiny_sintel, split="test")


def test_frames_motion_and_masks_are_read_as_written(alley):
    assert (len(alley), alley.size, alley.source) == (8, SIZE, "sintel-clean")
    assert [alley.label(0), alley.label(7)] == ["0001", "0008"]
    frame = alley.frame(2)
    assert frame.shape == (1, 3, *SIZE)
    np.testing.assert_allclose(frame[0].permute(1, 2, 0).numpy() * 255, picture(3, (2.0, 1.0)), atol=1e-4)
    motion = alley.motion(2)
    assert motion.flow[0, :, 5, 5].tolist() == [2, 1]
    expected = torch.ones(SIZE)
    expected[OCCLUDED] = 0
    expected[-1] = 0
    expected[:, -2:] = 0
    assert torch.equal(motion.mask[0, 0], expected)


def test_the_flow_leads_from_a_frame_to_the_next(alley):
    pair = alley.pair(3)
    moved, _ = warp(pair.second, pair.motion.flow)
    assert ((moved - pair.first).abs() * pair.motion.mask).max() < 1e-6
    assert ((pair.second - pair.first).abs() * pair.motion.mask).mean() > 0.02


def test_starts_are_consecutive_frames_with_flow(tiny_sintel):
    alley, gap = sintel.SintelClip(tiny_sintel, "alley_2"), sintel.SintelClip(tiny_sintel, "cave_2")
    assert alley.starts() == [0, 1, 2, 3, 4, 5, 6]
    assert alley.starts(5) == [0, 1, 2]
    assert alley.starts(8) == []
    assert gap.starts() == [0, 1, 3]  # frames 1, 2, 3, 5, 6
    assert gap.starts(2) == [0]
    assert gap.starts(5) == []
    flow_file(tiny_sintel, "alley_2", 4).unlink()
    assert alley.starts() == [0, 1, 2, 4, 5, 6]
    assert alley.starts(3) == [0, 4]


def test_no_motion_across_a_gap_or_beyond_the_end(tiny_sintel):
    gap = sintel.SintelClip(tiny_sintel, "cave_2")
    with pytest.raises(DataError, match="cave_2: no frame 0004, so no motion to it from 0003"):
        gap.motion(2)
    with pytest.raises(DataError, match="no frame 0004"):
        gap.pair(1, 2)
    with pytest.raises(DataError, match="no frame 0007"):
        gap.motion(4)


def test_two_frames_that_do_not_start_at_one(tiny_sintel):
    clip = sintel.SintelClip(tiny_sintel, "alley_1")
    assert (len(clip), clip.starts(), clip.starts(5)) == (2, [0], [])
    assert [clip.label(0), clip.label(1)] == ["0002", "0003"]
    pair = clip.pair(0)
    moved, _ = warp(pair.second, pair.motion.flow)
    assert ((moved - pair.first).abs() * pair.motion.mask).max() < 0.02  # a sub-pixel shift


def test_one_frame_is_too_few(tiny_sintel):
    (tiny_sintel / "training" / "clean" / "alley_1" / "frame_0002.png").unlink()
    with pytest.raises(DataError, match="at least two frames are needed to compare them, found 1"):
        sintel.SintelClip(tiny_sintel, "alley_1")


def test_other_files_in_the_folder_are_no_frames(tiny_sintel):
    folder = tiny_sintel / "training" / "clean" / "alley_1"
    for name in ("._frame_0002.png", "frame_0002.png.part", "Thumbs.db", "my_frame_0007.png"):
        (folder / name).write_bytes(b"")
    assert len(sintel.SintelClip(tiny_sintel, "alley_1")) == 2


def test_composed_motion_of_a_constant_translation(alley):
    motion = alley.motion(1, 5)
    inner = motion.mask[0, 0] == 1
    assert motion.flow[0, 0][inner].unique().tolist() == [10]
    assert motion.flow[0, 1][inner].unique().tolist() == [5]
    # What the occluded block hides at each of the five steps is lost, and so is what leaves the frame.
    expected = torch.ones(SIZE)
    rows, columns = OCCLUDED
    for k in range(5):
        expected[rows.start - k : rows.stop - k, columns.start - 2 * k : columns.stop - 2 * k] = 0
    expected[-5:] = 0
    expected[:, -10:] = 0
    assert torch.equal(inner.float(), expected)
    moved, _ = warp(alley.frame(6), motion.flow)
    assert ((moved - alley.frame(1)).abs() * motion.mask).max() < 1e-6


def test_unknown_flow_is_masked_and_finite(tiny_sintel, alley):
    path = flow_file(tiny_sintel, "alley_2", 1)
    flow = read_flo(path)
    flow[:, 3, 4], flow[0, 3, 5], flow[1, 3, 6] = 1e10, np.nan, -1e10
    write_flo(path, flow)
    motion = alley.motion(0)
    assert motion.flow.isfinite().all()
    assert motion.flow.abs().max() == 2
    assert motion.mask[0, 0, 3, 3:8].tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["occlusions", "invalid"])
def test_a_missing_mask_is_named(tiny_sintel, alley, kind):
    path = tiny_sintel / "training" / kind / "alley_2" / "frame_0002.png"
    path.unlink()
    with pytest.raises(DataError) as caught:
        alley.motion(1)
    assert str(caught.value).startswith(f"missing mask {path}")
    assert alley.motion(0).mask.sum() > 0


def test_flow_mask_and_frame_of_another_size_are_named(tiny_sintel, alley):
    training = tiny_sintel / "training"
    write_flo(flow_file(tiny_sintel, "alley_2", 1), np.zeros((2, 40, 57), np.float32))
    with pytest.raises(DataError, match=r"frame_0001\.flo: flow is 57x40, the frames are 56x40"):
        alley.motion(0)
    write_image(training / "invalid" / "alley_2" / "frame_0002.png", np.zeros((39, 56, 3), np.uint8))
    with pytest.raises(DataError, match=r"frame_0002\.png: mask is 56x39, the frames are 56x40"):
        alley.motion(1)
    write_image(training / "clean" / "alley_2" / "frame_0003.png", np.zeros((40, 55, 3), np.uint8))
    with pytest.raises(DataError, match=r"frame_0003\.png: frame is 55x40, the sequence is 56x40"):
        alley.frame(2)


def test_truncated_files_are_named(tiny_sintel, alley):
    path = flow_file(tiny_sintel, "alley_2", 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"frame_0001\.flo: truncated or broken"):
        alley.motion(0)
    path = tiny_sintel / "training" / "clean" / "alley_2" / "frame_0003.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"frame_0003\.png: truncated PNG"):
        alley.frame(2)


def test_a_view_resizes_frames_and_motion_together(alley):
    view = ClipView(alley, (80, 56), frames=4)
    assert (len(view), view.size, view.starts(), view.starts(5), view.label(3)) == (4, (80, 56), [0, 1, 2], [], "0004")
    pair = view.pair(1)
    assert pair.first.shape == (1, 3, 80, 56)
    assert pair.motion.flow[0, :, 40, 20].tolist() == [2, 2]  # twice as high, as wide as before
    moved, _ = warp(pair.second, pair.motion.flow)
    assert ((moved - pair.first).abs() * pair.motion.mask).max() < 0.02
    assert 0.7 < pair.motion.mask.mean() < 1
    with pytest.raises(DataError, match="alley_2: at least two frames are needed, got 1"):
        ClipView(alley, frames=1)


def test_real_sintel_flow_explains_the_frames(shared_data):
    """On real frames the true flow leaves far less than the frames differ by."""
    folder = shared_data / "sintel"
    if not (folder / "training").is_dir():
        pytest.skip("no sintel/training among the shared data")
    checked = 0
    for render_pass in ("clean", "final"):
        for name in sintel.sequences(folder, render_pass):
            clip = sintel.SintelClip(folder, name, render_pass)
            assert clip.size == (436, 1024)
            pair = clip.pair(clip.starts()[0])
            moved, _ = warp(pair.second, pair.motion.flow)
            residual = ((moved - pair.first).abs() * pair.motion.mask).mean()
            still = ((pair.second - pair.first).abs() * pair.motion.mask).mean()
            assert residual < 0.6 * still, (name, float(residual), float(still))
            assert 0.3 < pair.motion.mask.mean() < 1
            checked += 1
    assert checked >= 4
