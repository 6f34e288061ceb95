"""The matrix of models × videos × runtimes: frames through every network, numbers out as records."""

from __future__ import annotations

import torch

from reconet_bench.benchmark.engine import Comparison, Engine, LocalEngine
from reconet_bench.benchmark.journal import Journal
from reconet_bench.benchmark.paired_differences import differences
from reconet_bench.benchmark.plan import ComparisonResult, Plan, Report, new_result
from reconet_bench.benchmark.task import Task, quality_tasks, sort_result, speed_tasks
from reconet_bench.core.errors import ModelError
from reconet_bench.core.machine import cpu_threads


def compare(
    plan: Plan,
    report: Report = lambda text: None,
    result: ComparisonResult | None = None,
    journal: Journal | None = None,
    engine: Engine | None = None,
) -> ComparisonResult:
    """Run every model on every clip in every runtime and measure.

    Args:
        report: told what is being done now, in a few words.
        result: filled as the work goes on, so that after an interruption the results so far are kept.
        journal: of an earlier part of the run: what is finished is taken from there, and what is finished now is noted.
        engine: what runs the tasks, checked; by default this process, one after the other.

    A model that no runtime runs costs its own rows alone; it is noted as skipped.

    Raises:
        ModelError: no runtime can run any model.
        DataError: a clip is broken.
    """
    journal = Journal() if journal is None else journal
    engine = engine or LocalEngine()
    work = Comparison(plan, result or new_result(), journal, report)
    if (album := work.album()) is not None:
        work.drawn |= {clip.title for clip in plan.clips if album.has_content(clip)}
    for outcome in journal.done.values():
        outcome.add_to(work.result)
    try:
        with cpu_threads(plan.resources.threads or torch.get_num_threads()):  # the rounding of sums depends on it
            _run(work, engine)
    finally:
        sort_result(plan, work.result)
        work.result.differences = differences(plan.models, plan.clips, work.result.samples)
    return work.result


def _run(work: Comparison, engine: Engine) -> None:
    """The quality of every model first, so that numbers come early; then the speed of each."""
    for outcome in engine.quality(work, _left(work, quality_tasks(work.plan))):
        work.journal.add(outcome)
    names = [model.source.name for model in work.plan.models]
    failed = [name for name in names if work.journal.runtimes(name) == []]
    if failed and all(record.is_content for record in work.result.records):  # it stands beside models: there are none
        raise ModelError(f"no runtime runs {', '.join(map(repr, failed))}: {'; '.join(work.result.skipped)}")
    for outcome in engine.speed(work, _left(work, speed_tasks(work.plan))):
        work.journal.add(outcome)


def _left(work: Comparison, tasks: list[Task]) -> list[Task]:
    """Those that are not finished, in order."""
    return [task for task in tasks if task not in work.journal.done]
