"""PyTorch eager: in fp32 the reference that every other runtime is compared with; bf16 and fp16 beside it."""

from __future__ import annotations

import contextlib
import copy
import time
from typing import ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.core.machine import computes_bf16, cpu_threads
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.python_model import FunctionSession, module_of

#: Types that the convolutions may compute in, by variant; everything else is fp32.
REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchSession(Session):
    """A network in evaluation mode under ``inference_mode``.

    Args:
        variant: ``""`` is fp32 in PyTorch's own layout; ``"channels-last"`` is fp32 too; ``"bf16"`` and
            ``"fp16"`` are channels-last under autocast, frames in and out staying fp32.
    """

    runtime = "torch"

    def __init__(
        self, model: ModelSource, network: nn.Module, device: torch.device, threads: int, variant: str = ""
    ) -> None:
        super().__init__(model, device, threads)
        self._reduced = REDUCED.get(variant)
        if self._reduced:
            self.precision = variant
        self._layout = torch.channels_last if variant else torch.contiguous_format
        start = time.perf_counter()
        # A copy, because moving a module to a device moves the caller's own.
        self._network: nn.Module | None = copy.deepcopy(network).to(device).to(memory_format=self._layout).eval()
        self.synchronize()
        self.load_seconds = time.perf_counter() - start

    def infer(self, x: Tensor) -> Tensor:
        if self._network is None:
            raise RuntimeError("the session is closed")
        blamed = self.model.python.blamed() if self.model.python else contextlib.nullcontext()
        with cpu_threads(self.threads), torch.inference_mode(), self._ieee(), self._autocast(), blamed:
            return self._forward(self._network, x.contiguous(memory_format=self._layout)).to(x.dtype)

    def _reset(self) -> None:
        if self.model.python is not None and callable(reset := getattr(self._network, "reset", None)):
            with self.model.python.blamed():
                reset()

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = network(x)
        return y

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        """Convolutions in the reduced type, and what follows them until something asks for more."""
        if self._reduced is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, self._reduced)

    def _ieee(self) -> contextlib.AbstractContextManager[object]:
        """On CUDA, fp32 convolutions that are fp32: cuDNN rounds the factors to TF32 unless told not to."""
        if self.torch_device.type != "cuda":
            return contextlib.nullcontext()
        return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)

    def close(self) -> None:
        self._network = None


def runnable_network(model: ModelSource, name: str) -> nn.Module:
    """The network of ``model``; raises RuntimeUnavailable for an ONNX file or a function, which have none."""
    if model.python is not None:
        if (module := module_of(model, model.python.create())) is None:
            raise RuntimeUnavailable(f"{name} runs networks, and '{model.name}' is a Python function: use torch")
        return module
    if model.network is None:
        raise RuntimeUnavailable(f"{name} cannot run an ONNX file ('{model.name}'); use --runtime onnxruntime")
    return model.network


def without_reduced(device: torch.device, name: str, variant: str) -> str | None:
    """Why a variant of ``name`` is not for ``device``: fp16 on a CPU, or emulated bf16. None if it is."""
    if variant == "fp16" and device.type == "cpu":
        return f"{name}:fp16 is for GPUs: on a CPU use {name}:bf16"
    if variant == "bf16" and device.type == "cpu" and not computes_bf16():
        return f"this CPU has no fast bf16: use {name}"
    return None


@RUNTIMES.register("torch")
class Torch(Runtime):
    """PyTorch eager mode."""

    from_network: ClassVar[bool] = True
    runs_python: ClassVar[bool] = True
    reinstall: ClassVar[str] = "pip install --force-reinstall torch"
    summary: ClassVar[str] = "PyTorch eager, fp32: the reference"
    variants: ClassVar[dict[str, str]] = {
        "channels-last": "PyTorch eager, fp32, channels last in memory",
        "bf16": "PyTorch eager, bf16 autocast, channels last; CUDA, and CPUs that have it",
        "fp16": "PyTorch eager, fp16 autocast, channels last; CUDA only",
    }

    def unusable(self, device: torch.device) -> str | None:
        return without_reduced(device, "torch", self.variant)

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        if model.python is not None and module_of(model, made := model.python.create()) is None:
            if self.variant:
                raise RuntimeUnavailable(
                    f"torch:{self.variant} is for networks, and '{model.name}' is a function: use torch"
                )
            return FunctionSession(model, made, device, threads)
        network = runnable_network(model, "torch")
        return TorchSession(model, network, device, threads, self.variant)
