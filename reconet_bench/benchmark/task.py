"""The unit of a comparison, and what came of it: a run that ended early goes on by it, and it is spread over nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from reconet_bench.benchmark.first_frame import FirstFrame
from reconet_bench.benchmark.plan import ComparisonResult, Plan
from reconet_bench.core.record import Record
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.models.loading import Model


@dataclass(frozen=True)
class Task:
    """The quality of a model on a clip, or its speed at a frame size, in every runtime.

    Attributes:
        model: name of the model.
        clip: title of the clip; empty for a speed.
        size: of the frames that are timed; ``None`` for a quality.
    """

    model: str
    clip: str = ""
    size: Size | None = None

    @classmethod
    def quality(cls, model: Model, clip: Clip) -> Self:
        """The quality of a model on a clip."""
        return cls(model.source.name, clip.title)

    @classmethod
    def speed(cls, model: Model, size: Size) -> Self:
        """The speed of a model at a frame size."""
        return cls(model.source.name, size=size)

    def __str__(self) -> str:
        return f"{self.model} on {self.clip}" if self.size is None else f"the speed of {self.model} at {self.size}"


@dataclass
class Outcome:
    """What came of a task.

    Attributes:
        records, samples, timings, skipped, warnings, chosen: as those of a
            :class:`~reconet_bench.benchmark.plan.ComparisonResult`, of this task alone.
        runtimes: names of those that ran the model to the end of the task.
        first: what the first frame of the clip's size took, by runtime; empty where nothing is timed.
        pixels: checksum of the clip's frames.
    """

    task: Task
    records: Sequence[Record] = ()
    samples: Mapping[SampleKey, Mapping[int, float]] = field(default_factory=dict)
    timings: Sequence[TimedFrame] = ()
    skipped: Sequence[str] = ()
    warnings: Sequence[str] = ()
    chosen: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    first: Mapping[str, FirstFrame] = field(default_factory=dict)
    pixels: str = ""

    def add_to(self, result: ComparisonResult) -> None:
        """Put it beside what is there; a line that stands there already is not said twice."""
        result.records += self.records
        result.samples |= self.samples
        result.timings += self.timings
        for lines, new in (
            (result.skipped, self.skipped),
            (result.warnings, self.warnings),
            (result.chosen, self.chosen),
        ):
            lines += [line for line in new if line not in lines]


class Since:
    """What a result gained since this was made."""

    def __init__(self, result: ComparisonResult) -> None:
        self._result = result
        self._records, self._samples, self._timings = len(result.records), len(result.samples), len(result.timings)
        self._skipped, self._warnings, self._chosen = len(result.skipped), len(result.warnings), len(result.chosen)

    def outcome(self, task: Task) -> Outcome:
        """All of it, as that of a task."""
        result = self._result
        return Outcome(
            task,
            result.records[self._records :],
            dict(list(result.samples.items())[self._samples :]),
            result.timings[self._timings :],
            result.skipped[self._skipped :],
            result.warnings[self._warnings :],
            result.chosen[self._chosen :],
        )


def quality_tasks(plan: Plan) -> list[Task]:
    """Every model on every clip, in order; of rendered results those that there are."""
    return [
        Task.quality(model, clip)
        for model in plan.models
        for clip in plan.clips
        if model.rendered is None or clip.name in model.rendered.places
    ]


def speed_tasks(plan: Plan) -> list[Task]:
    """Every model that is timed, at every frame size, in order of the clips."""
    sizes = list(dict.fromkeys(clip.size for clip in plan.clips))
    return [Task.speed(model, size) for model in plan.models if plan.times(model) for size in sizes]


def sort_result(plan: Plan, result: ComparisonResult) -> None:
    """Bring everything into the order of the plan, in whatever order it came."""
    place = {task: number for number, task in enumerate([*quality_tasks(plan), *speed_tasks(plan)])}
    last = len(place)

    def of(model: str, clip: str, size: Size | None) -> int:
        return place.get(Task(model, clip, None if clip else size), last)

    result.records.sort(key=lambda record: of(record.model, record.clip, record.size))
    result.timings.sort(key=lambda frame: of(frame.model, "", frame.size))
    samples = sorted(result.samples.items(), key=lambda entry: of(entry[0].model, entry[0].video, None))
    result.samples.clear()
    result.samples.update(samples)
