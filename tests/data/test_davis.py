"""DAVIS in its own layout: found by name, by folder and as a whole; gaps and sizes are seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import scene
from conftest import SIZE

from reconet_bench import cli
from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.data.davis import DavisClip, find_davis
from reconet_bench.data.download import Verified, verify
from reconet_bench.data.flow.base import EstimatedClip
from reconet_bench.data.selection import Selection
from reconet_bench.report.run import load_run

#: Sequences and their frames; ``camel`` has a gap, ``lone`` is no clip.
SEQUENCES = {"bmx-trees": range(3), "camel": (0, 1, 3, 4), "lone": (0,)}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A small DAVIS, and a working folder without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONET_BENCH_DAVIS", raising=False)
    for name, numbers in SEQUENCES.items():
        for number in numbers:
            write_image(tmp_path / "set" / "JPEGImages" / "480p" / name / f"{number:05d}.jpg", scene(number))
            write_image(tmp_path / "set" / "Annotations" / "480p" / name / f"{number:05d}.png", scene(0, (3, 5)))
    return tmp_path / "set"


def names(*arguments: str, **settings: object) -> list[str]:
    return [clip.title for clip in Selection(**settings).clips(arguments)]


def test_a_sequence_is_found_by_name_folder_and_as_a_whole(root):
    both = ["bmx-trees (DIS flow)", "camel (DIS flow)"]
    assert names(data=str(root)) == names(data="davis", davis=root) == names(str(root)) == both
    assert names("camel", data=str(root)) == names(str(root / "JPEGImages" / "480p" / "camel")) == ["camel (DIS flow)"]
    clip = Selection(flow="none").clip(str(root / "JPEGImages" / "480p" / "camel"))
    assert (type(clip), clip.source, clip.size, len(clip)) == (DavisClip, "davis", SIZE, 4)


def test_it_is_looked_for_where_fetch_puts_it_and_where_the_environment_says(root, tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match=r"looked for 'JPEGImages/480p' in data/DAVIS\*\): get it with reconet-bench data fetch davis"
    ):
        find_davis()
    with pytest.raises(DataError, match=r"'camel' is not a built-in clip .* MPI-Sintel not found"):
        Selection().clip("camel")
    monkeypatch.setenv("RECONET_BENCH_DAVIS", str(root))
    assert find_davis() == root
    assert names("camel") == ["camel (DIS flow)"]
    monkeypatch.delenv("RECONET_BENCH_DAVIS")
    (tmp_path / "data").mkdir()
    root.rename(tmp_path / "data" / "DAVIS")
    assert names("camel", "stroll") == ["camel (DIS flow)", "stroll"]


def test_nothing_is_compared_across_a_gap(root):
    clip = Selection(data=str(root)).clip("camel")
    assert isinstance(clip, EstimatedClip)
    assert clip.starts() == [0, 2]
    assert Selection(data=str(root), frames=3).clip("camel").starts() == [0]


def test_sintel_is_recognised_by_its_layout_too(tiny_sintel):
    assert names(data=str(tiny_sintel)) == names(data="sintel", sintel=tiny_sintel)
    with pytest.raises(DataError, match="contains neither MPI-Sintel"):
        Selection(data=str(tiny_sintel / "training")).clips()


def test_a_name_that_is_not_there_gets_a_list(root):
    with pytest.raises(UnknownName, match=r"'camle': did you mean 'camel'\? known: bmx-trees, camel$"):
        Selection(data=str(root)).clip("camle")
    with pytest.raises(DataError, match="at least two frames are needed"):
        Selection(data=str(root)).clip("lone")


def test_compare_measures_it_and_marks_the_rows(root, tmp_path):
    cli.main(
        [
            "compare",
            "--data",
            str(root),
            "--videos",
            "camel",
            "--methods",
            "identity",
            "--runtimes",
            "torch",
            "--device",
            "cpu",
            "--threads",
            "1",
            "--rounds",
            "0",
            "--no-pictures",
            "-o",
            str(tmp_path / "run"),
        ]
    )
    (record,) = [record for record in load_run(tmp_path / "run").records if record.metric == "temporal_error"]
    assert (record.clip, record.source, record.flow, record.n) == ("camel (DIS flow)", "davis", "dis", 2)


def test_verify_sees_gaps_sizes_and_broken_files(root, capsys):
    assert verify(root) == Verified(16, 0, ["JPEGImages/480p/camel/00002.jpg: missing"])
    write_image(root / "JPEGImages" / "480p" / "camel" / "00002.jpg", scene(2))
    cli.main(["data", "verify", "davis", "-o", str(root)])
    assert "17 files, all readable" in capsys.readouterr().out.replace("\n", " ")
    write_image(root / "JPEGImages" / "480p" / "camel" / "00003.jpg", scene(3, (40, 50)))
    cut = root / "JPEGImages" / "480p" / "bmx-trees" / "00001.jpg"
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(SystemExit) as caught:
        cli.main(["data", "verify", "davis", "-o", str(root)])
    printed = " ".join(capsys.readouterr().err.split())
    assert caught.value.code == 2
    assert "JPEGImages/480p/camel/00003.jpg: 50x40, the first is 56x40" in printed
    assert "00001.jpg" in printed
