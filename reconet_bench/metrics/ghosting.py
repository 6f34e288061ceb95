"""How much of the frame before is still seen where the content has moved."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import luminance, warp
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import FEWEST_PIXELS, LEAST_MOTION, METRICS, Footage, Metric, once_per_clip

#: More than this tell no more, and would fill the memory: of a large frame so many are drawn, the same for every model.
MOST_PIXELS = 120_000
#: Standard deviation of the Gaussian under which gradients are taken, pixels: strokes are wider than noise.
SCALE = 1.0


@METRICS.register("ghosting")
class Ghosting(Metric):
    """Share of the content before in what a stylised frame shows of content, where the content moved.

    At the pixels p of the screen that show something moving, the gradient of the luminance of the stylised frame
    y_{t+1} is regressed on that of three pictures at once: the content of its own time x_{t+1}(p), the content before
    at the same place on the screen x_t(p), and the mirrored content x_{t+1}(p − F_t(p)). A style that widens or repeats
    edges shows as much of the mirror as of the past, which is x_{t+1}(p + F_t(p)); only mixing with an earlier frame
    has a direction. So with the coefficients c, b and m the ghost is g = b − m, and the value of a pair is
    g / (|c| + |g|), with the sign of c + b + m, because a style may turn light into dark. It is 0 where nothing of the
    frame before is seen, a where y_{t+1} = (1 − a) s(x_{t+1}) + a s(x_t) for a style s, and 1 where the frame before is
    all that is seen. Chance can make it slightly negative.

    The definition is ours. Regression on competing causes with a placebo follows the econometric habit of negative
    controls (Lipsitch et al., *Negative Controls*, Epidemiology 2010).
    """

    better = "lower"
    uses_motion = True
    summary = "share of the content before in what is seen where content moved: 0 = no ghost, 1 = nothing else"
    blind_to = (
        "what does not move by more than a pixel, mixing along the motion, flicker, and frames in which no edge of the "
        "content shows"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        causes = once_per_clip(footage.clip, "ghosting", lambda: _causes(footage))
        found = {}
        for index, (chosen, causes_there, inverse) in causes.items():
            edges = gradients(luminance(footage.stylized[index + 1], footage.clip.luminance), chosen)
            own, before, mirrored = inverse @ _products(causes_there, edges)
            ghost, whole = before - mirrored, own + before + mirrored
            if seen := abs(own) + abs(ghost):
                found[index] = round(float(np.sign(whole) * ghost / seen), 9)  # rounding errors are no ghost
        if not found:
            raise MetricUnavailable("the stylised frames have no edges where the content moves")
        return found


#: Pixels that move ``(n,)``, gradients of the three causes there ``(3, 2n)``, and the inverse of their products.
_Causes = tuple[np.ndarray, np.ndarray, np.ndarray]


def _causes(footage: Footage) -> dict[int, _Causes]:
    """What the stylised frame may show at the moving pixels of each pair, by its first frame."""
    clip, found = footage.clip, {}
    for index in footage.starts(1):
        moving, mirrored = moving_pixels(clip, index)
        chosen = np.flatnonzero(moving)
        if len(chosen) < FEWEST_PIXELS:
            continue
        if len(chosen) > MOST_PIXELS:
            chosen = np.sort(np.random.default_rng(index).choice(chosen, MOST_PIXELS, replace=False))
        own, before = (luminance(footage.content[at], clip.luminance) for at in (index + 1, index))
        columns = np.stack([gradients(grey, chosen) for grey in (own, before, mirrored)])
        products = np.stack([_products(columns, column) for column in columns])
        if np.linalg.cond(products) < 1 / np.finfo(np.float32).eps:
            found[index] = (chosen, columns, np.linalg.inv(products))
    if not found:
        raise MetricUnavailable(
            f"nothing with edges moves by more than {LEAST_MOTION:g} pixel from frame to frame: no ghost could be seen"
        )
    return found


def moving_pixels(clip: Clip, index: int) -> tuple[np.ndarray, Tensor]:
    """Where content moves on and can be traced ``(H, W)``, and the next frame mirrored ``(1, 1, H, W)``, luminance."""
    motion = clip.motion(index)
    mirrored, inside = warp(luminance(clip.frame(index + 1).double(), clip.luminance), -motion.flow)
    moving = (motion.flow.norm(dim=1, keepdim=True) > LEAST_MOTION) & (motion.mask > 1 - 1e-4) & (inside > 0)
    return moving[0, 0].numpy(), mirrored


def gradients(grey: Tensor, chosen: np.ndarray) -> np.ndarray:
    """Gradient of a smoothed picture ``(1, 1, H, W)`` at n chosen pixels: ``(2n,)`` float32, along x, then along y.

    Args:
        chosen: places in the flattened picture.
    """
    smooth = cv2.GaussianBlur(grey[0, 0].float().numpy(), (0, 0), SCALE)
    along = [cv2.Sobel(smooth, cv2.CV_32F, *axis, ksize=1, scale=0.5).ravel()[chosen] for axis in ((1, 0), (0, 1))]
    return np.concatenate(along)


def _products(columns: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sums of the products of columns ``(k, n)`` with another ``(n,)``, in float64."""
    return np.array([np.einsum("n,n->", column, other, dtype=np.float64) for column in columns])
