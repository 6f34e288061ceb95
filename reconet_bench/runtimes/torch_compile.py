"""PyTorch compiled by TorchInductor: fp32, bf16, and on CUDA fp16; a static graph for each frame size."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.pytorch import TorchSession, runnable_network, without_reduced

#: Sizes that one process may compile for; beyond it a compiled network would go on uncompiled, unnoticed.
_MOST_SIZES = 64


class CompiledSession(TorchSession):
    """A compiled network; the first frame of each size compiles, which takes a minute or so on a CPU.

    A whole graph or none: where a part of the network could not be compiled it would run in eager mode
    unnoticed, so that is an error here.
    """

    runtime = "torch-compile"

    def __init__(
        self, model: ModelSource, network: nn.Module, device: torch.device, threads: int, variant: str = ""
    ) -> None:
        super().__init__(model, network, device, threads, variant)
        # On CUDA "max-autotune" tries kernels and captures a CUDA graph: no launch overhead between kernels.
        self._on_gpu = device.type == "cuda"
        self._compiled_for: set[torch.Size] = set()
        self._compiled: Any = torch.compile(
            self._network, fullgraph=True, dynamic=False, mode="max-autotune" if self._on_gpu else None
        )

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = self._compiled(x) if x.shape in self._compiled_for else self._compile(x)
        # A captured graph writes every frame to the same memory.
        return y.clone() if self._on_gpu else y

    def _compile(self, x: Tensor) -> Tensor:
        """The first frame of a size; what is needed to compile takes time at every frame that it is done for."""
        with (
            self.building(),
            _without_extensions(),
            warnings.catch_warnings(),
            torch._dynamo.config.patch(recompile_limit=_MOST_SIZES),
        ):
            warnings.simplefilter("ignore")  # about its own internals; its errors are exceptions
            try:
                y: Tensor = self._compiled(x)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = str(error).strip().partition("\n")[0]
                raise RuntimeUnavailable(f"torch-compile cannot compile '{self.model.name}': {reason}") from None
        self._compiled_for.add(x.shape)
        return y

    def close(self) -> None:
        self._compiled = None
        super().close()


@contextlib.contextmanager
def _without_extensions() -> Iterator[None]:
    """Silence the CUDA warning that PyTorch's extension builder logs on machines without a GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@RUNTIMES.register("torch-compile")
class TorchCompile(Runtime):
    """PyTorch through TorchInductor."""

    from_network: ClassVar[bool] = True
    runs_python: ClassVar[bool] = True
    reinstall: ClassVar[str] = "pip install --force-reinstall torch"
    summary: ClassVar[str] = "PyTorch compiled by TorchInductor, fp32, channels last; CUDA graphs on a GPU"
    variants: ClassVar[dict[str, str]] = {
        "bf16": "PyTorch compiled by TorchInductor, bf16 autocast; CUDA, and CPUs that have it",
        "fp16": "PyTorch compiled by TorchInductor, fp16 autocast; CUDA only",
    }
    #: Compiling takes a minute for each model and size, which is more than whoever names no runtimes expects.
    defaults: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str | None:
        compilers = (os.environ.get("CXX") or "g++", "g++", "clang++", "cl")
        if not any(shutil.which(name) for name in compilers):
            return "torch-compile needs a C++ compiler, and none is found: install g++ (apt-get install g++)"
        return None

    def unusable(self, device: torch.device) -> str | None:
        return without_reduced(device, "torch-compile", self.variant)

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        network = runnable_network(model, "torch-compile")
        return CompiledSession(model, network, device, threads, self.variant or "channels-last")
