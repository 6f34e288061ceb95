"""VGG-16 as a frozen loss network: where its weights come from and the features it gives.

Only four taps are used: relu1_2, relu2_2, relu3_3 and relu4_3. Weights files differ in scale: the
activations of files from Caffe are about a hundred times larger than those of torchvision's. So each
tap is scaled to a mean activation of 1 on three fixed photographs (after Gatys et al. 2016, "normalised
VGG"). A loss weight then means the same with either file.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconet_bench.core.errors import MetricUnavailable, ModelError
from reconet_bench.core.images import read_image, scikit_image_texture, transparency
from reconet_bench.core.ops import IMAGENET, from_uint8, per_channel, resize_frame
from reconet_bench.core.tensor_files import read_tensors

#: Convolutions of torchvision's ``vgg16().features[:23]`` as (index, inputs, outputs).
_CONVOLUTIONS = (
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
)
#: Index of the layer whose output each tap is.
TAPS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}
STYLE_TAPS = tuple(TAPS)
CONTENT_TAP = "relu3_3"
IMAGENET_MEAN, IMAGENET_STD = IMAGENET.mean, IMAGENET.std
#: The file torchvision's own loader keeps in the hub cache.
_TORCHVISION_FILE = "vgg16-397923af.pth"
ENVIRONMENT_VARIABLE = "RECONET_BENCH_VGG"
#: Key in the metadata of a safetensors file that marks it as a narrow stand-in for tests and examples: the width of its
#: first block. A file without the key must have VGG-16's own width, 64.
STAND_IN_WIDTH = "stand_in_width"
HOW_TO_GET = (
    f"give a safetensors file of torchvision's vgg16.features by --vgg FILE or ${ENVIRONMENT_VARIABLE}, "
    "or fetch torchvision's (528 MB) once: reconet-bench train --download-vgg, or "
    "python -c \"import torchvision; torchvision.models.vgg16(weights='IMAGENET1K_V1')\""
)


class LossNetwork(nn.Module):
    """Frozen VGG-16 up to relu4_3; ``forward`` returns the taps by name.

    Args:
        state: tensors named ``"{index}.weight"`` and ``"{index}.bias"`` as in ``vgg16().features``; their shapes
            set the widths of the layers.
        normalise: divide each tap by its mean activation on fixed photographs. The dissertation
            works at the raw scale of torchvision's file (``False``), which is near one.
    """

    def __init__(self, state: dict[str, Tensor], normalise: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, _, _ in _CONVOLUTIONS:
            if index in (5, 10, 17):
                layers.append(nn.MaxPool2d(2))
            outputs, inputs = state[f"{index}.weight"].shape[:2]
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.layers.load_state_dict({key: value.float() for key, value in state.items()})
        self.scales = dict.fromkeys(TAPS, 1.0)
        self.requires_grad_(False).eval()
        if normalise:
            self._normalise(self._mean_activations())

    def forward(self, frame: Tensor, last: str = "relu4_3") -> dict[str, Tensor]:
        """Tap activations ``(N, C, h, w)`` of frames ``(N, 3, H, W)`` in [0, 1], up to tap ``last``."""
        x = (frame - per_channel(IMAGENET_MEAN, frame)) / per_channel(IMAGENET_STD, frame)
        names = {index: name for name, index in TAPS.items()}
        taps = {}
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in names:
                taps[names[index]] = x
                if names[index] == last:
                    break
        return taps

    def _normalise(self, scales: dict[str, float]) -> None:
        """Divide each tap by its scale, inside the weights; the next convolution multiplies by it again."""
        self.scales = scales
        convolutions = {index: cast(nn.Conv2d, self.layers[index]) for index, _, _ in _CONVOLUTIONS}
        for name, index in TAPS.items():
            for parameter in convolutions[index - 1].parameters():
                parameter.data.div_(scales[name])
            following = min((i for i in convolutions if i > index), default=None)
            if following is not None:
                convolutions[following].weight.data.mul_(scales[name])

    @torch.no_grad()
    def _mean_activations(self) -> dict[str, float]:
        photos = [from_uint8(scikit_image_texture(name)) for name in ("astronaut", "chelsea", "coffee")]
        means = [
            {name: float(tap.mean()) for name, tap in self(resize_frame(photo, 256, 256)).items()} for photo in photos
        ]
        scales = {name: sum(mean[name] for mean in means) / len(means) for name in TAPS}
        if not all(0 < scale < float("inf") for scale in scales.values()):
            raise ModelError("the loss network gives no usable activations: are these VGG-16 weights?")
        return scales


def gram(features: Tensor) -> Tensor:
    """Gram matrix F·Fᵀ / (C·H·W), float32.

    Args:
        features: ``(N, C, H, W)``.

    Returns:
        ``(N, C, C)``. The dissertation's text divides by H·W, its code by C·H·W; this is the code's
        form (also that of Johnson et al. 2016).
    """
    return cast(Tensor, _Gram.apply(features))


class _Gram(torch.autograd.Function):
    """Gram matrix in float32, also under autocast, with a backward pass of one matrix product instead of two.

    d(F·Fᵀ) = (G + Gᵀ)·F, in the data type and memory layout of the features.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        c, h, w = features.shape[1:]
        with torch.autocast(features.device.type, enabled=False):
            flat = features.flatten(2).float()
            product: Tensor = flat @ flat.transpose(1, 2)
            return product / (c * h * w)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        c, h, w = features.shape[1:]
        both = ((gradient + gradient.transpose(1, 2)) / (c * h * w)).to(features.dtype)
        # Pixels first: the loss network works in channels-last layout, so this makes no copy.
        pixels: Tensor = features.flatten(2).transpose(1, 2) @ both
        return pixels.reshape(-1, h, w, c).permute(0, 3, 1, 2)


@torch.no_grad()
def style_targets(network: LossNetwork, image: Tensor, size: int) -> dict[str, Tensor]:
    """Gram matrices of a style image ``(1, 3, H, W)``, which is scaled so that its shorter side is ``size``."""
    height, width = image.shape[-2:]
    scale = size / min(height, width)
    image = resize_frame(image, round(height * scale), round(width * scale))
    return {name: gram(tap)[0] for name, tap in network(image).items()}


def at_unit_scale(targets: dict[str, Tensor], network: LossNetwork) -> dict[str, Tensor]:
    """Convert Gram matrices of a loss network at raw scale to those of ``network``, which is the same at unit scale."""
    return {name: gram / network.scales[name] ** 2 for name, gram in targets.items()}


def read_style(path: Path) -> Tensor:
    """A style image from any image file as ``(1, 3, H, W)`` in [0, 1]; grey becomes RGB, transparent becomes white."""
    image = from_uint8(read_image(path))
    if (alpha := transparency(path)) is not None:
        opaque = torch.from_numpy(alpha)
        image = opaque * image + (1 - opaque)
    if min(image.shape[-2:]) < 64:
        raise ModelError(
            f"{path}: a style image needs at least 64 pixels a side, got {image.shape[-1]}x{image.shape[-2]}"
        )
    return image


def find_weights(path: Path | None = None) -> Path | None:
    """The weights file to use: ``path``, else the environment variable's, else torchvision's cached one."""
    if path is not None:
        return Path(path)
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE])
    return torchvision_weights()


def torchvision_weights() -> Path | None:
    """Torchvision's own weights in its cache, all layers; ``None`` if they were never fetched."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _TORCHVISION_FILE
    return cached if cached.is_file() else None


def download_weights() -> Path:
    """Download torchvision's ImageNet weights into its cache; called only when the user asks for it."""
    from torchvision.models import VGG16_Weights

    VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    return Path(torch.hub.get_dir()) / "checkpoints" / _TORCHVISION_FILE


def load_loss_network(path: Path | None = None, normalise: bool = True) -> LossNetwork:
    """The loss network with the weights that :func:`find_weights` finds.

    A file is read once, and again when it has changed. The network is shared: copy it before changing it.

    Raises:
        MetricUnavailable: no weights were found; the message says how to get them.
        ModelError: the file is not VGG-16.
    """
    found = find_weights(path)
    if found is None:
        raise MetricUnavailable(f"no loss-network weights: {HOW_TO_GET}")
    facts = found.stat() if found.is_file() else None
    version = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size) if facts else ()
    return _read_loss_network(found, version, normalise)


@lru_cache(maxsize=4)
def _read_loss_network(found: Path, version: tuple[int, ...], normalise: bool) -> LossNetwork:
    """The loss network of one file; ``version`` tells the cache when it is another file."""
    metadata: dict[str, str] = {}
    if found.suffix == ".pth":
        try:
            state = dict(torch.load(found, map_location="cpu", weights_only=True))
        except Exception as error:  # anything that a broken file makes the unpickler raise
            raise ModelError(f"{found}: not readable as torch weights ({type(error).__name__})") from None
    else:
        state, metadata = read_tensors(found)
    state = {key.removeprefix("features."): value for key, value in state.items()}
    width = metadata.get(STAND_IN_WIDTH, "")
    shapes = _shapes(int(width) if width.isdigit() else 64)
    if missing := shapes.keys() - state.keys():
        raise ModelError(f"{found}: not the weights of vgg16.features, '{min(missing)}' is missing")
    for name, shape in shapes.items():
        if (got := tuple(state[name].shape)) != shape:
            raise ModelError(f"{found}: not the weights of vgg16.features, '{name}' has shape {got} and not {shape}")
    try:
        return LossNetwork({name: state[name] for name in shapes}, normalise)
    except ModelError as error:
        raise ModelError(f"{found}: {error}") from None


def _shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by name, where the first block has ``width`` channels instead of 64."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, inputs, outputs in _CONVOLUTIONS:
        channels = outputs * width // 64
        shapes[f"{index}.weight"] = (channels, inputs * width // 64 if index else inputs, 3, 3)
        shapes[f"{index}.bias"] = (channels,)
    return shapes


def gram_distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    """Mean squared error of Gram matrices summed over the taps, ``(N,)``; either side may be one matrix."""
    return torch.stack([((first[name] - second[name]) ** 2).mean((-2, -1)) for name in STYLE_TAPS]).sum(0)


def content_distance(first: dict[str, Tensor], second: dict[str, Tensor], tap: str = CONTENT_TAP) -> Tensor:
    """Mean squared error of the content tap (relu3_3 unless told otherwise), a scalar."""
    return F.mse_loss(first[tap].float(), second[tap].float())
