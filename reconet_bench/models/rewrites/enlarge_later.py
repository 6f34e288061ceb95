"""Enlargement by two, then a 3x3 convolution: the convolution comes first, on the small picture.

Bilinear enlargement is a picture with zeros between its pixels and a fixed filter, (1, 3, 3, 1) / 4 down and right.
Filter and convolution may change places. The convolution of the picture with zeros is a transposed convolution:
9 products for each pixel of the small picture and pair of channels in place of 36. The filter comes after it, on each
channel by itself.

The border is another matter: enlargement repeats the outermost pixels, and the padding reflects the enlarged ones. So
the outermost rows and columns are computed as before, from the two outermost rows and columns of the small picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from reconet_bench.models.rewrites.base import (
    COLUMNS,
    END,
    REWRITES,
    ROWS,
    Convolution,
    EditableGraph,
    Rewrite,
    attribute,
    reflected,
)

if TYPE_CHECKING:
    import onnx

#: Bilinear enlargement by two, after zeros are put between the pixels.
_FILTER = np.array([1, 3, 3, 1]) / 4


@REWRITES.register("enlarge-later")
class EnlargeLater(Rewrite):
    """Bilinear ``Resize`` by two, reflecting ``Pad`` by one, ``Conv`` 3x3."""

    summary: ClassVar[str] = "enlarge, then 3x3 convolution: transposed convolution, then a filter of each channel"

    def apply(self, graph: EditableGraph) -> int:
        found = 0
        for chain in graph.chains("Resize", "Pad", "Conv"):
            resize, pad, conv = chain
            convolution = Convolution.of(graph, conv)
            if convolution is None or (convolution.kernel, convolution.stride) != (3, 1):
                continue
            if reflected(graph, pad) == 1 and _doubles(graph, resize):
                graph.replace(chain, _enlarged_later(graph, resize, conv, convolution))
                found += 1
        return found


def _doubles(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    """Whether a ``Resize`` doubles rows and columns, bilinearly between the centres of pixels."""
    scales = graph.constant(node, 2)
    return (
        scales is not None
        and scales.tolist() == [1, 1, 2, 2]
        and attribute(node, "mode", "nearest") == "linear"
        and attribute(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel"
        and not attribute(node, "antialias", 0)
    )


def _enlarged_later(
    graph: EditableGraph, resize: onnx.NodeProto, conv: onnx.NodeProto, convolution: Convolution
) -> str:
    """The nodes for one place: what is inside, the outermost columns beside it, the outermost rows around both."""
    left, right = _edges(graph, resize, conv, COLUMNS)
    rows = graph.add("Concat", left, _inside(graph, resize.input[0], convolution), right, axis=COLUMNS)
    top, bottom = _edges(graph, resize, conv, ROWS)
    return graph.add("Concat", top, rows, bottom, axis=ROWS)


def _inside(graph: EditableGraph, small: str, convolution: Convolution) -> str:
    """All but the outermost rows and columns, from the picture ``small``."""
    outputs, sides = len(convolution.weights), [len(_FILTER)] * 2
    turned = graph.add_constant(convolution.weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    each = graph.add_constant(np.broadcast_to(np.outer(_FILTER, _FILTER), (outputs, 1, *sides)))
    bias = graph.add_constant(convolution.bias)
    repeated = graph.pad(small, [1, 1, 1, 1], "edge")
    # It leaves out the two outermost rows and columns, which only the edges would be made of.
    spread = graph.add("ConvTranspose", repeated, turned, strides=[2, 2], pads=[2, 2, 2, 2], kernel_shape=[3, 3])
    return graph.add("Conv", spread, each, bias, group=outputs, kernel_shape=sides)


def _edges(graph: EditableGraph, resize: onnx.NodeProto, conv: onnx.NodeProto, axis: int) -> list[str]:
    """The first and the last row of the result, or column without its ends, from two of the small picture each."""
    beside = (0, 1, 0, 1) if axis == ROWS else (0, 0, 0, 0)
    edges = []
    for start, end, side in ((0, 2, axis - ROWS), (-2, END, axis)):
        four = graph.add("Resize", graph.slice(resize.input[0], axis, start, end), *resize.input[1:], mode="linear")
        sides = [int(place == side) or pad for place, pad in enumerate(beside)]
        bordered = graph.pad(graph.slice(four, axis, start, end), sides, "reflect")
        edges.append(graph.add("Conv", bordered, *conv.input[1:], kernel_shape=[3, 3]))
    return edges
