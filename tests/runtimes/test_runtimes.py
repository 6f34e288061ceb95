"""One contract for every runtime: any size, 8 bits in and out, the same rounding, the same picture as PyTorch fp32."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from reconet_bench.core import errors, machine
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.ops import BYTE, from_uint8, to_uint8
from reconet_bench.core.provenance import checksum, model_checksum
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import checkpoint_model
from reconet_bench.models.export_formats import FORMS
from reconet_bench.models.loading import load_by_name
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.networks.base import Identity
from reconet_bench.networks.layers import ConvBlock, ResidualBlock, Upsample
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.runtimes import artifact_cache as kept_module
from reconet_bench.runtimes import base, onnx_forms, pytorch, torch_compile
from reconet_bench.runtimes import onnxruntime as onnxruntime_module
from reconet_bench.runtimes import openvino as openvino_module
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Session, session_parity
from reconet_bench.runtimes.onnx_forms import half_precision
from reconet_bench.runtimes.onnxruntime import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    KEPT_SHAPES,
    TENSORRT_PROVIDER,
    OnnxSession,
    tensorrt_options,
)
from reconet_bench.runtimes.openvino import check_precision, computed_in
from reconet_bench.runtimes.placement import check_placement, compute_nodes
from reconet_bench.runtimes.pytorch import Torch
from reconet_bench.runtimes.tensorrt import TensorRtSession, engine_place

SIZES = [(40, 56), (33, 47), (16, 61)]
#: Largest difference from fp32 eager in [0, 1] that rounding explains, by precision.
TOLERANCE = {"fp64": 1e-4, "fp32": 1e-4, "bf16": 0.1}
#: Every way to run on a CPU but int8 and compiling, which have tests of their own.
ON_CPU = [
    name
    for name in RUNTIMES.names()
    if not any(word in name for word in ("fp16", "graph", "tensorrt", "int8")) and not name.startswith("torch-compile")
]


@pytest.fixture(scope="module", autouse=True)
def _bf16_in_pytorch() -> Iterator[None]:
    """PyTorch runs bf16 although the processor may have none: the same pictures, and at these sizes soon enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytorch, "computes_bf16", lambda: True)
        yield


def load(name: str, model: ModelSource, threads: int = 1) -> Session:
    """A session, or a skipped test where the runtime is not installed or the CPU has no such precision."""
    runtime = RUNTIMES[name]
    if reason := runtime.missing():
        pytest.skip(reason)
    try:
        return runtime.load(model, "cpu", threads)
    except errors.RuntimeUnavailable as reason:
        if name != "openvino:bf16":
            raise
        pytest.skip(str(reason))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def image_model(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[str | int],
    constants: dict[str, np.ndarray] | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """An ONNX file from ``x`` to ``y``, both of the same declared shape."""
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name in "xy")
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def network(seeded: Checkpoint) -> ReCoNet:
    assert isinstance(seeded.network, ReCoNet)
    return seeded.network


@pytest.fixture(scope="module")
def model(seeded: Checkpoint, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """Its ONNX is read back from the cache, where ``exported`` has put it."""
    return checkpoint_model(seeded, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module", params=ON_CPU)
def session(request: pytest.FixtureRequest, model: ModelSource) -> Iterator[Session]:
    with load(request.param, model) as opened:
        yield opened


def test_known_runtimes_are_found_by_being_there() -> None:
    assert {"torch", "torch-compile", "onnxruntime", "openvino", "tensorrt", "ncnn"} <= set(RUNTIMES)
    assert all(runtime.summary for _, runtime in RUNTIMES.items())
    with pytest.raises(errors.UnknownName, match="did you mean 'onnxruntime'"):
        RUNTIMES["onnx-runtime"]


def test_a_name_holds_a_device_and_a_variant() -> None:
    assert {"torch", "torch:bf16", "openvino", "openvino:bf16"} <= set(RUNTIMES.names())
    assert RUNTIMES["torch:bf16"].description != RUNTIMES["torch"].description == RUNTIMES["torch:fp32"].description
    canonical = {name: RUNTIMES.canonical(name) for name in ("torch:fp32", "torch:bf16:cpu", "torch:cpu:fp32")}
    assert canonical == {"torch:fp32": "torch", "torch:bf16:cpu": "torch:cpu:bf16", "torch:cpu:fp32": "torch:cpu"}
    assert RUNTIMES["torch"].options == (), "a variant changed the runtime itself"
    with pytest.raises(errors.UnknownName, match="unknown variant of openvino 'bf61': did you mean 'bf16'"):
        RUNTIMES["openvino:bf61"]
    with pytest.raises(errors.UnknownName, match="unknown runtime 'openvin': did you mean 'openvino'"):
        RUNTIMES["openvin:bf16"]
    for twice in ("torch:bf16:fp32", "torch:cpu:cuda"):
        with pytest.raises(
            errors.RuntimeUnavailable, match=f"'{twice}': a runtime's name holds one device and one variant"
        ):
            RUNTIMES[twice]


def test_the_device_in_a_name_is_the_device(model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    with RUNTIMES["torch:cpu:bf16"].load(model, "auto", 1) as session:
        assert (session.runtime, session.device, session.precision) == ("torch:cpu:bf16", "cpu", "bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(errors.RuntimeUnavailable, match="no CUDA GPU for device 'cuda'"):
        RUNTIMES["torch:cuda"].load(model)
    with pytest.raises(errors.RuntimeUnavailable, match="name says cuda, but --device says cpu: give only one"):
        RUNTIMES["torch:cuda"].load(model, "cpu")


@pytest.mark.parametrize("size", SIZES)
def test_any_runtime_gives_the_picture_of_pytorch(session: Session, network: ReCoNet, size: tuple[int, int]) -> None:
    image = noise(*size)
    with torch.no_grad():
        expected = network(from_uint8(image))
    got = session(image)
    assert got.shape == (*size, 3)
    assert got.dtype == np.uint8
    tolerance = TOLERANCE[session.precision]
    assert np.abs(got.astype(int) - to_uint8(expected)[0]).max() <= max(1, 255 * tolerance)
    y = session.run(session.upload(image))
    session.synchronize()
    parity = session.output_float(y)
    assert parity.shape == (1, 3, *size)
    assert parity.dtype == np.float32
    difference = np.abs(parity - expected.numpy())
    assert difference.max() < tolerance
    assert difference.mean() < tolerance / 4
    if tolerance > TOLERANCE["fp32"]:
        assert difference.max() > TOLERANCE["fp32"], "it says that it computes in a reduced precision, and does not"
    assert np.array_equal(session.download(y), got)


def test_a_batch_is_its_frames(session: Session) -> None:
    batch = np.stack([noise(33, 47, seed) for seed in (1, 2, 3)])
    got = session(batch)
    assert got.shape == batch.shape
    levels = max(1, 255 * TOLERANCE[session.precision])
    alone = session(batch[:1])
    assert alone.shape == (1, 33, 47, 3), "a batch of one is a batch"
    assert np.abs(alone.astype(int) - got[:1]).max() <= levels
    for one, frame in zip(got, batch, strict=True):
        assert np.abs(one.astype(int) - session(frame)).max() <= levels


def test_results_are_not_overwritten_by_the_next_frame(session: Session) -> None:
    first, second = (session.run(session.upload(noise(40, 56, seed))) for seed in (1, 2))
    assert np.array_equal(session.download(first), session(noise(40, 56, 1)))
    assert not np.array_equal(session.download(first), session.download(second))


def test_session_says_what_it_is(session: Session) -> None:
    assert session.runtime in ON_CPU
    types = [word for word in session.runtime.split(":") if word in TOLERANCE]
    assert [session.precision] == (types or ["fp32"]), "without a variant a runtime computes in fp32"
    assert (session.device, session.threads) == ("cpu", 1)
    assert 0 < session.load_seconds < 60


@pytest.mark.clock
@pytest.mark.parametrize("name", ON_CPU)
def test_an_idle_runtime_takes_no_cores_from_the_next(name: str, model: ModelSource) -> None:
    """Its threads sleep soon after the frame, so runtimes that take turns do not slow one another."""
    with load(name, model, threads=2) as session:
        session(noise(64, 64))
        time.sleep(0.1)
        before = time.process_time()  # of all threads
        time.sleep(0.5)
        assert time.process_time() - before < 0.02 * 0.5


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((40, 56), np.uint8), "uint8"),
        (np.zeros((40, 56, 3), np.float32), "float32"),
        (np.zeros((40, 56, 4), np.uint8), r"\(H, W, 3\)"),
        (np.zeros((1, 1, 40, 56, 3), np.uint8), r"\(H, W, 3\)"),
        (np.zeros((40, 12, 3), np.uint8), "too small: 'reconet-seeded' needs 16 a side"),
    ],
)
def test_bad_frames_are_refused(session: Session, image: np.ndarray, says: str) -> None:
    with pytest.raises(errors.DataError, match=says) as caught:
        session(image)
    assert "\n" not in str(caught.value)


class Levels(nn.Module):
    """Shifts by a fraction of a level: what comes out lies between 8-bit levels, and beyond both ends."""

    def __init__(self, levels: float) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, frame: Tensor) -> Tensor:
        return frame + self.levels / 255


@pytest.mark.parametrize("levels", [0.5, -0.5, 0.75, -3.25, 3.25])
@pytest.mark.parametrize("runtime", [name for name in ON_CPU if "bf16" not in name and name != "ncnn"])
def test_rounding_and_clipping_are_those_of_to_uint8(runtime: str, levels: float, tmp_path: Path) -> None:
    shift = np.array(levels / 255, np.float32)
    path = image_model(
        tmp_path / "levels.onnx", [helper.make_node("Add", ["x", "s"], ["y"])], ["n", 3, "h", "w"], {"s": shift}
    )
    network = Levels(levels)
    model = ModelSource("levels", network, lambda: path, input_name="x", output_name="y")
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    with load(runtime, model) as session:
        got = session(image)
        clipped = session.output_float(session.run(session.upload(image)))
    assert np.array_equal(got, to_uint8(network(from_uint8(image)))[0])
    assert (clipped.min() >= 0, clipped.max() <= 1) == (True, True)
    # Worked out by hand where no float error decides: a quarter of a level goes to the nearest, the ends are clipped.
    by_hand = {3.25: [3, 4, 5, 255], -3.25: [0, 0, 0, 252], 0.75: [1, 2, 3, 255]}
    if levels in by_hand:
        assert got[0, [0, 1, 2, 255], 0].tolist() == by_hand[levels]


def test_halves_round_to_even() -> None:
    halves = torch.tensor([0.5, 1.5, 2.5, 127.5, 254.5]).div(255).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    exact = halves.mul(255)[0, 0, 0].tolist() == [0.5, 1.5, 2.5, 127.5, 254.5]
    assert exact, "the example is no longer exact in float32"
    session = Torch().load(ModelSource("identity", Identity(), Path), "cpu", 1)
    assert session.download(halves)[0, :, 0].tolist() == [0, 2, 2, 128, 254]


class Counting(nn.Module):
    """Notes with how many threads it runs; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.broken = False

    def __deepcopy__(self, memo: object) -> Counting:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(torch.get_num_threads())
        if self.broken:
            raise ValueError("broken")
        return x


def test_torch_takes_its_threads_for_its_own_frames_only() -> None:
    """Sums round by the number of threads: one that stayed would change what the caller computes next."""
    network, before = Counting(), torch.get_num_threads()
    one, other = (Torch().load(ModelSource("x", network, Path), "cpu", before + more) for more in (1, 2))
    for session in (one, other, one):
        session(noise(16, 16))
        assert torch.get_num_threads() == before
    assert network.seen == [before + 1, before + 2, before + 1]
    network.broken = True
    with pytest.raises(ValueError, match="broken"):
        other(noise(16, 16))
    assert torch.get_num_threads() == before


def test_a_runtime_takes_every_core_unless_it_is_told_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "usable_cpus", lambda: 3)
    model = ModelSource("identity", Identity(), Path)
    assert [Torch().load(model, "cpu", threads).threads for threads in (None, 2)] == [3, 2]


def test_torch_leaves_the_callers_network_alone(network: ReCoNet) -> None:
    network.train()
    one = Torch().load(ModelSource("x", network, Path), "cpu", 1)
    one(noise(16, 16))
    one.close()
    one.close()
    assert network.training
    network.eval()
    with pytest.raises(RuntimeError, match="closed"):
        one(noise(16, 16))


@pytest.mark.parametrize("name", ["torch", "torch-compile"])
def test_torch_refuses_bf16_that_would_be_emulated(
    name: str, model: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated it is ten and more times slower than fp32, and ``all`` would take minutes."""
    monkeypatch.setattr(pytorch, "computes_bf16", lambda: False)
    with pytest.raises(errors.RuntimeUnavailable, match=f"this CPU has no fast bf16: use {name}$"):
        RUNTIMES[f"{name}:bf16"].load(model, "cpu", 1)


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists(), reason="the kernel tells the processor's abilities on Linux alone"
)
def test_bf16_is_what_the_kernel_says_of_the_processor() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert machine.computes_bf16() == bool(flags & {"avx512_bf16", "bf16"})


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/app", {"cpu.max": "300000 100000", "app/cpu.max": "max 100000"}, 3),
        ("0::/app/inner", {"app/cpu.max": "50000 100000", "app/inner/cpu.max": "200000 100000"}, 0.5),
        (
            "4:cpuset:/\n3:cpu,cpuacct:/docker/a",
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpu:/\n0::/", {"cpu.max": "broken"}, None),
    ],
)
def test_a_containers_share_of_the_processor_is_what_it_may_use(
    membership: str, files: dict[str, str], cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``docker --cpus 1.5`` on a machine of many cores: two threads, and not one for each core."""
    for name, text in {
        "proc/self/cgroup": membership,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert machine.cpu_quota(tmp_path) == cores
    monkeypatch.setattr(machine, "cpu_quota", lambda: cores)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert machine.usable_cpus() == {None: 64, 1.5: 2, 3: 3, 0.5: 1, 2.5: 3}[cores]


def test_no_limit_is_known_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path) is None


def test_torch_refuses_an_onnx_file() -> None:
    for name in ("torch", "torch-compile"):
        with pytest.raises(
            errors.RuntimeUnavailable, match=rf"{name} cannot run an ONNX file.*use --runtime onnxruntime"
        ):
            RUNTIMES[name].load(ModelSource("theirs", None, Path), "cpu")
        with pytest.raises(errors.RuntimeUnavailable, match=f"{name}:fp16 is for GPUs: on a CPU use {name}:bf16"):
            RUNTIMES[f"{name}:fp16"].load(ModelSource("identity", Identity(), Path), "cpu")


@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_no_gpu_and_no_threads_are_said_in_one_line(
    runtime: str, model: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := RUNTIMES[runtime].missing():
        pytest.skip(reason)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(errors.RuntimeUnavailable, match="use --device cpu"):
        RUNTIMES[runtime].load(model, "cuda")
    with pytest.raises(errors.RuntimeUnavailable, match="threads must be 1 or more, got 0"):
        RUNTIMES[runtime].load(model, "cpu", 0)


def test_a_runtime_that_is_not_installed_says_what_to_install(
    model: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("onnxruntime", "openvino", "openvino:bf16", "ncnn"):
        with pytest.raises(errors.RuntimeUnavailable, match=f"not installed: pip install {name.partition(':')[0]}"):
            RUNTIMES[name].load(model, "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("nncf", "tensorrt") else name)
    for name, package in {
        "openvino:int8": "nncf",
        "tensorrt": '"tensorrt<11"',
        "onnxruntime:tensorrt": '"tensorrt<11"',
    }.items():
        assert f"is not installed: pip install {package}" in str(RUNTIMES[name].missing())
    assert RUNTIMES["openvino"].missing() is RUNTIMES["onnxruntime"].missing() is None


# --- ONNX Runtime's own ---------------------------------------------------------------------------------


def test_every_compute_node_is_seen_on_the_cpu_provider(model: ModelSource) -> None:
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        assert set(session.placement) == {CPU_PROVIDER}
        # 16 convolutions and 15 norms at least; fused or re-laid-out, they stay nodes.
        assert session.placement[CPU_PROVIDER] >= 31


def test_placement_counts_images_and_not_shape_arithmetic() -> None:
    def event(name: str, operator: str, provider: str, *outputs: dict[str, list[int]], cat: str = "Node") -> dict:
        return {
            "cat": cat,
            "name": name,
            "args": {"op_name": operator, "provider": provider, "output_type_shape": list(outputs)},
        }

    trace = [
        {"cat": "Session", "name": "model_run", "args": {}},
        event("conv_kernel_time", "Conv", CUDA_PROVIDER, {"float": [1, 32, 64, 64]}),
        event("conv_fence_before", "Conv", CPU_PROVIDER, {"float": [1, 32, 64, 64]}),
        event("half_kernel_time", "Conv", CUDA_PROVIDER, {"float16": [1, 32, 64, 64]}),
        event("shape_kernel_time", "Shape", CPU_PROVIDER, {"int64": [4]}),
        event("scales_kernel_time", "Concat", CPU_PROVIDER, {"float": [4]}),
        event("pads_kernel_time", "Transpose", CPU_PROVIDER, {"int64": [2, 4]}),
        event("odd_kernel_time", "Greater", CPU_PROVIDER, {"bool": []}),
    ]
    pixels = 64 * 64
    assert compute_nodes(trace, pixels) == {"conv": ("Conv", CUDA_PROVIDER), "half": ("Conv", CUDA_PROVIDER)}
    assert check_placement(compute_nodes(trace, pixels), CUDA_PROVIDER, "m") == {CUDA_PROVIDER: 2}
    for output in (
        {"float": [1, 3, 72, 72]},
        {"uint8": [1, 64, 64, 3]},
        {"uint8": [1, 16, 16, 3]},
        {"int8": [1, 32, 64, 64]},
        {"int32": [64 * 64]},
        {"float": [64, 32]},
    ):
        stray = [*trace, event("pad_kernel_time", "Pad", CPU_PROVIDER, output)]
        with pytest.raises(
            errors.RuntimeUnavailable, match=r"did not run all of 'm' on .*: pad \(Pad\) on CPUExecutionProvider; use"
        ):
            check_placement(compute_nodes(stray, pixels), CUDA_PROVIDER, "m")
    with pytest.raises(errors.RuntimeUnavailable, match="cannot prove"):
        check_placement({}, CPU_PROVIDER, "m")


def test_what_moves_bytes_is_seen_too(tmp_path: Path) -> None:
    """Without any float, a proof by type alone would find no compute node."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["t"], ["y"], perm=[0, 2, 1, 3]),
    ]
    path = image_model(
        tmp_path / "bytes.onnx",
        [nodes[0], helper.make_node("BitwiseNot", ["t"], ["n"]), nodes[1]],
        ["n", "h", "w", 3],
        kind=TensorProto.UINT8,
    )
    file = onnx.load(path)
    file.graph.node[2].input[0] = "n"
    onnx.save(file, path)
    with RUNTIMES["onnxruntime"].load(inspect_onnx(path), "cpu", 1) as session:
        assert session.placement[CPU_PROVIDER] >= 1
        assert np.array_equal(session(noise(16, 24)), 255 - noise(16, 24))


def test_a_silent_fall_back_from_cuda_is_an_error(model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch says CUDA but ONNX Runtime gets only its CPU provider, nothing may be measured as CUDA."""
    monkeypatch.setattr("reconet_bench.runtimes.base.pick_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER])
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(
        "onnxruntime.InferenceSession", lambda *_, **__: SimpleNamespace(get_providers=lambda: [CPU_PROVIDER])
    )
    with pytest.raises(errors.RuntimeUnavailable, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        RUNTIMES["onnxruntime"].load(model, "cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU_PROVIDER])
    with pytest.raises(errors.RuntimeUnavailable, match="pip install onnxruntime-gpu"):
        RUNTIMES["onnxruntime"].load(model, "cuda")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ImportError("libnvinfer.so.10: cannot open shared object file\nmore"),
            "it is installed, but its library does not load: libnvinfer.so.10: cannot open shared object file",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            "not enough memory on cpu to load 'reconet-seeded'",
        ),
    ],
)
def test_what_libraries_say_while_they_load_is_one_line(
    model: ModelSource, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    """Such a runtime costs its own rows: a traceback would end the comparison."""

    def fails(*_: object) -> Session:
        raise error

    runtime = RUNTIMES["torch"]
    monkeypatch.setattr(type(runtime), "open", fails)
    with pytest.raises(errors.RuntimeUnavailable) as caught:
        runtime.load(model, "cpu", 1)
    assert str(caught.value) == says


def test_a_broken_file_is_a_model_error_without_chatter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(errors.ModelError, match=r"broken\.onnx: onnxruntime cannot load it") as caught:
        RUNTIMES["onnxruntime"].load(ModelSource("broken", None, lambda: path), "cpu")
    assert "\n" not in str(caught.value)
    # It cannot run, and a weight that no node uses is something to warn about.
    weights = {"s": np.array([1, 3, 7, 7]), "unused": np.array([1])}
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    stuck = image_model(tmp_path / "stuck.onnx", nodes, ["n", 3, "h", "w"], weights)
    with pytest.raises(
        errors.ModelError, match=r"stuck\.onnx: onnxruntime cannot run it on \(1, 3, 64, 64\): "
    ) as caught:
        RUNTIMES["onnxruntime"].load(ModelSource("stuck", None, lambda: stuck, input_name="x", output_name="y"), "cpu")
    assert "\n" not in str(caught.value)
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_a_file_that_demands_a_multiple_is_padded_by_reflection_and_cropped(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """Four-pixel blocks, averaged and enlarged: right at the border only if the padding is a reflection."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Resize", ["small", "", "scales"], ["y"], mode="nearest"),
    ]
    path = image_model(
        tmp_path / "blocks.onnx", nodes, [1, 3, "h", "w"], {"scales": np.array([1, 1, 4, 4], np.float32)}
    )
    model = inspect_onnx(path)
    assert model.multiple == 4
    image = noise(*size)
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        got = session(image)
    height, width = size
    padded = np.pad(image, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect").astype(float)
    means = padded.reshape(len(padded) // 4, 4, -1, 4, 3).mean((1, 3))
    expected = means.repeat(4, 0).repeat(4, 1)[:height, :width]
    assert np.abs(got - expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_other_layout_range_and_type_come_out_the_same(kind: int, tmp_path: Path) -> None:
    """A negative in [0, 255], channels last: ``y = 255 - x``."""
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16
    nodes = [helper.make_node("Sub", ["white", "x"], ["y"])]
    path = image_model(tmp_path / "negative.onnx", nodes, [1, "h", "w", 3], {"white": np.array(255, dtype)}, kind)
    model = inspect_onnx(path)
    assert (model.layout, model.input_range, model.output_range, model.multiple) == ("NHWC", BYTE, BYTE, 1)
    image = noise(21, 34)
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        assert np.array_equal(session(image), 255 - image)
        assert session.precision == ("fp32" if kind == TensorProto.FLOAT else "fp16")
        assert session.output_float(session.run(session.upload(image))).shape == (1, 3, 21, 34)


#: Shapes in the wild, and the type that goes with each.
SHAPES = {
    "ten at once": (TensorProto.FLOAT, [10, 3, "h", "w"]),
    "ten at once, channels last": (TensorProto.FLOAT, [10, "h", "w", 3]),
    "one size": (TensorProto.FLOAT, [1, 3, 32, 48]),
    "one size, ten at once": (TensorProto.FLOAT, [10, 3, 32, 48]),
    "no batch": (TensorProto.FLOAT, [3, "h", "w"]),
    "no batch, channels last": (TensorProto.FLOAT, ["h", "w", 3]),
    "8 bits, channels first": (TensorProto.UINT8, ["n", 3, "h", "w"]),
    "8 bits, one size": (TensorProto.UINT8, [1, 32, 48, 3]),
    "double": (TensorProto.DOUBLE, ["n", 3, "h", "w"]),
}


def negative(path: Path, kind: int, shape: list[int | str]) -> Path:
    """White for black, of any type and shape."""
    white = 255.0 if kind == TensorProto.UINT8 else 1.0
    number = TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
    nodes = [
        helper.make_node("Cast", ["x"], ["number"], to=number),
        helper.make_node("Sub", ["white", "number"], ["negative"]),
        helper.make_node("Cast", ["negative"], ["y"], to=kind),
    ]
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name in "xy")
    constant = helper.make_tensor("white", number, [], [white])
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [constant]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    helper.set_model_props(made, {"value_range": "0..255" if white == 255 else "0..1"})
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_in_the_wild_run(shape: str, name: str, tmp_path: Path) -> None:
    model = inspect_onnx(negative(tmp_path / "m.onnx", *SHAPES[shape]))
    image = np.repeat(np.repeat(noise(4, 6), 8, 0), 8, 1)
    with RUNTIMES[name].load(model, "cpu", 1) as session:
        got = session(image)
        assert got.shape == image.shape
        assert np.abs(got.astype(int) - (255 - image.astype(int))).max() <= 1
        assert np.array_equal(session.proved(image), got)
        assert session.floats(image).shape == (1, 3, *image.shape[:2])
        other = np.full((40, 56, 3), 30, np.uint8)
        assert np.abs(session(other).astype(int) - 225).max() <= 1, "of another size than the file takes"
        if model.batch != 1:
            assert np.array_equal(session(np.stack([image, image]))[1], got)


def test_what_is_done_to_frames_is_told(tmp_path: Path) -> None:
    fixed = inspect_onnx(negative(tmp_path / "m.onnx", *SHAPES["one size, ten at once"]))
    assert fixed.adaptations(32, 48, 10) == ()
    assert fixed.adaptations(32, 48) == (Doubt.FIXED_BATCH,)
    assert fixed.adaptations(32, 40, 10) == (Doubt.RESIZED,)
    with (
        RUNTIMES["onnxruntime"].load(fixed, "cpu", 1) as session,
        pytest.raises(errors.ModelError, match="accepts batches of 10 only, got 11 frames"),
    ):
        session(np.zeros((11, 32, 48, 3), np.uint8))
    assert inspect_onnx(negative(tmp_path / "m.onnx", *SHAPES["double"])).precision == "fp64"


def test_half_precision_keeps_norms_and_resizes_and_the_picture(model: ModelSource) -> None:
    graph = onnx.load_from_string(half_precision(model.onnx())).graph
    assert (
        graph.input[0].type.tensor_type.elem_type == graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    )
    assert any(weight.data_type == TensorProto.FLOAT16 and len(weight.dims) == 4 for weight in graph.initializer)
    casts = {node.output[0]: node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
    kept = [node for node in graph.node if node.op_type in ("InstanceNormalization", "Resize")]
    assert len(kept) == 15 + 2
    assert all(casts[node.input[0]] == TensorProto.FLOAT for node in kept)
    # The CPU provider computes fp16 by way of fp32, slowly: enough to see that it is the same picture.
    with load("torch", model) as reference, OnnxSession(model, model.onnx(), torch.device("cpu"), 1, "fp16") as session:
        assert (session.precision, session.dtype) == ("fp16", torch.float16)
        assert session_parity(reference, session, [noise(33, 47)]).psnr > 40


# --- OpenVINO's own -------------------------------------------------------------------------------------


def test_convolutions_in_another_type_than_asked_for_are_an_error() -> None:
    """A CPU without bf16 takes the hint and computes in fp32, at fp32's speed, without a word."""
    found = computed_in(
        [("Convolution", "f32"), ("Deconvolution", "bf16"), ("Convolution", "bf16"), ("Eltwise", "f32")]
    )
    assert found == {"f32": 1, "bf16": 2}
    with pytest.raises(
        errors.RuntimeUnavailable, match=r"does not compute all convolutions of 'm' in bf16 \(1 in f32\)"
    ):
        check_precision(found, "bf16", "m")
    check_precision({"bf16": 16}, "bf16", "m")
    check_precision({"f32": 16}, "fp32", "m")
    # In int8 the first and the last layer may stay as they are, and half of all at most.
    check_precision({"u8": 2, "f32": 2}, "int8", "m")
    with pytest.raises(errors.RuntimeUnavailable, match=r"in int8 \(3 in f32\)"):
        check_precision({"u8": 2, "f32": 3}, "int8", "m")
    assert computed_in([("FullyConnected", "bf16"), ("MatMul", "f32")]) == {"f32": 1, "bf16": 1}
    check_precision({}, "fp32", "m")
    for precision in ("bf16", "int8"):
        with pytest.raises(errors.RuntimeUnavailable, match=f"cannot prove that it computes 'm' in {precision}"):
            check_precision({}, precision, "m")
    with pytest.raises(errors.RuntimeUnavailable, match=r"in fp32 \(14 in bf16\): use onnxruntime$"):
        check_precision({"bf16": 14}, "fp32", "m", "onnxruntime")


def test_openvino_proves_what_runs_and_not_what_might(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form that frames run on is looked at; a file of one size has but one, compiled while loading."""
    pytest.importorskip("openvino")
    looked_at: list[list[int]] = []
    check = openvino_module.OpenVinoSession._check

    def seen(session: openvino_module.OpenVinoSession, compiled: Any) -> None:
        looked_at.append(list(compiled.inputs[0].get_partial_shape().to_shape()))
        check(session, compiled)

    monkeypatch.setattr(openvino_module.OpenVinoSession, "_check", seen)
    nodes = [helper.make_node("Sigmoid", ["x"], ["y"])]
    dynamic = inspect_onnx(image_model(tmp_path / "dynamic.onnx", nodes, ["n", 3, "h", "w"]))
    with load("openvino", dynamic) as session:
        assert looked_at == []
        for width in (24, 32, 24):
            session(noise(16, width))
        assert looked_at == [[1, 3, 16, 24], [1, 3, 16, 32]]
    fixed = inspect_onnx(image_model(tmp_path / "fixed.onnx", nodes, [1, 3, 32, 48]))
    with load("openvino", fixed) as session:
        assert looked_at[2:] == [[1, 3, 32, 48]]
        session(noise(32, 48))
        assert (len(looked_at), session.build_seconds) == (3, 0)
        assert session.placement == {"CPU": 1}


def test_openvino_in_bf16_needs_something_to_prove_it_by(tmp_path: Path) -> None:
    path = image_model(tmp_path / "sigmoid.onnx", [helper.make_node("Sigmoid", ["x"], ["y"])], ["n", 3, "h", "w"])
    with (
        load("openvino:bf16", inspect_onnx(path)) as session,
        pytest.raises(errors.RuntimeUnavailable, match="cannot prove"),
    ):
        session(noise(16, 16))
    content = image_model(tmp_path / "content.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["n", 3, "h", "w"])
    with load("openvino:bf16", inspect_onnx(content)) as session:
        assert np.array_equal(session(noise(16, 16)), noise(16, 16)), "what computes nothing has nothing to prove"


def test_a_cpu_without_bf16_says_so_before_a_frame(model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda core, device, name: ["FP32"])
    with pytest.raises(errors.RuntimeUnavailable, match="this CPU has no fast bf16: use openvino"):
        RUNTIMES["openvino:bf16"].load(model, "cpu", 1)


def test_openvino_reports_where_it_ran_and_keeps_a_form_for_each_size(model: ModelSource) -> None:
    with load("openvino", model) as session:
        assert (session.placement, session.build_seconds) == ({}, 0), "nothing is compiled that never runs"
        session(noise(16, 16))
        # 16 convolutions and 15 norms at least; what is fused or re-laid-out stays a node.
        assert set(session.placement) == {"CPU"}
        assert session.placement["CPU"] >= 31
        assert session.build_seconds > 0
        expected = {size: session(noise(*size)) for size in [(16, 16 + n) for n in range(6)]}
        for size, frame in expected.items():
            assert np.array_equal(session(noise(*size)), frame)
    with pytest.raises(RuntimeError, match="closed"):
        session(noise(16, 16))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sigaltstack as Linux lays it out")
@pytest.mark.parametrize("name", ["openvino", "openvino:int8"])
def test_openvino_leaves_the_stack_for_signals_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plug-in takes it and frees it when unloaded: the next Ctrl-C would be a segmentation fault."""
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    path = scaled(tmp_path, 1.0)
    model = ModelSource("m", None, lambda: path, input_name="x", output_name="y")

    def stack() -> bytes:
        library, state = ctypes.CDLL(None), ctypes.create_string_buffer(24)
        assert library.sigaltstack(None, state) == 0
        return state.raw

    before = stack()
    with load(name, model) as session:
        session(noise(32, 32))
        assert stack() == before


def test_openvino_says_in_one_line_what_it_cannot_read(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(errors.ModelError, match=r"broken\.onnx: openvino cannot load it") as caught:
        RUNTIMES["openvino"].load(ModelSource("broken", None, lambda: path), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_openvino_takes_other_layout_range_and_type(kind: int, tmp_path: Path) -> None:
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16
    nodes = [helper.make_node("Sub", ["white", "x"], ["y"])]
    path = image_model(tmp_path / "negative.onnx", nodes, [1, "h", "w", 3], {"white": np.array(255, dtype)}, kind)
    with load("openvino", inspect_onnx(path)) as session:
        assert np.array_equal(session(noise(21, 34)), 255 - noise(21, 34))


# --- int8 -----------------------------------------------------------------------------------------------


@pytest.mark.quantisation
@pytest.mark.parametrize("name", ["onnxruntime:int8", "openvino:int8"])
def test_int8_is_the_same_picture_roughly(name: str, trained: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped model, calibrated on small frames: int8 where it says so, and still a picture."""
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    frames = [to_uint8(synthetic_clip("carousel", (72, 96), 2).frame(0))[0]]
    with load("torch", trained) as reference, load(name, trained) as session:
        assert (session.runtime, session.precision) == (name, "int8")
        parity = session_parity(reference, session, frames)
    assert 25 < parity.psnr < 60
    assert parity.max_abs > TOLERANCE["fp32"]
    # Kept from before: not made again; and made again where nothing can be kept, or with other frames.
    with monkeypatch.context() as patch:
        patch.setattr(openvino_module, "nncf_quantized", None)
        patch.setattr(onnxruntime_module, "quantized", None)
        with load("torch", trained) as reference, load(name, trained) as session:
            assert session_parity(reference, session, frames) == parity
            assert session.made_form is None
            assert session.load_memory is not None
        for change in (
            lambda: patch.setenv("RECONET_BENCH_CACHE", "/dev/null/cache"),
            lambda: patch.setattr(onnx_forms, "_SIDE", 72),
        ):
            change()
            with pytest.raises(TypeError, match="not callable"):
                load(name, trained)


@pytest.mark.quantisation
@pytest.mark.parametrize("form", ["uint8", "fp16", "uint8-fp16"])
def test_int8_is_calibrated_with_frames_as_the_file_takes_them(
    form: str, trained: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    path = tmp_path / "form.onnx"
    path.write_bytes(FORMS[form](trained.onnx(), None))
    model = inspect_onnx(path)
    if "fp16" in form:
        with pytest.raises(errors.RuntimeUnavailable, match=r"form\.onnx is an fp16 file, and int8 is made of fp32"):
            load("onnxruntime:int8", model)
        return
    image = to_uint8(synthetic_clip("carousel", (64, 64), 2).frame(0))[0]
    with load("onnxruntime:int8", model) as session, load("torch", trained) as reference:
        assert (session.dtype, session.precision) == (torch.uint8, "int8")
        assert session_parity(reference, session, [image]).psnr > 25


@pytest.mark.quantisation
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_file_that_is_int8_as_it_is_written_is_computed_and_called_so(
    name: str, trained: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONET_BENCH_CACHE", "/dev/null/cache")  # made, though it cannot be kept
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    monkeypatch.setattr(onnx_forms, "_PER_CLIP", 1)
    with load("onnxruntime:int8", trained) as made:
        (tmp_path / "int8.onnx").write_bytes(made._source)
        assert made.load_memory is None, "the quantiser's memory is not the session's"
    theirs = inspect_onnx(tmp_path / "int8.onnx")
    with load(name, theirs) as session, load("torch", trained) as reference:
        assert (session.runtime, session.precision) == (name, "int8")
        assert 20 < session_parity(reference, session, [noise(32, 48)]).psnr < 60
    with pytest.raises(errors.RuntimeUnavailable, match=rf"int8\.onnx is an int8 file already: use {name}$"):
        load(f"{name}:int8", theirs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return load_by_name("reconet-starry_night", tmp_path_factory.mktemp("trained")).source


def test_what_has_no_convolutions_is_not_quantised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen before a frame is rendered; a file of ours in a temporary folder is called by its name."""
    monkeypatch.setattr(onnx_forms, "synthetic_clip", None)
    path = image_model(tmp_path / "sigmoid.onnx", [helper.make_node("Sigmoid", ["x"], ["y"])], [1, 3, "h", "w"])
    for name in ("onnxruntime:int8", "openvino:int8"):
        with pytest.raises(errors.ModelError, match=r"sigmoid\.onnx: has no convolutions to quantise"):
            load(name, inspect_onnx(path))
        with pytest.raises(errors.ModelError, match=r"^'sigmoid': has no convolutions to quantise"):
            load(name, dataclasses.replace(inspect_onnx(path), exported=True))


# --- weights in files of their own, and 8-bit frames -----------------------------------------------------


def scaled(folder: Path, factor: float) -> Path:
    """``y = factor⁵ · x`` by convolutions with external weights; the model file itself is always the same."""
    weights = (np.eye(3, dtype=np.float32) * factor).reshape(3, 3, 1, 1)
    names = ["x", "a", "b", "c", "d", "y"]
    nodes = [helper.make_node("Conv", [source, "w"], [target]) for source, target in itertools.pairwise(names)]
    (folder / "w.bin").unlink(missing_ok=True)
    path = image_model(folder / "m.onnx", nodes, ["n", 3, "h", "w_"], {"w": weights})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_a_checksum_is_of_all_files_of_a_model(tmp_path: Path) -> None:
    path = scaled(tmp_path, 1.0)
    file, both = checksum(path), model_checksum(path)
    assert scaled(tmp_path, 0.5) == path
    assert checksum(path) == file, "the example changes the file itself"
    assert model_checksum(path) != both
    plain = image_model(tmp_path / "plain.onnx", [helper.make_node("Sigmoid", ["x"], ["y"])], [1, 3, "h", "w"])
    assert model_checksum(plain) == checksum(plain)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert model_checksum(tmp_path / "broken.onnx") == checksum(tmp_path / "broken.onnx")
    assert load_by_name(str(path), tmp_path).checksum == model_checksum(path)


def test_other_weights_are_not_quantised_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the same, the weights beside it are not."""
    monkeypatch.setattr(onnx_forms, "_SIDE", 64)
    monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / "cache"))
    image = np.full((32, 48, 3), 200, np.uint8)
    found = []
    for factor in (1.0, 0.8):
        path = scaled(tmp_path, factor)
        with load(
            "openvino:int8", ModelSource("m", None, lambda path=path: path, input_name="x", output_name="y")
        ) as session:
            found.append(float(session(image).mean()))
    assert found[0] == pytest.approx(200, abs=10)
    assert found[1] == pytest.approx(200 * 0.8**5, abs=10)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_file_that_converts_by_itself_gets_bytes_and_gives_them(
    name: str, model: ModelSource, tmp_path: Path
) -> None:
    """Our own 8-bit form: the conversion is in the graph, so it is timed with what runs on the device."""
    path = tmp_path / "net-uint8.onnx"
    path.write_bytes(onnx_forms.eight_bit_frames(model.onnx().read_bytes()))
    eight = inspect_onnx(path)
    assert (eight.layout, eight.input_range, eight.output_range, eight.multiple) == ("NHWC", BYTE, BYTE, 1)
    with load(name, model) as reference, load(name, eight) as session:
        assert session.precision == "fp32"
        resident = session.upload(noise(33, 47))
        assert (resident.tensor.dtype, tuple(resident.tensor.shape)) == (torch.uint8, (1, 33, 47, 3))
        assert session.run(resident).dtype == torch.uint8
        assert np.abs(session(noise(33, 47)).astype(int) - reference(noise(33, 47))).max() <= 1
        batch = np.stack([noise(33, 47, seed) for seed in (1, 2)])
        assert session(batch).shape == batch.shape
        assert session(batch[:1]).shape == batch[:1].shape, "a batch of one is a batch"
        assert np.array_equal(session.ask(Session.proved, batch[0]), session(batch[0]))
        assert session_parity(reference, session, [noise(33, 47)]).max_abs < 0.5 / 255 + 1e-3


def test_bytes_are_padded_by_reflection_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["first"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Round", ["large"], ["rounded"]),
        helper.make_node("Transpose", ["rounded"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["last"], ["y"], to=TensorProto.UINT8),
    ]
    path = image_model(
        tmp_path / "blocks.onnx",
        nodes,
        [1, "h", "w", 3],
        {"scales": np.array([1, 1, 4, 4], np.float32)},
        TensorProto.UINT8,
    )
    model, image = inspect_onnx(path), noise(33, 47)
    assert model.multiple == 4
    padded = np.pad(image, ((0, 3), (0, 1), (0, 0)), mode="reflect").astype(float)
    means = padded.reshape(9, 4, 12, 4, 3).mean((1, 3))
    with RUNTIMES["onnxruntime"].load(model, "cpu", 1) as session:
        assert np.array_equal(session(image), means.round().repeat(4, 0).repeat(4, 1)[:33, :47])


# --- TensorRT's own, as far as no GPU is needed ---------------------------------------------------------


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))


def test_an_engine_is_kept_for_its_model_size_precision_version_and_gpu_alone(
    tmp_path: Path, a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    cuda = torch.device("cuda", 0)

    def place(shape: tuple[int, ...] = (1, 3, 64, 64), precision: str = "fp32") -> Path:
        return engine_place(path, shape, precision, cuda)

    first = place()
    assert place() == first
    places = [first, place((1, 3, 64, 96)), place(precision="fp16")]
    folders = [tensorrt_options(path, 0, half)["trt_engine_cache_path"] for half in (False, True)]
    for patch in (
        lambda: monkeypatch.setattr(kept_module, "versions", lambda: {"tensorrt": "10.99"}),
        lambda: monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA T4"),
        lambda: path.write_bytes(b"other"),
    ):
        patch()
        places.append(place())
        folders.append(tensorrt_options(path, 0, False)["trt_engine_cache_path"])
    sizes = [tensorrt_options(path, 0, False, "frame", (1, 3, 64, width)) for width in (64, 96)]
    assert sizes[0]["trt_engine_cache_path"] != sizes[1]["trt_engine_cache_path"]
    assert {sizes[0][f"trt_profile_{end}_shapes"] for end in ("min", "opt", "max")} == {"frame:1x3x64x64"}
    assert len(set(places)) == len(places) == 6
    assert len(set(folders)) == len(folders) == 5
    assert all(Path(folder).is_dir() for folder in folders)
    monkeypatch.setenv("RECONET_BENCH_CACHE", "/dev/null/cache")
    without = tensorrt_options(path, 0, False, "frame", (1, 3, 64, 64))
    assert not [name for name in without if "cache" in name], "it is told to keep engines where nothing can be"
    assert without["trt_profile_opt_shapes"] == "frame:1x3x64x64"


def test_an_engine_of_another_version_is_built_anew(
    tmp_path: Path, a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorRT does not take for its own (it returns None) is replaced; what it takes is not built again."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    shaped: list[tuple[str, tuple[int, ...]]] = []
    context = SimpleNamespace(set_input_shape=lambda name, shape: shaped.append((name, shape)) or min(shape) > 0)
    engine = SimpleNamespace(num_layers=31, create_execution_context=lambda: context)
    built: list[tuple[int, ...]] = []

    def session() -> TensorRtSession:
        made = object.__new__(TensorRtSession)
        made.model = ModelSource("m", None, lambda: path)
        made._path, made.precision, made.torch_device, made._engines = path, "fp32", torch.device("cuda", 0), {}
        made._runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan == b"ours" else None)
        monkeypatch.setattr(made, "_build", lambda shape: built.append(shape) or b"ours", raising=False)
        return made

    shape = (1, 3, 64, 64)
    place = engine_place(path, shape, "fp32", torch.device("cuda", 0))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"of another version")
    one = session()
    assert one._engine(shape) == (engine, context)
    assert shaped == [("frame", shape)], (
        "the engine takes any size by its declaration: a context without one does not run"
    )
    assert one.placement == {"TensorRT": 31}
    assert place.read_bytes() == b"ours"
    assert one.build_seconds > 0
    assert session()._engine(shape) == (engine, context)
    assert built == [shape], "a kept engine was built again"
    with pytest.raises(errors.ModelError, match=r"tensorrt does not accept the shape \(0, 3, 64, 64\)"):
        session()._engine((0, 3, 64, 64))
    built.clear()
    engine.create_execution_context = lambda: None
    full = session()
    full.device = "cuda:0"
    with pytest.raises(
        errors.ModelError, match=r"not enough memory on cuda:0 for tensorrt to run it on \(1, 3, 64, 64\)"
    ):
        full._engine(shape)


def test_what_is_for_gpus_says_so(model: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for name in ("tensorrt", "tensorrt:fp16"):
        with pytest.raises(errors.RuntimeUnavailable, match="tensorrt is for NVIDIA GPUs"):
            RUNTIMES[name].load(model, "cpu")
    for name in ("fp16", "graph", "fp16-graph", "tensorrt", "tensorrt-fp16"):
        with pytest.raises(errors.RuntimeUnavailable, match=f"onnxruntime:{name} is for GPUs"):
            RUNTIMES[f"onnxruntime:{name}"].load(model, "cpu")


def test_what_cannot_compute_here_is_known_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(pytorch, "computes_bf16", lambda: False)
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    for place, others in {
        cpu: ("fp16", "bf16", "graph", "tensorrt"),
        cuda: ("ncnn", "openvino", "int8", "web"),
    }.items():
        unusable = {name for name in RUNTIMES.names() if RUNTIMES[name].unusable(place)}
        expected = {name for name in RUNTIMES.names() if any(word in name for word in others)}
        assert unusable == expected - {"openvino:bf16"} if place == cpu else unusable == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert RUNTIMES["torch:fp16"].status.text == "unusable here: torch:fp16 is for GPUs: on a CPU use torch:bf16"
    assert RUNTIMES["torch:bf16"].status.text == "unusable here: this CPU has no fast bf16: use torch"
    assert RUNTIMES["torch"].status.text == RUNTIMES["torch"].description
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert RUNTIMES["tensorrt"].status.text.startswith("missing: tensorrt is not installed")


def test_providers_are_asked_for_in_order_and_with_what_they_need(model: ModelSource, a_gpu: None) -> None:
    """As they go to ONNX Runtime, which has no GPU here to take them."""
    made = object.__new__(OnnxSession)
    made._path, made._half, made.torch_device = model.onnx(), True, torch.device("cuda", 1)
    for provider, expected in {
        CUDA_PROVIDER: [CUDA_PROVIDER],
        TENSORRT_PROVIDER: [TENSORRT_PROVIDER, CUDA_PROVIDER],
    }.items():
        made.provider, made.model = provider, model
        *gpu, last = made._providers(graphed=True, shape=(1, 3, 64, 96))
        assert [name for name, _ in gpu] == expected
        assert last == CPU_PROVIDER
        assert {options["device_id"] for _, options in gpu} == {1}
        assert (gpu[-1][1]["use_tf32"], gpu[-1][1]["enable_cuda_graph"]) == ("0", "1")
        assert gpu[0][1].get("trt_profile_opt_shapes") == ("frame:1x3x64x96" if provider == TENSORRT_PROVIDER else None)


def test_with_tensorrt_each_shape_has_a_session_and_a_proof_of_its_own(model: ModelSource, a_gpu: None) -> None:
    """With one engine for several shapes, speed would depend on the sizes that were run before."""
    opened: list[tuple[int, ...]] = []

    class Shaped(OnnxSession):
        def _open(self, options: Any, graphed: bool = False, shape: tuple[int, ...] = ()) -> Any:
            opened.append(shape)
            return SimpleNamespace(shape=shape)

        def _proved(self, x: Tensor, shape: tuple[int, ...] = ()) -> dict[str, int]:
            return {f"proof of {tuple(x.shape)}": 1}

    made = object.__new__(Shaped)
    made._tensorrt, made._graphed, made._shaped, made._session, made.threads = True, False, {}, "open", 1
    made.model = model
    frames = [torch.zeros(1, 3, 16, width) for width in (16, 24, 16)]
    assert [made._for(x).shape for x in frames] == [tuple(x.shape) for x in frames]
    assert opened == [(1, 3, 16, 16), (1, 3, 16, 24)]
    assert made.placement == {"proof of (1, 3, 16, 24)": 1}
    assert made.build_seconds > 0
    for width in range(32, 32 + 8 * (KEPT_SHAPES - 2), 8):
        made._for(torch.zeros(1, 3, 16, width))
    made._for(frames[0])
    made._for(torch.zeros(1, 3, 16, 200))
    assert len(made._shaped) == KEPT_SHAPES
    assert (1, 3, 16, 16) in made._shaped, "it was used a moment ago"
    assert (1, 3, 16, 24) not in made._shaped, "the least recently used one goes first"
    opened.clear()
    made.model, made._shaped = dataclasses.replace(model, height=16, width=16, batch=1), {}
    assert made._for(frames[0]) == "open", "a file of one shape has its session already"
    assert opened == []


# --- ncnn's own -----------------------------------------------------------------------------------------


def test_ncnn_takes_several_frames_and_says_what_it_cannot_convert(model: ModelSource) -> None:
    with load("ncnn", model) as session:
        batch = np.stack([noise(32, 48, seed) for seed in (1, 2)])
        got = session(batch)
        assert np.array_equal(got[1], session(batch[1]))
    with pytest.raises(RuntimeError, match="closed"):
        session(batch)
    with pytest.raises(errors.RuntimeUnavailable, match="ncnn cannot run an ONNX file"):
        load("ncnn", ModelSource("theirs", None, Path))


# --- torch.compile's own --------------------------------------------------------------------------------


class Small(ReCoNet):
    """A layer of each kind, narrow: compiles in seconds."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.plain_tanh = self.signed = False
        self.encoder = nn.Sequential(ConvBlock(3, 4, 3, stride=4))
        self.residual = nn.Sequential(ResidualBlock(4))
        self.decoder = nn.Sequential(Upsample(), Upsample(), nn.Conv2d(4, 3, 3, padding=1))


@pytest.mark.compiler
@pytest.mark.parametrize("variant", ["", ":bf16"])
def test_a_compiled_network_gives_the_picture_of_the_eager_one(variant: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = ModelSource("small", Small().eval(), Path)
    frames = [noise(33, 47, seed) for seed in (1, 2)]
    with load("torch", model) as reference, load(f"torch-compile{variant}", model) as session:
        first = session.run(session.upload(frames[0]))
        parity = session_parity(reference, session, frames)
        assert np.array_equal(session.download(first), session(frames[0])), "overwritten by the next frame"
    precision = variant[1:] or "fp32"
    assert (session.runtime, session.precision) == (f"torch-compile{variant}", precision)
    assert parity.max_abs < TOLERANCE[precision]
    assert (parity.max_abs > TOLERANCE["fp32"]) == (precision == "bf16")
    with pytest.raises(RuntimeError, match="closed"):
        session(frames[0])


@pytest.mark.compiler
def test_a_compiled_network_does_its_work_alone_from_the_second_frame_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are for compiling; to change them at every frame takes time, which would be the runtime's."""
    with load("torch-compile", ModelSource("identity", Brighter(), Path)) as session:
        session(noise(16, 24))
        built = session.build_seconds
        assert built > 0
        with monkeypatch.context() as patch:
            patch.setattr(torch_compile, "warnings", None)  # whoever compiles asks it for silence
            compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            assert np.array_equal(session(noise(16, 24, 1)), to_uint8(Brighter()(from_uint8(noise(16, 24, 1))))[0])
            assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled
        assert session.build_seconds == built
        session(noise(16, 32))
        assert session.build_seconds > built


class Brighter(nn.Module):
    """Compiles at once."""

    def forward(self, frame: Tensor) -> Tensor:
        return frame + 0.25


def test_a_network_that_cannot_be_compiled_whole_is_refused() -> None:
    class Printing(nn.Module):
        def forward(self, frame: Tensor) -> Tensor:
            torch._dynamo.graph_break()
            return frame

    with (
        load("torch-compile", ModelSource("printing", Printing(), Path)) as session,
        pytest.raises(errors.RuntimeUnavailable, match="torch-compile cannot compile 'printing': ") as caught,
    ):
        session(noise(16, 16))
    assert "\n" not in str(caught.value)


def test_a_compiler_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "install g++" in str(RUNTIMES["torch-compile:bf16"].missing())


def test_parity_of_known_differences() -> None:
    load = Torch().load
    exact, shifted = (load(ModelSource(str(n), Levels(n), Path), "cpu", 1) for n in (0, 2))
    frames = [np.full((20, 30, 3), 100, np.uint8), np.full((10, 10, 3), 50, np.uint8)]
    same, apart = session_parity(exact, exact, frames), session_parity(exact, shifted, frames)
    assert (same.max_abs, same.psnr, same.frames) == (0, float("inf"), 2)
    assert apart.max_abs == pytest.approx(2 / 255, rel=1e-4)
    assert apart.psnr == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    with pytest.raises(errors.DataError, match="at least one frame"):
        session_parity(exact, exact, [])
    broken = load(ModelSource("broken", Levels(float("nan")), Path), "cpu", 1)
    with pytest.raises(errors.ModelError, match="'broken' in torch: the output contains NaN or infinity"):
        session_parity(exact, broken, frames)
