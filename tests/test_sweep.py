"""How time grows with pixels: real runtimes on a small network, a fit worked out by hand, files that a command leaves."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from reconet_bench import cli
from reconet_bench.errors import DataError, ModelError, RuntimeUnavailable
from reconet_bench.report.growth import plot
from reconet_bench.runtimes.base import RUNTIMES, Model, Session
from reconet_bench.runtimes.pytorch import Torch, TorchSession
from reconet_bench.subjects import Subject
from reconet_bench.sweep import Row, growth, sweep


class Blur(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(frame, 3, 1, 1)


@pytest.fixture
def subject() -> Subject:
    return Subject(Model("blur", Blur(), Path), "reconet", "")


def row(runtime: str, size: tuple[int, int], milliseconds: float, threads: int = 1) -> Row:
    return Row(runtime, "fp32", "cpu", threads, size[1], size[0], milliseconds, 0, 0, 0, 0, 0, "")


def test_every_runtime_size_batch_and_thread_count_has_a_row(subject: Subject) -> None:
    said: list[str] = []
    rows = sweep(subject, [(32, 48), (64, 96)], ["torch", "torch:fp16"], [1, 2], "cpu", 2, said.append, 0.01, batches=(1, 3))
    assert [(r.threads, r.height, r.batch, r.runtime) for r in rows] == [
        (threads, height, batch, "torch") for threads in (1, 2) for height in (32, 64) for batch in (1, 3)
    ]
    for r in rows:
        assert 0 < r.device_ms <= r.p90_ms <= r.p99_ms
        assert r.fps == pytest.approx(1000 / r.device_ms)
        assert r.psnr > 100
        assert "changed output" not in r.note
    skipped = "skipped torch:fp16 at 48x32: torch:fp16 is for GPUs: on a CPU use torch:bf16"
    assert said[:3] == ["timing 48x32 on 1 threads", skipped, "timing 48x32 in batches of 3 on 1 threads"]
    assert said.count(skipped) == 2, "said once for each number of threads"


def test_what_cannot_be_swept_is_said(subject: Subject) -> None:
    with pytest.raises(DataError, match="at least one size"):
        sweep(subject, [], ["torch"])
    with pytest.raises(ModelError, match="no runtime runs 'blur' on cpu"):
        sweep(subject, [(32, 48)], ["torch:fp16"], device="cpu")


class Refusing(TorchSession):
    """Does not take the model, which shows at a frame."""

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        raise ModelError("no such layer")


class Late(TorchSession):
    """Runs, and then gives what is no number where every value is looked at."""

    runtime = "late"

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        return super().infer(x) * (float("nan") if x.shape[-1] == 48 else 1.0)


class Made(Torch):
    """PyTorch by way of another class of session."""

    def __init__(self, kind: type[TorchSession]) -> None:
        self.kind = kind

    def open(self, model: Model, device: torch.device, threads: int) -> Session:
        return self.kind(model, model.network, device, threads)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    list(RUNTIMES)
    for kind in (Refusing, Late):
        monkeypatch.setitem(RUNTIMES._plugins, kind.__name__.lower(), Made(kind))


def test_a_runtime_that_does_not_take_the_model_costs_its_rows_alone(subject: Subject, made: None) -> None:
    said: list[str] = []
    rows = sweep(subject, [(32, 48), (32, 64)], ["torch", "refusing", "late"], [1], "cpu", 1, said.append, 0.01)
    assert [(row.runtime, row.width) for row in rows] == [("torch", 48), ("torch", 64), ("late", 64)]
    assert "skipped refusing at 48x32: no such layer" in said
    assert "skipped late at 48x32: 'blur' in late: the output is not finite" in said


def test_a_reference_that_fails_costs_the_parity_and_no_runtime(subject: Subject, made: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconet_bench.sweep.reference_runtime", lambda model: ("late", None))
    said: list[str] = []
    rows = sweep(subject, [(32, 48), (32, 64)], ["torch"], [1], "cpu", 1, said.append, 0.01)
    assert [(row.width, row.psnr is None) for row in rows] == [(48, True), (64, False)]
    assert rows[0].note.startswith("no parity, the reference failed: 'blur' in late: the output is not finite")
    assert not [line for line in said if line.startswith("skipped")]


def test_auto_that_finds_nothing_at_a_size_costs_that_row(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeUnavailable("no runtime passes")

    monkeypatch.setattr("reconet_bench.sweep.choose_runtime", none)
    said: list[str] = []
    assert [row.runtime for row in sweep(subject, [(32, 48)], ["auto", "torch"], [1], "cpu", 1, said.append, 0.01)] == ["torch"]
    assert "skipped auto at 48x32: no runtime passes" in said


def test_growth_is_the_slope_in_logarithms() -> None:
    """time = 2 · pixels^1.5 in one runtime, 5 ms at any size in another, one size alone in a third."""
    sizes = [(10, 10), (20, 20), (40, 40)]
    rows = [row("steep", (h, w), 2 * (h * w) ** 1.5) for h, w in sizes] + [row("flat", size, 5.0, 2) for size in sizes]
    steep, flat = growth([*rows, row("alone", (10, 10), 1.0)])
    assert (steep.runtime, steep.threads, flat.runtime, flat.threads) == ("steep", 1, "flat", 2)
    assert (steep.exponent, flat.exponent) == (pytest.approx(1.5), pytest.approx(0, abs=1e-9))
    assert steep.ms_per_megapixel == pytest.approx(2 * 1600**1.5 / 1600 * 1e6)


def test_the_plot_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = plot(tmp_path / "sweep.svg", {"torch, 1 threads": [(4000, 2.0), (1000, 1.0)]}, "a title")
    assert "<svg" in path.read_text()
    with pytest.raises(DataError, match=r"no plot .*sweep\.xyz: .*use \.svg"):
        plot(tmp_path / "sweep.xyz", {"torch": [(1, 1.0), (2, 2.0)]}, "a title")
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.svg"]


def test_without_matplotlib_there_is_a_reason_and_no_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match="matplotlib is not installed: pip install matplotlib"):
        plot(tmp_path / "sweep.svg", {}, "")


def test_the_command_leaves_tables_and_provenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "mine.onnx")
    words = ["sweep", str(tmp_path / "mine.onnx"), "--sizes", "16", "24x16", "--runtimes", "onnxruntime", "--threads", "1"]
    cli.main([*words, "--batch", "2", "--device", "cpu", "--rounds", "1", "-o", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "24x16" in printed
    assert "time grows as pixels^" in printed
    with (tmp_path / "out" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [(one["runtime"], one["width"], one["height"], one["batch"]) for one in rows]
    assert found == [("onnxruntime", "16", "16", "2"), ("onnxruntime", "24", "16", "2")]
    assert all(float(one["device_ms"]) > 0 for one in rows)
    assert "| onnxruntime | 1 | 24x16 | 2 |" in (tmp_path / "out" / "sweep.md").read_text()
    assert (tmp_path / "out" / "provenance.json").is_file()
    with pytest.raises(SystemExit) as caught:
        cli.main(["sweep", "--sizes", "8"])
    assert caught.value.code == 2
    assert "at least 16" in capsys.readouterr().err
