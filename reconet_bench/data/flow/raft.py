"""Torchvision's RAFT (Teed & Deng, ECCV 2020) with weights from a file; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.core.machine import pick_device
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.provenance import checksum
from reconet_bench.core.tensor_files import read_tensors
from reconet_bench.data.flow.base import ESTIMATORS, Estimator, FlowFunction

ENVIRONMENT_VARIABLE = "RECONET_BENCH_RAFT"
#: Its input sides are multiples of the first number, and at least the second, which its correlation pyramid needs.
_MULTIPLE, _SMALLEST = 8, 128
#: Torchvision's file names in its own cache.
_CACHED = ("raft_small_C_T_V2-01064c6d.pth", "raft_large_C_T_SKHT_V2-ff5fadd5.pth")


@ESTIMATORS.register("raft")
class Raft(Estimator):
    """Torchvision's RAFT, small or large; the weights decide which."""

    summary: ClassVar[str] = "torchvision's RAFT; weights by --raft FILE (safetensors)"
    in_workers: ClassVar[bool] = False

    def load(self, weights: Path | None = None) -> tuple[FlowFunction, str]:
        path = _find_weights(weights)
        device = pick_device()
        network = _network(path).to(device)

        def flow(first: Tensor, second: Tensor) -> Tensor:
            height, width = first.shape[-2:]
            pad = (0, max(_SMALLEST - width, -width % _MULTIPLE), 0, max(_SMALLEST - height, -height % _MULTIPLE))
            # 8-bit frames, like the cache key, scaled to [-1, 1], as in RAFT's training.
            pair = [
                F.pad(from_uint8(to_uint8(frame), device) * 2 - 1, pad, mode="replicate") for frame in (first, second)
            ]
            with torch.inference_mode():
                estimate: Tensor = network(*pair)[-1]
            return estimate[..., :height, :width].float().cpu().clone()

        return flow, f"raft {checksum(path)} on {device.type}"


def _find_weights(path: Path | None) -> Path:
    if path is not None:
        return Path(path)
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE])
    for name in _CACHED:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / name
        if cached.is_file():
            return cached
    raise ModelError(
        "no RAFT weights: give a safetensors file of torchvision's raft_small or raft_large with --raft or "
        f"${ENVIRONMENT_VARIABLE}, or use --flow dis"
    )


def _network(path: Path) -> Any:
    """The network that fits a weights file, in evaluation mode."""
    from torchvision.models.optical_flow import raft_large, raft_small

    if path.suffix == ".pth":
        try:
            state = torch.load(path, "cpu", weights_only=True)
        except Exception:  # unpickling has no common base of errors
            raise ModelError(f"{path}: not a readable weights file") from None
    else:
        state = read_tensors(path)[0]
    first = state.get("feature_encoder.convnormrelu.0.weight")
    build = raft_large if first is not None and first.shape[0] == 64 else raft_small
    network = build(weights=None).eval()
    try:
        network.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        )
    except RuntimeError as error:
        raise ModelError(f"{path}: not torchvision's RAFT: {str(error).splitlines()[-1].strip()}") from None
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise ModelError(f"{path}: weights are not finite")
    return network
