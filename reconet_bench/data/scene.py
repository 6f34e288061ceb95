"""A renderer of layered scenes with exact flow, occlusion and validity.

A scene is a stack of textured layers, back to front. Each layer moves by a similarity transform
(pan, zoom, rotation; the camera's and its own), so the position of every surface point is known in
closed form at every time and so is the flow between any two times, adjacent or not.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reconet_bench.core.errors import enough_memory
from reconet_bench.core.ops import LUMINANCE_CAMERA, pixel_grid
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, Motion

#: Label of a pixel that shows more than one layer: no single flow is right there.
MIXED = -1


@dataclass(frozen=True)
class Wave:
    """A smooth function of time (in frames): base + drift·t + amplitude·sin(2πt/period + phase)."""

    base: float = 0.0
    drift: float = 0.0
    amplitude: float = 0.0
    period: float = 24.0
    phase: float = 0.0

    def at(self, time: float) -> float:
        """Value at ``time``."""
        return self.base + self.drift * time + self.amplitude * math.sin(2 * math.pi * time / self.period + self.phase)


@dataclass(frozen=True)
class Pose:
    """Position in frame heights from the frame's centre, rotation in radians, zoom as a natural logarithm."""

    x: Wave = Wave()
    y: Wave = Wave()
    angle: Wave = Wave()
    zoom: Wave = Wave()


@dataclass(frozen=True)
class Outline:
    """A closed star-shaped outline: radius (in frame heights) as a function of the polar angle.

    Attributes:
        radius: mean radius.
        aspect: width over height.
        waves: (lobes, amplitude as a share of the radius, phase) of each ripple.
    """

    radius: float
    aspect: float = 1.0
    waves: tuple[tuple[int, float, float], ...] = ()

    def contains(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether points in local coordinates (frame heights) lie inside."""
        x = x / self.aspect
        edge = torch.full_like(x, self.radius)
        if self.waves:
            angle = torch.atan2(y, x)
            for lobes, amplitude, phase in self.waves:
                edge = edge + self.radius * amplitude * torch.cos(lobes * angle + phase)
        return x * x + y * y <= edge * edge


@dataclass(frozen=True)
class Layer:
    """One textured sheet.

    Attributes:
        texture: ``(1, 3, h, w)`` in [0, 1] at one texel per pixel where the zoom is 1; mirrored beyond its edges.
        pose: its own motion.
        depth: how little the camera's pan moves it: 1 = fully, 2 = half (parallax).
        outline: its shape; ``None`` fills the frame (the background).
    """

    texture: Tensor
    pose: Pose = Pose()
    depth: float = 1.0
    outline: Outline | None = None


@dataclass(frozen=True)
class Light:
    """Exposure over time and a soft spot that moves over the frame: gain = exposure · (1 + strength · spot)."""

    exposure: Wave = Wave(1.0)
    strength: float = 0.0
    x: Wave = Wave()
    y: Wave = Wave()
    radius: float = 0.5


@dataclass(frozen=True)
class Scene:
    """Everything that determines the frames of a clip; ``layers`` are ordered from back to front.

    Attributes:
        noise: standard deviation of the sensor noise in [0, 1] units, drawn anew for each frame from ``seed``.
        samples: sub-samples per side of a pixel: 1 gives hard edges, 2 anti-aliased ones.
    """

    layers: tuple[Layer, ...]
    camera: Pose = Pose()
    light: Light = field(default_factory=Light)
    noise: float = 0.0
    seed: int = 0
    samples: int = 2


def memory_advice(name: str, size: Size) -> str:
    """The end of the error message if memory is too small to render a clip."""
    return f"to render {name} at {size}: use a smaller --size or fewer --frames"


class SceneClip(Clip):
    """A rendered scene as a clip, deterministic; its frames are rounded to 8 bits, like any footage.

    Args:
        name: the clip's name.
        scene: what to render.
        size: height and width in pixels.
        length: number of frames.
    """

    source = "synthetic"
    luminance = LUMINANCE_CAMERA

    def __init__(self, name: str, scene: Scene, size: tuple[int, int], length: int) -> None:
        self.name, self.scene, self._size, self._length = name, scene, Size(*size), length
        self._rendered = lru_cache(maxsize=length + 1)(self._render)
        self._motion = lru_cache(maxsize=2 * length)(self._trace)

    def __len__(self) -> int:
        return self._length

    @property
    def size(self) -> Size:
        return self._size

    def _memory(self) -> contextlib.AbstractContextManager[None]:
        return enough_memory(memory_advice(self.name, self._size))

    def frame(self, index: int) -> Tensor:
        with self._memory():
            return self._rendered(index)[0]

    def motion(self, index: int, step: int = 1) -> Motion:
        """Exact motion between the two frames themselves, however far apart.

        A point that is hidden in between and visible again at the later time is traceable: this is
        what long-term consistency measures. A pixel is not traceable if it leaves the frame, is
        hidden at the later time, or shows more than one layer.
        """
        with self._memory():
            return self._motion(index, step)

    def motion_back(self, index: int) -> Motion:
        return self.motion(index, -1)

    def _trace(self, index: int, step: int) -> Motion:
        flow, occluded, invalid = self.ground_truth(index, step)
        height, width = self.size
        target = pixel_grid(height, width) + flow
        limit = torch.tensor((width - 1, height - 1)).view(1, 2, 1, 1)
        inside = ((target >= 0) & (target <= limit)).all(1, keepdim=True)
        return Motion(flow, (inside & ~occluded & ~invalid).float())

    def ground_truth(self, index: int, step: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Flow ``(1, 2, H, W)``, occluded and invalid ``(1, 1, H, W)`` bool from frame ``index`` to ``index + step``.

        Occluded: another layer shows, wholly or in part, in any of the four pixels that bilinear
        sampling of the later frame reads. Invalid: the pixel itself shows more than one layer.
        """
        labels, later = self._rendered(index)[1], self._rendered(index + step)[1]
        height, width = self.size
        grid = pixel_grid(height, width)[0].double()
        flow = torch.zeros(2, height, width, dtype=torch.float64)
        for number, layer in enumerate(self.scene.layers):
            there = _apply(self._matrix(layer, index + step) @ np.linalg.inv(self._matrix(layer, index)), grid)
            flow = torch.where(labels == number, there - grid, flow)
        x, y = (grid + flow).unbind(0)
        occluded = torch.zeros(height, width, dtype=torch.bool)
        for column in (x.floor(), x.ceil()):
            for row in (y.floor(), y.ceil()):
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                place = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
                occluded |= inside & (later.reshape(-1)[place] != labels)
        return flow.float()[None], occluded[None, None], (labels == MIXED)[None, None]

    def _matrix(self, layer: Layer, time: float) -> np.ndarray:
        """3x3 transform from the layer's local pixels (centre 0) to screen pixels at ``time``."""
        height, width = self.size
        camera = self.scene.camera

        def similarity(pose: Pose) -> np.ndarray:
            scale, angle = math.exp(pose.zoom.at(time)), pose.angle.at(time)
            cos, sin = scale * math.cos(angle), scale * math.sin(angle)
            return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

        pan = np.eye(3)
        pan[0, 2] = height * (layer.pose.x.at(time) - camera.x.at(time) / layer.depth)
        pan[1, 2] = height * (layer.pose.y.at(time) - camera.y.at(time) / layer.depth)
        centre = np.eye(3)
        centre[:2, 2] = (width - 1) / 2, (height - 1) / 2
        result: np.ndarray = centre @ similarity(camera) @ pan @ similarity(layer.pose)
        return result

    def _render(self, index: int) -> tuple[Tensor, Tensor]:
        """Frame ``(1, 3, H, W)`` and the label of the layer each pixel shows ``(H, W)``, or :data:`MIXED`."""
        height, width = self.size
        s = self.scene.samples
        grid = (pixel_grid(height * s, width * s)[0] + 0.5) / s - 0.5
        labels = torch.zeros(height * s, width * s, dtype=torch.int64)
        picture = torch.zeros(1, 3, height * s, width * s)
        for number, layer in enumerate(self.scene.layers):
            local = _apply(np.linalg.inv(self._matrix(layer, index)), grid)
            if layer.outline is None:
                picture = _sample(layer.texture, local)
                labels.fill_(number)
                continue
            covered = layer.outline.contains(local[0] / height, local[1] / height)
            rows, columns = covered.any(1).nonzero(), covered.any(0).nonzero()
            if len(rows) == 0:
                continue
            labels = torch.where(covered, number, labels)
            box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
            patch = _sample(layer.texture, local[:, box[0], box[1]])
            picture[:, :, box[0], box[1]] = torch.where(covered[box], patch, picture[:, :, box[0], box[1]])
        if s > 1:
            picture = F.avg_pool2d(picture, s)
            blocks = labels.reshape(height, s, width, s).permute(0, 2, 1, 3).reshape(height, width, s * s)
            labels = torch.where((blocks == blocks[..., :1]).all(-1), blocks[..., 0], MIXED)
        picture = picture * self._gain(index)
        if self.scene.noise:
            noise = np.random.default_rng((self.scene.seed, index)).normal(0, self.scene.noise, picture.shape)
            picture = picture + torch.from_numpy(noise).float()
        return picture.clamp(0, 1).mul(255).round().div(255), labels

    def _gain(self, time: float) -> Tensor:
        light = self.scene.light
        height, width = self.size
        x, y = (pixel_grid(height, width)[0] - torch.tensor(((width - 1) / 2, (height - 1) / 2)).view(2, 1, 1)) / height
        distance = (x - light.x.at(time)) ** 2 + (y - light.y.at(time)) ** 2
        return light.exposure.at(time) * (1 + light.strength * torch.exp(-distance / (2 * light.radius**2)))


def _apply(matrix: np.ndarray, points: Tensor) -> Tensor:
    """Affine transform of points ``(2, ...)``."""
    m = matrix.tolist()
    x, y = points
    return torch.stack((m[0][0] * x + m[0][1] * y + m[0][2], m[1][0] * x + m[1][1] * y + m[1][2]))


def _sample(texture: Tensor, local: Tensor) -> Tensor:
    """Texture colours at local pixel positions ``(2, H, W)`` from its centre, mirrored beyond the edges."""
    height, width = texture.shape[-2:]
    scale = torch.tensor((2 / (width - 1), 2 / (height - 1))).view(2, 1, 1)
    grid = (local.float() * scale).permute(1, 2, 0)[None]
    return F.grid_sample(texture, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
