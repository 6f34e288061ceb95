"""Geometry and colour on tensors: warp, flow arithmetic, padding, luminance, 8-bit conversion.

Conventions (the whole package keeps them): a frame is ``(N, 3, H, W)`` float32, RGB in [0, 1]; a
flow is ``(N, 2, H, W)`` in pixels, channel 0 to the right and channel 1 down; a mask is
``(N, 1, H, W)`` with 1 = traceable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: Relative luminance of camera footage (ITU-R BT.709).
LUMINANCE_CAMERA = (0.2126, 0.7152, 0.0722)
#: Luma of rendered animation (ITU-R BT.601), as the dissertation uses for MPI-Sintel.
LUMINANCE_ANIMATION = (0.2989, 0.5870, 0.1140)


@dataclass(frozen=True)
class ValueRange:
    """How numbers of a network mean colours: ``number = (colour - mean) / std``, colours in [0, 1].

    Attributes:
        name: as a user writes it.
        mean, std: of each channel, RGB.
        bgr: whether the network's channels are in the order blue, green, red.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False

    def encode(self, frame: Tensor) -> Tensor:
        """A frame ``(N, 3, H, W)`` in [0, 1] as the network's numbers."""
        if self.name == "0..1":
            return frame
        y = (frame - per_channel(self.mean, frame)) / per_channel(self.std, frame)
        return y.flip(1) if self.bgr else y

    def decode(self, y: Tensor) -> Tensor:
        """The network's numbers ``(N, 3, H, W)`` as a frame, 1 = white; not clipped."""
        if self.name == "0..1":
            return y
        rgb = y.flip(1) if self.bgr else y
        return rgb * per_channel(self.std, y) + per_channel(self.mean, y)


def _evenly(name: str, mean: float, std: float) -> ValueRange:
    return ValueRange(name, (mean, mean, mean), (std, std, std))


UNIT, BYTE, SIGNED = _evenly("0..1", 0, 1), _evenly("0..255", 0, 1 / 255), _evenly("-1..1", 0.5, 0.5)
#: Colours less their mean over ImageNet, by their standard deviation: what torchvision's classifiers take.
IMAGENET = ValueRange("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Colours up to 255 less their mean over ImageNet, blue first: what networks of Caffe's time take.
CAFFE = ValueRange("caffe", (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255), bgr=True)
#: Colours up to 255, blue first, as OpenCV reads them.
BGR = ValueRange("bgr", BYTE.mean, BYTE.std, bgr=True)
#: What is known of, by name.
RANGES = {known.name: known for known in (UNIT, BYTE, SIGNED, IMAGENET, CAFFE, BGR)}


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """A value for each channel ``(1, C, 1, 1)``, of the type and on the device of ``like``.

    The device fills it by itself: a copy from the host would wait for a GPU, and cannot be part of a CUDA graph.
    """
    return torch.cat([like.new_full((1, 1, 1, 1), value) for value in values], 1)


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel coordinates ``(1, 2, H, W)``: channel 0 is x (column), channel 1 is y (row)."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((x, y)).unsqueeze(0)


def warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sample ``image`` bilinearly at ``p + flow(p)``.

    The grid corners are pixel centres (``align_corners=True``), and zero flow returns ``image`` exactly, bit for bit.
    In float64 on the CPU, where no gradient is asked for, as all metrics do, it is three times as fast as in float32.

    Args:
        image: ``(N, C, H, W)``, any float type.
        flow: ``(N, 2, H, W)`` in pixels. Non-finite flow counts as out of bounds.

    Returns:
        The warped image ``(N, C, H, W)`` (positions outside are clamped to the border) and the
        in-bounds mask ``(N, 1, H, W)`` of the same type.
    """
    n, _, height, width = image.shape
    if flow.shape != (n, 2, height, width):
        raise ValueError(f"flow must be {(n, 2, height, width)}, got {tuple(flow.shape)}")
    target = pixel_grid(height, width, flow.device) + flow.float()
    x, y = target[:, 0], target[:, 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x = x.nan_to_num(nan=0.0).clamp(0, width - 1)
    y = y.nan_to_num(nan=0.0).clamp(0, height - 1)
    learning = torch.is_grad_enabled() and (image.requires_grad or flow.requires_grad)
    exact = image.dtype == torch.float64 and image.device.type == "cpu" and not learning
    return (_sample_on_grid if exact else _sample)(image, x, y), inside.unsqueeze(1).to(image.dtype)


def _sample(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``image`` at ``x`` and ``y``, both ``(N, H, W)``, inside it; in pixel units, without the detour over [-1, 1]."""
    n, c, height, width = image.shape
    # The lower corner stops one short of the border, so that both corners are always pixels.
    left = x.floor().clamp(max=max(width - 2, 0))
    top = y.floor().clamp(max=max(height - 2, 0))
    wx = (x - left).unsqueeze(1).to(image.dtype)
    wy = (y - top).unsqueeze(1).to(image.dtype)
    right = (left + 1).clamp(max=width - 1)
    bottom = (top + 1).clamp(max=height - 1)
    flat = image.reshape(n, c, height * width)

    def at(row: Tensor, column: Tensor) -> Tensor:
        index = (row.long() * width + column.long()).reshape(n, 1, -1).expand(n, c, -1)
        return flat.gather(2, index).reshape(n, c, height, width)

    upper = at(top, left) * (1 - wx) + at(top, right) * wx
    lower = at(bottom, left) * (1 - wx) + at(bottom, right) * wx
    return upper * (1 - wy) + lower * wy


def _sample_on_grid(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """:func:`_sample` in float64 by PyTorch's own kernel, three times as fast; they differ by 1e-15.

    That kernel takes coordinates in [-1, 1]. With sides that are powers of two, the way there and back only shifts
    exponents, so that a pixel's centre is met exactly. The image is padded to such sides; the padding is never read.
    """
    height, width = image.shape[-2:]
    x, y = x.double(), y.double()
    rows, columns = (1 << (side - 1).bit_length() for side in (height, width))
    grid = torch.stack(((2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1), -1)
    padded = F.pad(image, (0, columns - width, 0, rows - height))
    return F.grid_sample(padded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resize a flow field ``(N, 2, H, W)``; u scales by the width ratio and v by the height ratio.

    The ratio is that of pixel counts (``align_corners=False``, the geometry of ``cv2.resize``), so
    frames resized by area or bilinear filters and their flow stay in register.
    """
    h, w = flow.shape[-2:]
    if (h, w) == (height, width):
        return flow
    resized = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    return resized * per_channel((width / w, height / h), flow)


def resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """Resize a mask ``(N, 1, H, W)``; a pixel stays traceable only where all that it covers is."""
    if mask.shape[-2:] == (height, width):
        return mask
    smooth = F.interpolate(mask, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return (smooth > 1 - 1e-4).to(mask.dtype)


def resize_frame(frame: Tensor, height: int, width: int) -> Tensor:
    """Resize frames ``(N, 3, H, W)``, antialiased bilinear."""
    if frame.shape[-2:] == (height, width):
        return frame
    return F.interpolate(frame, (height, width), mode="bilinear", align_corners=False, antialias=True)


def compose_flows(first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Chain a→b and b→c into a→c on a's grid.

    Returns:
        Flow ``(N, 2, H, W)`` and mask ``(N, 1, H, W)``: a pixel is traceable where it is in both
        steps; the second mask must hold on all four pixels that the bilinear sample reads.
    """
    moved, inside = warp(second, first)
    traced, _ = warp(second_mask, first)
    keep = first_mask * inside * (traced > 1 - 1e-4).to(first_mask.dtype)
    return first + moved, keep


def pad_to_multiple(frame: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom by reflection until height and width are multiples of ``multiple``."""
    bottom, right = (-side % multiple for side in frame.shape[-2:])
    return F.pad(frame, (0, right, 0, bottom), mode="reflect") if bottom or right else frame


def luminance(frame: Tensor, coefficients: tuple[float, float, float] | Tensor) -> Tensor:
    """Luminance ``(N, 1, H, W)`` of RGB frames ``(N, 3, H, W)``, with one set of coefficients or one a frame."""
    weights = torch.as_tensor(coefficients, dtype=frame.dtype, device=frame.device)
    return (frame * weights.view(-1, 3, 1, 1)).sum(1, keepdim=True)


def to_uint8(frame: Tensor) -> np.ndarray:
    """Frames ``(N, 3, H, W)`` in [0, 1] to ``(N, H, W, 3)`` uint8, rounded half to even, clipped."""
    return frame.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """``(H, W, 3)`` or ``(N, H, W, 3)`` uint8 RGB to ``(N, 3, H, W)`` float32 in [0, 1]."""
    if image.ndim == 3:
        image = image[None]
    tensor = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div(255)
