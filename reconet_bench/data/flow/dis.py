"""OpenCV's dense inverse search (Kroeger et al., ECCV 2016): no weights, a fraction of a second per frame."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.ops import to_uint8
from reconet_bench.data.flow.base import ESTIMATORS, Estimator, FlowFunction

#: Smallest side in pixels that its image pyramid needs; smaller frames are padded by repeating their border.
_SMALLEST = 64


@ESTIMATORS.register("dis")
class Dis(Estimator):
    """OpenCV's DIS, preset *medium*."""

    summary: ClassVar[str] = "OpenCV's dense inverse search, preset medium; needs no weights"

    def load(self, weights: Path | None = None) -> tuple[FlowFunction, str]:
        return _flow, f"dis-medium opencv-{cv2.__version__}"


def _flow(first: Tensor, second: Tensor) -> Tensor:
    height, width = first.shape[-2:]
    grey = [cv2.cvtColor(to_uint8(frame)[0], cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    bottom, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
    if bottom or right:
        grey = [cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE) for image in grey]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(search.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32)))
    return torch.from_numpy(np.ascontiguousarray(flow[:height, :width].transpose(2, 0, 1)))[None].float()
