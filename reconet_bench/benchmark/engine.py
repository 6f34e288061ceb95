"""Where the tasks of a comparison run. Here: one after the other, in this process and its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from reconet_bench.benchmark.album import Album
from reconet_bench.benchmark.journal import Journal
from reconet_bench.benchmark.plan import ComparisonResult, Plan, Report
from reconet_bench.benchmark.quality_pass import QualityPass
from reconet_bench.benchmark.runtime_pool import OpenedModel
from reconet_bench.benchmark.speed_pass import SpeedPass
from reconet_bench.benchmark.task import Outcome, Since, Task
from reconet_bench.data.clip import Clip
from reconet_bench.data.rendered import RenderedResult
from reconet_bench.metrics.style import style_of
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.worker import prepare_workers


@dataclass
class Comparison:
    """A comparison at work, as an engine sees it.

    Attributes:
        result: what came of it so far; an engine adds to it.
        journal: the finished tasks: their outcomes tell which runtimes a model has.
        report: told what is being done now, in a few words.
        drawn: titles of clips whose content is among the pictures.
    """

    plan: Plan
    result: ComparisonResult
    journal: Journal = field(default_factory=Journal)
    report: Report = lambda text: None
    drawn: set[str] = field(default_factory=set)

    def album(self) -> Album | None:
        """A place for pictures, where they are wanted."""
        folder = self.plan.pictures_folder
        return None if folder is None else Album(folder, self.plan.shown_frames)


class Engine(ABC):
    """Runs the tasks of a comparison, in any order; what comes of them is in its result when an outcome is given."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027 - here there is nothing to leave
        """Leave where the tasks run."""

    @property
    def facts(self) -> dict[str, Any]:
        """Provenance: where the tasks run, if not here."""
        return {}

    def check(self, plan: Plan) -> None:  # noqa: B027 - here everything is
        """Raise a ReconetBenchError where the tasks cannot run, before any is begun."""

    @abstractmethod
    def quality(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        """The quality of models on clips.

        Raises:
            DataError: a clip is broken.
        """

    @abstractmethod
    def speed(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        """The speed of models, when all quality is known."""


class LocalEngine(Engine):
    """One task after the other, a model at a time: its sessions are opened once for all clips."""

    def quality(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        plan = work.plan
        if any(map(plan.times, plan.models)):
            prepare_workers()
            plan.content.of(plan.clips[0])  # in the meantime
        known = {model.source.name: work.journal.first_frames(model.source.name) for model in plan.models}
        quality = QualityPass(plan, work.result, work.report, work.album(), work.drawn, known)
        failed = False
        for model in plan.models:
            clips = [clip for clip in plan.clips if Task.quality(model, clip) in tasks]
            if model.is_content and failed and not work.result.records:
                return  # the content stands beside models, and there are none
            if model.rendered is not None:
                yield from self._read(quality, model, model.rendered, clips)
            elif clips:
                yield from self._measured(quality, model, clips, work.journal.runtimes(model.source.name))
                failed = failed or not work.journal.runtimes(model.source.name)

    def speed(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        plan = work.plan
        speed = SpeedPass(plan, work.result, work.report)
        for model in plan.models:
            name = model.source.name
            sizes = [task.size for task in tasks if task.model == name and task.size]
            runtimes = work.journal.runtimes(name)
            if not sizes or not runtimes:
                continue
            # Sessions of their own: what the quality took must not be in what is timed, in memory least of all.
            with speed.pool(model) as pool:
                opened = OpenedModel(pool, pool.open(runtimes))
                for size in sizes:
                    since = Since(work.result)
                    speed.run(opened, size, work.journal.first_frames(name))
                    yield since.outcome(Task.speed(model, size))

    def _measured(
        self, quality: QualityPass, model: Model, clips: Sequence[Clip], runtimes: Sequence[str] | None
    ) -> Iterator[Outcome]:
        """The quality of a model on clips.

        Args:
            runtimes: those that ran it on other clips already; ``None`` where it was on none.
        """
        plan, since = quality.plan, Since(quality.result)
        for clip in plan.clips:
            model.source.check_frame(np.empty((*clip.size, 3), np.uint8))
        with quality.pool(model) as pool:
            opened = OpenedModel(pool, quality.open(pool) if runtimes is None else pool.open(runtimes))
            style = style_of(model.style_targets, plan.vgg)
            for clip in clips:
                quality.measure(opened, clip, style)
                outcome = since.outcome(Task.quality(model, clip))
                outcome.runtimes = list(opened.sessions)
                firsts = quality.first.get(opened.name, {})
                outcome.first = {name: first for (name, size), first in firsts.items() if size == clip.size}
                outcome.pixels = plan.content.digest(clip)
                yield outcome
                since = Since(quality.result)

    def _read(
        self, quality: QualityPass, model: Model, rendered: RenderedResult, clips: Sequence[Clip]
    ) -> Iterator[Outcome]:
        """The quality of what another tool rendered."""
        style = style_of(model.style_targets, quality.plan.vgg)
        for clip in clips:
            since = Since(quality.result)
            quality.read(model, rendered, clip, style)
            outcome = since.outcome(Task.quality(model, clip))
            outcome.pixels = quality.plan.content.digest(clip)
            yield outcome
