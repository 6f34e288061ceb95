"""ncnn, for small devices: no dependencies of its own, tuned for Arm, and here it runs on any CPU."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import tempfile
import time
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.core.ops import pad_to_multiple
from reconet_bench.networks.base import StyleNetwork
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session

#: Sizes whose network is kept; footage has one size, a comparison a few.
_KEPT_SIZES = 4
#: What the converter calls the ends of a network.
_INPUT, _OUTPUT = "in0", "out0"


class NcnnSession(Session):
    """A network in ncnn, converted by pnnx for the size of the frames at the first of that size; frames one by one."""

    runtime = "ncnn"

    def __init__(self, model: ModelSource, network: nn.Module, device: torch.device, threads: int) -> None:
        super().__init__(model, device, threads)
        start = time.perf_counter()
        importlib.import_module("ncnn")
        self._network: nn.Module | None = copy.deepcopy(network).cpu().float().eval()
        self._nets: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.load_seconds = time.perf_counter() - start

    def _net(self, shape: tuple[int, ...], network: nn.Module) -> Any:
        """The network for one frame ``(1, 3, H, W)`` of a size."""
        if shape not in self._nets:
            with self.building(), tempfile.TemporaryDirectory() as folder:
                self._nets[shape] = self._convert(network, shape, Path(folder))
            if len(self._nets) > _KEPT_SIZES:
                self._nets.popitem(last=False)
        self._nets.move_to_end(shape)
        return self._nets[shape]

    def _convert(self, network: nn.Module, shape: tuple[int, ...], folder: Path) -> Any:
        import ncnn
        import pnnx

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes become constants, which is meant
            trace: Any = torch.jit.trace
            traced = trace(network, torch.zeros(shape), check_trace=False)
            traced.save(str(folder / "model.pt"))
        words = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{','.join(map(str, shape))}]", "fp16=0"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        files = [folder / "model.ncnn.param", folder / "model.ncnn.bin"]
        if done.returncode or not all(path.is_file() for path in files):
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ModelError(
                f"'{self.model.name}': pnnx cannot convert it for ncnn: "
                f"{said[-1] if said else f'exit code {done.returncode}'}"
            )
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        net.opt.use_vulkan_compute = False
        # fp32 throughout: by itself ncnn takes fp16 wherever the processor has it.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = (
            False
        )
        if net.load_param(str(files[0])) or net.load_model(str(files[1])):
            raise ModelError(
                f"'{self.model.name}': ncnn lacks a layer of this network and cannot load the file that pnnx wrote"
            )
        return net

    def infer(self, x: Tensor) -> Tensor:
        if self._network is None:
            raise RuntimeError("the session is closed")
        import ncnn

        height, width = x.shape[-2:]
        if isinstance(self._network, StyleNetwork):
            x = pad_to_multiple(x, self._network.size_multiple)  # as the network itself does; pnnx cannot convert that
        net = self._net((1, *x.shape[1:]), self._network)
        frames = []
        for frame in x.contiguous():
            extractor = net.create_extractor()
            extractor.input(_INPUT, ncnn.Mat(frame.numpy()).clone())
            failed, y = extractor.extract(_OUTPUT)
            if failed:
                raise ModelError(f"'{self.model.name}': ncnn cannot run it on {tuple(x.shape)}: not enough memory?")
            frames.append(torch.from_numpy(np.array(y)))
        return torch.stack(frames)[..., :height, :width]

    def close(self) -> None:
        self._nets.clear()
        self._network = None


@RUNTIMES.register("ncnn")
class Ncnn(Runtime):
    """Tencent's ncnn."""

    reinstall: ClassVar[str] = "pip install --force-reinstall ncnn pnnx"
    summary: ClassVar[str] = "ncnn, fp32, CPU; made for phones and single-board computers"
    from_network: ClassVar[bool] = True
    #: It is for devices that have nothing faster; on a desktop it is asked for by name.
    defaults: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str | None:
        if absent := [name for name in ("ncnn", "pnnx") if importlib.util.find_spec(name) is None]:
            return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed: pip install ncnn pnnx"
        return None

    def unusable(self, device: torch.device) -> str | None:
        return None if device.type == "cpu" else f"ncnn here runs on the CPU, not on '{device}'; use --device cpu"

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        if model.network is None:
            raise RuntimeUnavailable(f"ncnn cannot run an ONNX file ('{model.name}'); use --runtime onnxruntime")
        return NcnnSession(model, model.network, device, threads)
