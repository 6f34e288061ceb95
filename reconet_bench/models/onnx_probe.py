"""An ONNX file in ONNX Runtime on the CPU, shown a photograph: which output is the frame, and which sizes it takes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.core.images import scikit_image_texture
from reconet_bench.core.ops import BYTE, UNIT, ValueRange, from_uint8, resize_frame
from reconet_bench.core.size import Size
from reconet_bench.runtimes.onnx_errors import first_line
from reconet_bench.runtimes.onnxruntime import TENSOR_TYPES
from reconet_bench.temporal.state import StateInput, StateMemory, TensorForm

#: Side of the photograph that a file is tried on, pixels, and the size multiples tried in turn.
PROBE_SIZE = 128
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


class ImageInput(NamedTuple):
    """The input of an ONNX that takes the frame."""

    name: str
    layout: str
    dtype: type[np.float32] | type[np.float16] | type[np.float64] | type[np.uint8]
    height: int | None
    width: int | None
    batch: int | None
    batched: bool = True


@dataclass(frozen=True)
class FrameFacts:
    """What is said of a file's inputs beside value ranges and layout.

    Attributes:
        image: the input that takes the frame; empty where the file has but one.
        state: inputs that are fed from the frame before.
        multiple: height and width must be multiples of it; ``None`` is found by trying.
        size: the only size that the network is made for; ``None`` is what the file says.
        output: the stylised frame; empty is found by trying.
        called: the description that says it; empty where there is none.
    """

    image: str = ""
    state: tuple[StateInput, ...] = ()
    multiple: int | None = None
    size: Size | None = None
    output: str = ""
    called: str = ""


NOTHING_SAID = FrameFacts()


class OnnxProbe:
    """A file in ONNX Runtime on the CPU, shown a photograph.

    Attributes:
        output: name of the stylised frame.
        multiple: height and width must be multiples of it.
        eight_bits: whether frames go in and come out as 8 bits.
    """

    def __init__(self, path: Path, image: ImageInput, facts: FrameFacts = NOTHING_SAID) -> None:
        self._image, self._session = image, open_quietly(path)
        form = TensorForm(1, image.layout, UNIT, torch.device("cpu"))
        self._state = StateMemory(facts.state, form, lambda y: y)
        kinds = {one.name: TENSOR_TYPES.get(one.type, torch.float32) for one in self._session.get_inputs()}
        self._state.types = {one.name: kinds[one.name] for one in facts.state}
        side = -(-PROBE_SIZE // (facts.multiple or 1)) * (facts.multiple or 1)
        height, width = image.height or side, image.width or side
        self._size = (height, width)
        try:
            outputs = self._outputs(BYTE if image.dtype is np.uint8 else UNIT, height, width)
        except ModelError as error:
            raise ModelError(f"{path}: cannot run on a frame of {width}x{height} pixels: {error}") from None
        frames = [name for name, value in outputs.items() if value.shape == (1, 3, height, width)]
        carried = self._state.outputs
        frames.sort(key=lambda name: name in carried)  # what is carried on is hardly what is shown
        output = next((name for name in frames if facts.output in ("", name)), None)
        if output is None:
            got = ", ".join(f"'{name}' {value.shape}" for name, value in outputs.items())
            raise ModelError(f"{path}: not image to image: a frame of {width}x{height} pixels gives {got or 'nothing'}")
        if (image.dtype is np.uint8) != (outputs[output].dtype == np.uint8):
            raise ModelError(
                f"{path}: the input is {image.dtype.__name__} and the output {outputs[output].dtype}: "
                "both must be 8-bit, or both float"
            )
        self.output, self.eight_bits = output, image.dtype is np.uint8
        self.multiple = facts.multiple or self._size_multiple(path)

    @property
    def photograph(self) -> np.ndarray:
        """What the file is tried on, ``(1, 3, H, W)`` in [0, 1]."""
        frame: np.ndarray = self._photograph(*self._size).numpy()
        return frame

    @staticmethod
    def _photograph(height: int, width: int) -> Tensor:
        return resize_frame(from_uint8(scikit_image_texture("astronaut")), height, width)

    def _outputs(self, values: ValueRange, height: int, width: int) -> dict[str, np.ndarray]:
        """All tensors that come out for a photograph of the size asked for, as NCHW where they are frames."""
        frame = values.encode(self._photograph(height, width)).numpy()
        channels_last = self._image.layout == "NHWC"
        if self._image.dtype is np.uint8:
            frame = frame.round().clip(0, 255)
        if channels_last:
            frame = frame.transpose(0, 2, 3, 1)
        frame = np.repeat(frame, self._image.batch or 1, axis=0) if self._image.batched else frame[0]
        state = {name: tensor.numpy() for name, tensor in self._state.blank(Size(height, width)).items()}
        try:
            results = self._session.run(
                None, {self._image.name: np.ascontiguousarray(frame, self._image.dtype), **state}
            )
        except Exception as error:
            raise ModelError(first_line(error)) from None
        named = zip((one.name for one in self._session.get_outputs()), results, strict=True)
        arrays = {name: value for name, value in named if isinstance(value, np.ndarray)}
        return {name: self._first(value) for name, value in arrays.items()}

    def _first(self, value: np.ndarray) -> np.ndarray:
        """The first frame of an output as ``(1, 3, H, W)``; what is no frame as it is."""
        image = self._image
        if not image.batched and value.ndim == 3:
            value = value[None]
        if value.ndim != 4 or len(value) != (image.batch or 1):
            return value
        return value[:1].transpose(0, 3, 1, 2) if image.layout == "NHWC" else value[:1]

    def _size_multiple(self, path: Path) -> int:
        """The smallest multiple at which the output has the size of the frame."""
        for multiple in MULTIPLES:
            # Odd multiples, another for each side, so that no rounder number lets a frame through by accident.
            size = (self._image.height or PROBE_SIZE + multiple, self._image.width or PROBE_SIZE + 3 * multiple)
            with contextlib.suppress(ModelError):
                if self._outputs(UNIT, *size)[self.output].shape == (1, 3, *size):
                    return multiple
        raise ModelError(
            f"{path}: not image to image: the output never has the size of the frame "
            f"(multiples up to {MULTIPLES[-1]} were tried)"
        )

    def show(self, values: ValueRange) -> np.ndarray:
        """What comes out, ``(1, 3, H, W)`` float32, for the photograph in ``values``."""
        return self._outputs(values, *self._size)[self.output].astype(np.float32)


def open_quietly(file: Path | bytes, called: str = "") -> Any:
    """A file, or its content, in ONNX Runtime on the CPU, quiet even when it fails; ``called`` is for messages."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            file if isinstance(file, bytes) else str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no common base but Exception
        raise ModelError(f"{called or file!s}: onnxruntime cannot load it: {first_line(error)}") from None
