"""``doctor``: what is broken is named with what to do, and nothing hides it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconet_bench import cli
from reconet_bench.checks.base import CHECKS, Check, Finding, Outcome, ok, timed
from reconet_bench.commands.doctor import _block
from reconet_bench.models import checkpoint, finding
from reconet_bench.models.finding import shipped_folder
from reconet_bench.video import writer


def findings(name: str, full: bool = False) -> dict[str, Finding]:
    return {found.what: found for found in timed(CHECKS[name], full)}


def test_a_cache_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    found = findings("files")["cache folder"]
    assert found.outcome is Outcome.FAILED
    assert "RECONET_BENCH_CACHE" in found.remedy


def test_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=10**9))
    found = findings("files")["cache folder"]
    assert (found.outcome, found.remedy) == (Outcome.WARNING, "make room: reconet-bench data cache --clear")


def test_a_corrupt_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "reconet-small-starry_night.safetensors"
    (tmp_path / name).write_bytes((shipped_folder() / name).read_bytes()[:5000])
    for module in (checkpoint, finding):
        monkeypatch.setattr(module, "shipped_folder", lambda: tmp_path)
    found = findings("files")[f"model {Path(name).stem}"]
    assert found.outcome is Outcome.FAILED
    assert name in found.found
    assert "install the package again" in found.remedy


def test_a_codec_that_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(writer.ENCODERS, "hevc", ("no_such_encoder", {}))
    found = findings("footage")
    assert found["hevc"].outcome is Outcome.FAILED
    assert "force-reinstall av" in found["hevc"].remedy
    assert {found[name].outcome for name in ("h264", "vp9", "gif")} == {Outcome.OK}


def test_training_learns_in_each_precision() -> None:
    found = findings("training", full=True)
    assert found["training in fp32"].outcome is Outcome.OK
    assert found["training in bf16"].outcome in (Outcome.OK, Outcome.ABSENT)
    assert not findings("training")


def test_a_check_that_breaks_is_a_finding() -> None:
    class Broken(Check):
        title = "broken"

        def findings(self, full):
            yield ok("first", "fine")
            raise ZeroDivisionError("division\nby zero")

    first, second = timed(Broken(), full=False)
    assert (first.what, first.outcome) == ("first", Outcome.OK)
    assert (second.what, second.outcome, second.found) == ("broken", Outcome.FAILED, "ZeroDivisionError: division")


def test_the_block_for_a_bug_report_has_no_personal_path() -> None:
    block = _block(
        [ok("cache folder", f"{Path.home()}/cache: writable"), ok("reports", f"{Path.cwd()}/reports: writable")]
    )
    assert str(Path.home()) not in block.replace("~", "")
    assert "~/cache" in block
    assert "./reports" in block


@pytest.mark.process
def test_a_broken_openvino_is_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libopenvino.so: cannot open')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(cli.__file__).parents[1]}"}
    command = [sys.executable, "-m", "reconet_bench.cli", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["openvino"]["outcome"] == "failed"
    assert "libopenvino.so: cannot open" in found["openvino"]["found"]
    assert "pip install --force-reinstall openvino" in found["openvino"]["remedy"]
    assert {found[name]["outcome"] for name in ("torch", "onnxruntime", "h264")} == {"ok"}
    assert sum(one["seconds"] for one in found.values()) < 120


@pytest.mark.process
def test_the_table_of_this_installation(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor"])
    shown = capsys.readouterr().out
    assert "shipped models" in shown
    assert "PSNR" in shown
