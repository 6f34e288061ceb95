"""TensorRT itself, fp32 and fp16: an engine for each frame size, built once and kept."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from reconet_bench.core.cache import mark_used
from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.core.files import atomic_path
from reconet_bench.runtimes.artifact_cache import kept
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.onnx_forms import half_precision

#: Types of a tensor by what TensorRT calls them.
_TYPES = {"FLOAT": torch.float32, "HALF": torch.float16, "UINT8": torch.uint8}


class TensorRtSession(Session):
    """An ONNX file in TensorRT. Every layer runs in it, or the engine is not built: there is no fall-back.

    The network is strongly typed: each layer computes in the type that the file says, so fp16 is the fp16
    form of the file, with norms and resizes in fp32.
    """

    runtime = "tensorrt"

    def __init__(self, model: ModelSource, path: Path, device: torch.device, threads: int, half: bool = False) -> None:
        super().__init__(model, device, threads)
        import tensorrt

        self._trt: Any = tensorrt
        self._path, self._half = path, half
        self.precision = "fp16" if half else model.precision
        start = time.perf_counter()
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        try:
            self._runtime: Any = tensorrt.Runtime(self._logger)
        except TypeError:  # a null pointer from its factory
            raise RuntimeUnavailable(
                f"tensorrt {tensorrt.__version__} cannot use {device}: is the driver new enough?"
            ) from None
        self._source = half_precision(path, model.called) if half else path.read_bytes()
        _, network, _ = self._parse()
        kind = next(
            t.dtype.name for t in map(network.get_input, range(network.num_inputs)) if t.name == model.input_name
        )
        if kind not in _TYPES:
            raise ModelError(f"{model.called}: input '{model.input_name}' is {kind}, a frame is FLOAT, HALF or UINT8")
        self.dtype = _TYPES[kind]
        self.load_seconds = time.perf_counter() - start
        # Not torch's default stream, on which TensorRT synchronises more than it need.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # Engine and context by shape of the tensor.
        self._engines: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def _parse(self) -> tuple[Any, Any, Any]:
        """Builder, network and parser; the network lives as long as they do."""
        trt = self._trt
        builder = trt.Builder(self._logger)
        # Since version 11 every network is strongly typed, and the flag is gone.
        typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(self._source, path=str(self._path)):  # weights may lie in files beside it
            reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
            raise ModelError(f"{self.model.called}: tensorrt cannot load it: {reason.strip().partition(chr(10))[0]}")
        others = [t for t in map(network.get_output, range(network.num_outputs)) if t.name != self.model.output_name]
        for tensor in others:
            network.unmark_output(tensor)
        return builder, network, parser

    def _build(self, shape: tuple[int, ...]) -> bytes:
        """A serialised engine for tensors of ``shape``; takes a minute or so."""
        trt = self._trt
        builder, network, parser = self._parse()
        config = builder.create_builder_config()
        if hasattr(trt.BuilderFlag, "TF32"):
            config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and it is not fp32
        profile = builder.create_optimization_profile()
        profile.set_shape(self.model.input_name, shape, shape, shape)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        del parser
        if plan is None:
            raise ModelError(
                f"{self.model.called}: tensorrt cannot build an engine for {shape}: "
                f"is there enough memory on {self.device}?"
            )
        return bytes(plan)

    def _engine(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Engine and context for ``shape``: here, kept on disk, or built now."""
        if shape not in self._engines:
            with self.building():
                self._engines[shape] = self._made(shape)
            self.placement = {"TensorRT": int(self._engines[shape][0].num_layers)}
        return self._engines[shape]

    def _made(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        place = engine_place(self._path, shape, self.precision, self.torch_device)
        engine = self._recall(place)
        if engine is None:
            plan = self._build(shape)
            with (
                contextlib.suppress(OSError),
                atomic_path(place) as temporary,
            ):  # nowhere to write: built again next time
                temporary.write_bytes(plan)
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(f"{self.model.called}: tensorrt cannot load the engine it built for {shape}")
        context = engine.create_execution_context()
        if context is None:
            raise ModelError(
                f"{self.model.called}: not enough memory on {self.device} for tensorrt to run it on {shape}"
            )
        # The engine is for this shape alone, but its input is declared as of any: without a shape nothing is enqueued.
        if not context.set_input_shape(self.model.input_name, shape):
            raise ModelError(f"{self.model.called}: tensorrt does not accept the shape {shape}")
        return engine, context

    def _recall(self, place: Path) -> Any:
        """A kept engine; ``None`` where there is none, or where it is not one of this version, which TensorRT says."""
        try:
            plan = place.read_bytes()
            mark_used(place)
        except OSError:
            return None
        return self._runtime.deserialize_cuda_engine(plan)

    def infer(self, x: Tensor) -> Tensor:
        """Image to image: the output has the input's shape, so both ends are torch's own memory."""
        if self._runtime is None:
            raise RuntimeError("the session is closed")
        with torch.cuda.device(self.torch_device):
            _, context = self._engine(tuple(x.shape))
            y = torch.empty_like(x)
            context.set_tensor_address(self.model.input_name, x.data_ptr())
            context.set_tensor_address(self.model.output_name, y.data_ptr())
            current = torch.cuda.current_stream(self.torch_device)
            self._stream.wait_stream(current)  # the frame is there when it starts,
            started = context.execute_async_v3(self._stream.cuda_stream)
            current.wait_stream(self._stream)  # and the result when torch goes on
            if not started:
                raise ModelError(f"{self.model.called}: tensorrt cannot run it on {tuple(x.shape)}")
        return y

    def close(self) -> None:
        self._engines.clear()
        self._runtime = None


def engine_place(path: Path, shape: tuple[int, ...], precision: str, device: torch.device) -> Path:
    """Where an engine is kept: another for any other model, shape, precision, version or kind of GPU."""
    major, minor = torch.cuda.get_device_capability(device)
    gpu = f"{torch.cuda.get_device_name(device)} {major}.{minor}"
    return kept("tensorrt", path, gpu=gpu, precision=precision, shape="x".join(map(str, shape))).with_suffix(".engine")


@RUNTIMES.register("tensorrt")
class TensorRt(Runtime):
    """NVIDIA TensorRT."""

    reinstall: ClassVar[str] = 'pip install --force-reinstall "tensorrt<11"'
    summary: ClassVar[str] = "TensorRT, fp32 without TF32, CUDA only"
    variants: ClassVar[dict[str, str]] = {"fp16": "TensorRT, fp16 with norms and resizes in fp32, CUDA only"}
    #: Building an engine takes a minute for each model and size, as compiling does.
    defaults: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str | None:
        if importlib.util.find_spec("tensorrt") is None:
            return 'tensorrt is not installed: pip install "tensorrt<11" (Linux or Windows with an NVIDIA GPU)'
        return None

    def unusable(self, device: torch.device) -> str | None:
        return None if device.type == "cuda" else "tensorrt is for NVIDIA GPUs: on a CPU use onnxruntime, or openvino"

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return TensorRtSession(model, model.onnx(), device, threads, half=self.variant == "fp16")
