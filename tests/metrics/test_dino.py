"""DINO's class tokens: timm's network with weights from a file, against the network written out in float64.

The weights here are random: what is tested is that every tensor takes its place, not how the network sees.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from conftest import TranslationClip
from safetensors.torch import save_file
from test_metrics import FixedClip, measured, random_clip, still
from torchvision import transforms

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import from_uint8
from reconet_bench.data.clip import Clip
from reconet_bench.metrics import dino_adjacent
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.dino_adjacent import as_vbench, class_token, find_weights
from reconet_bench.metrics.measure import Absent, measure_footage

HUB_FILE = "hub/checkpoints/dino_vitbase16_pretrain.pth"
HUGGING_FACE_FOLDER = "models--timm--vit_base_patch16_224.dino"
REMEDY = (
    "fetch https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth (343 MB) "
    "and name it by $RECONET_BENCH_DINO"
)
Weights = dict[str, torch.Tensor]


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in DINO's own file of ViT-B/16."""
    block = {
        "norm1.weight": (768,),
        "norm1.bias": (768,),
        "attn.qkv.weight": (2304, 768),
        "attn.qkv.bias": (2304,),
        "attn.proj.weight": (768, 768),
        "attn.proj.bias": (768,),
        "norm2.weight": (768,),
        "norm2.bias": (768,),
        "mlp.fc1.weight": (3072, 768),
        "mlp.fc1.bias": (3072,),
        "mlp.fc2.weight": (768, 3072),
        "mlp.fc2.bias": (768,),
    }
    return {
        "cls_token": (1, 1, 768),
        "pos_embed": (1, 197, 768),
        "patch_embed.proj.weight": (768, 3, 16, 16),
        "patch_embed.proj.bias": (768,),
        **{f"blocks.{number}.{name}": shape for number in range(12) for name, shape in block.items()},
        "norm.weight": (768,),
        "norm.bias": (768,),
    }


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Caches without weights, from which nobody downloads."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(huggingface_hub.file_download, "http_get", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    yield
    dino_adjacent._load.cache_clear()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of random weights, in half precision to be small."""
    generator, weights = torch.Generator().manual_seed(7), {}
    for name, shape in shapes().items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) in (2, 4):  # a product; attention is sharpened, or it would be a plain mean
            tensor *= (2 if "qkv" in name else 1) / np.prod(shape[1:]) ** 0.5
        else:
            tensor = 0.1 * tensor + (1 if "norm" in name and "weight" in name else 0)
        weights[name] = tensor.half()
    path = tmp_path_factory.mktemp("dino") / "dino.pth"
    torch.save(weights, path)
    yield path
    path.unlink()


@pytest.fixture
def weights(file: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """The weights, where the environment variable says."""
    monkeypatch.setenv("RECONET_BENCH_DINO", str(file))
    return torch.load(file, weights_only=True)


def frames(count: int, size: tuple[int, int]) -> list[torch.Tensor]:
    """Random pictures of large blobs, 8 bits."""
    generator = torch.Generator().manual_seed(4)
    small = torch.rand(count, 3, 5, 7, generator=generator)
    large = F.interpolate(small, size, mode="bicubic").clamp(0, 1)
    return list(((255 * large).round() / 255).split(1))


def by_torchvision(frame: torch.Tensor) -> torch.Tensor:
    """VBench's transform of a video's frame: 8 bits, resized, normalised."""
    resize = transforms.Resize(size=224, antialias=False)
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return normalize(resize((255 * frame).round().to(torch.uint8)).float().div(255.0))


def cubic(places: int) -> np.ndarray:
    """Keys' cubic (a = −0.75) as the matrix ``(places, 14)`` that stretches 14 samples by (places + 0.1) / 14."""
    a, matrix = -0.75, np.zeros((places, 14))
    for place in range(places):
        centre = (place + 0.5) * 14 / (places + 0.1) - 0.5
        for sample in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            d = abs(centre - sample)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[place, min(max(sample, 0), 13)] += near if d <= 1 else far
    return matrix


def by_hand(frame: torch.Tensor, weights: Weights) -> torch.Tensor:
    """The class token as the papers write it (Dosovitskiy et al. 2021, Caron et al. 2021), in float64."""

    def weight(name: str) -> torch.Tensor:
        return weights[name].double()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(1, keepdim=True)
        unit = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return unit * weight(f"{name}.weight") + weight(f"{name}.bias")

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weight(f"{name}.weight").flatten(1).T + weight(f"{name}.bias")

    picture = by_torchvision(frame)[0].double()
    rows, columns = picture.shape[1] // 16, picture.shape[2] // 16
    patches = picture[:, : 16 * rows, : 16 * columns].reshape(3, rows, 16, columns, 16).permute(1, 3, 0, 2, 4)
    x = linear(patches.reshape(rows * columns, 768), "patch_embed.proj")
    positions = weight("pos_embed")[0]
    places = positions[1:].reshape(14, 14, 768)
    if picture.shape[1] != picture.shape[2]:
        down, across = torch.from_numpy(cubic(rows)), torch.from_numpy(cubic(columns))
        places = torch.einsum("ri,cj,ijd->rcd", down, across, places)
    x = torch.cat((weight("cls_token")[0] + positions[:1], x + places.reshape(-1, 768)))
    for number in range(12):
        block = f"blocks.{number}"
        parts = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(-1, 3, 12, 64)
        query, key, value = parts.permute(1, 2, 0, 3)
        heads = (query @ key.transpose(1, 2) / 8).softmax(-1) @ value
        x = x + linear(heads.transpose(0, 1).reshape(-1, 768), f"{block}.attn.proj")
        hidden = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + linear(hidden * (1 + torch.erf(hidden / 2**0.5)) / 2, f"{block}.mlp.fc2")
    return norm(x[:1], "norm")[0]


def reason(clip: Clip) -> str:
    """Why the content of a clip is not measured."""
    outcome = measure_footage(Footage(clip, [clip.frame(i) for i in range(len(clip))]), ["dino_adjacent"])
    assert isinstance(outcome["dino_adjacent"], Absent)
    return outcome["dino_adjacent"].reason


@pytest.mark.parametrize("size", [(48, 56), (40, 40)], ids=["wide", "square"])
def test_it_equals_the_network_written_out(size, weights):
    first, second = frames(2, size)
    a, b = by_hand(first, weights), by_hand(second, weights)
    expected = float(a @ b / (a.norm() * b.norm()))
    assert expected < 0.9, "frames that are alike would prove nothing"
    torch.testing.assert_close(class_token(first)[0].double(), a, rtol=0, atol=1e-4)
    clip = FixedClip([first, second], [still(size)])
    assert METRICS["dino_adjacent"].samples(Footage(clip, [first, second])) == {0: pytest.approx(expected, abs=1e-4)}


@pytest.mark.usefixtures("weights")
def test_equal_frames_have_a_similarity_of_one():
    (frame,) = frames(1, (40, 40))
    assert measured("dino_adjacent", FixedClip([frame] * 2, [still((40, 40))])).value == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("size", [(436, 1024), (427, 240), (48, 56), (224, 230)])
def test_frames_are_made_ready_as_vbench_does(size):
    generator = np.random.default_rng(3)
    frame = from_uint8(generator.integers(0, 256, (*size, 3), np.uint8))
    ours, theirs = as_vbench(frame), by_torchvision(frame)
    assert ours.shape == theirs.shape
    assert min(ours.shape[-2:]) == 224
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_six_pairs_are_measured_and_each_frame_once(monkeypatch):
    seen = []

    def token(frame: torch.Tensor) -> torch.Tensor:
        seen.append(frame)
        return frame.mean((2, 3))

    monkeypatch.setattr(dino_adjacent, "class_token", token)
    clip = random_clip(12)
    content = [clip.frame(index) for index in range(12)]
    found = METRICS["dino_adjacent"].samples(Footage(clip, content))
    assert list(found) == [0, 2, 4, 6, 8, 10]
    first, second = content[2].mean((2, 3)).numpy()[0], content[3].mean((2, 3)).numpy()[0]
    expected = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    assert found[2] == pytest.approx(expected, abs=1e-6)
    seen.clear()
    assert len(METRICS["dino_adjacent"].samples(Footage(random_clip(5), content[:5]))) == 4
    assert len(seen) == 5


def test_a_single_frame_has_no_pair():
    assert reason(FixedClip(frames(1, (40, 40)), [])) == "fixed has no two consecutive frames"


def test_the_named_file_goes_before_the_caches(tmp_path, monkeypatch):
    assert find_weights() is None
    snapshot = tmp_path / HUGGING_FACE_FOLDER / "snapshots" / "abc" / "model.safetensors"
    revision = tmp_path / HUGGING_FACE_FOLDER / "refs" / "main"
    for path, text in ((snapshot, ""), (revision, "abc")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert find_weights() == snapshot
    cached = tmp_path / HUB_FILE
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights() == cached
    monkeypatch.setenv("RECONET_BENCH_DINO", "named.pth")
    assert find_weights() == Path("named.pth")


def test_safetensors_give_the_same_token(weights, tmp_path, monkeypatch):
    (frame,) = frames(1, (40, 40))
    expected = class_token(frame)
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    monkeypatch.setenv("RECONET_BENCH_DINO", str(path))
    assert torch.equal(class_token(frame), expected)
    path.unlink()


def test_without_library_or_weights_there_is_a_remedy_and_nothing_is_downloaded(tmp_path, monkeypatch):
    clip = TranslationClip(length=2)
    assert reason(clip) == f"dino_adjacent needs the weights of DINO's ViT-B/16: {REMEDY}"
    monkeypatch.setenv("RECONET_BENCH_DINO", str(tmp_path / "none.pth"))
    assert reason(clip) == f"no such file: {tmp_path / 'none.pth'}; {REMEDY}"
    monkeypatch.setattr(dino_adjacent.importlib.util, "find_spec", lambda name: None)
    assert reason(clip) == "timm is not installed: pip install 'reconet-bench[perceptual]'"


class Harmful:
    """A pickle of it writes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_broken_file_is_named_and_never_runs(name, tmp_path, monkeypatch):
    path, trace = tmp_path / name, tmp_path / "trace"
    monkeypatch.setenv("RECONET_BENCH_DINO", str(path))
    for content in (b"", b"cut short", pickle.dumps(Harmful(trace))):
        path.write_bytes(content)
        assert reason(TranslationClip(length=2)).startswith(f"{path} cannot be read as weights (")
        assert reason(TranslationClip(length=2)).endswith(f"): {REMEDY}")
        assert not trace.exists()
        dino_adjacent._load.cache_clear()


def test_a_file_of_something_else_is_named(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    monkeypatch.setenv("RECONET_BENCH_DINO", str(path))
    # A single number that stands for every place of its tensor: the file is small.
    good = {name: torch.zeros(1).expand(shape) for name, shape in shapes().items()}

    def of(state: object) -> str:
        torch.save(state, path)
        dino_adjacent._load.cache_clear()
        with pytest.raises(MetricUnavailable) as caught:
            class_token(torch.zeros(1, 3, 40, 40))
        return str(caught.value).removesuffix(REMEDY)

    assert of({**good, "head.weight": torch.zeros(1)}) == f"{path} is not DINO's ViT-B/16: 'head.weight' differs; "
    assert of({**good, "norm.bias": torch.zeros(3)}) == f"{path} is not DINO's ViT-B/16: 'norm.bias' differs; "
    del good["norm.bias"]
    assert of(good) == f"{path} is not DINO's ViT-B/16: 'norm.bias' differs; "
    assert of({"student": good, "epoch": 3}) == f"{path} cannot be read as weights (AttributeError): "
    assert of([1, 2]) == f"{path} cannot be read as weights (AttributeError): "
    good["norm.bias"] = torch.full((768,), torch.nan)
    assert of(good) == f"{path} holds NaN or infinity: "


def test_the_names_are_those_of_timm():
    with torch.device("meta"):
        network = timm.create_model("vit_base_patch16_224.dino", pretrained=False, num_classes=0)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == shapes()
