"""LPIPS: the distance of two frames as a network sees them, with weights fitted to what people see.

The library ``lpips`` brings the fitted weights, and torchvision's VGG-16 is the network that they were fitted to. Other
weights of VGG-16, as a file for the loss network may hold, have other channels: the fitted weights mean nothing there.
Nothing is downloaded here.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.networks.vgg import torchvision_weights

#: VGG-16 halves the frame four times before its last tap.
SMALLEST = 16
#: Convolutions of VGG-16 in the five parts of the library's network, by index in torchvision's ``vgg16().features``.
_PARTS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


@torch.inference_mode()
def lpips(first: Tensor, second: Tensor) -> float:
    """LPIPS (VGG, version 0.1) of two frames ``(1, 3, H, W)`` in [0, 1]; 0 for equal ones.

    Raises:
        MetricUnavailable: the library or the weights are missing, or the frames are smaller than 16x16.

    Reference: Zhang et al., *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric*, CVPR 2018.
    """
    if min(first.shape[-2:]) < SMALLEST:
        raise MetricUnavailable(f"LPIPS needs frames of at least {SMALLEST}x{SMALLEST}")
    return float(_network()(first.float(), second.float(), normalize=True))


def _network() -> nn.Module:
    if importlib.util.find_spec("lpips") is None:
        raise MetricUnavailable("lpips is not installed: pip install 'reconet-bench[perceptual]'")
    path = torchvision_weights()
    if path is None:
        raise MetricUnavailable(
            "LPIPS needs torchvision's VGG-16 (528 MB), which is not in its cache: reconet-bench train --download-vgg"
        )
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _load(path: Path, version: int) -> nn.Module:
    """The library's network, with torchvision's weights from their cache; ``version`` tells when the file changes."""
    import lpips as library

    # On no device at all: the library would draw 138 million random weights first, only to replace them.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an argument that torchvision calls old
        network = library.LPIPS(net="vgg", pnet_rand=True, pretrained=False, verbose=False)
    fitted = Path(library.__file__).parent / "weights" / "v0.1" / "vgg.pth"
    state = torch.load(fitted, map_location="cpu", weights_only=True)
    try:
        features = torch.load(path, map_location="cpu", weights_only=True)
        for part, indices in enumerate(_PARTS, 1):
            for index in indices:
                for kind in ("weight", "bias"):
                    state[f"net.slice{part}.{index}.{kind}"] = features[f"features.{index}.{kind}"]
        network.load_state_dict(state, strict=False, assign=True)
    except Exception as error:  # anything that a broken file makes the unpickler raise
        raise MetricUnavailable(
            f"{path} cannot be read as torchvision's VGG-16 ({type(error).__name__}): delete it and fetch it again"
        ) from None
    network.requires_grad_(False).eval()
    return cast(nn.Module, network)
