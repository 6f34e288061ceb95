"""The quality of models on clips: frames through every runtime, metrics of them, as records."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reconet_bench.benchmark.album import Album
from reconet_bench.benchmark.fastest_runtime import Choice, choose_runtime, with_auto_chosen
from reconet_bench.benchmark.first_frame import FirstFrame, first_frame
from reconet_bench.benchmark.lag import find_lag, lag_warning
from reconet_bench.benchmark.plan import BY_ANOTHER_TOOL, ComparisonResult, MadeBy, Plan, Report
from reconet_bench.benchmark.rendering import stylise_clip
from reconet_bench.benchmark.runtime_pool import OpenedModel, RuntimePool
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError
from reconet_bench.core.files import portable_name
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.samples import SampleKey
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.data.rendered import RenderedResult
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Absent, Measured, Outcome, measure_footage, moved
from reconet_bench.metrics.statistics import estimate
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, SessionHandle
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME


@dataclass
class QualityPass:
    """Measures models on clips one after another, and records what came of it.

    Attributes:
        album: where pictures are wanted.
        drawn: titles of clips whose content is in the album.
        first: what the first sessions took, by model.
    """

    plan: Plan
    result: ComparisonResult
    report: Report
    album: Album | None = None
    drawn: set[str] = field(default_factory=set)
    first: dict[str, dict[tuple[str, Size], FirstFrame]] = field(default_factory=dict)

    def _draw(self, model: Model, whole: Clip, clip: Clip, frames: Sequence[np.ndarray], first: int = 0) -> None:
        """A clip, or a part of it, into the album, the content with the first model."""
        if self.album is None:
            return
        if whole.title not in self.drawn:
            self.album.add_content(whole, self.plan.content.of(whole))
            self.drawn.add(whole.title)
        if not model.is_content:
            self.album.add(model.source.name, clip, frames, first)

    def pool(self, model: Model) -> RuntimePool:
        """The runtimes of one model, each in a process of its own where it is timed."""
        skip = functools.partial(self.result.skip, model)
        return RuntimePool(model, self.plan.resources, skip, apart=self.plan.times(model))

    def open(self, pool: RuntimePool) -> dict[str, SessionHandle]:
        """The model in every runtime asked for. The content always has the reference: not every runtime can run it."""
        model, plan = pool.model, self.plan

        def choose() -> Choice:
            self.report(f"choosing a runtime for {model.source.name}")
            return choose_runtime(model, plan.clips[0].size, plan.resources)

        def note(choice: Choice) -> None:
            if choice.reason:
                self.result.chosen.append(f"{model.source.name} in {choice.reason}")

        if model.is_content:  # copying a frame takes no time in any runtime: there is nothing to choose
            names = with_auto_chosen(plan.runtimes, lambda: Choice(REFERENCE_RUNTIME, ""), note, pool.drop)
            return pool.open(names) or pool.open([REFERENCE_RUNTIME])
        return pool.open(with_auto_chosen(plan.runtimes, choose, note, pool.drop))

    def measure(self, opened: OpenedModel, clip: Clip, style: Style) -> None:
        """Stylise one clip in every runtime; record metrics and what each runtime changes."""
        content = self.plan.content.of(clip)
        done: list[tuple[list[np.ndarray], dict[str, Outcome]]] = []
        for name, session in list(opened.sessions.items()):
            self.report(f"{opened.name} on {clip.title} in {name}")
            try:
                self._begin(opened, name, content[0])
                frames = stylise_clip(session, clip, content, self.plan.true_motion and opened.model.source.uses_motion)
            except CANNOT_RUN as error:
                opened.drop(name, error)
                continue
            self._save(opened, clip, name, frames)
            metrics = self.plan.metrics_in_others if done else self.plan.metrics
            # Metrics cost more than frames; where two runtimes give the same bytes they give the same numbers.
            same = next((outcomes for other, outcomes in done if all(map(np.array_equal, frames, other))), None)
            outcomes = same or measure_footage(Footage(clip, [from_uint8(frame) for frame in frames], style), metrics)
            done.append((frames, outcomes))
            self._record(opened.model, opened.sessions[name], clip, outcomes)
        if done:  # the first runtime's frames, when its numbers have been seen
            self._draw(opened.model, clip, clip, done[0][0])

    def _begin(self, opened: OpenedModel, runtime: str, image: np.ndarray) -> None:
        """What the session took until its first frame of this size, where that is not known yet.

        Before any other frame: a session has one first frame, and keeps memory from then on.
        """
        known = self.first.setdefault(opened.name, {})
        key = (runtime, Size(*image.shape[:2]))
        if self.plan.times(opened.model) and key not in known:
            known[key] = opened.sessions[runtime].ask(first_frame, image)

    def read(self, model: Model, result: RenderedResult, clip: Clip, style: Style) -> None:
        """Measure what another tool rendered of one clip; what is wrong with it costs its own rows."""
        name = model.source.name
        self.report(f"{name} on {clip.title}")
        try:
            part, frames, first = result.frames(clip)
            lag = find_lag(part, frames)
            outcomes = measure_footage(Footage(part, frames, style), self.plan.metrics)
        except DataError as error:
            self.result.skipped.append(f"{name} on {clip.title}: {error}")
            return
        doubts, mend = ([Doubt.LAG], f"give --offset {name}={result.offset + lag}") if lag else ([], "")
        if lag:
            self.result.warnings.append(f"{lag_warning(f'the frames of {name}', clip.name, lag)}: {mend}")
        if result.resized(clip):
            doubts.append(Doubt.RESIZED_RESULT)
        self._record(model, BY_ANOTHER_TOOL, clip, moved(outcomes, first), doubts, mend)
        self._draw(model, clip, part, [to_uint8(frame)[0] for frame in frames], first)

    def _save(self, opened: OpenedModel, clip: Clip, runtime: str, frames: Sequence[np.ndarray]) -> None:
        """Write stylised frames as they are, where they are wanted."""
        if self.plan.frames_folder is not None:
            folder = self.plan.frames_folder.joinpath(*map(portable_name, (opened.name, clip.title, runtime)))
            for index, frame in enumerate(frames):
                write_image(folder / f"{clip.label(index)}.png", frame)

    def _record(
        self,
        model: Model,
        made_by: MadeBy,
        clip: Clip,
        outcomes: Mapping[str, Outcome],
        more: Sequence[Doubt] = (),
        note: str = "",
    ) -> None:
        """What came of every metric, as records; ``more`` are doubts beside the model's own, ``note`` what to do."""
        seen = _seen_in_training(model, clip)
        adapted = [*{Doubt.RESIZED}.intersection(model.source.adaptations(*clip.size)), *more]
        if self.plan.true_motion and model.source.uses_motion:
            adapted.append(Doubt.TRUE_FLOW)
        record = self.result.recorder(model, made_by, clip.size, clip)
        for name, outcome in outcomes.items():
            metric = METRICS[name]
            match outcome:
                case Absent(reason):
                    record(name, metric.unit, metric.better, None, note=reason)
                case Measured(samples):
                    self.result.samples[SampleKey(model.source.name, clip.title, made_by.runtime, name)] = samples
                    e = estimate(metric, list(samples.values()))
                    doubts = (*seen, *adapted, *([Doubt.ESTIMATED_FLOW] if metric.uses_motion and clip.flow else []))
                    interval = {"ci_low": e.low, "ci_high": e.high}
                    record(name, metric.unit, metric.better, e.value, **interval, n=e.n, doubts=doubts, note=note)


def _seen_in_training(model: Model, clip: Clip) -> list[Doubt]:
    """Whether the model was trained on the clip."""
    family = clip.source.split("-")[0]
    if f"{family}:{clip.name}" not in model.trained_on:
        return []
    return [Doubt.TRAINED_ON_PHOTOGRAPHS if family == "synthetic" else Doubt.TRAINED_ON_VIDEO]
