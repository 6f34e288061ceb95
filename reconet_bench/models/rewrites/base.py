"""A graph that is rewritten place by place, and the rewrites that there are, one file each."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reconet_bench.core.registry import Registry

if TYPE_CHECKING:
    import onnx

REWRITES: Registry[Rewrite] = Registry("rewrite", "reconet_bench.models.rewrites")
#: Axes of a tensor ``(N, C, H, W)``.
ROWS, COLUMNS = 2, 3
#: Where a slice ends that goes up to the last row or column.
END = np.iinfo(np.int64).max


class Rewrite(ABC):
    """A pattern of nodes, and the nodes that take its place; the result is the same up to rounding.

    Attributes:
        summary: one line: what becomes of what.
    """

    summary: ClassVar[str]

    @abstractmethod
    def apply(self, graph: EditableGraph) -> int:
        """Rewrite every place where the pattern is; the number of places."""


class EditableGraph:
    """An ONNX graph whose chains of nodes can be found and replaced.

    Args:
        model: :meth:`finish` writes the changes into it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self._graph = model.graph
        self._nodes = list(model.graph.node)
        self._constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self._made: list[onnx.NodeProto] = []
        self._numbers = itertools.count()

    def chains(self, *operators: str) -> list[list[onnx.NodeProto]]:
        """Every chain of nodes of these operators where nothing but the next node reads what a node gives."""
        readers = defaultdict(list)
        for node in self._nodes:
            for name in node.input:
                readers[name].append(node)
        outputs = {value.name for value in self._graph.output}
        found = []
        for first in self._nodes:
            chain = [first]
            while len(chain) < len(operators) and chain[-1].output[0] not in outputs:
                if len(following := readers[chain[-1].output[0]]) != 1:
                    break
                chain += following
            if [node.op_type for node in chain] == list(operators):
                found.append(chain)
        return found

    def constant(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        """The constant that a node reads at a place of its inputs; None if there is none."""
        return self._constants.get(node.input[place]) if len(node.input) > place else None

    def add_constant(self, value: Any, kind: type[np.generic] = np.float32) -> str:
        """A new constant; its name."""
        name = self._name()
        self._constants[name] = np.ascontiguousarray(value, kind)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A new node, which :meth:`replace` puts into the graph; the name of its output."""
        from onnx import helper

        output = self._name()
        self._made.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        """Rows or columns of ``x`` from ``start`` to before ``end``; both count from the end where negative."""
        return self.add("Slice", x, *(self.add_constant([number], np.int64) for number in (start, end, axis)))

    def pad(self, x: str, sides: Sequence[int], mode: str) -> str:
        """``x`` with ``sides`` = (top, left, bottom, right) more rows and columns."""
        top, left, bottom, right = sides
        return self.add("Pad", x, self.add_constant([0, 0, top, left, 0, 0, bottom, right], np.int64), mode=mode)

    def replace(self, chain: Sequence[onnx.NodeProto], result: str) -> None:
        """Put the nodes that were added since the last call in place of ``chain``, whose output is now ``result``."""
        for node in self._made:
            node.output[:] = [chain[-1].output[0] if name == result else name for name in node.output]
        place = next(i for i, node in enumerate(self._nodes) if node is chain[0])
        self._nodes[place:place] = self._made
        self._nodes = [node for node in self._nodes if not any(node is one for one in chain)]
        self._made = []

    def finish(self) -> None:
        """Write the changes into the model; constants that no node reads any more are left out."""
        from onnx import numpy_helper

        read = {name for node in self._nodes for name in node.input}
        nodes = [type(node).FromString(node.SerializeToString()) for node in self._nodes]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in read
        )

    def _name(self) -> str:
        return f"rewritten_{next(self._numbers)}"


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node, of the type of ``default``, which it is where the node says nothing."""
    from onnx import helper

    for one in node.attribute:
        if one.name == name:
            value = helper.get_attribute_value(one)
            return value.decode() if isinstance(value, bytes) else type(default)(value)
    return default


@dataclass(frozen=True)
class Convolution:
    """A ``Conv`` node with a square kernel and one group, without padding or dilation.

    Attributes:
        weights: ``(outputs, inputs, kernel, kernel)``.
        bias: ``(outputs,)``.
        stride: of rows and columns.
    """

    weights: np.ndarray
    bias: np.ndarray
    stride: int

    @property
    def kernel(self) -> int:
        """Side of the kernel, pixels."""
        return int(self.weights.shape[-1])

    @classmethod
    def of(cls, graph: EditableGraph, node: onnx.NodeProto) -> Convolution | None:
        """What ``node`` computes; None if it is another kind of convolution."""
        weights, bias = graph.constant(node, 1), graph.constant(node, 2)
        if weights is None or weights.ndim != 4 or (bias is None and len(node.input) > 2):
            return None
        strides = attribute(node, "strides", [1, 1])
        plain = (
            weights.shape[2] == weights.shape[3]
            and strides[0] == strides[1]
            and attribute(node, "group", 1) == 1
            and not any(attribute(node, "pads", [0]))
            and set(attribute(node, "dilations", [1])) == {1}
            and attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
        )
        return cls(weights, np.zeros(len(weights)) if bias is None else bias, strides[0]) if plain else None


def reflected(graph: EditableGraph, node: onnx.NodeProto) -> int:
    """How many rows and columns a ``Pad`` node reflects on each of the four sides; 0 if it does anything else."""
    sides = graph.constant(node, 1)
    if sides is None or len(sides) != 8 or attribute(node, "mode", "constant") != "reflect":
        return 0
    pad = int(sides[2])
    return pad if sides.tolist() == [0, 0, pad, pad, 0, 0, pad, pad] else 0
