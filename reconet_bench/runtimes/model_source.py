"""A style-transfer model as a runtime sees it: its files, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, ModelError
from reconet_bench.core.ops import UNIT, ValueRange
from reconet_bench.core.size import Size
from reconet_bench.temporal.base import STABILISERS, Stabilisation
from reconet_bench.temporal.history import MotionEstimator
from reconet_bench.temporal.state import StateInput

if TYPE_CHECKING:
    from reconet_bench.runtimes.python_model import PythonModel


@dataclass
class ModelSource:
    """A style-transfer model as a runtime sees it.

    Attributes:
        name: for messages and records.
        network: frames in [0, 1] to frames in [0, 1]; None for an ONNX file of the user's own.
        onnx: gives the ONNX file; the first call may export it.
        multiple: height and width that the ONNX takes are multiples of this; others are padded by reflection.
        minimum: smallest height and width, pixels.
        input_range, output_range: what the numbers of the ONNX mean, see :class:`reconet_bench.core.ops.ValueRange`.
        layout: of the ONNX: ``"NCHW"`` or ``"NHWC"``.
        input_name: of the frame in the ONNX.
        output_name: of the stylised frame in the ONNX.
        height: the only height that the ONNX takes, pixels; None = any. Other frames are resized to it, and back.
        width: the only width that the ONNX takes, pixels; None = any.
        batch: the only number of frames at once that the ONNX takes; None = any. Fewer frames are filled up.
        batched: whether the ONNX has an axis for the number of frames.
        precision: what the convolutions of the ONNX compute in as it is written: ``"fp32"``, ``"fp16"``, ``"int8"``.
        exported: whether the ONNX is an export of ours, which lies in a temporary folder.
        state: further inputs of the ONNX, which are fed from the frame before.
        python: a model of the user's own in Python, which has neither ``network`` nor ONNX.
        stabiliser: what is done to stylised frames after the network.
        motion: how motion to the frame before is estimated, where something uses it.
    """

    name: str
    network: nn.Module | None
    onnx: Callable[[], Path]
    multiple: int = 1
    minimum: int = 1
    input_range: ValueRange = UNIT
    output_range: ValueRange = UNIT
    layout: str = "NCHW"
    input_name: str = "frame"
    output_name: str = "stylised"
    height: int | None = None
    width: int | None = None
    batch: int | None = None
    batched: bool = True
    precision: str = "fp32"
    exported: bool = False
    state: tuple[StateInput, ...] = ()
    python: PythonModel | None = None
    stabiliser: Stabilisation | None = None
    motion: MotionEstimator = field(default_factory=MotionEstimator)

    @property
    def called(self) -> str:
        """What messages call the ONNX: by the path that the user gave; an export of ours by its name."""
        return f"'{self.name}'" if self.exported else str(self.onnx())

    @property
    def unstabilised_name(self) -> str:
        """The name of the same model without its stabiliser."""
        return self.name.removesuffix(f"+{self.stabiliser.name}") if self.stabiliser else self.name

    @property
    def sequential(self) -> bool:
        """Whether a frame depends on those before it, so that frames go in one after the other."""
        return bool(self.state or self.stabiliser or self.python)

    @property
    def uses_motion(self) -> bool:
        """Whether the motion to the frame before is needed."""
        by_stabiliser = self.stabiliser is not None and STABILISERS[self.stabiliser.name].uses_motion
        return by_stabiliser or any(one.uses_motion for one in self.state)

    def check_frame(self, image: np.ndarray) -> None:
        """Raise unless ``image`` is a frame, or a batch of frames, that this model takes.

        Raises:
            DataError: not ``(H, W, 3)`` or ``(N, H, W, 3)`` uint8, or smaller than the model can pad.
            ModelError: more frames at once than the ONNX takes.
        """
        if image.ndim not in (3, 4) or image.shape[-1] != 3 or image.dtype != np.uint8:
            raise DataError(f"a frame is (H, W, 3) uint8, a batch (N, H, W, 3); got {image.shape} {image.dtype}")
        height, width = image.shape[-3:-1]
        count = image.shape[0] if image.ndim == 4 else 1
        if self.sequential and count > 1:
            raise ModelError(f"'{self.name}' takes one frame after the other, got {count} frames at once")
        if count > (self.batch or count):
            raise ModelError(
                f"'{self.name}' accepts batches of {self.batch} only, got {count} frames: "
                "export it with a dynamic batch"
            )
        if min(height, width) < self.minimum:
            raise DataError(f"frame of {width}x{height} pixels is too small: '{self.name}' needs {self.minimum} a side")

    def taken_size(self, height: int, width: int) -> Size:
        """The size that frames of ``height`` x ``width`` are resized to: their own unless the ONNX has but one."""
        return Size(self.height or height, self.width or width)

    def adaptations(self, height: int, width: int, count: int = 1) -> tuple[Doubt, ...]:
        """What is done to batches of ``count`` frames of a size so that the ONNX takes them."""
        resized = self.taken_size(height, width) != (height, width)
        filled = count < (self.batch or count)
        return (*([Doubt.RESIZED] if resized else []), *([Doubt.FIXED_BATCH] if filled else []))
