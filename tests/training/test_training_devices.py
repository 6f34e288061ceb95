"""Number formats, torch.compile, TensorBoard and the benchmark of a training step."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import broken_off, network_state, same, windows

from reconet_bench.core.errors import DataError, TrainingError
from reconet_bench.core.images import read_image
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.report.loss_curves import Curves, parse_curves
from reconet_bench.report.loss_plot import plot_losses, running_mean
from reconet_bench.training import loop, progress
from reconet_bench.training import precision as precision_module
from reconet_bench.training.loader import worker_count
from reconet_bench.training.loop import train
from reconet_bench.training.precision import Precision
from reconet_bench.training.progress_pictures import progress_picture
from reconet_bench.training.run_folder import STATE_FILE
from reconet_bench.training.step import TrainStep
from reconet_bench.training.step_benchmark import PLAIN, Comparison, Pace, compare_steps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "device", "bf16", "dtype"),
    [
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("bf16", CPU, False, torch.bfloat16),
        ("fp32", CPU, True, torch.float32),
        ("auto", CUDA, True, torch.bfloat16),
        ("auto", CUDA, False, torch.float16),
        ("fp16", CUDA, True, torch.float16),
        ("fp32", CUDA, True, torch.float32),
    ],
)
def test_the_number_format_follows_name_and_device(monkeypatch, name, device, bf16, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    monkeypatch.setattr(precision_module, "computes_bf16", lambda: bf16)
    asked = {}
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda kind, enabled: asked.update(kind=kind, enabled=enabled) or SimpleNamespace()
    )
    precision = Precision.of(name, device)
    assert precision.dtype is dtype
    assert {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision.name] is dtype
    assert asked == {"kind": device.type, "enabled": dtype is torch.float16}


def test_fp16_needs_a_gpu():
    with pytest.raises(TrainingError, match="precision fp16 needs a CUDA GPU: on a CPU use --precision bf16 or fp32"):
        Precision.of("fp16", CPU)


def scaled(start: float = 2.0**10) -> Precision:
    """fp32 with the scaler of fp16, which computes the same on a CPU."""
    return Precision("fp32", torch.float32, torch.amp.GradScaler("cpu", init_scale=start, growth_interval=2))


def test_scaled_gradients_give_the_weights_of_plain_ones_and_go_on_after_a_resume(settings, tmp_path, monkeypatch):
    settings = replace(settings, steps=4, sample_every=0)
    plain = network_state(train(settings, windows(), tmp_path / "plain"))
    made: list[Precision] = []
    monkeypatch.setattr(loop.Precision, "of", lambda name, device: made.append(scaled()) or made[-1])
    whole = train(settings, windows(), tmp_path / "whole")
    for name, value in network_state(whole).items():
        torch.testing.assert_close(value, plain[name], atol=2e-3, rtol=2e-2)
    assert made[-1].scaler.get_scale() == 2.0**12, "it grew twice in four steps"
    broken_off(settings, tmp_path / "broken", 3)
    assert json.loads(read_tensors(tmp_path / "broken" / STATE_FILE)[1]["scaler"])["scale"] == 2.0**11
    resumed = train(settings, windows(), tmp_path / "broken", resume=True)
    assert same(network_state(whole), network_state(resumed))
    assert made[-1].scaler.get_scale() == 2.0**12


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_lowered():
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer, precision = torch.optim.Adam([parameter], lr=0.1, fused=True), scaled(2.0**127)
    method = SimpleNamespace(objective=lambda network, batch, context: {"loss": 1e3 * parameter.sum()})
    batch = SimpleNamespace(frames=torch.zeros(1))
    TrainStep(method, None, optimizer, None, {"loss": 1.0}, precision)(batch)  # type: ignore[arg-type]
    assert parameter.item() == 1.0
    assert precision.scaler.get_scale() == 2.0**126


def test_how_many_processes_load(settings, monkeypatch):
    monkeypatch.setattr("reconet_bench.training.loader.machine.usable_cpus", lambda: 12)
    assert worker_count(settings, CPU) == 0
    assert worker_count(settings, CUDA) == 11
    with monkeypatch.context() as several:
        several.setenv("LOCAL_WORLD_SIZE", "4")
        assert worker_count(settings, CUDA) == 2
    assert worker_count(replace(settings, workers=3), CPU) == 3
    monkeypatch.setattr("reconet_bench.training.loader.machine.usable_cpus", lambda: 1)
    assert worker_count(settings, CUDA) == 1
    monkeypatch.setattr("reconet_bench.training.loader.sys.platform", "win32")
    assert worker_count(replace(settings, workers=3), CUDA) == 0


def test_what_cannot_be_compiled_is_one_line(settings, tmp_path, monkeypatch):
    def refuses(module, **options):
        def forward(*arguments, **named):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler\nlong story")

        return forward

    monkeypatch.setattr(torch, "compile", refuses)
    with pytest.raises(
        TrainingError,
        match=r"^torch.compile does not work here \(no C\+\+ compiler\): leave out --compile; nothing was saved yet$",
    ):
        train(replace(settings, compile=True, sample_every=0), windows(), tmp_path / "run")


@pytest.mark.compiler
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor"
)  # PyTorch's compiler looks at it, and hides this otherwise
def test_a_compiled_step_has_the_losses_of_an_eager_one(settings, tmp_path, monkeypatch):
    """The graphs that would be compiled, forwards and backwards, computed by PyTorch's own operators."""
    compile_graph = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda module, **options: compile_graph(module, backend="aot_eager", **options)
    )
    for name, on in (("eager", False), ("compiled", True)):
        train(replace(settings, steps=2, compile=on, precision="fp32", sample_every=0), windows(), tmp_path / name)
    eager, compiled = (parse_curves((tmp_path / name / "curves.csv").read_text()) for name in ("eager", "compiled"))
    assert compiled.terms.keys() == eager.terms.keys()
    for name, values in {**eager.terms, "total": eager.total}.items():
        assert {**compiled.terms, "total": compiled.total}[name] == pytest.approx(values, rel=1e-3), name


def test_both_networks_are_compiled_when_asked(settings, tmp_path, monkeypatch):
    seen: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: seen.append(type(module).__name__) or module)
    train(replace(settings, steps=1, compile=True, sample_every=0), windows(), tmp_path / "run")
    assert sorted(seen) == ["LossNetwork", "ReCoNet"]


# --- TensorBoard ----------------------------------------------------------------------------------------


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_events_hold_what_the_curves_hold(settings, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own
        told = replace(settings, steps=4, tensorboard=True, sample_every=4)
        broken_off(told, tmp_path / "run", 3)
        train(told, windows(), tmp_path / "run", resume=True)
        found = scalars(tmp_path / "run")
    curves = parse_curves((tmp_path / "run" / "curves.csv").read_text())
    assert set(found) == {
        *(f"loss/{term}" for term in curves.terms),
        "loss/total",
        "pace/steps_per_second",
        "pace/waiting",
        "learning_rate",
    }
    for term, values in curves.terms.items():
        assert found[f"loss/{term}"] == pytest.approx(dict(zip(curves.steps, values, strict=True)), rel=1e-4)
    assert found["loss/total"] == pytest.approx(dict(zip(curves.steps, curves.total, strict=True)), rel=1e-4)
    assert found["learning_rate"][4] == pytest.approx(told.learning_rate_at(3), rel=1e-5)


def test_without_tensorboard_nothing_begins(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r'pip install "reconet-bench\[tensorboard\]"'):
        train(replace(settings, tensorboard=True), windows(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- plots ----------------------------------------------------------------------------------------------


def test_curves_are_read_whatever_is_wrong_with_them():
    text = "step,content,style,steps_per_second,waiting\n10,2,4,5,0.5\n20,1,3,2.5,0.1\n30,1"
    curves = parse_curves(text)
    assert curves == Curves(
        [10, 20], {"content": [2, 1], "style": [4, 3]}, {"steps_per_second": [5, 2.5], "waiting": [0.5, 0.1]}
    )
    assert curves.total == [], "an older file says nothing of the total"
    assert parse_curves("step,content,style,total,steps_per_second\n10,2,4,2,5\n") == Curves(
        [10], {"content": [2], "style": [4]}, {"steps_per_second": [5]}, [2]
    )
    # Two seconds of which one was waited for, then four of which 0.4.
    assert curves.waiting() == pytest.approx(1.4 / 6)
    assert parse_curves("") == parse_curves("no,curves\n1,2\n") == Curves()
    assert parse_curves("step,content\n1,2\n").waiting() is None


def test_the_running_mean_keeps_a_line_and_thins_noise():
    assert running_mean([2.0] * 50) == [2.0] * 50
    ramp = [float(i) for i in range(100)]
    assert running_mean(ramp)[10:90] == pytest.approx(ramp[10:90])
    assert running_mean([3.0]) == [3.0]


def test_a_plot_has_a_panel_for_each_term_and_a_line_for_each_run(tmp_path):
    one = Curves([1, 2, 3], {"content": [3, 2, 1], "temporal_short": [1, 0, 1]}, {}, [4, 2, 2])
    other = Curves([1, 2, 3], {"content": [3, 2, 2], "style": [1, 2, 1]}, {})
    text = plot_losses(tmp_path / "both.svg", {"adam": one, "adamax": other}, "optimisers").read_text()
    for words in ("total", "content", "temporal short", "style", "adam", "adamax", "optimisers"):
        assert f"<!-- {words} -->" in text, words
    without = plot_losses(tmp_path / "older.svg", {"older": other}).read_text()
    assert "<!-- content -->" in without
    assert "<!-- total -->" not in without, "what was optimised is not known"
    assert plot_losses(tmp_path / "one.png", {"one": one}).stat().st_size > 5000
    assert read_image(tmp_path / "one.png").shape[2] == 3
    with pytest.raises(DataError, match=r"use \.png, \.svg or \.pdf"):
        plot_losses(tmp_path / "one.txt", {"one": one})
    with pytest.raises(DataError, match=r"each curve needs at least two rows \(one\)"):
        plot_losses(tmp_path / "one.png", {"one": Curves([1], {"content": [3]}, {})})


def test_samples_that_are_not_there_are_named(tmp_path):
    with pytest.raises(TrainingError, match="has no sample pictures: train with --set sample_every=N, N of 1 or more"):
        progress_picture(tmp_path)


# --- benchmark ------------------------------------------------------------------------------------------


def test_the_benchmark_times_both_by_turns(settings):
    said: list[str] = []
    found = compare_steps(replace(settings, precision="bf16"), windows(), rounds=2, steps=2, report=said.append)
    assert (found.plain.name, found.ours.name) == (PLAIN, "this recipe")
    assert [len(one) for one in found.plain.rounds] == [len(one) for one in found.ours.rounds] == [2, 2]
    assert all(value > 0 for pace in (found.plain, found.ours) for one in pace.rounds for value in one)
    assert found.first > 0
    assert found.precision == "bf16"
    assert said[-1] == "round 2 of 2"


def test_the_ratio_is_taken_round_by_round():
    """A machine that slows down in the second round slows both: the ratio does not see it."""
    plain, ours = Pace(PLAIN, [[2.0, 2.0, 9.0], [4.0, 4.0, 4.0]]), Pace("ours", [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    assert Comparison(plain, ours, 0.0, "fp32").ratios == [2.0, 2.0]
    assert plain.turns == [2.0, 4.0]
    assert plain.median == 4.0
