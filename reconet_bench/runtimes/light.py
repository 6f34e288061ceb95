"""Our own exports in ONNX Runtime on the CPU without PyTorch, whose import alone takes over a second.

For stylising a picture or two: nothing is timed or proved here. The frames are those of the ``onnxruntime`` runtime,
bit for bit.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np

from reconet_bench.core.errors import DataError, ModelError
from reconet_bench.core.machine import usable_cpus
from reconet_bench.runtimes.onnx_errors import first_line
from reconet_bench.runtimes.onnxruntime_options import session_options


def may_have_cuda() -> bool:
    """Whether there may be an NVIDIA GPU: its driver is installed. Loads no library of CUDA."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


class LightSession:
    """A function from frame to stylised frame, both ``(H, W, 3)`` uint8.

    Args:
        content: our own export in fp32: frames ``(N, 3, H, W)`` in [0, 1] of any size.
        minimum: smallest height and width that it takes, pixels.
        threads: all usable cores by default.
    """

    runtime, device = "onnxruntime", "cpu"

    def __init__(self, name: str, content: bytes, minimum: int, threads: int | None = None) -> None:
        import onnxruntime

        self._name, self._minimum = name, minimum
        self._session = onnxruntime.InferenceSession(
            content, session_options(threads or usable_cpus()), providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

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
            (stylised,) = self._session.run(None, {self._input: frame})
        except Exception as error:  # its exceptions have no common base but Exception
            raise ModelError(f"'{self._name}': onnxruntime cannot run it: {first_line(error)}") from None
        levels = np.rint(stylised[0].clip(0, 1) * np.float32(255)).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))
