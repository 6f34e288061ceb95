"""Value ranges that the graph of an ONNX file tells: by its first operators, and by the intervals of its last ones.

Networks compute on values in a few well-known intervals: [0, 1], [-1, 1], [0, 255], ImageNet's normalised colours,
Caffe's colours less their mean. Operators at either end that scale and shift by constants bring frames into such an
interval or out of one. So a range is told by the graph if it is the one that these operators take to, or make of, a
known interval. An operator with bounds at the end (a sigmoid, a tanh, a clip) tells the interval by itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reconet_bench.core.ops import BYTE, CAFFE, IMAGENET, RANGES, SIGNED, UNIT, ValueRange

if TYPE_CHECKING:
    import onnx

#: Operators that leave values as they are.
NEUTRAL = frozenset({"Identity", "Transpose", "Cast", "Slice", "Pad", "Reshape", "Resize", "DepthToSpace"})
#: Operators that make a constant of a constant.
_MOVES = frozenset({"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze"})
_AFFINE = frozenset({"Add", "Sub", "Mul", "Div"})
#: How much of two intervals must be common: of those that are computed, and of those that a bounded operator lets out.
_SAME, _ALIKE = 0.97, 0.8
#: Constants larger than this are made for values up to 255.
_BYTES = 20.0


@dataclass(frozen=True)
class Interval:
    """What values each of three channels may have, in the order of the tensor.

    Attributes:
        low, high: ``(3,)`` each.
    """

    low: np.ndarray
    high: np.ndarray

    def overlap(self, other: Interval) -> float:
        """Share of the two that is common, the least of the channels: 1 where they are the same."""
        common = np.minimum(self.high, other.high) - np.maximum(self.low, other.low)
        union = np.maximum(self.high, other.high) - np.minimum(self.low, other.low)
        return float((common.clip(0) / union.clip(1e-12)).min())

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Interval:
        """What a monotonous function makes of it."""
        ends = function(self.low), function(self.high)
        return Interval(np.minimum(*ends), np.maximum(*ends))


@dataclass(frozen=True)
class _Step:
    """What an operator makes of the values of three channels.

    Attributes:
        flips: whether it reverses the channels.
        bgr: whether its constants are means in the order blue, green, red; ``None`` where they tell no order.
    """

    apply: Callable[[np.ndarray], np.ndarray]
    flips: bool = False
    bgr: bool | None = None


_KEEPS, _FLIPS = _Step(lambda values: values), _Step(lambda values: values[::-1], flips=True)


def interval_of(values: ValueRange) -> Interval:
    """What a frame in a value range may hold."""
    low, high = ((level - np.array(values.mean)) / np.array(values.std) for level in (0, 1))
    return Interval(low[::-1], high[::-1]) if values.bgr else Interval(low, high)


def _evenly(low: float, high: float) -> Interval:
    return Interval(np.full(3, low), np.full(3, high))


#: Intervals that networks compute on.
_KNOWN = (
    *map(interval_of, (UNIT, SIGNED, BYTE, IMAGENET, CAFFE)),
    interval_of(dataclasses.replace(CAFFE, bgr=False)),
    Interval(-np.array(IMAGENET.mean), 1 - np.array(IMAGENET.mean)),
    _evenly(-0.5, 0.5),
    _evenly(-127.5, 127.5),
)
#: Means of the colours of ImageNet as networks subtract them, red first.
_MEANS = (np.array(IMAGENET.mean), 255 * np.array(IMAGENET.mean), 255 * np.array(CAFFE.mean))


@dataclass
class _Chain:
    """Operators at one end of a graph that scale, shift and move values, from the frame on.

    Attributes:
        first: the first one that scales or shifts; ``None`` if there is none.
        bounds: what the operator behind them lets out, where that is bounded.
    """

    steps: list[_Step] = field(default_factory=list)
    first: onnx.NodeProto | None = None
    bounds: Interval | None = None

    def add(self, step: _Step, node: onnx.NodeProto) -> None:
        self.steps.append(step)
        if self.first is None and node.op_type in _AFFINE:
            self.first = node

    @property
    def flips(self) -> bool:
        """Whether the network behind it has the channels in the other order than the frame."""
        return sum(step.flips for step in self.steps) % 2 == 1

    @property
    def bgr(self) -> bool | None:
        """Whether the frame has blue first; ``None`` where the constants do not tell."""
        flipped = False
        for step in self.steps:
            if step.bgr is not None:
                return step.bgr != flipped
            flipped ^= step.flips
        return None

    def like(self, other: _Chain) -> bool | None:
        """Whether the frame has blue first if the network keeps the order of the frame at the other end."""
        return self.bgr if other.bgr is None or self.bgr is not None else other.bgr ^ other.flips ^ self.flips


def ranges_told(graph: onnx.GraphProto) -> tuple[ValueRange | None, ValueRange | None]:
    """The ranges that the first operators take, and that the last ones give; ``None`` where the graph does not tell."""
    constants = _Constants(graph)
    taken, given = _first(graph, constants), _last(graph, constants)
    return _taken(taken, _in_order(taken.like(given)), constants), _given(given, _in_order(given.like(taken)))


def _first(graph: onnx.GraphProto, constants: _Constants) -> _Chain:
    """What the frame goes through first."""
    initialisers = {tensor.name for tensor in graph.initializer}
    name = next((value.name for value in graph.input if value.name not in initialisers), "")
    chain = _Chain()
    for _ in graph.node:
        users = [one for one in graph.node if name in one.input and one.op_type != "Shape"]
        step = constants.step(users[0], name) if len(users) == 1 else None
        if step is None:
            break
        chain.add(step, users[0])
        name = users[0].output[0]
    return chain


def _last(graph: onnx.GraphProto, constants: _Constants) -> _Chain:
    """What the frame has come through, the last operator first; empty where there are several outputs."""
    makers = {name: node for node in graph.node for name in node.output} if len(graph.output) == 1 else {}
    chain = _Chain()
    node = makers.get(graph.output[0].name)
    while node is not None and len(chain.steps) < len(graph.node):
        chain.bounds = constants.bounds(node)
        source = next((name for name in node.input if constants.of(name) is None), "")
        step = constants.step(node, source)
        if chain.bounds is not None or step is None:
            break
        chain.add(step, node)
        node = makers.get(source)
    return chain


def _taken(chain: _Chain, possible: Sequence[ValueRange], constants: _Constants) -> ValueRange | None:
    if chain.first is None:
        return None
    for values in possible:
        frame = interval_of(values)
        made = _through(chain.steps, frame)
        # What stays nearly as it was, such as [0, 255] plus a half, tells nothing.
        if made.overlap(frame) < _SAME and any(made.overlap(known) > _SAME for known in _KNOWN):
            return values
    return constants.size_of(chain.first)


def _given(chain: _Chain, possible: Sequence[ValueRange]) -> ValueRange | None:
    outward = chain.steps[::-1]
    if chain.bounds is not None:
        # Networks end in 150 tanh(x) + 127.5 too: it need not be the same.
        made = _through(outward, chain.bounds)
        best = max(possible, key=lambda values: made.overlap(interval_of(values)))
        return best if made.overlap(interval_of(best)) > _ALIKE else None
    if chain.first is None:
        return None
    for known in _KNOWN:
        made = _through(outward, known)
        for values in possible if made.overlap(known) < _SAME else ():
            if made.overlap(interval_of(values)) > _SAME:
                return values
    return None


def _through(steps: Iterable[_Step], interval: Interval) -> Interval:
    for step in steps:
        interval = interval.map(step.apply)
    return interval


def _in_order(bgr: bool | None) -> list[ValueRange]:
    """All ranges, those of the order that is told first; red first if none is."""
    return sorted(RANGES.values(), key=lambda values: values.bgr != bool(bgr))


class _Constants:
    """Small constants of a graph by name, and what operators do with them; weights are not looked at."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        from onnx import numpy_helper
        from onnx.external_data_helper import uses_external_data

        tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value" and node.output:
                    tensors[node.output[0]] = attribute.t
        self._known: dict[str, np.ndarray] = {}
        for name, tensor in tensors.items():
            if np.prod(tensor.dims) <= 4 and not uses_external_data(tensor):
                with contextlib.suppress(Exception):  # a damaged file; whether it runs is for the runtime to say
                    self._known[name] = numpy_helper.to_array(tensor).astype(np.float64)
        for node in graph.node:
            if node.op_type in _MOVES and node.input and node.output and node.input[0] in self._known:
                self._known[node.output[0]] = self._known[node.input[0]]

    def of(self, name: str) -> np.ndarray | None:
        """The constant as a flat array; ``None`` where it is none."""
        value = self._known.get(name)
        return value.ravel() if value is not None and value.size else None

    def step(self, node: onnx.NodeProto, source: str) -> _Step | None:
        """What an operator makes of the values in ``source``; ``None`` where that is no scaling and no shift."""
        if node.op_type == "Slice":
            steps = self.of(node.input[4]) if len(node.input) > 4 else None
            return _FLIPS if steps is not None and -1 in steps else _KEEPS
        if node.op_type == "Gather":
            order = self.of(node.input[1])
            return _FLIPS if order is not None and order.tolist() == [2, 1, 0] else None
        if node.op_type in NEUTRAL:
            return _KEEPS
        if node.op_type not in _AFFINE or len(node.input) != 2:
            return None
        first = node.input[0] == source
        constant = self.of(node.input[1 if first else 0])
        if constant is None or constant.size not in (1, 3):
            return None
        by, bgr = np.resize(constant, 3), None
        for mean in _MEANS:
            for reverse in (False, True):
                if np.allclose(np.abs(by), mean[::-1] if reverse else mean, rtol=0.01):
                    bgr = reverse
        match node.op_type:
            case "Add":
                return _Step(lambda values: values + by, bgr=bgr)
            case "Mul":
                return _Step(lambda values: values * by)
            case "Sub":
                return _Step((lambda values: values - by) if first else (lambda values: by - values), bgr=bgr)
        return _Step(lambda values: values / by) if first and by.all() else None

    def bounds(self, node: onnx.NodeProto) -> Interval | None:
        """What an operator with bounds lets out."""
        if node.op_type == "Clip":
            limits = [float(value[0]) for name in node.input[1:] if (value := self.of(name)) is not None]
            facts = {attribute.name: attribute.f for attribute in node.attribute}
            limits = limits or [facts[name] for name in ("min", "max") if name in facts]
            return _evenly(*limits) if len(limits) == 2 else None
        known = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
        return _evenly(*known[node.op_type]) if node.op_type in known else None

    def size_of(self, node: onnx.NodeProto) -> ValueRange | None:
        """What the size of the first constant tells, where the whole chain tells nothing."""
        constant = next((value for name in node.input if (value := self.of(name)) is not None), np.zeros(1))
        size = float(np.abs(constant).max())
        if node.op_type == "Mul":
            return BYTE if 0 < size < 1 / _BYTES else UNIT if size > 200 else None
        return BYTE if size > _BYTES and node.op_type in ("Sub", "Div") else None
