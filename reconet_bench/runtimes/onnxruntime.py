"""ONNX Runtime on its CPU, CUDA or TensorRT provider, with proof of where each node ran; fp16, int8, CUDA graphs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.runtimes.artifact_cache import kept, recall, remember
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.onnx_errors import first_line
from reconet_bench.runtimes.onnx_forms import calibration, calibration_frames, half_precision, quantized, refuse_twice
from reconet_bench.runtimes.onnxruntime_options import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    REMEDIES,
    TENSORRT_PROVIDER,
    cuda_options,
    session_options,
    tensorrt_options,
    without_graph,
)
from reconet_bench.runtimes.placement import check_placement, compute_nodes

#: Side of the frame that placement is traced on, pixels; a multiple of whatever a network may demand.
_TRACE_SIZE = 64
#: Types of the tensors that are taken, by their names in ONNX Runtime.
TENSOR_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
_NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.float64: np.float64, torch.uint8: np.uint8}

#: What goes into further inputs, and comes out of further outputs, of a network without state.
NO_FEEDS: Mapping[str, Tensor] = {}
#: Frame shapes that a session keeps an engine or a captured graph for; footage has one shape, a sweep a few.
KEPT_SHAPES = 8


class OnnxSession(Session):
    """An ONNX file in ONNX Runtime; input and output stay on the device (I/O binding).

    With the TensorRT provider there is a session for each shape, whose engine is built for that shape alone: one for
    several would be built for the range of shapes seen so far, and slower for having seen others before.

    Args:
        variant: of :class:`OnnxRuntime`: words joined by dashes.
    """

    runtime = "onnxruntime"

    def __init__(self, model: ModelSource, path: Path, device: torch.device, threads: int, variant: str = "") -> None:
        super().__init__(model, device, threads)
        words = variant.split("-")
        self._path, self._tensorrt, self._graphed = path, "tensorrt" in words, "graph" in words
        self._half = "fp16" in words
        self._source: str | bytes = (
            half_precision(path, model.called) if self._half and not self._tensorrt else str(path)
        )
        refuse_twice(model, variant, self.runtime)
        self.provider = CPU_PROVIDER
        if device.type == "cuda":
            self.provider = TENSORRT_PROVIDER if self._tensorrt else CUDA_PROVIDER
        if variant == "int8":
            self._source = self._quantize(threads)  # as an export, it is made once and kept
        # A captured graph reads and writes the same memory each time: input, output and binding by shape.
        self._captured: dict[tuple[int, ...], tuple[Tensor, Tensor, Any, Any]] = {}
        # With TensorRT: a session for each shape.
        self._shaped: dict[tuple[int, ...], Any] = {}
        start = time.perf_counter()
        self._session = self._open(session_options(threads), self._graphed)
        self.load_seconds = time.perf_counter() - start
        self.dtype = self._type_of(self._session)
        self._take_types({one.name: one.type for one in self._session.get_inputs()}, TENSOR_TYPES)
        self._output_types = {one.name: TENSOR_TYPES.get(one.type, self.dtype) for one in self._session.get_outputs()}
        self.precision = "fp16" if self._half else "int8" if variant == "int8" else model.precision
        if self._tensorrt and self.precision == "fp32":
            # TensorRT rounds the factors of fp32 convolutions to TF32, and this provider has no switch for it.
            self.precision = "tf32"
        if not self._tensorrt:
            height, width = model.height or _TRACE_SIZE, model.width or _TRACE_SIZE
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            first = self.upload(image)
            self.placement = self._proved(first.tensor, feeds=first.feeds)
            self.reset()

    def _type_of(self, session: Any) -> torch.dtype:
        """What the file takes a frame as."""
        kind = next(one.type for one in session.get_inputs() if one.name == self.model.input_name)
        if kind not in TENSOR_TYPES:
            raise ModelError(f"{self.model.called}: input '{self.model.input_name}' is {kind}, not tensor(float)")
        return TENSOR_TYPES[kind]

    def _quantize(self, threads: int) -> bytes:
        """The file in int8, from where it is kept, or calibrated on frames of the built-in clips and then kept.

        Raises:
            RuntimeUnavailable: it is fp16, whose int8 form ONNX Runtime cannot load.
        """
        if self.model.precision != "fp32":
            raise RuntimeUnavailable(
                f"{self.model.called} is an {self.model.precision} file, and int8 is made of fp32: give the fp32 file"
            )
        place = kept("onnxruntime-int8", self._path, calibration=calibration(self.model)).with_suffix(".onnx.sum")
        if (form := recall(place)) is None:
            self.made_form = place
            self.dtype = self._type_of(self._open(session_options(threads)))  # calibrated with what the file takes
            frames = calibration_frames(self.model.height, self.model.width)
            inputs = (self.upload(frame).tensor.cpu().numpy() for frame in frames)
            form = quantized(self._path, self.model.input_name, inputs, self.model.called)
            remember(place, form)
        return form

    def _open(self, options: Any, graphed: bool = False, shape: tuple[int, ...] = ()) -> Any:
        import onnxruntime

        try:
            # Its own way back to another provider prints, and hides the reason.
            session = onnxruntime.InferenceSession(
                self._source, options, providers=self._providers(graphed, shape), enable_fallback=0
            )
        except Exception as error:  # its exceptions have no common base but Exception
            raise ModelError(f"{self.model.called}: onnxruntime cannot load it: {first_line(error)}") from None
        if session.get_providers()[0] != self.provider:
            raise RuntimeUnavailable(
                f"onnxruntime fell back from {self.provider} to {session.get_providers()[0]}: {REMEDIES[self.provider]}"
            )
        return session

    def _providers(self, graphed: bool, shape: tuple[int, ...] = ()) -> list[Any]:
        """Providers with their options, the one that all is to run on first; engines are for tensors of ``shape``."""
        providers: list[Any] = [CPU_PROVIDER]
        index = self.torch_device.index or 0
        if self.provider != CPU_PROVIDER:
            providers.insert(0, (CUDA_PROVIDER, cuda_options(index, graphed)))
        if self.provider == TENSORRT_PROVIDER:
            options = tensorrt_options(self._path, index, self._half, self.model.input_name, shape)
            providers.insert(0, (TENSORRT_PROVIDER, options))
        return providers

    def _proved(self, x: Tensor, shape: tuple[int, ...] = (), feeds: Mapping[str, Tensor] = NO_FEEDS) -> dict[str, int]:
        """Compute nodes by provider as run once on ``x``, in a profiled session of its own.

        Of its own, so that the session that is timed is never profiled and has its first frame still to come.

        Raises:
            RuntimeUnavailable: one ran elsewhere than it should.
        """
        with tempfile.TemporaryDirectory() as folder:
            options = session_options(self.threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "placement")
            session = self._open(options, shape=shape)
            self._run(session, x, feeds=feeds)
            trace = json.loads(Path(session.end_profiling()).read_text())
        height, width = self.sides(x)
        return check_placement(compute_nodes(trace, height * width), self.provider, self.model.name)

    def _for(self, x: Tensor) -> Any:
        """The session for tensors like ``x``. With TensorRT each shape has its own, built at its first frame."""
        shape = tuple(x.shape)
        if not self._tensorrt:
            return self._session
        if shape in self._shaped:
            self._shaped[shape] = self._shaped.pop(shape)  # the least recently used one stays first
        else:
            while len(self._shaped) >= KEPT_SHAPES:
                del self._shaped[next(iter(self._shaped))]
            # A file of one shape has its engine since it was loaded.
            fixed = None not in (self.model.height, self.model.width, self.model.batch)
            with self.building():
                self.placement = self._proved(x, () if fixed else shape)
                self._shaped[shape] = self._session if fixed else self._open(session_options(self.threads), shape=shape)
        return self._shaped[shape]

    def upload(self, image: np.ndarray) -> Any:
        frame = super().upload(image)
        # ONNX Runtime computes on a stream of its own, which does not wait for torch's.
        self.synchronize()
        return frame

    def infer(self, x: Tensor) -> Tensor:
        if self._session is None:
            raise RuntimeError("the session is closed")
        return self._replay(x) if self._graphed else self._run(self._for(x), x)

    def infer_with(self, x: Tensor, feeds: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self._session is None:
            raise RuntimeError("the session is closed")
        outputs = self._outputs(x)
        return self._run(self._session, x, feeds=feeds, outputs=outputs), outputs

    def _outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Memory on the device for the outputs that are carried on."""
        shapes = {one.source: one.sized(*self.sides(x)) for one in self.model.state if one.is_output}
        return {
            name: torch.empty(shape, dtype=self._output_types[name], device=x.device) for name, shape in shapes.items()
        }

    def _run(
        self,
        session: Any,
        x: Tensor,
        options: Any = None,
        feeds: Mapping[str, Tensor] = NO_FEEDS,
        outputs: Mapping[str, Tensor] = NO_FEEDS,
    ) -> Tensor:
        """Image to image: the output has the input's shape, so both ends are bound to torch's own memory."""
        y = torch.empty_like(x)
        self._submit(session, self._bind(session, x, y, feeds, outputs), x, options)
        return y

    def _bind(
        self,
        session: Any,
        x: Tensor,
        y: Tensor,
        feeds: Mapping[str, Tensor] = NO_FEEDS,
        outputs: Mapping[str, Tensor] = NO_FEEDS,
    ) -> Any:
        binding = session.io_binding()

        def bound(bind: Callable[..., None], name: str, tensor: Tensor) -> None:
            place = (tensor.device.type, tensor.device.index or 0, _NUMPY[tensor.dtype])
            bind(name, *place, tuple(tensor.shape), tensor.data_ptr())

        for name, tensor in {self.model.input_name: x, **feeds}.items():
            bound(binding.bind_input, name, tensor)
        for name, tensor in {self.model.output_name: y, **outputs}.items():
            bound(binding.bind_output, name, tensor)
        return binding

    def _submit(self, session: Any, binding: Any, x: Tensor, options: Any = None) -> None:
        try:
            session.run_with_iobinding(binding, options)
        except Exception as error:
            raise ModelError(
                f"{self.model.called}: onnxruntime cannot run it on {tuple(x.shape)}: {first_line(error)}"
            ) from None

    def _replay(self, x: Tensor) -> Tensor:
        """Through a captured CUDA graph, one for each shape: no launches from the host, and memory that never moves."""
        import onnxruntime

        shape = tuple(x.shape)
        if shape not in self._captured and len(self._captured) >= KEPT_SHAPES:
            return self._run(self._session, x, without_graph())  # a captured graph cannot be given back
        if shape not in self._captured:
            source, result = torch.empty_like(x), torch.empty_like(x)
            options = onnxruntime.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(len(self._captured) + 1))
            self._captured[shape] = (source, result, self._bind(self._session, source, result), options)
        source, result, binding, options = self._captured[shape]
        source.copy_(x)
        self.synchronize()  # the graph runs on a stream of its own
        self._submit(self._session, binding, x, options)
        return result.clone()

    def close(self) -> None:
        self._captured.clear()
        self._shaped.clear()
        self._session = None


@RUNTIMES.register("onnxruntime")
class OnnxRuntime(Runtime):
    """ONNX Runtime on its CPU, CUDA or TensorRT provider."""

    reinstall: ClassVar[str] = "pip install --force-reinstall onnxruntime-gpu"
    summary: ClassVar[str] = "ONNX Runtime, fp32, CPU or CUDA provider"
    with_state: ClassVar[tuple[str, ...]] = ("", "fp16")
    variants: ClassVar[dict[str, str]] = {
        "fp16": "ONNX Runtime, fp16 with norms and resizes in fp32; CUDA only",
        "graph": "ONNX Runtime, fp32, captured as a CUDA graph; CUDA only",
        "fp16-graph": "ONNX Runtime, fp16 as above, captured as a CUDA graph; CUDA only",
        "int8": "ONNX Runtime, int8 convolutions calibrated on the built-in clips; CPU only",
        "tensorrt": "ONNX Runtime, TensorRT provider, TF32; CUDA only",
        "tensorrt-fp16": "ONNX Runtime, TensorRT provider, fp16; CUDA only",
    }

    def missing(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install onnxruntime-gpu (onnxruntime on a Mac)"
        if self.variant.startswith("tensorrt") and importlib.util.find_spec("tensorrt") is None:
            return 'tensorrt is not installed: pip install "tensorrt<11"'
        return None

    def unusable(self, device: torch.device) -> str | None:
        if device.type == "cpu" and self.variant not in ("", "int8"):
            return f"onnxruntime:{self.variant} is for GPUs: on a CPU use onnxruntime, or openvino:bf16"
        if device.type == "cuda" and self.variant == "int8":
            return "onnxruntime:int8 is for CPUs: on a GPU use onnxruntime:fp16"
        return None

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        if device.type == "cuda":
            self._load_libraries()
        return OnnxSession(model, model.onnx(), device, threads, self.variant)

    def _load_libraries(self) -> None:
        """Those of CUDA, cuDNN and TensorRT, from the wheels that bring them.

        Raises:
            RuntimeUnavailable: this build of ONNX Runtime has no such provider.
        """
        import onnxruntime

        provider = TENSORRT_PROVIDER if self.variant.startswith("tensorrt") else CUDA_PROVIDER
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeUnavailable(
                f"onnxruntime {onnxruntime.__version__} has no {provider}: "
                "pip install onnxruntime-gpu, or use --device cpu"
            )
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # torch's own wheel brings them
        if provider == TENSORRT_PROVIDER:
            importlib.import_module("tensorrt")  # loads its libraries, which the provider then finds
