"""OpenVINO on the CPU, fp32, bf16 and int8, with proof of the type that the convolutions were computed in."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.cache import mark_used
from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.runtimes.artifact_cache import kept
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.onnx_forms import (
    FLOAT_OPERATIONS,
    calibration,
    calibration_frames,
    nncf_quantized,
    refuse_twice,
)
from reconet_bench.runtimes.signal_stack import signal_stack_kept

#: What OpenVINO computes in that is not int8, by variant, as its options call it.
_HINTS = {"": "f32", "bf16": "bf16", "int8": "bf16"}
#: Types that convolutions are computed in; in int8 the first and the last are not.
_COMPUTED = {"fp32": {"f32"}, "bf16": {"bf16"}, "int8": {"u8", "i8"}}
_TYPES = {"f32": torch.float32, "f16": torch.float16, "f64": torch.float64, "u8": torch.uint8}
_NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.float64: np.float64, torch.uint8: np.uint8}
#: Layers that a precision is proved by, and nodes of an execution graph that compute nothing.
_HEAVY, _IDLE = ("convolution", "fullyconnected", "matmul"), ("Input", "Output", "Const", "Identity", "")
#: Compiled sizes that are kept; footage has one size, a comparison a few.
_KEPT_SIZES = 4


def computed_in(operations: list[tuple[str, str]]) -> dict[str, int]:
    """Number of convolutions and matrix products by the type they are computed in.

    Args:
        operations: (layer type, type) of each node of an execution graph.
    """
    return dict(Counter(kind.lower() for layer, kind in operations if any(name in layer.lower() for name in _HEAVY)))


def check_precision(found: dict[str, int], precision: str, model: str, instead: str = "openvino") -> None:
    """Raise RuntimeUnavailable unless all convolutions (in int8: most) are computed in ``precision``.

    Where there are none, nothing proves a reduced precision.

    Args:
        instead: the runtime to take in this case.
    """
    if not found and precision != "fp32":
        raise RuntimeUnavailable(
            f"openvino cannot prove that it computes '{model}' in {precision}: "
            f"it has no convolutions or matrix products; use {instead}"
        )
    strays = {kind: count for kind, count in found.items() if kind not in _COMPUTED[precision]}
    allowed = sum(found.values()) // 2 if precision == "int8" else 0
    if sum(strays.values()) > allowed:
        seen = ", ".join(f"{count} in {kind}" for kind, count in strays.items())
        raise RuntimeUnavailable(
            f"openvino does not compute all convolutions of '{model}' in {precision} ({seen}): use {instead}"
        )


class OpenVinoSession(Session):
    """An ONNX file in OpenVINO's CPU plug-in, compiled for the size of the frames (the fastest form it has).

    A file that is int8 as it is written is computed so in every variant, which then says what the rest is computed in.

    Args:
        variant: of :class:`OpenVino`.
    """

    runtime = "openvino"

    def __init__(self, model: ModelSource, path: Path, device: torch.device, threads: int, variant: str) -> None:
        super().__init__(model, device, threads)
        import openvino

        refuse_twice(model, variant, self.runtime)
        self._path, self._variant, self._quantizing = path, variant, 0.0
        self.precision = "int8" if model.precision == "int8" else variant or "fp32"
        start = time.perf_counter()
        with signal_stack_kept():
            self._core = openvino.Core()
            self._core.get_versions("CPU")  # loads the plug-in
        try:
            self._graph: Any = self._core.read_model(str(path))
        except Exception as error:  # its exceptions have no common base but RuntimeError
            raise ModelError(f"{model.called}: openvino cannot load it: {_reason(error)}") from None
        kind = _element(self._graph.input(model.input_name))
        if kind not in _TYPES:
            raise ModelError(f"{model.called}: input '{model.input_name}' is {kind}, a frame is f32, f16, f64 or u8")
        self.dtype = _TYPES[kind]
        self._take_types({name: _element(one) for one in self._graph.inputs for name in one.get_names()}, _TYPES)
        self._output = next(i for i, one in enumerate(self._graph.outputs) if model.output_name in one.get_names())
        if variant == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeUnavailable("this CPU has no fast bf16: use openvino")
        # What runs, by shape: compiled at the first frame of a size, or now where the file has but one.
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        if variant == "int8":
            self._graph = self._quantize()
        start += self._quantizing  # as an export, it is made once and kept
        if model.height and model.width:
            first = self.upload(np.zeros((model.height, model.width, 3), np.uint8))
            shape = tuple(first.tensor.shape)
            self._requests[shape] = self._compiled(shape, _shapes(first.feeds))
            self.reset()
        self.load_seconds = time.perf_counter() - start

    def _quantize(self) -> Any:
        """The graph in int8, from where it is kept, or calibrated on frames of the built-in clips and then kept."""
        start = time.perf_counter()
        made_by = f"{calibration(self.model)}, floats: {' '.join(FLOAT_OPERATIONS)}"
        place = kept("openvino-int8", self._path, calibration=made_by).with_suffix(".xml")
        mark_used(place)
        try:
            return self._core.read_model(str(place))
        except Exception:  # not there, or not whole: it is made again
            self.made_form = place
            frames = calibration_frames(self.model.height, self.model.width)
            with signal_stack_kept():
                graph = nncf_quantized(
                    self._graph, (self.upload(frame).tensor.numpy() for frame in frames), self.model.called
                )
        with contextlib.suppress(OSError):  # nowhere to write: it is made again next time
            self._keep(graph, place)
        self._quantizing = time.perf_counter() - start
        return graph

    def _keep(self, graph: Any, place: Path) -> None:
        """Save a graph: its weights first, and the file that names them when they are whole."""
        import openvino

        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            made = Path(folder) / place.name
            openvino.save_model(graph, str(made), compress_to_fp16=False)
            made.with_suffix(".bin").replace(place.with_suffix(".bin"))
            made.replace(place)

    def _compile(self, graph: Any) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._variant],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
        }
        try:
            return self._core.compile_model(graph, "CPU", options)
        except Exception as error:
            raise ModelError(f"{self.model.called}: openvino cannot compile it: {_reason(error)}") from None

    def _check(self, compiled: Any) -> None:
        """Where it runs, on how many threads and in which type, read from OpenVINO."""
        places = compiled.get_property("EXECUTION_DEVICES")
        places = [places] if isinstance(places, str) else list(places)
        if places != ["CPU"]:
            raise RuntimeUnavailable(
                f"openvino runs '{self.model.name}' on {', '.join(places)}, not on the CPU that was asked for"
            )
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        nodes = [_layer(node) for node in compiled.get_runtime_model().get_ordered_ops()]
        if any(layer not in _IDLE for layer, _ in nodes):
            check_precision(
                computed_in(nodes), self.precision, self.model.name, "openvino" if self._variant else "onnxruntime"
            )
        self.placement = {"CPU": sum(layer not in _IDLE for layer, _ in nodes)}

    def _compiled(self, shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]]) -> Any:
        """A request of the form that runs on tensors of ``shape``, which is the one that is looked at.

        Args:
            others: shapes of further inputs by name.
        """
        graph = self._graph.clone()
        try:
            graph.reshape({name: list(one) for name, one in {self.model.input_name: shape, **others}.items()})
        except Exception as error:
            raise ModelError(f"{self.model.called}: openvino cannot run it on {shape}: {_reason(error)}") from None
        compiled = self._compile(graph)
        self._check(compiled)
        return compiled.create_infer_request()

    def _request(self, shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]]) -> Any:
        """An inference request for tensors of ``shape``; compiled at the first frame of a size."""
        if shape not in self._requests:
            with self.building():
                self._requests[shape] = self._compiled(shape, others)
            if len(self._requests) > _KEPT_SIZES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def infer(self, x: Tensor) -> Tensor:
        return self.infer_with(x, {})[0]

    def infer_with(self, x: Tensor, feeds: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Image to image: the output has the input's shape, so both ends are torch's own memory."""
        if self._graph is None:
            raise RuntimeError("the session is closed")
        from openvino import Tensor as Shared

        request = self._request(tuple(x.shape), _shapes(feeds))
        y = np.empty(tuple(x.shape), _NUMPY[self.dtype])
        try:
            for name, tensor in {self.model.input_name: x, **feeds}.items():
                request.set_tensor(name, Shared(tensor.numpy(), shared_memory=True))
            request.set_output_tensor(self._output, Shared(y, shared_memory=True))
            request.infer()
            kept = {one.source for one in self.model.state if one.is_output}
            outputs = {name: torch.from_numpy(request.get_tensor(name).data.copy()) for name in kept}
        except Exception as error:
            raise ModelError(
                f"{self.model.called}: openvino cannot run it on {tuple(x.shape)}: {_reason(error)}"
            ) from None
        return torch.from_numpy(y), outputs

    def close(self) -> None:
        self._requests.clear()
        self._graph = None


def _element(port: Any) -> str:
    """Type of an input's numbers, as OpenVINO calls it."""
    kind: str = port.get_element_type().get_type_name()
    return kind


def _shapes(feeds: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in feeds.items()}


def _layer(node: Any) -> tuple[str, str]:
    """Layer type and computing type of a node of the execution graph; empty where it says none."""
    facts = node.get_rt_info()
    layer, precision = (facts[key].astype(str) if key in facts else "" for key in ("layerType", "runtimePrecision"))
    return layer, precision


def _reason(error: Exception) -> str:
    """The line of an error of OpenVINO that says what is wrong: the last one; those before it name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@RUNTIMES.register("openvino")
class OpenVino(Runtime):
    """OpenVINO's CPU plug-in."""

    reinstall: ClassVar[str] = "pip install --force-reinstall openvino"
    summary: ClassVar[str] = "OpenVINO, fp32, CPU"
    variants: ClassVar[dict[str, str]] = {
        "bf16": "OpenVINO, bf16, on CPUs with AMX or AVX-512 BF16",
        "int8": "OpenVINO, int8 by NNCF, calibrated on the built-in clips; other layers bf16 or fp32",
    }
    defaults: ClassVar[tuple[str, ...]] = ("", "bf16")
    with_state: ClassVar[tuple[str, ...]] = ("", "bf16")

    def missing(self) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed: pip install openvino"
        if self.variant == "int8" and importlib.util.find_spec("nncf") is None:
            return "nncf is not installed: pip install nncf"
        return None

    def unusable(self, device: torch.device) -> str | None:
        return None if device.type == "cpu" else f"openvino here runs on the CPU, not on '{device}'; use --device cpu"

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return OpenVinoSession(model, model.onnx(), device, threads, self.variant)
