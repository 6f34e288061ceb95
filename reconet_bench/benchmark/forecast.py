"""How long a comparison will take, here and on nodes like this machine, and what has to be moved: arithmetic alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconet_bench.benchmark.calibration import Calibration, Cost
from reconet_bench.benchmark.plan import Plan
from reconet_bench.benchmark.speed_pass import SPEED
from reconet_bench.benchmark.turns import FRAMES_TO_START, MIN_FRAMES_PER_TURN
from reconet_bench.core.machine import usable_cpus
from reconet_bench.data.clip import Clip
from reconet_bench.models.loading import Model
from reconet_bench.networks.vgg import find_weights
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Numbers of nodes that are asked about.
NODES = (1, 4, 16, 64)
#: Frames of a warm-up, as a rule; and frames that parity and first frames take.
WARM_UP, BESIDE = 8, 10
#: Bytes of a frame's small pictures, all together, at most: the page keeps to a limit.
PICTURES = 9_500_000


@dataclass(frozen=True)
class Estimate:
    """What to expect of a number of machines.

    Attributes:
        nodes: like this one; 0 is this one, without an engine.
        at_once: tasks that run at the same time.
        quality, speed: seconds that the quality and the timing take.
        total: seconds, start included.
        sent: bytes of models and weights to all nodes.
        back: bytes of results and pictures from them.
    """

    nodes: int
    at_once: int
    quality: float
    speed: float
    total: float
    sent: int
    back: int


@dataclass(frozen=True)
class Forecast:
    """Of a whole comparison.

    Attributes:
        seconds: of each model's quality on all clips, one after the other.
        memory: bytes that a task takes at its peak; ``None`` where it is not known.
        content: bytes of all clips, decoded: every node reads those that it needs from its own disk.
        estimates: one after the other here, and on each number of nodes.
    """

    seconds: dict[str, float]
    memory: int | None
    content: int
    estimates: list[Estimate]


def forecast(plan: Plan, calibration: Calibration, start: float, nodes: Sequence[int] = NODES) -> Forecast:
    """What to expect.

    Args:
        start: seconds until a process has all libraries and models.
        nodes: numbers of nodes.
    """
    models = [model for model in plan.models if model.rendered is None]
    costs = {model.source.name: calibration.costs[model.source.name] for model in models}
    alone = {
        name: cost.open
        + (0.0 if name in calibration.exported else cost.export)
        + sum(_scaled(cost, clip, calibration, number > 0) for clip in plan.clips)
        for number, (name, cost) in enumerate(costs.items())
    }
    speeds = [_speed(plan, costs[model.source.name]) for model in models if plan.times(model)]
    sizes = list(dict.fromkeys(clip.size for clip in plan.clips))
    ratios = [size.pixels / calibration.pixels for size in sizes]
    timed = [seconds * max(ratio, 0.1) for seconds in speeds for ratio in ratios]
    tasks = [cost.open + _scaled(cost, clip, calibration) for cost in costs.values() for clip in plan.clips]
    weights = sum(_weight(model, plan.runtimes) for model in models)
    loss_network = find_weights(plan.vgg)
    if loss_network is not None and loss_network.is_file():
        weights += loss_network.stat().st_size
    results = sum(cost.result for cost in costs.values()) * len(plan.clips)
    back = results + (PICTURES if plan.pictures_folder else 0)
    slots = max(1, usable_cpus() // (plan.resources.threads or usable_cpus()))
    quality, speed = sum(alone.values()), sum(timed)
    found = [Estimate(0, 1, quality, speed, start + quality + speed, 0, 0)]
    for count in nodes:
        quality, speed = _spread(tasks, count * slots), _spread(timed, count)
        # A worker has its own start, at the same time as the others.
        total = 2 * start + quality + speed
        found.append(Estimate(count, count * slots, quality, speed, total, weights * count, back))
    content = sum(3 * clip.size.pixels * len(clip) for clip in plan.clips)
    return Forecast(alone, _memory(plan, calibration), content, found)


def _scaled(cost: Cost, clip: Clip, calibration: Calibration, warm: bool = False) -> float:
    """Seconds of one model on a clip."""
    scale = clip.size.pixels / calibration.pixels
    if warm:
        return cost.warm.at(len(clip)) * scale
    beyond = calibration.decoding.values()
    decoding = calibration.decoding.get(clip.title, sum(beyond) / len(beyond))
    return cost.cold.at(len(clip)) * scale + decoding * len(clip)


def _speed(plan: Plan, cost: Cost) -> float:
    """Seconds of timing one model at the size of the first clip. Rounds are taken until the budget is used up."""
    frames = sum(cost.frame.values())
    turns = sum(max(SPEED.seconds, MIN_FRAMES_PER_TURN * seconds) for seconds in cost.frame.values())
    # Between rounds all sessions start anew.
    rounds = plan.rounds * turns + frames + (plan.rounds - 1) * (cost.open + frames * FRAMES_TO_START)
    resolved = set(cost.frame) <= {REFERENCE_RUNTIME} or REFERENCE_RUNTIME not in cost.frame
    measured = rounds if resolved else max(rounds, plan.speed_budget)
    return cost.open + frames * (WARM_UP + BESIDE) + measured


def _spread(tasks: Iterable[float], places: int) -> float:
    """Seconds until all tasks are done: each goes to the place that is free first, the longest tasks first."""
    busy = [0.0] * places
    for seconds in sorted(tasks, reverse=True):
        heapq.heapreplace(busy, busy[0] + seconds)
    return max(busy)


def _weight(model: Model, runtimes: Sequence[str]) -> int:
    """Bytes of a model: its network, and an ONNX file as large where a runtime takes it."""
    if model.source.network is not None:
        forms = 1 if all(RUNTIMES[name].from_network for name in runtimes) else 2
        return forms * int(sum(value.nbytes for value in model.source.network.state_dict().values()))
    return 0 if model.source.python is not None else model.source.onnx().stat().st_size


def _memory(plan: Plan, calibration: Calibration) -> int | None:
    """Bytes at the peak of a task: what was seen, and what more frames need: as they are, stylised, and as numbers."""
    if calibration.peak is None:
        return None
    longest = max(plan.clips, key=lambda clip: len(clip) * clip.size.pixels)
    seen = calibration.frames * calibration.pixels
    more = max(0, len(longest) * longest.size.pixels - seen)
    return calibration.peak + 3 * more * (1 + len(plan.runtimes) + 2 * 4)
