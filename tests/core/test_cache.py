"""The cache: what is used stays, what is not goes first, and nothing else is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reconet_bench import cli
from reconet_bench.core import cache
from reconet_bench.core.errors import DataError
from reconet_bench.runtimes.artifact_cache import recall, remember

KIB = 1024


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(path: Path, days: float, size: int = 4 * KIB) -> Path:
    """A file that was used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    then = time.time() - days * 24 * 3600
    os.utime(path, (then, then))


def name(number: int) -> str:
    return f"{number:064x}"


def test_the_least_recently_used_goes_first(folder, monkeypatch):
    files = [keep(folder / "flow" / f"{name(day)}.safetensors", day) for day in (1, 2, 3, 4)]
    mine = keep(folder / "flow" / "notes.txt", 99)
    monkeypatch.setenv("RECONET_BENCH_CACHE_LIMIT", f"{8 * KIB / 2**30:.10f}")
    cache.mark_used(files[3])
    assert cache.trim() == 2
    assert [path.exists() for path in files] == [True, False, False, True]
    assert mine.exists()
    assert cache.trim() == 0


def test_what_is_read_counts_as_used(folder):
    places = [folder / "onnx" / f"{name(number)}.onnx.sum" for number in (1, 2)]
    for place in places:
        remember(place, b"content")
        age(place, 5)
    assert recall(places[0]) == b"content"
    assert [entry.paths for entry in cache.entries()] == [(places[1],), (places[0],)]


def test_files_of_one_entry_go_together_and_frames_stay_while_they_may_be_read(folder, monkeypatch):
    pair = [keep(folder / "openvino-int8" / f"{name(1)}{suffix}", 3) for suffix in (".xml", ".bin")]
    for number, days in ((2, 0.5), (3, 2)):
        keep(folder / "frames" / name(number) / "000001.png", days)
        age(folder / "frames" / name(number), days)
    monkeypatch.setenv("RECONET_BENCH_CACHE_LIMIT", "0")
    assert cache.trim() == 2
    assert not any(path.exists() for path in pair)
    assert [path.name for path in (folder / "frames").iterdir()] == [name(2)]


@pytest.mark.parametrize("wrong", ["many", "-1", "1e3", "10 GB"])
def test_a_limit_that_is_no_number_is_told_before_the_work(folder, monkeypatch, capsys, wrong):
    monkeypatch.setenv("RECONET_BENCH_CACHE_LIMIT", wrong)
    with pytest.raises(DataError, match="give a number of GiB"):
        cache.trim()
    with pytest.raises(SystemExit) as caught:
        cli.main(["data", "list"])
    assert caught.value.code == 2
    assert f"RECONET_BENCH_CACHE_LIMIT is '{wrong}'" in capsys.readouterr().err


def test_the_command_shows_and_clears(folder, monkeypatch, capsys):
    cli.main(["data", "cache"])
    assert "0.0 MiB of at most 10240 MiB" in capsys.readouterr().out
    keep(folder / "flow" / f"{name(1)}.safetensors", 1, 2 * 2**20)
    keep(folder / "auto" / f"{name(2)}.json", 1, 2**20)
    mine = keep(folder / "flow" / "notes.txt", 1)
    cli.main(["data", "cache"])
    said = capsys.readouterr().out
    assert "1 kept, 2.0 MiB" in said
    assert "3.0 MiB of at most" in said
    monkeypatch.setenv("RECONET_BENCH_CACHE_LIMIT", f"{1.5 / 1024:.6f}")
    cli.main(["data", "list"])
    assert len(cache.entries()) == 1, "every command leaves the cache within its limit"
    cli.main(["data", "cache", "--clear"])
    assert cache.entries() == []
    assert mine.exists()
    with pytest.raises(SystemExit):
        cli.main(["data", "list", "--clear"])
    assert "--clear is for 'data cache'" in capsys.readouterr().err
