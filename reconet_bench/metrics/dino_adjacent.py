"""Likeness of adjacent stylised frames as DINO sees them, whole pictures at a time.

The library ``timm`` brings the network; its weights are DINO's own file, or timm's copy of it. Nothing is downloaded
here.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import IMAGENET
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.metrics.base import METRICS, Footage, Metric
from reconet_bench.metrics.style import MOST_FRAMES, evenly_spread

ENVIRONMENT_VARIABLE = "RECONET_BENCH_DINO"
#: The network as timm calls it, and the same name at Hugging Face, where timm keeps its copy of the weights.
NETWORK = "vit_base_patch16_224.dino"
#: Shorter side of the frames that the network sees, and places in a row of the position embedding.
SIDE, PLACES = 224, 14
_FILE = "dino_vitbase16_pretrain.pth"
HOW_TO_GET = (
    f"fetch https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/{_FILE} (343 MB) "
    f"and name it by ${ENVIRONMENT_VARIABLE}"
)


@METRICS.register("dino_adjacent")
class DinoAdjacent(Metric):
    """Cosine similarity of DINO's class tokens of y_t and y_{t+1}, mean over at most six pairs, evenly spread.

    VBench's score of subject consistency is the mean of this similarity and of that to the first frame, over all
    frames, with negative ones taken as 0. This is the similarity to the next frame alone, as it is: each pair costs
    two passes of a large network.

    References: Caron et al., *Emerging Properties in Self-Supervised Vision Transformers*, ICCV 2021; Huang et al.,
    *VBench: Comprehensive Benchmark Suite for Video Generative Models*, CVPR 2024.
    """

    better = "higher"
    default = False
    summary = "likeness of adjacent stylised frames to DINO (ViT-B/16), without motion; half of VBench's subject score"
    blind_to = (
        "fine flicker, because its features are of the whole frame at 224 pixels; what a model paints: a frozen output "
        "scores 1; and motion: a film that changes lowers it"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        adjacent = footage.clip.adjacent()
        if not adjacent:
            raise MetricUnavailable(f"{footage.clip.name} has no two consecutive frames")
        pairs = [adjacent[place] for place in evenly_spread(len(adjacent), MOST_FRAMES)]
        frames = {index + offset for index in pairs for offset in (0, 1)}
        tokens = {index: class_token(footage.stylized[index]).double() for index in sorted(frames)}
        return {index: float(F.cosine_similarity(tokens[index], tokens[index + 1])) for index in pairs}


@torch.inference_mode()
def class_token(frame: Tensor) -> Tensor:
    """DINO's class token ``(1, 768)`` of a frame ``(1, 3, H, W)`` in [0, 1].

    The position embedding is stretched as DINO's own code does it, which differs a little from timm's way.

    Raises:
        MetricUnavailable: the library or the weights are missing, or the file holds something else.
    """
    network = _network()
    x = as_vbench(frame)
    patches = network.patch_embed.proj(x)
    rows, columns = patches.shape[-2:]
    positions = network.pos_embed
    if x.shape[-2] != x.shape[-1]:
        square = positions[:, 1:].unflatten(1, (PLACES, PLACES)).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / PLACES, (columns + 0.1) / PLACES)  # the tenth is DINO's guard against rounding
        stretched = F.interpolate(square, scale_factor=scale, mode="bicubic")
        positions = torch.cat((positions[:, :1], stretched.flatten(2).transpose(1, 2)), 1)
    tokens = torch.cat((network.cls_token, patches.flatten(2).transpose(1, 2)), 1)
    token: Tensor = network.norm(network.blocks(tokens + positions))[:, 0]
    return token


def as_vbench(frame: Tensor) -> Tensor:
    """A frame as VBench gives those of a video to DINO: the shorter side 224, bilinear without antialiasing, 8 bits.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
    """
    height, width = frame.shape[-2:]
    short = min(height, width)
    size = (SIDE * height // short, SIDE * width // short)
    levels = F.interpolate((255 * frame.float()).round(), size, mode="bilinear", align_corners=False).round()
    return IMAGENET.encode(levels / 255)


def find_weights() -> Path | None:
    """The weights file to use: the environment variable's, else torch hub's cached one, else Hugging Face's."""
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
    if cached.is_file():
        return cached
    from huggingface_hub import try_to_load_from_cache  # which timm brings along

    found = try_to_load_from_cache(f"timm/{NETWORK}", "model.safetensors")
    return Path(found) if isinstance(found, str) else None


def _network() -> Any:
    if importlib.util.find_spec("timm") is None:
        raise MetricUnavailable("timm is not installed: pip install 'reconet-bench[perceptual]'")
    path = find_weights()
    if path is None:
        raise MetricUnavailable(f"dino_adjacent needs the weights of DINO's ViT-B/16: {HOW_TO_GET}")
    if not path.is_file():
        raise MetricUnavailable(f"no such file: {path}; {HOW_TO_GET}")
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _load(path: Path, version: int) -> Any:
    """timm's network with the weights of a file; ``version`` tells when the file changes."""
    import timm

    with torch.device("meta"):  # nowhere: it would draw 86 million random weights first, only to replace them
        network = timm.create_model(NETWORK, pretrained=False, num_classes=0)
    try:
        if path.suffix == ".safetensors":
            state, _ = read_tensors(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: tensor.float() for name, tensor in state.items()}
    except Exception as error:  # anything that a broken file makes the unpickler raise
        raise MetricUnavailable(f"{path} cannot be read as weights ({type(error).__name__}): {HOW_TO_GET}") from None
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if odd := expected.items() ^ {name: tensor.shape for name, tensor in state.items()}.items():
        raise MetricUnavailable(f"{path} is not DINO's ViT-B/16: '{min(odd)[0]}' differs; {HOW_TO_GET}")
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise MetricUnavailable(f"{path} holds NaN or infinity: {HOW_TO_GET}")
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()
