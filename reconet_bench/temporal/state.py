"""State of a network: inputs that are fed from the frame before, and what they are fed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import ValueRange, from_uint8, pad_to_multiple, resize_flow, resize_frame, resize_mask, warp
from reconet_bench.core.size import Size
from reconet_bench.temporal.history import FrameHistory

#: What a state input may be fed with, beside an output of the file by its name.
STYLIZED, CONTENT, TRACEABLE, FLOW = "stylized", "content", "traceable", "flow"
SOURCES = (STYLIZED, CONTENT, TRACEABLE, FLOW)
#: What it may be fed with at the first frame of a sequence.
FIRSTS = ("zeros", "content", "stylized")


@dataclass(frozen=True)
class StateInput:
    """An input of a network that is fed from the frame before.

    Attributes:
        name: of the input.
        source: ``"stylized"`` or ``"content"``: that picture of the frame before; ``"traceable"``: where the motion to
            it can be trusted, 1 = traceable; ``"flow"``: that motion, pixels; or an output of the network by its name.
        first: at the first frame: ``"zeros"``, ``"content"`` (the frame itself), or ``"stylized"`` (the frame as the
            network stylises it with zeros everywhere).
        warp: whether it is warped along the motion, so that it lies on the grid of the current frame.
        shape: of an output of the network: numbers, ``"h"`` and ``"w"`` (the size that goes in), or ``"h/4"``.
        values: range of a picture's numbers; ``None`` is that of the network's frames.
    """

    name: str
    source: str
    first: str = "zeros"
    warp: bool = False
    shape: tuple[int | str, ...] = ()
    values: ValueRange | None = None

    @property
    def is_picture(self) -> bool:
        """Whether it is a frame, which has the network's layout and value range."""
        return self.source in (STYLIZED, CONTENT)

    @property
    def is_output(self) -> bool:
        """Whether it is an output of the network."""
        return self.source not in SOURCES

    @property
    def uses_motion(self) -> bool:
        """Whether the motion to the frame before is needed for it."""
        return self.warp or self.source in (TRACEABLE, FLOW)

    def sized(self, height: int, width: int) -> tuple[int, ...]:
        """:attr:`shape` where frames of ``height`` x ``width`` go in."""
        return tuple(dimension(one, height, width) for one in self.shape)


def dimension(text: int | str, height: int, width: int) -> int:
    """A side by a number, ``"h"``, ``"w"``, or one of these over a number; a fraction is rounded up.

    Raises:
        ValueError: none of these.
    """
    if isinstance(text, int):
        return text
    side, _, divisor = text.replace(" ", "").partition("/")
    if side not in ("h", "w") or (divisor and not divisor.isdigit()) or divisor == "0":
        raise ValueError(text)
    return -(-(height if side == "h" else width) // int(divisor or 1))


@dataclass(frozen=True)
class TensorForm:
    """How a network takes its frames, and so what is fed beside them.

    Attributes:
        multiple: height and width are padded to multiples of it, by reflection.
        layout: ``"NCHW"`` or ``"NHWC"``.
        values: range of the numbers.
        device: of the tensors.
    """

    multiple: int
    layout: str
    values: ValueRange
    device: torch.device

    def picture(self, frame: Tensor, values: ValueRange | None = None) -> Tensor:
        """A frame ``(1, 3, H, W)`` in [0, 1] as it is fed; ``values`` is another range than that of frames."""
        return self.plain((values or self.values).encode(frame))

    def plain(self, tensor: Tensor) -> Tensor:
        """A mask or a flow ``(1, C, H, W)`` as it is fed."""
        padded = pad_to_multiple(tensor, self.multiple)
        return padded.permute(0, 2, 3, 1) if self.layout == "NHWC" else padded

    def padded(self, size: Size) -> Size:
        """The size with padding."""
        return Size(*(side + -side % self.multiple for side in size))


def typed(feeds: Mapping[str, Tensor], types: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Tensors in the type that each input takes; whole numbers are rounded."""
    rounded = {
        name: tensor.round().clamp(0, 255) if types[name] == torch.uint8 and tensor.is_floating_point() else tensor
        for name, tensor in feeds.items()
    }
    return {name: tensor.to(types[name]).contiguous() for name, tensor in rounded.items()}


class StateMemory:
    """What a session keeps from frame to frame, and the tensors that it feeds.

    Args:
        inputs: that are fed.
        form: of what is fed.
        decode: what the network gives, as ``(1, 3, H, W)`` in [0, 1] with its padding.

    Attributes:
        types: of the tensors by input.
    """

    def __init__(self, inputs: Sequence[StateInput], form: TensorForm, decode: Callable[[Tensor], Tensor]) -> None:
        self.inputs, self._form, self._decode, self._device = inputs, form, decode, form.device
        self.types: dict[str, torch.dtype] = {one.name: torch.float32 for one in inputs}
        self.reset()

    def reset(self) -> None:
        """Forget all: the next frame is the first."""
        self._stylized: Tensor | None = None
        self._kept: dict[str, Tensor] = {}

    @property
    def outputs(self) -> list[str]:
        """Outputs of the network that are kept."""
        return list(dict.fromkeys(one.source for one in self.inputs if one.is_output))

    def feeds(self, history: FrameHistory, taken: Size) -> dict[str, Tensor]:
        """The tensors for the current frame of ``history`` by input.

        Args:
            taken: the size that the network takes frames in, without padding.
        """
        if history.before is None:
            self.reset()
        last = self._stylized
        feeds = {
            one.name: self._first(one, history, taken) if last is None else self._next(one, history, taken, last)
            for one in self.inputs
        }
        return typed(feeds, self.types)

    def blank(self, size: Size) -> dict[str, Tensor]:
        """Zeros for every input, beside frames of a size."""
        return typed({one.name: self._zeros(one, size) for one in self.inputs}, self.types)

    def started(self, feeds: Mapping[str, Tensor], y: Tensor, taken: Size) -> dict[str, Tensor] | None:
        """Feeds of a first frame once it is stylised without state; ``None`` if nothing begins with that."""
        if not any(one.first == "stylized" for one in self.inputs):
            return None
        stylized = self._cropped(y, taken)
        begun = {one.name: self._form.picture(stylized, one.values) for one in self.inputs if one.first == "stylized"}
        return {**feeds, **typed(begun, self.types)}

    def remember(self, y: Tensor, outputs: Mapping[str, Tensor]) -> None:
        """Keep what the network gave: the stylised frame as it came, and its other outputs."""
        self._stylized, self._kept = y, dict(outputs)

    @property
    def fresh(self) -> bool:
        """Whether the frame in hand is the first."""
        return self._stylized is None

    def _cropped(self, y: Tensor, taken: Size) -> Tensor:
        return self._decode(y)[..., : taken.height, : taken.width]

    def _zeros(self, one: StateInput, taken: Size) -> Tensor:
        if one.is_output:
            return torch.zeros(one.sized(*self._form.padded(taken)), device=self._device)
        channels = 3 if one.is_picture else 1 if one.source == TRACEABLE else 2
        return torch.zeros_like(self._form.plain(torch.zeros(1, channels, *taken, device=self._device)))

    def _first(self, one: StateInput, history: FrameHistory, taken: Size) -> Tensor:
        """What an input is fed with at the first frame of a sequence."""
        if one.first == "content" and one.is_picture and history.current is not None:
            return self._form.picture(self._content(history.current, taken), one.values)
        return self._zeros(one, taken)

    def _next(self, one: StateInput, history: FrameHistory, taken: Size, last: Tensor) -> Tensor:
        """What an input is fed with at another frame; ``last`` is what the network gave for the frame before."""
        if one.source == TRACEABLE:
            return self._form.plain(resize_mask(history.traceable(), *taken).to(self._device))
        if one.source == FLOW:
            return self._form.plain(self._flow(history, taken))
        if one.is_output:
            kept = self._kept[one.source]
            return self._warped_output(kept, history, taken) if one.warp else kept
        if one.source == CONTENT and history.before is not None:
            picture = self._content(history.before, taken)
        else:
            picture = self._cropped(last, taken)
        if one.warp:
            picture = warp(picture, self._flow(history, taken))[0]
        return self._form.picture(picture, one.values)

    def _content(self, image: np.ndarray, taken: Size) -> Tensor:
        return resize_frame(from_uint8(image, self._device), *taken)

    def _flow(self, history: FrameHistory, taken: Size) -> Tensor:
        return resize_flow(history.flow(), *taken).to(self._device)

    def _warped_output(self, kept: Tensor, history: FrameHistory, taken: Size) -> Tensor:
        """A map of the network, warped. What was padded moves like the edge, and the flow is scaled as the map is."""
        padded = self._form.padded(taken)
        flow = torch.nn.functional.pad(
            self._flow(history, taken),
            (0, padded.width - taken.width, 0, padded.height - taken.height),
            mode="replicate",
        )
        return warp(kept.float(), resize_flow(flow, *kept.shape[-2:]))[0].to(kept.dtype)


def check_shape(name: str, shape: Sequence[int | str]) -> tuple[int | str, ...]:
    """A shape as it is written; raises ModelError for what :func:`dimension` does not know."""
    for one in shape:
        try:
            dimension(one, 64, 64)
        except ValueError:
            raise ModelError(f'state \'{name}\': shape has \'{one}\': give numbers, "h", "w" or "h/4"') from None
    return tuple(shape)
