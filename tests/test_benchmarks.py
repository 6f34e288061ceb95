"""The speed suites are code that people run, so they run here too: shortly, in a folder of their own."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[1]


def suites(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of the suites, so that tables of a real run are kept; the package is the one tested here."""
    shutil.copytree(
        ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    words = (
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        "-q",
        *words,
    )
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        words, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )


def test_every_suite_is_collected(tmp_path):
    done = suites(tmp_path, "benchmarks", "--collect-only")
    assert done.returncode == 0, done.stdout
    for name in (
        "test_memory_is_flat[torch]",
        "test_metrics[256x256]",
        "test_warp",
        "test_stylise[onnxruntime-448x256]",
        "test_a_video_takes_as_long_as_its_network",
    ):
        assert name in done.stdout


def test_runtimes_and_sizes_are_chosen(tmp_path):
    done = suites(
        tmp_path, "benchmarks", "--collect-only", "--runtimes", "ncnn", "openvino:int8", "--sizes", "512", "1024x436"
    )
    found = [line.partition("::")[2] for line in done.stdout.splitlines() if "test_stylise[" in line]
    assert sorted(found) == [
        f"test_stylise[{name}-{size}]" for name in ("ncnn", "openvino:int8") for size in ("1024x436", "512x512")
    ]
    done = suites(tmp_path, "benchmarks", "--collect-only", "--runtimes", "torhc")
    assert "unknown runtime 'torhc': did you mean 'torch'?" in done.stdout + done.stderr


def test_a_run_leaves_its_tables_and_can_be_compared_with(tmp_path):
    short = (
        "benchmarks/test_operations.py",
        "--benchmark-only",
        "--benchmark-max-time=0.01",
        "--benchmark-min-rounds=2",
        "--benchmark-storage=stored",
        "--sizes",
        "64x48",
    )
    done = suites(tmp_path, *short, "--benchmark-save=first")
    assert done.returncode == 0, done.stdout
    with (tmp_path / "reports" / "benchmarks" / "benchmarks.csv").open() as file:
        rows = {row["benchmark"]: row for row in csv.DictReader(file)}
    assert {"test_warp", "test_temporal_error", "test_ssim", "test_render_frame", "test_decode"} <= rows.keys()
    assert all(float(row["median_ms"]) > 0 for row in rows.values())
    assert all(part in row["details"] for row in rows.values() for part in ("p50_ms", "p90_ms", "p99_ms"))
    assert "| test_warp |" in (tmp_path / "reports" / "benchmarks" / "benchmarks.md").read_text()
    done = suites(tmp_path, *short, "-k", "warp", "--benchmark-compare")
    assert done.returncode == 0, done.stdout
    assert "test_warp (NOW)" in done.stdout
    assert "test_warp (0001_first)" in done.stdout
    assert "not like this one" not in done.stderr
    (stored,) = (tmp_path / "stored").rglob("*_first.json")
    stored.write_text(stored.read_text().replace('"python": "', '"python": "9'))
    done = suites(tmp_path, *short, "-k", "warp", "--benchmark-compare")
    assert done.returncode == 0, done.stdout
    assert "The stored run is not like this one: python 9" in done.stderr
    assert "machine_info is different" not in done.stdout + done.stderr
