"""Shared fixtures: moving pictures with exact flow, a tiny MPI-Sintel, loss networks, real data where it is there."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reconet_bench.core.flow_files import write_flo
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import LUMINANCE_ANIMATION, from_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, Motion
from reconet_bench.models.checkpoint import Checkpoint
from reconet_bench.models.export import cached_export
from reconet_bench.networks.reconet import ReCoNet
from reconet_bench.networks.vgg import STAND_IN_WIDTH, LossNetwork, load_loss_network
from reconet_bench.runtimes import base as runtimes_base
from reconet_bench.training.settings import TrainingSettings

pytest_plugins = ["pace"]

# A pool of compilers, each of which imports PyTorch, would take longer than the few kernels that tests compile.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

SIZE = (40, 56)
#: The metrics of the design, and which way each is better. Tests hold these to what they can measure, and no others.
DESIGN = {
    "temporal_error": "lower",
    "temporal_error_long": "lower",
    "warping_error": "lower",
    "ssim_adjacent": "higher",
    "ssim_adjacent_warped": "higher",
    "content_similarity": "higher",
    "style_distance": "lower",
    "content_temporal_error": "reference",
    "traceable_share": "reference",
}
#: Sequences of the tiny Sintel: frame numbers and motion a frame in pixels (right, down).
TINY_SEQUENCES: dict[str, tuple[tuple[int, ...], tuple[float, float]]] = {
    "alley_1": ((2, 3), (0.5, -0.25)),
    "alley_2": ((1, 2, 3, 4, 5, 6, 7, 8), (2.0, 1.0)),
    "bandage_1": ((1, 2, 3, 4, 5, 6, 7), (-1.0, 0.5)),
    "cave_2": ((1, 2, 3, 5, 6), (1.0, 0.0)),
}
#: Rows and columns that the tiny Sintel calls occluded in every frame.
OCCLUDED = (slice(10, 14), slice(20, 26))


def picture(time: float, shift: tuple[float, float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth texture, ``(H, W, 3)`` uint8, that has moved by ``time * shift`` pixels."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    x, y = x - time * shift[0], y - time * shift[1]
    channels = [
        np.sin(0.23 * x + 0.31 * y + k) + np.cos(0.41 * x - 0.17 * y + 2 * k) + np.sin(0.05 * x * (k + 1))
        for k in range(3)
    ]
    return np.round(np.stack(channels, -1) * 40 + 127).astype(np.uint8)


class TranslationClip(Clip):
    """A texture that moves by a constant vector, with its exact flow; traceable wherever it stays in the frame."""

    source = "translation"
    luminance = LUMINANCE_ANIMATION

    def __init__(
        self,
        shift: tuple[float, float] = (2.0, 1.0),
        length: int = 8,
        size: tuple[int, int] = SIZE,
        name: str = "moving",
    ) -> None:
        self.name, self.shift, self._length, self._size = name, shift, length, size

    def __len__(self) -> int:
        return self._length

    @property
    def size(self) -> Size:
        return Size(*self._size)

    def frame(self, index: int) -> Tensor:
        return from_uint8(picture(index, self.shift, self._size))

    def motion(self, index: int, step: int = 1) -> Motion:
        flow = constant_flow((step * self.shift[0], step * self.shift[1]), self._size)
        return Motion(flow, torch.from_numpy(~leaves(flow[0].numpy()))[None, None].float())


def constant_flow(shift: tuple[float, float], size: tuple[int, int] = SIZE) -> Tensor:
    """The same motion everywhere, ``(1, 2, H, W)``."""
    return torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, *size).contiguous()


def leaves(flow: np.ndarray) -> np.ndarray:
    """Which pixels a flow ``(2, H, W)`` takes out of the frame."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width] + flow[::-1]
    return (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)


def write_tiny_sintel(root: Path) -> Path:
    """:data:`TINY_SEQUENCES` in Sintel's layout below ``root``, passes clean and final."""
    occluded = np.zeros((*SIZE, 3), np.uint8)
    occluded[OCCLUDED] = 255
    for name, (numbers, shift) in TINY_SEQUENCES.items():
        flow = constant_flow(shift)[0].numpy()
        invalid = np.repeat(leaves(flow)[..., None], 3, 2).astype(np.uint8) * 255
        for number in numbers:
            for render_pass in ("clean", "final"):
                write_image(root / "training" / render_pass / name / f"frame_{number:04d}.png", picture(number, shift))
            if number == numbers[-1]:
                continue
            write_flo(root / "training" / "flow" / name / f"frame_{number:04d}.flo", flow)
            write_image(root / "training" / "occlusions" / name / f"frame_{number:04d}.png", occluded)
            write_image(root / "training" / "invalid" / name / f"frame_{number:04d}.png", invalid)
    return root


def pytest_unconfigure() -> None:
    """What keeps Python from ending after the last test is told, where it would otherwise wait for ever."""
    faulthandler.dump_traceback_later(120, exit=True)


@pytest.fixture(scope="module", autouse=True)
def _collections_are_short() -> None:
    """Objects of libraries and earlier tests stay: collections before a measurement skip them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Whoever starts a process ends it."""
    yield
    assert not multiprocessing.active_children()


@pytest.fixture(autouse=True)
def _arithmetic_stays() -> Iterator[None]:
    """Whoever changes how this process computes puts it back: the next test's sums would round otherwise."""
    before = (torch.get_num_threads(), torch.get_default_dtype(), torch.backends.mkldnn.fp32_precision)
    yield
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.backends.mkldnn.fp32_precision) == before


@pytest.fixture(scope="session", autouse=True)
def _no_outside_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A developer's own data, weights, caches and earlier choices must not decide what a test sees."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        # Processes of one test run share what they keep.
        patch.setenv(
            "RECONET_BENCH_CACHE", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")
        )
        for name in ("RAFT", "SINTEL", "DAVIS", "VGG", "DINO"):
            patch.delenv(f"RECONET_BENCH_{name}", raising=False)
        # A runtime that is not told otherwise takes every core: tests beside one another would wait for each other.
        patch.setattr(runtimes_base, "usable_cpus", lambda: 1)
        yield


@pytest.fixture
def tiny_sintel(tmp_path: Path) -> Path:
    """A folder that holds ``training`` with :data:`TINY_SEQUENCES`."""
    return write_tiny_sintel(tmp_path / "MPI-Sintel-tiny")


def write_stand_in(path: Path, width: int) -> Path:
    """VGG-16's layers with seeded random weights, ``width`` channels in the first block (VGG-16: 64)."""
    generator = torch.Generator().manual_seed(16)
    state, inputs = {}, 3
    for index, factor in ((0, 1), (2, 1), (5, 2), (7, 2), (10, 4), (12, 4), (14, 4), (17, 8), (19, 8), (21, 8)):
        outputs = factor * width
        he = (2 / (9 * inputs)) ** 0.5
        state[f"{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * he
        state[f"{index}.bias"] = torch.randn(outputs, generator=generator) * 0.05
        inputs = outputs
    save_file(state, str(path), {STAND_IN_WIDTH: str(width)} if width != 64 else None)
    return path


@pytest.fixture(scope="session")
def stand_in_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of VGG-16 at an eighth of its width, random weights: enough for plumbing, no judge of pictures."""
    return write_stand_in(tmp_path_factory.mktemp("weights") / "stand_in_vgg16.safetensors", 8)


@pytest.fixture
def settings(tmp_path: Path, stand_in_weights: Path) -> TrainingSettings:
    """A short training on the CPU in fp32, a row and a state every step or two."""
    style = tmp_path / "wave.png"
    write_image(style, picture(0, (0.0, 0.0), (64, 64))[:, ::-1, ::-1] // 2)
    return TrainingSettings(
        "reconet",
        style,
        steps=6,
        style_size=64,
        vgg=stand_in_weights,
        device="cpu",
        precision="fp32",
        save_every=2,
        log_every=1,
    )


@pytest.fixture(scope="session")
def loss_network(stand_in_weights: Path) -> LossNetwork:
    """The stand-in as a loss network, taps brought to unit mean activation."""
    return load_loss_network(stand_in_weights)


@pytest.fixture(scope="session")
def seeded() -> Checkpoint:
    """ReCoNet with seeded random weights that fp16 holds exactly."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return Checkpoint(ReCoNet().half().float().eval(), "reconet", "seeded", info={"commit": "c0ffee"})


@pytest.fixture(scope="session")
def exported(seeded: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of :func:`seeded`, which takes seconds to make: to be read only."""
    return cached_export(seeded, tmp_path_factory.mktemp("onnx") / "folder" / "reconet.onnx")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout or where ``RECONET_BENCH_SHARED`` points; skips the test where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RECONET_BENCH_SHARED") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: neither ../shared/data nor $RECONET_BENCH_SHARED is a folder")
    return folder


@pytest.fixture(scope="session")
def real_loss_network(shared_data: Path) -> LossNetwork:
    """VGG-16 with ImageNet weights."""
    path = shared_data / "weights" / "vgg16_features.safetensors"
    if not path.is_file():
        pytest.skip("no real loss-network weights: weights/vgg16_features.safetensors is not among the shared data")
    return load_loss_network(path)
