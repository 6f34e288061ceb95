"""A sweep on a cluster: each size and thread count has a node for itself, and all nodes are of one kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconet_bench.benchmark.sweep import SweepPlan, SweepResult, check_any, sweep_all
from reconet_bench.core.machine import pick_device
from reconet_bench.core.place import Call, Place
from reconet_bench.core.size import Size
from reconet_bench.models.sent_model import SentModel


def sweep_away(plan: SweepPlan, place: Place, report: Callable[[str], None], result: SweepResult) -> SweepResult:
    """Time every runtime at every size, batch and thread count; each row names its node.

    Args:
        result: filled as the work goes on; at the end its rows are in the order of the plan.

    Raises:
        ReconetBenchError: a node is not fit for it, or no runtime runs the model.
    """
    cores = max(threads or 1 for threads in plan.threads)
    place.check(dict, cores)
    nodes = place.alike(cores)
    result.nodes = place.facts
    result.machine = next((name for name in reversed(nodes[0].kind[:2]) if name), "")
    device = pick_device(plan.device).type
    sent = SentModel.of(plan.model, plan.runtimes)
    common = place.put((replace(plan, model=sent.model, device=device), sent))
    parts = [(threads, size) for threads in dict.fromkeys(plan.threads) for size in dict.fromkeys(plan.sizes)]
    found: dict[int, SweepResult] = {}
    calls = [
        # All cores: nothing else of Ray runs there meanwhile.
        Call(f"timing {size}", number, _part, (common, threads, size), nodes[0].cpus, device == "cuda", nodes)
        for number, (threads, size) in enumerate(parts)
    ]
    for number, node, part in place.each(calls):
        part.rows = [replace(row, node=node) for row in part.rows]
        found[number] = part
        result.add(part)
        report(f"timed {parts[number][1]} on {node}")
    result.clear()
    for number in sorted(found):
        result.add(found[number])
    check_any(plan, result)
    return result


def _part(common: tuple[SweepPlan, SentModel], threads: int | None, size: Size) -> SweepResult:
    """One size and thread count, on a node."""
    plan, sent = common
    result = SweepResult()
    sweep_all(replace(plan, model=sent.received(), threads=[threads], sizes=[size]), result)
    return result
