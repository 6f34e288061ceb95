"""Whether painted texture moves with the scene or sticks to the screen."""

from __future__ import annotations

import torch
from torch import Tensor

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import FEWEST_PIXELS, LEAST_MOTION, METRICS, Footage, Metric


@METRICS.register("texture_lock")
class TextureLock(Metric):
    """D_motion / (D_motion + D_screen) over the moving, traceable pixels of a pair; then the mean over pairs.

    D_motion is the mean of ‖y_t − W(y_{t+1}, F_t)‖², the difference along the motion, and D_screen that of
    ‖y_t − y_{t+1}‖², at the same place on the screen. 0: what is painted moves with the scene. 0.5: the frames differ
    as much one way as the other, as independent frames do. 1: it sticks to the screen.

    The definition is ours. The effect is the "shower door" of Meier, *Painterly Rendering for Animation*, SIGGRAPH
    1996.
    """

    better = "lower"
    positive = True
    uses_motion = True
    summary = "0 = what is painted moves with the scene, 0.5 = as independent frames, 1 = it sticks to the screen"
    blind_to = (
        "what does not move by more than a pixel, how strong the flicker is, and whether it is texture or a ghost that "
        "sticks"
    )

    def samples(self, footage: Footage) -> dict[int, float]:
        found = {}
        for index in footage.starts(1):
            motion = footage.clip.motion(index)
            warped, traceable = footage.next_warped(index)
            moving = (motion.flow.norm(dim=1, keepdim=True) > LEAST_MOTION) & (traceable > 1 - 1e-4)
            if moving.sum() < FEWEST_PIXELS:
                continue
            now, after = footage.stylized[index], footage.stylized[index + 1]
            along, screen = (squared_difference(now, other, moving) for other in (warped, after))
            if along + screen > 0:
                found[index] = along / (along + screen)
        if not found:
            raise MetricUnavailable(
                f"nothing that changes moves by more than {LEAST_MOTION:g} pixel from frame to frame, so texture that "
                "moves cannot be told from texture that sticks"
            )
        return found


def squared_difference(a: Tensor, b: Tensor, chosen: Tensor) -> float:
    """Sum of the squared differences of frames ``(1, 3, H, W)`` at the chosen pixels ``(1, 1, H, W)``."""
    return float(((a - b).square().sum(1, keepdim=True) * chosen).sum(dtype=torch.float64))
