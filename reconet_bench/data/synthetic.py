"""Built-in clips with exact motion, and an endless stream of random scenes to train on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import DataError, UnknownName, enough_memory
from reconet_bench.core.images import IMAGE_SUFFIXES, read_image, scikit_image_texture
from reconet_bench.core.ops import LUMINANCE_CAMERA, from_uint8, pixel_grid
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip, Motion
from reconet_bench.data.scene import Layer, Light, Outline, Pose, Scene, SceneClip, Wave, memory_advice

#: Default height and width, and default number of frames, of the built-in clips.
DEFAULT_SIZE = (256, 448)
DEFAULT_LENGTH = 12
#: Photographs in scikit-image's wheel that make good textures.
BUILT_IN_TEXTURES = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket")


def _photo(name: str, height: int, scale: float, tint: tuple[float, float, float] = (1, 1, 1)) -> Tensor:
    """A scikit-image photograph scaled so that its height is ``scale`` frame heights."""
    image = scikit_image_texture(name)
    return _texture(image, scale * height / image.shape[0]) * torch.tensor(tint).view(1, 3, 1, 1)


def _texture(image: np.ndarray, scale: float) -> Tensor:
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return from_uint8(cv2.resize(image, size, interpolation=filter_))


def _stroll(h: int, seed: int) -> Scene:
    """Easy: a slow pan over a brick wall, a cat behind a coffee cup, even light."""
    cat = Layer(
        _photo("chelsea", h, 0.95),
        Pose(Wave(-0.32, 0.012), Wave(0.05, 0, 0.02, 16)),
        1.0,
        Outline(0.3, 1.15, ((5, 0.06, 0.4),)),
    )
    cup = Layer(_photo("coffee", h, 1.0), Pose(Wave(0.35, -0.006), Wave(0.12)), 0.9, Outline(0.27, 1.2))
    wall = Layer(_photo("brick", h, 1.5, (1.0, 0.72, 0.58)), depth=1.6)
    return Scene((wall, cat, cup), Pose(x=Wave(0, 0.008)), noise=0.004, seed=seed)


def _carousel(h: int, seed: int) -> Scene:
    """Medium: three cut-outs circle, pass behind one another and reappear; the camera turns and zooms."""

    def orbit(phase: float, spin: float) -> Pose:
        return Pose(
            Wave(0, 0, 0.5, 20, phase),
            Wave(0, 0, 0.14, 20, phase + math.pi / 2),
            Wave(0, spin),
            Wave(0, 0, 0.08, 20, phase),
        )

    pictures = (("astronaut", 0.8, 0.25), ("chelsea", 0.8, 0.24), ("rocket", 0.75, 0.22))
    riders = tuple(
        Layer(
            _photo(name, h, scale), orbit(i * 2.1, 0.02 * (-1) ** i), 1.0, Outline(radius, 1.0, ((6 + i, 0.07, 0.0),))
        )
        for i, (name, scale, radius) in enumerate(pictures)
    )
    post = Layer(_photo("gravel", h, 1.0, (0.95, 0.85, 0.7)), depth=0.9, outline=Outline(0.5, 0.22))
    meadow = Layer(_photo("grass", h, 1.6, (0.75, 1.0, 0.55)), depth=2.0)
    return Scene(
        (meadow, *riders, post),
        Pose(Wave(0, 0.004), Wave(), Wave(0, 0, 0.05, 30), Wave(0, 0, 0.06, 24)),
        noise=0.006,
        seed=seed,
    )


def _lantern(h: int, seed: int) -> Scene:
    """Light: a warm scene under a lamp that sweeps across and a slow change of exposure."""
    cup = Layer(
        _photo("coffee", h, 1.1),
        Pose(Wave(-0.2, 0.005), Wave(0.1), Wave(0, 0.012)),
        1.0,
        Outline(0.32, 1.1, ((3, 0.08, 0.7),)),
    )
    face = Layer(
        _photo("astronaut", h, 1.2), Pose(Wave(0.4, -0.004), Wave(-0.06, 0, 0.03, 18)), 1.2, Outline(0.28, 0.9)
    )
    stones = Layer(_photo("gravel", h, 1.4, (1.0, 0.86, 0.68)), depth=1.5)
    light = Light(Wave(0.62, 0, 0.06, 20), 0.9, Wave(-0.8, 0.12), Wave(-0.1, 0, 0.2, 14), 0.35)
    return Scene((stones, face, cup), Pose(x=Wave(0, 0.005), zoom=Wave(0, 0.006)), light, 0.006, seed)


def _rush(h: int, seed: int) -> Scene:
    """Hard: a fast, turning, zooming camera, seven fast cut-outs that hide one another, noise."""
    rng = np.random.default_rng(seed + 7)
    names = ("rocket", "chelsea", "coffee", "astronaut", "hubble_deep_field", "chelsea", "coffee")
    flock = []
    for name in names:
        x, y, phase, spin = rng.uniform((-0.8, -0.35, 0, -0.05), (0.8, 0.35, 6.3, 0.05))
        waves = ((int(rng.integers(3, 8)), 0.1, phase), (2, 0.12, -phase))
        pose = Pose(
            Wave(x, 0, 0.35, 14, phase), Wave(y, 0, 0.2, 11, phase), Wave(phase, spin), Wave(0, 0, 0.1, 9, phase)
        )
        flock.append(
            Layer(
                _photo(name, h, 0.7),
                pose,
                float(rng.uniform(0.7, 1.2)),
                Outline(float(rng.uniform(0.13, 0.2)), 1.1, waves),
            )
        )
    sky = Layer(_photo("hubble_deep_field", h, 2.4, (1.0, 1.0, 1.0)), depth=1.3)
    return Scene(
        (sky, *flock),
        Pose(Wave(0, 0.045), Wave(0, 0, 0.1, 16), Wave(0, 0.012), Wave(0, 0, 0.16, 18)),
        Light(Wave(1.0, 0, 0.08, 10), 0.35, Wave(0.6, -0.08), Wave(), 0.4),
        0.012,
        seed,
    )


_SCENES: dict[str, Callable[[int, int], Scene]] = {
    "stroll": _stroll,
    "carousel": _carousel,
    "lantern": _lantern,
    "rush": _rush,
}
#: Names of the built-in clips that are rendered, from :data:`BUILT_IN_TEXTURES`.
RENDERED = tuple(_SCENES)
#: The built-in clips by name, with what each of them tests.
CLIPS = {name: (make.__doc__ or "") for name, make in _SCENES.items()} | {
    "motorcycle": "Real camera: the Middlebury stereo pair, two frames with measured disparity as true flow."
}


class Motorcycle(Clip):
    """The Middlebury 2014 *Motorcycle* stereo pair, which scikit-image includes.

    Two frames; the flow is the measured disparity, d(x) pixels to the left. Pixels without a
    measurement are not traceable, nor are those hidden in the right view (where a nearer surface
    lands on the same pixel).
    """

    name, source, luminance = "motorcycle", "synthetic", LUMINANCE_CAMERA

    def __len__(self) -> int:
        return 2

    @property
    def size(self) -> Size:
        return Size(*scikit_image_texture("motorcycle_left").shape[:2])

    def frame(self, index: int) -> Tensor:
        return from_uint8(scikit_image_texture(("motorcycle_left", "motorcycle_right")[index]))

    def motion(self, index: int, step: int = 1) -> Motion:
        if (index, step) != (0, 1):
            raise DataError(f"motorcycle has two frames: there is no motion from frame {index} over {step}")
        return _stereo_motion()


@lru_cache(maxsize=1)
def _stereo_motion() -> Motion:
    import skimage

    path = Path(skimage.__file__).parent / "data" / "motorcycle_disp.npz"
    with np.load(path) as archive:
        disparity = torch.from_numpy(np.asarray(archive[archive.files[0]], np.float32))
    known = disparity.isfinite() & (disparity > 0)
    disparity = torch.where(known, disparity, 0.0)
    height, width = disparity.shape
    landing = (pixel_grid(height, width)[0, 0] - disparity).round().long()
    inside = known & (landing >= 0)
    # The nearest surface (largest disparity) wins each pixel of the right view.
    nearest = torch.zeros(height, width).scatter_reduce(
        1, landing.clamp(0, width - 1), torch.where(inside, disparity, 0.0), "amax"
    )
    visible = disparity >= nearest.gather(1, landing.clamp(0, width - 1)) - 1.0
    flow = torch.stack((-disparity, torch.zeros_like(disparity)))[None]
    return Motion(flow, (inside & visible).float()[None, None])


def synthetic_clip(
    name: str, size: tuple[int, int] = DEFAULT_SIZE, length: int = DEFAULT_LENGTH, seed: int = 0
) -> Clip:
    """A built-in clip by name, at any size and length.

    Args:
        size: height and width; ``motorcycle`` has a fixed size.
        seed: of the noise, and of the cut-outs in ``rush``.

    Raises:
        UnknownName: no such clip. DataError: it needs too much memory; reading frames and motion can raise this too.
    """
    if name == "motorcycle":
        return Motorcycle()
    if name not in _SCENES:
        raise UnknownName("built-in clip", name, CLIPS)
    with enough_memory(memory_advice(name, Size(*size))):
        return SceneClip(name, _SCENES[name](size[0], seed), size, length)


class Textures:
    """Photographs for the layers of random scenes: those of scikit-image, or all images below a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.names: Sequence[str | Path] = BUILT_IN_TEXTURES
        if folder is not None:
            self.names = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
            if not self.names:
                raise DataError(f"no images in {folder} or below: textures must be {', '.join(IMAGE_SUFFIXES)} files")
        self._load = lru_cache(maxsize=512)(self._read)

    def _read(self, index: int) -> np.ndarray:
        name = self.names[index]
        image = scikit_image_texture(name) if isinstance(name, str) else read_image(name)
        scale = 1000 / max(image.shape[:2])
        if scale < 1:
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return image

    def draw(self, rng: np.random.Generator, smallest: int) -> Tensor:
        """A random photograph at a random scale, flipped at random, sometimes blurred to a soft, flat one."""
        image = self._load(int(rng.integers(len(self.names))))
        scale = max(math.exp(rng.uniform(math.log(0.5), math.log(1.8))), smallest / min(image.shape[:2]))
        if rng.random() < 0.5:
            image = image[:, ::-1]
        texture = _texture(np.ascontiguousarray(image), scale)
        if rng.random() < 0.12:
            # Skies, walls, fog: a network that was never trained on flat areas paints blobs on them.
            soft = cv2.GaussianBlur(texture[0].permute(1, 2, 0).numpy(), (0, 0), float(rng.uniform(4, 24)))
            texture = torch.from_numpy(soft).permute(2, 0, 1)[None].contiguous()
        return texture


def random_scene(rng: np.random.Generator, textures: Textures, size: int) -> Scene:
    """A scene with random layers, camera, light and noise; most speeds are low, a few are high."""

    def speed(limit: float) -> float:
        return float(limit * rng.uniform(-1, 1) * rng.random())

    def pose(x: float, y: float, pan: float) -> Pose:
        return Pose(
            Wave(x, speed(pan)),
            Wave(y, speed(pan)),
            Wave(float(rng.uniform(-0.3, 0.3)), speed(0.03)),
            Wave(0, speed(0.02)),
        )

    layers = [Layer(textures.draw(rng, round(1.2 * size)), depth=float(rng.uniform(1.0, 2.0)))]
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(-0.45, 0.45, 2)
        waves = tuple((int(k), float(rng.uniform(0, 0.2)), float(rng.uniform(0, 6.3))) for k in rng.integers(2, 8, 2))
        outline = Outline(float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.6, 1.6)), waves)
        layers.append(Layer(textures.draw(rng, size // 2), pose(x, y, 0.06), float(rng.uniform(0.7, 1.2)), outline))
    # Few areas are over-exposed: a network that sees much pure white learns to leave white holes.
    exposure = float(rng.uniform(0.6, 1.0))
    light = Light(
        Wave(exposure, speed(0.03)),
        float(rng.uniform(0, min(0.5, 1.1 / exposure - 1))),
        Wave(float(rng.uniform(-0.5, 0.5)), speed(0.1)),
        Wave(float(rng.uniform(-0.5, 0.5)), speed(0.1)),
        float(rng.uniform(0.2, 0.6)),
    )
    camera = pose(0.0, 0.0, 0.06)
    noise = float(rng.uniform(0, 0.015))
    return Scene(tuple(layers), camera, light, noise, int(rng.integers(2**31)), samples=1)
