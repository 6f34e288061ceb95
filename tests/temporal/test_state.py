"""Networks with a memory: the same frames as a plain PyTorch loop, in runtimes that know nothing of PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconet_bench.benchmark.rendering import stylise_clip
from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.core.ops import UNIT, from_uint8, pad_to_multiple, to_uint8, warp
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, Motion
from reconet_bench.data.flow.base import ESTIMATORS, consistency_mask
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.loading import Model, load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES, session_parity
from reconet_bench.runtimes.selection import Resources
from reconet_bench.runtimes.worker import load_apart
from reconet_bench.temporal.history import FrameHistory, MotionEstimator
from reconet_bench.temporal.state import StateInput, StateMemory, TensorForm, check_shape, dimension


class Recurrent(nn.Module):
    """A small network with every kind of memory: its last output, that output warped, a mask, flow, hidden maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode = nn.Conv2d(3 + 3 + 3 + 3 + 1 + 2, 8, 4, stride=4)
        self.memory = nn.Conv2d(8 + 8, 8, 3, padding=1)
        self.decode = nn.Conv2d(8, 3 * 16, 1)

    def forward(
        self,
        frame: Tensor,
        previous: Tensor,
        warped: Tensor,
        before: Tensor,
        mask: Tensor,
        flow: Tensor,
        hidden: Tensor,
    ) -> tuple[Tensor, Tensor]:
        x = torch.cat((frame, previous, warped * mask, before, mask, flow / 8), 1)
        hidden = torch.tanh(self.memory(torch.cat((F.relu(self.encode(x)), hidden), 1)))
        own = F.pixel_shuffle(self.decode(hidden), 4)
        return torch.sigmoid(own + 2 * frame - 1 + 0.5 * mask * warped), hidden


NAMES = ["frame", "previous", "warped", "before", "mask", "flow", "hidden"]
DESCRIPTION = """
name = "recurrent"
onnx = "recurrent.onnx"
[inputs]
frame = "frame"
[frame]
input_range = "0..1"
output_range = "0..1"
multiple = 4
[state]
previous = { from = "stylized", first = "content" }
warped = { from = "stylized", warp = true, first = "zeros" }
before = { from = "content", first = "stylized" }
mask = { from = "traceable" }
flow = { from = "flow" }
hidden = { from = "hidden_out", shape = [1, 8, "h/4", "w/4"] }
"""


def export(folder: Path, network: nn.Module) -> Path:
    """The network as an ONNX file of any size, and its description beside it."""
    sizes = [3, 3, 3, 3, 1, 2]
    inputs = (*(torch.rand(1, count, 32, 48) for count in sizes), torch.rand(1, 8, 8, 12))
    axes = {name: {2: "h", 3: "w"} for name in [*NAMES[:-1], "stylised"]}
    torch.onnx.export(
        network, inputs, str(folder / "recurrent.onnx"), input_names=NAMES, output_names=["stylised", "hidden_out"],
        dynamic_axes={**axes, "hidden": {2: "a", 3: "b"}, "hidden_out": {2: "a", 3: "b"}}, dynamo=False,
        opset_version=17,
    )  # fmt: skip
    path = folder / "recurrent.toml"
    path.write_text(DESCRIPTION)
    return path


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return Recurrent().eval()


@pytest.fixture(scope="module")
def description(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        return export(tmp_path_factory.mktemp("recurrent"), network)


def model_at(path: Path) -> Model:
    with workspace() as folder:
        return load_by_name(str(path), Path(folder))


def plain_loop(network: nn.Module, frames: list[np.ndarray]) -> list[np.ndarray]:
    """What the network makes of a clip, written as its author would: nothing of the sessions is used."""
    estimate, _ = ESTIMATORS["dis"].load()
    found: list[np.ndarray] = []
    y = hidden = before = None
    with torch.inference_mode():
        for image in frames:
            x = from_uint8(image)
            height, width = x.shape[-2:]
            padded = pad_to_multiple(x, 4)
            sides = padded.shape[-2:]
            zeros = torch.zeros(1, 3, *sides)
            if before is None or y is None:
                state = (
                    torch.zeros(1, 1, *sides),
                    torch.zeros(1, 2, *sides),
                    torch.zeros(1, 8, sides[0] // 4, sides[1] // 4),
                )
                alone, _ = network(padded, padded, zeros, zeros, *state)
                y, hidden = network(padded, padded, zeros, pad_to_multiple(alone[..., :height, :width], 4), *state)
            else:
                back, forth = estimate(x, before), estimate(before, x)
                mask, shown = consistency_mask(back, forth), y[..., :height, :width]
                fed = (shown, warp(shown, back)[0], before, mask, back)
                y, hidden = network(padded, *(pad_to_multiple(one, 4) for one in fed), hidden)
            before = x
            found.append(to_uint8(y[..., :height, :width])[0])
    return found


def content(clip: Clip) -> list[np.ndarray]:
    return [to_uint8(clip.frame(index))[0] for index in range(len(clip))]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_network_with_a_memory_gives_the_frames_of_a_plain_loop(
    description: Path, network: nn.Module, runtime: str
) -> None:
    """Over 50 frames, in 8 bits, at a size that is no multiple of 4; with a reset where the next clip begins."""
    first, second = (synthetic_clip(name, (70, 90), length) for name, length in (("stroll", 50), ("rush", 5)))
    model = model_at(description)
    with RUNTIMES[runtime].load(model.source, threads=1) as session:
        for clip in (first, second, first):
            frames = content(clip)
            expected = plain_loop(network, frames)
            got = stylise_clip(session, clip, frames)
            largest = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(expected, got, strict=True))
            assert largest <= 1
            assert np.mean([np.mean(a != b) for a, b in zip(expected, got, strict=True)]) < 1e-3


def test_the_memory_matters_and_is_forgotten_at_a_cut(description: Path) -> None:
    stroll, rush = (content(synthetic_clip(name, (64, 96), 4)) for name in ("stroll", "rush"))
    with RUNTIMES["onnxruntime"].load(model_at(description).source, threads=1) as session:
        alone = session(rush[0])
        session.reset()
        carried = [session(frame) for frame in (*stroll, rush[0])][-1]
        assert np.array_equal(carried, alone), "a cut begins a sequence"
        session.reset()
        frames = [session(frame) for frame in rush]
        session.reset()
        assert not np.array_equal(session(rush[3]), frames[3])


def test_a_worker_gives_the_same_frames_and_parity_runs_the_same_sequence(description: Path) -> None:
    frames = content(synthetic_clip("stroll", (64, 96), 4))
    source = model_at(description).source
    with (
        RUNTIMES["onnxruntime"].load(source, threads=1) as session,
        load_apart("openvino", source, Resources("cpu", 1)) as other,
    ):
        session(frames[3])  # what was run before must not matter
        parity = session_parity(session, other, frames)
    assert parity.psnr > 80


def test_true_motion_takes_the_place_of_estimated_motion(description: Path, network: nn.Module) -> None:
    clip = synthetic_clip("carousel", (64, 96), 4)
    frames = content(clip)
    with RUNTIMES["onnxruntime"].load(model_at(description).source, threads=1) as session:
        estimated = stylise_clip(session, clip, frames)
        assert session.history is not None
        session.history.seconds.clear()
        given = stylise_clip(session, clip, frames, true_motion=True)
        assert not session.history.seconds
    assert np.array_equal(estimated[0], given[0])
    assert not np.array_equal(estimated[2], given[2])
    # To the frame before and on from there leads back: exact motion, where both can be traced.
    back, forth = clip.motion_back(2), clip.motion(1)
    returned, inside = warp(forth.flow, back.flow)
    traced = (back.mask * inside * (warp(forth.mask, back.flow)[0] > 0.999)) > 0
    assert float((back.flow + returned).abs().mul(traced).max()) < 0.05


def test_one_frame_after_the_other_and_only_where_it_can_run(description: Path) -> None:
    source = model_at(description).source
    with RUNTIMES["onnxruntime"].load(source, threads=1) as session, pytest.raises(ModelError, match="one frame after"):
        session(np.zeros((2, 64, 64, 3), np.uint8))
    for name in ("onnxruntime:int8", "openvino:int8"):
        with pytest.raises(RuntimeUnavailable, match=f"{name} does not run networks with state"):
            RUNTIMES[name].load(source)


def test_shapes_of_hidden_maps() -> None:
    assert StateInput("h", "out", shape=(1, 64, "h/4", "w / 8")).sized(65, 64) == (1, 64, 17, 8)
    assert dimension("w", 3, 5) == 5
    for wrong in ("d", "h/0", "h*2", "h/x"):
        with pytest.raises(ModelError, match="give numbers"):
            check_shape("hidden", [1, wrong])


def test_hidden_maps_are_warped_at_their_own_scale() -> None:
    """A pattern at a quarter of the size moves by a quarter of the flow."""
    form = TensorForm(4, "NCHW", UNIT, torch.device("cpu"))
    memory = StateMemory([StateInput("hidden", "out", warp=True, shape=(1, 1, "h/4", "w/4"))], form, lambda y: y)
    history, frame = FrameHistory(MotionEstimator()), np.zeros((64, 64, 3), np.uint8)
    history.begin(frame)
    assert memory.feeds(history, Size(64, 64))["hidden"].abs().max() == 0
    spot = torch.zeros(1, 1, 16, 16)
    spot[0, 0, 8, 4] = 1
    memory.remember(torch.zeros(1, 3, 64, 64), {"out": spot})
    history.give(Motion(torch.tensor((-12.0, 0.0)).view(1, 2, 1, 1).expand(1, 2, 64, 64), torch.ones(1, 1, 64, 64)))
    history.begin(frame)
    moved = memory.feeds(history, Size(64, 64))["hidden"]
    assert moved[0, 0, 8, 7] == pytest.approx(1, abs=1e-5)
    assert Size(*moved.shape[-2:]) == (16, 16)
