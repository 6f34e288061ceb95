"""How time grows with pixels: real runtimes on a small network, a fit worked out by hand, files of the command."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from reconet_bench import cli
from reconet_bench.benchmark import reference_check
from reconet_bench.benchmark.fastest_runtime import Choice
from reconet_bench.benchmark.sweep import SweepPlan, SweepRow, growth, sweep
from reconet_bench.benchmark.timing import TimingOptions
from reconet_bench.core.errors import DataError, ModelError, RuntimeUnavailable
from reconet_bench.core.provenance import checksum
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.models.loading import Model
from reconet_bench.report.sweep_plot import plot
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Session
from reconet_bench.runtimes.pytorch import Torch, TorchSession
from reconet_bench.runtimes.selection import Resources


class Blur(nn.Module):
    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(frame, 3, 1, 1)


@pytest.fixture
def model() -> Model:
    return Model(ModelSource("blur", Blur(), Path), "reconet", "")


def sizes(*pairs: tuple[int, int]) -> list[Size]:
    return [Size(*pair) for pair in pairs]


def quick(rounds: int) -> TimingOptions:
    """Turns of three frames."""
    return TimingOptions(rounds, 0.01)


def one_thread(model: Model, runtimes: list[str], *pairs: tuple[int, int]) -> SweepPlan:
    """One round on one CPU thread."""
    return SweepPlan(model, sizes(*pairs), runtimes, [1], device="cpu", timing=quick(1))


def row(runtime: str, size: tuple[int, int], milliseconds: float, threads: int = 1, note: str = "") -> SweepRow:
    return SweepRow(
        model="blur",
        runtime=runtime,
        precision="fp32",
        device="cpu",
        threads=threads,
        width=size[1],
        height=size[0],
        batch=1,
        device_ms=milliseconds,
        p90_ms=0,
        p99_ms=0,
        end_to_end_ms=0,
        fps=0,
        max_abs=0,
        psnr=0,
        temporal_error_change=0,
        note=note,
    )


def test_every_runtime_size_batch_and_thread_count_has_a_row(model: Model) -> None:
    said: list[str] = []
    plan = SweepPlan(model, sizes((32, 48), (64, 96)), ["torch", "torch:fp16"], [1, 2], (1, 3), "cpu", quick(2))
    result = sweep(plan, said.append, said.append)
    rows = result.rows
    assert [(r.threads, r.height, r.batch, r.runtime) for r in rows] == [
        (threads, height, batch, "torch") for threads in (1, 2) for height in (32, 64) for batch in (1, 3)
    ]
    for r in rows:
        assert 0 < r.device_ms <= r.p90_ms <= r.p99_ms
        assert r.fps == pytest.approx(1000 / r.device_ms)
        assert r.model == "blur"
        assert r.max_abs < 1e-5
        assert r.psnr > 100
        assert r.temporal_error_change == pytest.approx(0, abs=0.1)
        assert "changed output" not in r.note
    skipped = [
        f"torch:fp16 at 48x32 on {count} threads: torch:fp16 is for GPUs: on a CPU use torch:bf16" for count in (1, 2)
    ]
    assert said[:3] == [
        "timing 48x32 on 1 threads",
        f"skipped {skipped[0]}",
        "timing 48x32 in batches of 3 on 1 threads",
    ]
    assert result.skipped == skipped, "said once for each number of threads"


def test_what_cannot_be_swept_is_said(model: Model) -> None:
    with pytest.raises(DataError, match="at least one size"):
        SweepPlan(model, [], ["torch"])
    with pytest.raises(ModelError, match="no runtime runs 'blur' on cpu: torch:fp16 at 48x32: torch:fp16 is for GPUs"):
        sweep(SweepPlan(model, sizes((32, 48)), ["torch:fp16"], device="cpu"))


class Refusing(TorchSession):
    """Does not take the model, which shows at a frame."""

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        raise ModelError("no such layer")


class Late(TorchSession):
    """Runs, and then gives what is no number where every value is looked at."""

    runtime = "late"

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        return super().infer(x) * (float("nan") if x.shape[-1] == 48 else 1.0)


class Darker(TorchSession):
    """Another picture: a twentieth darker, which is 26 dB and more, and 5 % less E(V)."""

    runtime = "darker"

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        return super().infer(x) * 0.95


class Hungry(TorchSession):
    """Has no room for frames of one width, in the midst of the work."""

    runtime = "hungry"

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] == 64:
            raise RuntimeUnavailable("not enough memory")
        return super().infer(x)


class Made(Torch):
    """PyTorch by way of another class of session."""

    def __init__(self, kind: type[TorchSession]) -> None:
        self.kind = kind

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return self.kind(model, model.network, device, threads)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    list(RUNTIMES)
    for kind in (Refusing, Late, Darker, Hungry):
        monkeypatch.setitem(RUNTIMES._plugins, kind.__name__.lower(), Made(kind))


def test_a_runtime_that_does_not_take_the_model_costs_its_rows_alone(model: Model, made: None) -> None:
    said: list[str] = []
    rows = sweep(one_thread(model, ["torch", "refusing", "late"], (32, 48), (32, 64)), said.append, said.append).rows
    assert [(row.runtime, row.width) for row in rows] == [("torch", 48), ("torch", 64), ("late", 64)]
    assert "skipped refusing at 48x32 on 1 threads: no such layer" in said
    assert "skipped late at 48x32 on 1 threads: 'blur' in late: the output contains NaN or infinity" in said


def test_a_reference_that_fails_costs_the_parity_and_no_runtime(
    model: Model, made: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconet_bench.benchmark.runtime_pool.reference_runtime", lambda model: ("late", None))
    said: list[str] = []
    rows = sweep(one_thread(model, ["torch"], (32, 48), (32, 64)), said.append, said.append).rows
    assert [(row.width, row.psnr is None) for row in rows] == [(48, True), (64, False)]
    assert rows[0].note.startswith(
        "no parity, the reference failed: 'blur' in late: the output contains NaN or infinity"
    )
    assert not [line for line in said if line.startswith("skipped")]


def test_a_speed_stands_with_all_its_parity_at_any_batch(model: Model, made: None) -> None:
    one, three = sweep(dataclasses.replace(one_thread(model, ["darker"], (32, 48)), batches=(1, 3))).rows
    for r in (one, three):
        assert 0.02 < r.max_abs <= 0.05
        assert 26 <= r.psnr < 40
        assert r.temporal_error_change == pytest.approx(-5, abs=0.5)
        assert r.note.startswith("changed output")


def test_a_size_without_room_in_memory_costs_that_size_alone(
    model: Model, made: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that cannot be rendered, or a runtime that cannot run it: the runtime is there at the next size."""
    render = reference_check.synthetic_clip

    def rendered(name: str, size: tuple[int, int], length: int) -> Clip:
        if size == (32, 96):
            raise DataError("a clip of 96x32: not enough memory")
        if size == (32, 112):
            raise MemoryError
        return render(name, size, length)

    monkeypatch.setattr(reference_check, "synthetic_clip", rendered)
    said: list[str] = []
    widths = sizes(*((32, width) for width in (64, 96, 112, 48)))
    result = sweep(
        SweepPlan(model, widths, ["torch", "hungry"], device="cpu", timing=quick(1)), said.append, said.append
    )
    assert [(row.runtime, row.width) for row in result.rows] == [("torch", 64), ("torch", 48), ("hungry", 48)]
    assert result.skipped == [
        "hungry at 64x32: not enough memory",
        "96x32: a clip of 96x32: not enough memory",
        "112x32: not enough memory for this size: leave it out, or use a smaller batch",
    ]
    assert [line for line in said if line.startswith("skipped")] == [f"skipped {line}" for line in result.skipped]


def test_a_model_that_a_size_is_too_small_for_is_timed_at_the_others(model: Model) -> None:
    model.source.minimum = 40
    result = sweep(one_thread(model, ["torch"], (32, 48), (40, 48)))
    assert [row.height for row in result.rows] == [40]
    assert result.skipped == ["48x32 on 1 threads: frame of 48x32 pixels is too small: 'blur' needs 40 a side"]


def test_auto_that_finds_nothing_at_a_size_costs_that_row(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeUnavailable("no runtime passes")

    monkeypatch.setattr("reconet_bench.benchmark.sweep.choose_runtime", none)
    said: list[str] = []
    result = sweep(
        SweepPlan(model, sizes((32, 48)), ["auto", "torch"], device="cpu", timing=quick(1)), said.append, said.append
    )
    assert [row.runtime for row in result.rows] == ["torch"]
    assert "skipped auto at 48x32: no runtime passes" in said


def test_auto_says_what_it_tries_and_takes_and_why(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each size, whatever the number of batches."""
    asked: list[tuple[int, int]] = []

    def choose(model: Model, size: Size, resources: Resources, report: Callable[[str], None]) -> Choice:
        asked.append(size)
        report("trying torch")
        return Choice("torch", f"torch: for a reason at {size}")

    monkeypatch.setattr("reconet_bench.benchmark.sweep.choose_runtime", choose)
    said: list[str] = []
    result = sweep(
        dataclasses.replace(one_thread(model, ["auto"], (32, 48), (32, 64)), batches=(1, 2)), said.append, said.append
    )
    assert asked == [(32, 48), (32, 64)]
    assert len(result.rows) == 4
    assert result.chosen == ["on 1 threads: torch: for a reason at 48x32", "on 1 threads: torch: for a reason at 64x32"]
    assert said[:3] == ["trying torch", f"auto: {result.chosen[0]}", "timing 48x32 on 1 threads"]


def test_growth_is_the_slope_in_logarithms() -> None:
    """time = 2 · pixels^1.5 in one runtime, 5 ms at any size in another, one size alone in a third."""
    sizes = [(10, 10), (20, 20), (40, 40)]
    rows = [row("steep", (h, w), 2 * (h * w) ** 1.5) for h, w in sizes] + [row("flat", size, 5.0, 2) for size in sizes]
    steep, flat = growth([*rows, row("alone", (10, 10), 1.0)])
    assert (steep.runtime, steep.threads, flat.runtime, flat.threads) == ("steep", 1, "flat", 2)
    assert (steep.exponent, flat.exponent) == (pytest.approx(1.5), pytest.approx(0, abs=1e-9))
    assert steep.ms_per_megapixel == pytest.approx(2 * 1600**1.5 / 1600 * 1e6)


def test_growth_says_which_of_its_rows_are_doubtful() -> None:
    rows = [
        row("torch", (10, 10), 1.0),
        row("torch", (20, 20), 4.0, note="unstable: rounds differ by over 10 %"),
        row("torch", (40, 20), 9.0),
    ]
    assert [one.note for one in growth(rows)] == ["rests on rows with a note: 20x20"]
    assert [one.note for one in growth(rows[::2])] == [""]


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


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A command line whose model gives the same frames in every run."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "mine.onnx"
    )
    options = "--sizes 16 24x16 --runtimes onnxruntime --threads 1 --batch 2 --device cpu --rounds 1"
    options += " --input-range 0..1"
    return ["sweep", str(tmp_path / "mine.onnx"), *options.split(), "-o", str(tmp_path / "out")]


def test_the_command_leaves_tables_and_provenance(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(words)
    printed = capsys.readouterr().out
    assert "24x16" in printed
    assert "time grows as pixels^" in printed
    assert "identical" in printed
    same = "compared with the same file in ONNX Runtime on the CPU"
    assert same in printed
    assert f"- {same}\n" in (tmp_path / "out" / "sweep.md").read_text()
    with (tmp_path / "out" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [(one["model"], one["runtime"], one["width"], one["height"], one["batch"]) for one in rows]
    assert found == [("mine", "onnxruntime", "16", "16", "2"), ("mine", "onnxruntime", "24", "16", "2")]
    assert all(float(one["device_ms"]) > 0 for one in rows)
    parity = [(one["max_abs"], one["psnr"], one["temporal_error_change"]) for one in rows]
    assert parity == [("0", "inf", "0")] * 2, "equal frames, which is not the same as no parity"
    assert "| onnxruntime | 1 | 24x16 | 2 |" in (tmp_path / "out" / "sweep.md").read_text()
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert facts["models"] == {"mine": checksum(tmp_path / "mine.onnx")}
    assert (facts["interrupted"], facts["chosen"], facts["skipped"], facts["threads"], facts["rounds"]) == (
        False,
        [],
        [],
        [1],
        1,
    )
    with pytest.raises(SystemExit) as caught:
        cli.main(["sweep", "--sizes", "8"])
    assert caught.value.code == 2
    assert "at least 16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        (KeyboardInterrupt(), "reconet-bench: stopped: "),
        (ModelError("the disk went away"), "reconet-bench: the disk went away: "),
    ],
)
def test_what_was_measured_is_kept_when_a_late_size_stops_the_sweep(
    stop: BaseException,
    line: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop_at(monkeypatch, 24, stop)
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert f"{line}the results so far are in {tmp_path / 'out'}" in told.err
    assert "16x16" in told.out
    with (tmp_path / "out" / "sweep.csv").open() as file:
        assert [one["width"] for one in csv.DictReader(file)] == ["16"]
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["interrupted"] is True
    assert "interrupted" in (tmp_path / "out" / "sweep.md").read_text()


def test_an_error_of_ours_keeps_the_rows_and_its_traceback(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 24, ZeroDivisionError("a mistake"))
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        cli.main(words)
    assert (tmp_path / "out" / "sweep.csv").is_file()


def test_a_sweep_that_is_stopped_before_its_first_row_leaves_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(monkeypatch, 16, KeyboardInterrupt())
    with pytest.raises(SystemExit):
        cli.main(words)
    assert capsys.readouterr().err.endswith("reconet-bench: stopped\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.process
def test_a_killed_sweep_leaves_the_rows_that_it_had_measured(words: list[str], tmp_path: Path) -> None:
    """As kill -9 or a lost machine ends it; an earlier sweep is gone then, and a later one may have the folder."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("sweep.csv", "sweep.md", "sweep.svg"):
        (out / name).write_text("of an earlier sweep")
    sizes = [f"{side}x16" for side in range(16, 96, 8)]
    start = words.index("--sizes") + 1
    process_words = [*words[:start], *sizes, *words[start + 2 :]]
    process = subprocess.Popen([sys.executable, "-m", "reconet_bench.cli", *process_words], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and "onnxruntime" not in (out / "sweep.csv").read_text():
            time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with (out / "sweep.csv").open() as file:
        widths = [one["width"] for one in csv.DictReader(file)]
    assert widths
    assert widths == [size.partition("x")[0] for size in sizes][: len(widths)]
    assert json.loads((out / "provenance.json").read_text())["interrupted"] is True
    assert not (out / "sweep.md").exists()
    assert not (out / "sweep.svg").exists()
    cli.main(words)
    with (out / "sweep.csv").open() as file:
        assert [one["width"] for one in csv.DictReader(file)] == ["16", "24"]
    assert json.loads((out / "provenance.json").read_text())["interrupted"] is False


def stop_at(monkeypatch: pytest.MonkeyPatch, width: int, stop: BaseException) -> None:
    """The clip of this width is not rendered: ``stop`` is raised."""
    render = reference_check.synthetic_clip

    def rendered(name: str, size: tuple[int, int], length: int) -> Clip:
        if size[1] == width:
            raise stop
        return render(name, size, length)

    monkeypatch.setattr(reference_check, "synthetic_clip", rendered)
