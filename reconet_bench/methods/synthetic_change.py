"""Made-up changes of a frame: smooth motion, light and noise, from a seeded generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.ops import pixel_grid

#: Largest shift (share of the frame's height), rotation (radians), change of size (logarithm) and wave (share).
SHIFT, ROTATION, ZOOM, WAVE = 0.04, 0.05, 0.05, 0.008
#: Largest change of light, standard deviation of the noise, and cells a side of their smooth random fields.
LIGHT, NOISE, CELLS = 0.08, 0.01, 4


def random_motion(x: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth random flow ``(N, 2, H, W)`` in pixels for frames ``(N, 3, H, W)``: a similarity and a wave."""
    count, _, height, width = x.shape
    grid = pixel_grid(height, width) - torch.tensor(((width - 1) / 2, (height - 1) / 2)).view(1, 2, 1, 1)
    shift_x, shift_y, angle, zoom = (2 * torch.rand(4, count, 1, 1, generator=generator) - 1).unbind(0)
    scale, angle = torch.exp(ZOOM * zoom), ROTATION * angle
    across, down = grid[:, 0], grid[:, 1]
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    moved_x = cos * across - sin * down + SHIFT * height * shift_x
    moved_y = sin * across + cos * down + SHIFT * height * shift_y
    wave = _smooth(count, 2, (height, width), generator) * WAVE * height
    return (torch.stack((moved_x - across, moved_y - down), 1) + wave).to(x.device)


def random_light(x: Tensor, generator: torch.Generator) -> Tensor:
    """A change ``(N, 1, H, W)`` of light for frames ``(N, 3, H, W)``, smooth and equal in all channels."""
    return LIGHT * _smooth(len(x), 1, (x.shape[-2], x.shape[-1]), generator).to(x.device)


def sensor_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Noise ``(N, 3, H, W)``, independent at every pixel."""
    return NOISE * torch.randn(x.shape, generator=generator).to(x.device)


def _smooth(count: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A smooth random field in [-1, 1]."""
    cells = 2 * torch.rand(count, channels, CELLS, CELLS, generator=generator) - 1
    return F.interpolate(cells, size=size, mode="bicubic", align_corners=True).clamp(-1, 1)
