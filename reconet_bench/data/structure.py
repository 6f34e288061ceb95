"""The structure of frames, which a style leaves: what a stylised frame shows is told by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from reconet_bench.core.ops import luminance, resize_frame
from reconet_bench.data.clip import Clip

#: Longest side at which structure is compared, pixels.
_SIDE = 160
#: A clip is recognised if its edges agree with the stylised ones by this much, and by so many times more than those of
#: any other clip. Stylised frames have 0.46 to 0.73 on their own content, and 0.02 on others.
_AGREES, _TIMES_MORE = 0.1, 2.0


def edges(frame: Tensor, coefficients: tuple[float, float, float]) -> np.ndarray:
    """Steps of luminance from pixel to pixel, as a vector of length 1, or of zeros in an even frame.

    Args:
        frame: ``(1, 3, H, W)`` in [0, 1].
        coefficients: of red, green and blue in the luminance.
    """
    height, width = frame.shape[-2:]
    scale = min(1.0, _SIDE / max(height, width))
    small = resize_frame(frame, max(2, round(scale * height)), max(2, round(scale * width)))
    grey = luminance(small, coefficients)[0, 0].numpy().astype(np.float64)
    steps = np.concatenate([(step := np.diff(grey, axis=axis)).ravel() - step.mean() for axis in (0, 1)])
    return steps / (np.linalg.norm(steps) or 1.0)


def clip_shown(stylized: Sequence[Tensor], clips: Sequence[Clip]) -> Clip | None:
    """The clip that stylised frames show; ``None`` where no clip, or more than one, fits clearly.

    The edges of stylised frames are correlated with those of the same frames of each clip. A style may turn light into
    dark, so the sign does not count.

    Args:
        stylized: the first frames, ``(1, 3, H, W)`` in [0, 1], of any size.
    """
    fits = [abs(_agreement(stylized, clip)) for clip in clips]
    best = int(np.argmax(fits))
    others = [fit for index, fit in enumerate(fits) if index != best]
    clear = fits[best] >= _AGREES and fits[best] >= _TIMES_MORE * max(others, default=0.0)
    return clips[best] if clear else None


def _agreement(stylized: Sequence[Tensor], clip: Clip) -> float:
    """Mean correlation of the edges of stylised frames and those of a clip."""
    pairs = [
        (edges(resize_frame(frame, *clip.size), clip.luminance), edges(clip.frame(index), clip.luminance))
        for index, frame in enumerate(stylized[: len(clip)])
    ]
    return float(np.mean([painted @ content for painted, content in pairs]))
