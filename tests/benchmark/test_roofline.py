"""What a frame costs, what the machine gives, and how near a runtime comes to it."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest
import torch
from torch import nn

from reconet_bench import cli
from reconet_bench.benchmark import peak_rates, roofline, share_of_limit
from reconet_bench.benchmark.fastest_runtime import Choice
from reconet_bench.benchmark.peak_rates import Ceiling, measure_ceiling
from reconet_bench.benchmark.roofline import Cost, measure_runtimes, network_cost
from reconet_bench.benchmark.share_of_limit import LIMIT, SHARE, TRIAL, limit_rows
from reconet_bench.benchmark.timing_samples import Samples, Timing
from reconet_bench.core.errors import DataError, ModelError
from reconet_bench.core.machine import computes_bf16
from reconet_bench.core.size import Size
from reconet_bench.models.loading import Model
from reconet_bench.networks.base import Identity
from reconet_bench.networks.layers import ReflectionPad, Upsample
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Session
from reconet_bench.runtimes.pytorch import Torch, TorchSession
from reconet_bench.runtimes.selection import Resources

CPU = Resources("cpu", 1)


def test_the_network_costs_what_the_dissertation_says() -> None:
    """40.3 GMAC at 512x512 (Mahakalkar 2022); and four times the pixels are four times the work."""
    network = ReCoNet()
    cost = network_cost(network, 512, 512)
    assert round(cost.macs / 1e9, 1) == 40.3
    assert network_cost(network, 256, 256).macs == cost.macs / 4
    assert next(network.parameters()).device.type == "cpu", "the caller's network went with it"


def test_operations_and_bytes_of_a_layer_worked_out_by_hand() -> None:
    layer = nn.Conv2d(3, 8, 5, stride=2, padding=2)
    cost = network_cost(layer, 32, 48)
    assert cost.macs == 16 * 24 * 8 * 3 * 25
    assert cost.values == 3 * 32 * 48 + 8 * 16 * 24 + 8 * 3 * 25


def test_padding_and_enlargement_move_no_numbers_of_their_own() -> None:
    """A fused runtime reads what was there before: 3x32x48 numbers, and not four times as many and a border."""
    plain = nn.Sequential(nn.Conv2d(3, 8, 1), Upsample(), ReflectionPad(1), nn.Conv2d(8, 4, 3))
    cost = network_cost(plain, 32, 48)
    assert cost.values == (3 + 8) * 32 * 48 + 3 * 8 + 8 * 32 * 48 + 4 * 64 * 96 + 8 * 4 * 9
    assert cost.macs == 3 * 8 * 32 * 48 + 8 * 4 * 9 * 64 * 96


def test_the_limit_is_whichever_takes_longer() -> None:
    cost = Cost(macs=500, values=100)
    fast_memory, slow_memory = Ceiling(1000.0, 4000.0, 4), Ceiling(1000.0, 200.0, 4)
    assert cost.seconds(fast_memory) == pytest.approx(1.0)
    assert cost.seconds(slow_memory) == pytest.approx(2.0)
    assert Cost(500, 100).copy_seconds(Ceiling(1.0, 200.0, 2)) == pytest.approx(1.0)


def test_networks_without_work_and_frames_without_room_are_refused() -> None:
    with pytest.raises(ModelError, match="no convolutions"):
        network_cost(Identity(), 64, 64)
    with pytest.raises(DataError, match="frame of 8x64 pixels is too small"):
        network_cost(ReCoNet(), 64, 8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceilings of a product, a convolution and a copy that take no time."""
    monkeypatch.setattr(peak_rates, "_SIDE", {"cpu": 128})
    monkeypatch.setattr(peak_rates, "_CONVOLUTION", {"cpu": (1, 16, 16)})
    monkeypatch.setattr(peak_rates, "_COPY_BYTES", {"cpu": 2**20})
    monkeypatch.setattr(roofline, "measure_ceiling", functools.partial(measure_ceiling, seconds=0.01))


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("bf16", 2)])
def test_ceilings_are_measured(precision: str, size: int, small: None) -> None:
    threads = torch.get_num_threads()
    ceiling = measure_ceiling(precision, torch.device("cpu"), 1, seconds=0.01)
    assert ceiling.value_bytes == size
    assert 1e6 < ceiling.flops < 1e15
    assert 1e6 < ceiling.bandwidth < 1e13
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("seconds", "source", "flops"),
    [((1.0, 3.0), "matrix product", 2 * 128**3), ((4.0, 0.5), "3x3 convolution", 2 * 16 * 16 * 9 * 16 * 16 / 0.5)],
)
def test_the_faster_of_product_and_convolution_is_the_ceiling(
    seconds: tuple[float, float], source: str, flops: float, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries differ: a ceiling that another runtime beats by far would be no limit."""
    taken = iter((*seconds, 1.0))
    monkeypatch.setattr(peak_rates, "_best", lambda *_: next(taken))
    assert measure_ceiling("fp32", torch.device("cpu"), 1) == Ceiling(flops, 2 * 2**20, 4, source)


def test_on_cuda_fp32_is_not_rounded_to_tf32() -> None:
    """The switches alone, which can be turned without a GPU."""

    def switches() -> tuple[str, bool]:
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.allow_tf32

    before = switches()
    with peak_rates._ieee(torch.device("cuda")):
        assert switches() == ("ieee", False)
    assert switches() == before


class Blur(nn.Module):
    """At the top of a module, as a worker needs it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.constant_(self.layer.weight, 1 / 27)
        nn.init.zeros_(self.layer.bias)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.layer(frame)


def test_a_runtime_stands_beside_its_limit(small: None) -> None:
    model = Model(ModelSource("blur", Blur().eval(), Path), "reconet", "")
    found = measure_runtimes(model, Size(32, 48), ["torch", "torch:bf16"], CPU, rounds=2)
    precisions = {"torch": "fp32", **({"torch:bf16": "bf16"} if computes_bf16() else {})}
    assert {row.runtime: row.precision for row in found.rows} == precisions
    assert list(found.ceilings) == [("cpu", 1, precision) for precision in precisions.values()]
    for row in found.rows:
        assert row.share == pytest.approx(found.cost.seconds(found.ceilings["cpu", 1, row.precision]) / row.seconds)
        assert row.flops == pytest.approx(2 * 81 * 32 * 48 / row.seconds)
        assert 0 < row.share < 1, "a layer this small is all overhead"
        assert row.bound in ("arithmetic", "memory")
        assert "changed output" not in row.note
        assert row.fidelity.parity.psnr > 40
        assert row.fidelity.change == pytest.approx(0, abs=2)


class TwoThreads(Torch):
    """Computes on a thread more than it is asked to, as a runtime may that has a say in it."""

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return super().open(model, device, threads + 1)


class Odd(Torch):
    """Computes in what has no ceiling."""

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        session = super().open(model, device, threads)
        session.precision = "int8"
        return session


class Flickering(TorchSession):
    """Frames that no PSNR under 40 dB gives away, and E(V) does."""

    flicker = 0.009

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        self.flicker = -self.flicker
        return super().infer(x) + self.flicker


class Flickers(Torch):
    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return Flickering(model, model.network, device, threads)


class Broken(Torch):
    """Cannot take the model, and says so once it is timed."""

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        raise ModelError("no such layer")


def test_a_row_has_the_ceiling_of_its_own_threads_and_precision_or_none(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(RUNTIMES)
    for name, runtime in {"wider": TwoThreads(), "odd": Odd(), "broken": Broken()}.items():
        monkeypatch.setitem(RUNTIMES._plugins, name, runtime)
    asked: list[tuple[str, int]] = []

    def ceiling(precision: str, device: torch.device, threads: int) -> Ceiling:
        asked.append((precision, threads))
        return Ceiling(1e12 * threads, 1e12, 4)

    monkeypatch.setattr(roofline, "measure_ceiling", ceiling)
    said: list[str] = []
    model = Model(ModelSource("blur", Blur().eval(), Path), "reconet", "")
    found = measure_runtimes(model, Size(32, 48), ["torch", "wider", "odd", "broken"], CPU, 2, said.append, said.append)
    one, two, odd = found.rows
    assert asked == [("fp32", 1), ("fp32", 2)]
    assert one.limit > two.limit
    assert (odd.precision, odd.limit, odd.share, odd.bound) == ("int8", None, None, "")
    assert "no ceiling is measured in int8" in odd.note
    assert said == ["skipped broken: no such layer"]
    assert found.skipped == ["broken: no such layer"]


def test_the_gate_of_a_row_sees_the_change_of_flicker_too(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    list(RUNTIMES)
    monkeypatch.setitem(RUNTIMES._plugins, "flickers", Flickers())
    (row,) = measure_runtimes(
        Model(ModelSource("blur", Blur().eval(), Path), "reconet", ""), Size(32, 48), ["flickers"], CPU, 1
    ).rows
    assert row.fidelity.parity.psnr > 40
    assert row.fidelity.parity.max_abs == pytest.approx(0.009, abs=1e-4)
    assert row.fidelity.change > 2
    assert row.note.startswith("changed output")


def test_auto_says_what_it_tries_and_takes_and_why(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(model: Model, size: Size, resources: Resources, report: Callable[[str], None]) -> Choice:
        report("trying torch")
        return Choice("torch", "torch: for a reason")

    monkeypatch.setattr(roofline, "choose_runtime", choose)
    said: list[str] = []
    model = Model(ModelSource("blur", Blur().eval(), Path), "reconet", "")
    found = measure_runtimes(model, Size(32, 48), ["auto"], CPU, 1, said.append, said.append)
    assert [row.runtime for row in found.rows] == ["torch"]
    assert found.chosen == "torch: for a reason"
    assert said == ["trying torch", "auto: torch: for a reason"]


def test_the_product_is_of_numbers_that_differ(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    factors: list[torch.Tensor] = []
    product = torch.mm

    def seen(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        factors.extend((a, b))
        return product(a, b, out=out)

    monkeypatch.setattr(torch, "mm", seen)
    measure_ceiling("fp32", torch.device("cpu"), 1, seconds=0.01)
    assert all(float(factor.std()) > 0.5 for factor in factors)


def test_an_onnx_file_has_no_operations_to_count() -> None:
    with pytest.raises(ModelError, match="'theirs' is an ONNX file: operations can only"):
        measure_runtimes(Model(ModelSource("theirs", None, Path), "x", ""), Size(32, 48), ["onnxruntime"], CPU)


def test_the_command_prints_and_writes_the_table(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peak_rates, "_SIDE", {"cpu": 64})
    words = ["roofline", "--size", "48x32", "--runtimes", "torch", "--device", "cpu", "--threads", "1", "--rounds", "1"]
    cli.main([*words, "-o", str(tmp_path / "roofline.csv")])
    printed = capsys.readouterr().out
    assert "reconet-starry_night at 48x32: 0.2 GMAC" in printed
    assert "measured ceilings, fp32" in printed
    assert "identical" in printed
    with (tmp_path / "roofline.csv").open() as file:
        (row,) = csv.DictReader(file)
    where = {
        "model": "reconet-starry_night",
        "runtime": "torch",
        "precision": "fp32",
        "device": "cpu",
        "threads": "1",
        "width": "48",
        "height": "32",
    }
    assert {name: row[name] for name in where} == where
    assert (row["max_abs"], row["psnr"], row["temporal_error_change"]) == ("0", "inf", "0")
    arithmetic, memory = (
        float(row[a]) / float(row[b]) for a, b in (("gmacs", "ceiling_tflops"), ("million_values", "ceiling_gb_per_s"))
    )
    assert float(row["limit_ms"]) == pytest.approx(max(2 * arithmetic, 4 * memory)), (
        "the row alone is enough to get at its limit"
    )
    assert float(row["share"]) == pytest.approx(float(row["limit_ms"]) / float(row["device_ms"]))
    facts = json.loads((tmp_path / "roofline.provenance.json").read_text())
    assert list(facts["models"]) == ["reconet-starry_night"]
    assert facts["models"]["reconet-starry_night"].startswith("sha256:")
    assert (facts["threads"], facts["rounds"], facts["chosen"], facts["skipped"]) == ([1], 1, [], [])
    with pytest.raises(SystemExit) as caught:
        cli.main([*words[:4], "torhc"])
    assert caught.value.code == 2
    assert "unknown runtime 'torhc': did you mean 'torch'" in capsys.readouterr().err


def timing_of(seconds: float, precision: str = "fp32", device: str = "cpu") -> Timing:
    return Timing("torch", device, precision, 1, 0.0, samples={"device": Samples([[seconds]])})


def test_a_comparison_takes_the_share_of_the_limit_from_the_peak_of_its_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str, int]] = []

    def peak(precision: str, device: str, threads: int) -> Ceiling:
        asked.append((precision, device, threads))
        return Ceiling(2e9, 1e12, 4)

    monkeypatch.setattr(share_of_limit, "_peak", peak)
    network = ReCoNet()
    macs = network_cost(network, 32, 48).macs
    rows = limit_rows(network, Size(32, 48), timing_of(0.5))
    assert rows[LIMIT].value == pytest.approx(1000 * macs / 1e9)
    assert rows[SHARE].value == pytest.approx(100 * macs / 1e9 / 0.5)
    assert asked == [("fp32", "cpu", 1)]


@pytest.mark.parametrize(("precision", "device"), [("int8", "cpu"), ("fp16", "cpu"), ("fp32", "webgpu (software)")])
def test_where_no_peak_is_measured_the_share_is_absent_with_its_reason(precision: str, device: str) -> None:
    rows = limit_rows(ReCoNet(), Size(32, 48), timing_of(0.5, precision, device))
    assert rows[SHARE].value is None
    assert rows[SHARE].note == "no peak measured"
    assert limit_rows(None, Size(32, 48), timing_of(0.5)) == {}
    assert limit_rows(Identity(), Size(32, 48), timing_of(0.5))[SHARE].note == "no operations to count"


def test_the_quick_peak_takes_about_a_second() -> None:
    """Where nothing else runs; a comparison takes it once for each precision."""
    start = perf_counter()
    assert measure_ceiling("fp32", torch.device("cpu"), 1, TRIAL, quick=True).flops > 1e8
    assert perf_counter() - start < 20
