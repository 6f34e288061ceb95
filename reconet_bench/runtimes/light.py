"""Our own exports in ONNX Runtime and OpenVINO on the CPU without PyTorch, whose import alone takes over a second.

For stylising: nothing is timed or proved here. The frames are those of the runtimes ``onnxruntime`` and ``openvino``,
bit for bit.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from reconet_bench.core.errors import DataError, ModelError, RuntimeUnavailable
from reconet_bench.core.machine import usable_cpus
from reconet_bench.runtimes.onnx_errors import first_line
from reconet_bench.runtimes.onnxruntime_options import session_options
from reconet_bench.runtimes.signal_stack import signal_stack_kept


def may_have_cuda() -> bool:
    """Whether there may be an NVIDIA GPU: its driver is installed. Loads no library of CUDA."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


class LightSession(ABC):
    """A function from frame to stylised frame, both ``(H, W, 3)`` uint8.

    Args:
        minimum: smallest height and width that the model takes, pixels.
    """

    runtime: str
    device = "cpu"

    def __init__(self, name: str, minimum: int) -> None:
        self._name, self._minimum = name, minimum

    @abstractmethod
    def _infer(self, frame: np.ndarray) -> np.ndarray:
        """The stylised frame; both ``(1, 3, H, W)`` float32 in [0, 1]."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Stylise a frame.

        Raises:
            DataError: it is too small. ModelError: it cannot be run.
        """
        height, width = image.shape[:2]
        if min(height, width) < self._minimum:
            raise DataError(
                f"frame of {width}x{height} pixels is too small: '{self._name}' needs {self._minimum} a side"
            )
        frame = np.ascontiguousarray(image.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        try:
            stylised = self._infer(frame)
        except Exception as error:  # their exceptions have no common base but Exception
            engine = self.runtime.partition(":")[0]
            raise ModelError(f"'{self._name}': {engine} cannot run it: {first_line(error)}") from None
        levels = np.rint(stylised[0].clip(0, 1) * np.float32(255)).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))


class LightOnnxRuntime(LightSession):
    """Our own export in ONNX Runtime.

    Args:
        content: of the file, fp32: frames ``(N, 3, H, W)`` in [0, 1] of any size.
        threads: all usable cores by default.
    """

    runtime = "onnxruntime"

    def __init__(self, name: str, content: bytes, minimum: int, threads: int | None = None) -> None:
        import onnxruntime

        super().__init__(name, minimum)
        self._session = onnxruntime.InferenceSession(
            content, session_options(threads or usable_cpus()), providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def _infer(self, frame: np.ndarray) -> np.ndarray:
        stylised: np.ndarray = self._session.run(None, {self._input: frame})[0]
        return stylised


class LightOpenVino(LightSession):
    """Our own export in OpenVINO, compiled for the size of the frames, which is that of the first one.

    Args:
        precision: ``"f32"`` or ``"bf16"``.
    """

    def __init__(self, name: str, content: bytes, minimum: int, precision: str, threads: int | None = None) -> None:
        import openvino

        super().__init__(name, minimum)
        self.runtime = "openvino:bf16" if precision == "bf16" else "openvino"
        self._options = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or usable_cpus(),
            "NUM_STREAMS": 1,
        }
        with signal_stack_kept():
            self._core = openvino.Core()
            if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise RuntimeUnavailable("this CPU has no fast bf16: use openvino")
        self._graph = self._core.read_model(content)
        self._requests: dict[tuple[int, ...], Any] = {}

    def _infer(self, frame: np.ndarray) -> np.ndarray:
        if frame.shape not in self._requests:
            graph = self._graph.clone()
            graph.reshape(list(frame.shape))
            self._requests = {frame.shape: self._core.compile_model(graph, "CPU", self._options).create_infer_request()}
        stylised: np.ndarray = self._requests[frame.shape].infer([frame])[0]
        return stylised


def light_session(runtime: str, name: str, content: bytes, minimum: int, threads: int | None) -> LightSession | None:
    """A session of a runtime by its name; ``None`` where there is none, or its library is missing.

    Raises:
        RuntimeUnavailable: the processor cannot compute so.
    """
    if runtime == "onnxruntime" and importlib.util.find_spec("onnxruntime"):
        return LightOnnxRuntime(name, content, minimum, threads)
    if runtime in ("openvino", "openvino:bf16") and importlib.util.find_spec("openvino"):
        return LightOpenVino(name, content, minimum, "bf16" if runtime.endswith("bf16") else "f32", threads)
    return None
