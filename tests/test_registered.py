"""Everything registered works in a fast test: runtimes and variants, methods, metrics, flow estimators, commands.

The names come from the registries, so a new plug-in is tested from the day that it is there.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import SIZE, TranslationClip, picture
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from reconet_bench import cli
from reconet_bench.commands.base import COMMANDS
from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.core.ops import LUMINANCE_ANIMATION, from_uint8, to_uint8, warp
from reconet_bench.data.flow.base import ESTIMATORS
from reconet_bench.methods.base import METHODS, Batch, LossContext
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Absent, measure_footage
from reconet_bench.networks.vgg import style_targets
from reconet_bench.runtimes import onnx_forms
from reconet_bench.runtimes.base import RUNTIMES, ModelSource
from reconet_bench.training.crops import ClipCrops

#: Largest difference from PyTorch fp32 in levels of 255, by precision.
LEVELS = {"fp64": 1, "fp32": 1, "fp16": 2, "bf16": 4, "int8": 40}


class Soften(nn.Module):
    """Four convolutions that blur: in 8 bits the first and the last stay as they are, and half of all must not."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 16, 16, 16, 3)
        self.layers = nn.Sequential(
            *(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in itertools.pairwise(channels))
        )
        for layer in self.layers:
            nn.init.constant_(layer.weight, 1 / (9 * layer.in_channels))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.layers(frame)


@pytest.fixture(scope="module")
def soften(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """The network, and an ONNX file of it made by hand."""
    network = Soften().eval().requires_grad_(False)
    names = ["x", "a", "b", "c", "y"]
    nodes = [
        helper.make_node("Conv", [names[n], f"w{n}"], [names[n + 1]], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        for n in range(4)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in "xy"]
    weights = [numpy_helper.from_array(layer.weight.numpy(), f"w{n}") for n, layer in enumerate(network.layers)]
    graph = helper.make_graph(nodes, "soften", ends[:1], ends[1:], weights)
    path = tmp_path_factory.mktemp("onnx") / "soften.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return ModelSource("soften", network, lambda: path, input_name="x", output_name="y")


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_a_runtime_gives_the_picture_or_the_reason_why_not(
    name: str, soften: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = RUNTIMES[name]
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    monkeypatch.setattr(onnx_forms, "_PER_CLIP", 1)
    compile_graph = torch.compile  # whose code generator takes a minute: the graph alone is enough here
    monkeypatch.setattr(
        torch, "compile", lambda module, **options: compile_graph(module, fullgraph=True, backend="eager")
    )
    session, reason = None, ""
    try:
        session = runtime.load(soften, "cpu", 1)
    except RuntimeUnavailable as error:
        reason = str(error)
    if session is None:
        assert "\n" not in reason
        assert runtime.missing() or runtime.unusable(torch.device("cpu")) or "bf16" in name
        return
    image = picture(0, (0.0, 0.0))
    with session:
        got = session(image)
    expected = to_uint8(soften.network(from_uint8(image)))[0]
    assert np.abs(got.astype(int) - expected).max() <= LEVELS[session.precision]
    assert got.std() > 5, "a flat picture would prove nothing"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_paints_and_has_an_objective(name: str, loss_network) -> None:
    method = METHODS[name]
    torch.manual_seed(0)
    network = method.network().eval()
    windows = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    frames, flows, masks, _ = (torch.stack(parts) for parts in zip(windows[0], windows[1], strict=True))
    with torch.no_grad():
        painted = network(frames[0, :1])
    assert painted.shape == (1, 3, 32, 32)
    assert painted.isfinite().all()
    if not method.trainable:
        return
    targets = style_targets(loss_network, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8)), 64)
    batch = Batch(frames, flows, masks, torch.tensor([LUMINANCE_ANIMATION]))
    terms = method.objective(
        method.training_module(network),
        batch,
        LossContext(loss_network, StyleLoss((targets,)), torch.Generator().manual_seed(0)),
    )
    assert terms.keys() == method.weights.keys()
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_measures_a_clip_and_sees_that_it_changes(name: str, loss_network) -> None:
    clip = TranslationClip((2.3, 1.2), length=12)
    targets = style_targets(loss_network, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8)), 64)
    content = [clip.frame(index) for index in range(12)]
    noise = [torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(index)) for index in range(12)]
    metric = METRICS[name]
    style = Style(targets, loss_network)
    outcome = measure_footage(Footage(clip, content, style), [name])[name]
    if isinstance(outcome, Absent):  # a clip that is too small, or weights that are missing
        assert not metric.default
        assert "\n" not in outcome.reason
        return
    calm, wild = (metric.samples(Footage(clip, frames, style)) for frames in (content, noise))
    assert calm.keys() == wild.keys()
    assert calm
    assert all(math.isfinite(value) for value in (*calm.values(), *wild.values()))
    assert metric.better in ("lower", "higher", "reference")
    assert metric.of_content or list(calm.values()) != list(wild.values())


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_an_estimator_finds_a_motion_or_says_what_it_lacks(name: str) -> None:
    if name == "raft":
        with pytest.raises(ModelError, match="RECONET_BENCH_RAFT"):
            ESTIMATORS[name].load()
        return
    estimate, key = ESTIMATORS[name].load()
    first, second = (from_uint8(picture(time, (2.0, 1.0), (96, 128))) for time in (0, 1))
    flow = estimate(first, second)
    assert key
    assert flow[0, :, 24:-24, 24:-24].mean((1, 2)).tolist() == pytest.approx([2.0, 1.0], abs=0.2)
    assert float((warp(second, flow)[0] - first)[..., 24:-24, 24:-24].abs().mean()) < 0.02


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_explains_itself_and_refuses_an_unknown_option_in_one_line(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert f"reconet-bench {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--no-such-option"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
