"""A model loaded in a runtime: it turns 8-bit frames into 8-bit frames, here or in another process.

The way in and out (8 bits to float, padding, value range, layout, rounding) is written once, here,
so every runtime has the same copy boundary and differs in :meth:`Session.infer` alone.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import ModelError, RuntimeUnavailable, out_of_memory
from reconet_bench.core.ops import from_uint8, pad_to_multiple, resize_frame, to_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Motion
from reconet_bench.runtimes.handle import SessionHandle
from reconet_bench.runtimes.model_source import ModelSource
from reconet_bench.temporal.base import ShownFrames
from reconet_bench.temporal.history import FrameHistory
from reconet_bench.temporal.state import StateMemory, TensorForm

P = ParamSpec("P")
T = TypeVar("T")


class Resident(NamedTuple):
    """Frames on the device, as the model takes them, and what is to be made of its output.

    Attributes:
        tensor: as it goes in.
        height, width: what the output is cropped to: it was padded.
        wanted: how many frames of the output are.
        size: what the output is resized to after the crop.
        feeds: tensors for further inputs, which carry the state of the network.
    """

    tensor: Tensor
    height: int
    width: int
    wanted: int
    size: Size
    feeds: Mapping[str, Tensor] = {}


class Session(SessionHandle):
    """A model loaded in a runtime in this process.

    Attributes:
        used: whether it has run a frame: its next one is not its first.
    """

    used: bool = False

    def __init__(self, model: ModelSource, device: torch.device, threads: int) -> None:
        self.model = model
        self.torch_device = device
        self.device = str(device)
        self.threads = threads
        self.placement: dict[str, int] = {}
        #: Type of the tensors that go in and come out: floats, or uint8 where the model converts by itself.
        self.dtype = torch.float32
        self.history = FrameHistory(model.motion) if model.state or model.stabiliser else None
        form = TensorForm(model.multiple, model.layout, model.input_range, device)
        self.memory = StateMemory(model.state, form, self._frame) if model.state else None
        self._shown = ShownFrames(model.stabiliser) if model.stabiliser else None

    def reset(self) -> None:
        """The next frame begins a sequence: nothing of the frames so far is carried on."""
        for part in (self.history, self.memory, self._shown):
            if part is not None:
                part.reset()
        self._reset()

    def _reset(self) -> None:
        """Forget what the session itself carries on."""

    def give_motion(self, motion: Motion) -> None:
        """True motion from the next frame to the one before it, to take the place of estimated motion."""
        if self.history is not None:
            self.history.give(motion)

    def _take_types(self, kinds: Mapping[str, str], known: Mapping[str, torch.dtype]) -> None:
        """Types of further inputs, as a runtime calls them; raises ModelError for one that is not in ``known``."""
        if self.memory is None:
            return
        for name in self.memory.types:
            if kinds.get(name) not in known:
                raise ModelError(f"{self.model.called}: input '{name}' is {kinds.get(name, 'missing')}, not a float")
            self.memory.types[name] = known[kinds[name]]

    def ask(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **options: P.kwargs) -> T:
        return work(self, *args, **options)

    @abstractmethod
    def infer(self, x: Tensor) -> Tensor:
        """The stylised tensor of ``x``, same shape, type and device; may return before it is computed."""

    def infer_with(self, x: Tensor, feeds: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The stylised tensor of ``x``, and the outputs that are carried on by name.

        Args:
            feeds: tensors for the further inputs by name.
        """
        raise RuntimeUnavailable(f"{self.runtime} runs no networks with state")

    def upload(self, image: np.ndarray) -> Resident:
        """A host frame ``(H, W, 3)`` uint8, or a batch of them, to the input resident on the device.

        Raises:
            DataError: not such a frame, or too small.
            ModelError: more frames than the model takes at once.
        """
        model = self.model
        model.check_frame(image)
        batch = image if image.ndim == 4 else image[None]
        size = Size(*batch.shape[1:3])
        taken = model.taken_size(*size)
        frame = self._eight_bits(batch, taken) if self.dtype == torch.uint8 else self._floats(batch, taken)
        if (missing := (model.batch or len(frame)) - len(frame)) > 0:
            frame = torch.cat([frame, frame[-1:].expand(missing, *frame.shape[1:])])
        if not model.batched:
            frame = frame[0]
        if self.history is not None:
            self.history.begin(batch[0])
        feeds = self.memory.feeds(self.history, taken) if self.memory and self.history else {}
        return Resident(frame.contiguous(), taken.height, taken.width, len(batch), size, feeds)

    def _floats(self, batch: np.ndarray, size: Size) -> Tensor:
        """Frames ``(N, H, W, 3)`` uint8 as the model takes them, resized to ``size`` and padded by reflection."""
        frame = resize_frame(from_uint8(batch, self.torch_device), *size)
        frame = self.model.input_range.encode(pad_to_multiple(frame, self.model.multiple)).to(self.dtype)
        return frame.permute(0, 2, 3, 1) if self.model.layout == "NHWC" else frame

    def _eight_bits(self, batch: np.ndarray, size: Size) -> Tensor:
        """The same for a model that takes 8 bits."""
        if batch.shape[1:3] != size:
            batch = to_uint8(resize_frame(from_uint8(batch), *size))
        height, width = (-side % self.model.multiple for side in size)
        if height or width:
            batch = np.pad(batch, ((0, 0), (0, height), (0, width), (0, 0)), mode="reflect")
        frame = torch.from_numpy(np.ascontiguousarray(batch)).to(self.torch_device)
        return frame.permute(0, 3, 1, 2) if self.model.layout == "NCHW" else frame

    def sides(self, x: Tensor) -> Size:
        """Height and width of a tensor as the model takes it."""
        return Size(*(x.shape[-3:-1] if self.model.layout == "NHWC" else x.shape[-2:]))

    def run(self, x: Resident) -> Tensor:
        """From the device to the device, in the model's own layout and range; may be asynchronous.

        Raises:
            RuntimeUnavailable: the frame needs more memory than there is.
        """
        self.used = True
        try:
            y = self._carried_on(x) if self.memory is not None else self.infer(x.tensor)
        except (MemoryError, RuntimeError, ModelError) as error:
            if not out_of_memory(error):
                raise
            height, width = x.height, x.width
            raise RuntimeUnavailable(
                f"{self.runtime} has not enough memory on {self.device} for '{self.model.name}' at {width}x{height}: "
                "use a smaller size or batch"
            ) from None
        return self._restored(y, x)

    def _carried_on(self, x: Resident) -> Tensor:
        """The stylised tensor of a network with state, which is kept for the next frame."""
        memory, taken = self.memory, Size(x.height, x.width)
        assert memory is not None
        y, outputs = self.infer_with(x.tensor, x.feeds)
        if memory.fresh and (started := memory.started(x.feeds, y, taken)) is not None:
            y, outputs = self.infer_with(x.tensor, started)
        memory.remember(y, outputs)
        return y

    def _restored(self, y: Tensor, x: Resident) -> Tensor:
        """The frames wanted of an output, without its padding and at their own size; layout, range and type stay."""
        last = self.model.layout == "NHWC"
        y = (y if self.model.batched else y[None])[: x.wanted]
        y = y[:, : x.height, : x.width] if last else y[..., : x.height, : x.width]
        if x.size == (x.height, x.width):
            return y
        resized = resize_frame((y.permute(0, 3, 1, 2) if last else y).float(), *x.size)
        resized = resized.round().clamp(0, 255) if y.dtype == torch.uint8 else resized
        return (resized.permute(0, 2, 3, 1) if last else resized).to(y.dtype)

    def timed(self, image: np.ndarray, boundary: str) -> float | None:
        """Seconds of one frame at a boundary by a clock of the session's own; ``None`` where the bench's is right."""
        return None

    def peak(self) -> int | None:
        """Bytes at the peak where the session computes in other processes; ``None`` where it does so in this one."""
        return None

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Counts what is done in the meantime as :attr:`build_seconds`."""
        start = perf_counter()
        yield
        self.build_seconds += perf_counter() - start

    def synchronize(self) -> None:
        """Wait until everything asked for is computed."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)

    def _frame(self, y: Tensor) -> Tensor:
        """What :meth:`run` returned as ``(N, 3, H, W)`` float32, 1 = white."""
        if self.model.layout == "NHWC":
            y = y.permute(0, 3, 1, 2)
        return self.model.output_range.decode(y.float())

    def download(self, y: Tensor) -> np.ndarray:
        """What :meth:`run` returned as a host frame ``(H, W, 3)`` uint8, rounded as :func:`ops.to_uint8` does.

        More than one frame comes as ``(N, H, W, 3)``.
        """
        if y.dtype == torch.uint8:
            y = y.permute(0, 2, 3, 1) if self.model.layout == "NCHW" else y
            frames: np.ndarray = y.contiguous().cpu().numpy()
        else:
            frames = to_uint8(self._frame(y))
        return frames[0] if len(frames) == 1 else frames

    def output_float(self, y: Tensor) -> np.ndarray:
        """What :meth:`run` returned as ``(N, 3, H, W)`` float32, clipped to [0, 1]."""
        return np.asarray(self._unit(y).cpu())

    def _finite(self, image: np.ndarray) -> Tensor:
        """What :meth:`run` returns, every value looked at before clipping or 8 bits hide what is no number."""
        y = self.run(self.upload(image))
        self.synchronize()
        if not y.isfinite().all():
            raise ModelError(f"'{self.model.name}' in {self.runtime}: the output contains NaN or infinity")
        return y

    def floats(self, image: np.ndarray) -> np.ndarray:
        """Stylise a host frame without the rounding: ``(1, 3, H, W)`` float32 in [0, 1].

        Raises:
            ModelError: the output contains NaN or infinity.
        """
        y = self._finite(image)
        if self._shown is not None and self.history is not None:
            return np.asarray(self._shown(self._unit(y), self.history).cpu())
        return self.output_float(y)

    def _unit(self, y: Tensor) -> Tensor:
        """What :meth:`run` returned as ``(N, 3, H, W)`` float32, clipped to [0, 1]."""
        return self._frame(y).clamp(0, 1)

    def proved(self, image: np.ndarray) -> np.ndarray:
        """Stylise a host frame, and look at every value.

        Raises:
            ModelError: the output contains NaN or infinity.
        """
        return self.present(self._finite(image), image)

    def present(self, y: Tensor, image: np.ndarray) -> np.ndarray:
        """What :meth:`run` returned of ``image`` as a host frame, stabilised where that is asked for."""
        return self._presented(y).reshape(image.shape)

    def _presented(self, y: Tensor) -> np.ndarray:
        if self._shown is None or self.history is None:
            return self.download(y)
        frame: np.ndarray = to_uint8(self._shown(self._unit(y), self.history))[0]
        return frame

    def __call__(self, image: np.ndarray) -> np.ndarray:
        y = self.run(self.upload(image))
        self.synchronize()
        return self.present(y, image)
