"""A large convolution to three channels: it computes blocks of 2x2 pixels.

A processor computes 8 or 16 channels at once, and three channels leave most of that empty. Four pixels of three
channels are twelve channels. A kernel that is one pixel larger each way, and mostly the old one four times, computes
them at every second row and column; depth to space puts them side by side.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reconet_bench.models.rewrites.base import REWRITES, Convolution, EditableGraph, Rewrite

#: Side of a block, pixels.
_SIDE = 2
#: With more channels than this, processors are full enough.
_MOST_OUTPUTS = 4
#: For a smaller kernel the share of zeros in the larger one is too high.
_SMALLEST_KERNEL = 5


@REWRITES.register("pixels-in-blocks")
class PixelsInBlocks(Rewrite):
    """``Conv`` with a large kernel and few outputs, whose result has an even height and width.

    Networks of ours work on frames that are padded to a multiple of four, so that theirs has.
    """

    summary: ClassVar[str] = "large convolution to three channels: blocks of 2x2 pixels, then depth to space"

    def apply(self, graph: EditableGraph) -> int:
        found = 0
        for (node,) in graph.chains("Conv"):
            convolution = Convolution.of(graph, node)
            if convolution is None or convolution.stride != 1 or convolution.kernel < _SMALLEST_KERNEL:
                continue
            if len(convolution.weights) <= _MOST_OUTPUTS:
                weights, bias = graph.add_constant(_blocks(convolution)), np.repeat(convolution.bias, _SIDE**2)
                sides = [convolution.kernel + _SIDE - 1] * 2
                blocks = graph.add(
                    "Conv", node.input[0], weights, graph.add_constant(bias), strides=[_SIDE] * 2, kernel_shape=sides
                )
                graph.replace([node], graph.add("DepthToSpace", blocks, blocksize=_SIDE, mode="CRD"))
                found += 1
        return found


def _blocks(convolution: Convolution) -> np.ndarray:
    """Weights ``(outputs x 4, inputs, kernel + 1, kernel + 1)`` that compute a block."""
    outputs, inputs, kernel, _ = convolution.weights.shape
    side = kernel + _SIDE - 1
    weights = np.zeros((outputs, _SIDE, _SIDE, inputs, side, side))
    for row in range(_SIDE):
        for column in range(_SIDE):
            weights[:, row, column, :, row : row + kernel, column : column + kernel] = convolution.weights
    return weights.reshape(-1, inputs, side, side)
