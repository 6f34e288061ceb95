"""The matrix of models × videos × runtimes: frames through every network, numbers out as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reconet_bench.benchmark.album import Album
from reconet_bench.benchmark.error_change import error_change
from reconet_bench.benchmark.fastest_runtime import Choice, choose_runtime, with_auto_chosen
from reconet_bench.benchmark.lag import find_lag, lag_warning
from reconet_bench.benchmark.paired_differences import differences
from reconet_bench.benchmark.plan import BY_ANOTHER_TOOL, ComparisonResult, MadeBy, Plan, new_result
from reconet_bench.benchmark.rendering import stylise_clip
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.speed_records import speed_rows
from reconet_bench.benchmark.timing import Timing, TimingOptions, measure
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, ModelError, ReconetBenchError
from reconet_bench.core.files import portable_name
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.data.rendered import RenderedResult
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Absent, Measured, Outcome, measure_footage, moved
from reconet_bench.metrics.statistics import estimate
from reconet_bench.metrics.style import style_of
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, Parity, SessionHandle, frames_parity, reference_frames
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Different frames in rotation while timing.
SPEED_FRAMES = 8
#: How long a turn is at each boundary: short ones, for many rounds are worth more than long ones.
SPEED = TimingOptions(seconds=0.1, reference=REFERENCE_RUNTIME)


def compare(
    plan: Plan, report: Callable[[str], None] = lambda text: None, result: ComparisonResult | None = None
) -> ComparisonResult:
    """Run every model on every clip in every runtime and measure.

    Args:
        report: told what is being done now, in a few words.
        result: filled as the work goes on, so that after an interruption the results so far are kept.

    A model that no runtime runs costs its own rows alone; it is noted as skipped.

    Raises:
        ModelError: no runtime can run any model.
        DataError: a clip is broken.
    """
    comparison = _Comparison(plan, result or new_result(), report)
    comparison.run()
    return comparison.result


@dataclass
class _Opened:
    """A model in every runtime that runs it; a runtime that no longer does is dropped."""

    pool: RuntimePool
    sessions: dict[str, SessionHandle] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.pool.model

    @property
    def name(self) -> str:
        return self.pool.model.source.name

    def drop(self, runtime: str, error: ReconetBenchError) -> None:
        self.pool.drop(runtime, error)
        self.sessions.pop(runtime, None)


#: What was timed on frames of one size, by runtime.
_Timed = tuple[list[np.ndarray], dict[str, Timing]]


@dataclass
class _Comparison:
    """A comparison at work."""

    plan: Plan
    result: ComparisonResult
    report: Callable[[str], None]

    def __post_init__(self) -> None:
        self.album = self._album()

    def run(self) -> None:
        """Every model in turn."""
        failed: list[str] = []
        for model in self.plan.models:
            if model.is_content and failed and not self.result.records:
                break  # the content stands beside models, and there are none
            clips = self.plan.clips
            if model.rendered is not None:
                style = style_of(model.style_targets, self.plan.vgg)
                for clip in clips:
                    self._rendered(model, model.rendered, clip, style)
                continue
            for clip in clips:
                model.source.check_frame(np.empty((*clip.size, 3), np.uint8))
            with self._pool(model) as pool:
                opened = _Opened(pool, self._open(pool))
                # Before any other frame: a session has one first frame, and keeps memory from then on.
                timed = self._time(opened, clips) if self.plan.times(model) and opened.sessions else []
                style = style_of(model.style_targets, self.plan.vgg)
                for clip in clips:
                    self._quality(opened, clip, style)
                if not opened.sessions:
                    failed.append(opened.name)
                for frames, timings in timed if opened.sessions else ():
                    self._speed(opened, frames, timings)
        if failed and not self.result.records:
            names = ", ".join(f"'{name}'" for name in failed)
            raise ModelError(f"no runtime runs {names}: {'; '.join(self.result.skipped)}")
        self.result.differences = differences(self.plan.models, self.plan.clips, self.result.samples)

    def _album(self) -> Album | None:
        """The album with the content in it, where pictures are wanted."""
        plan = self.plan
        if plan.pictures_folder is None:
            return None
        shown = 1 + sum(not model.is_content for model in plan.models)
        album = Album(plan.pictures_folder, shown * sum(len(clip) for clip in plan.clips))
        for clip in plan.clips:
            album.add_content(clip, plan.content.of(clip))
        return album

    def _pool(self, model: Model) -> RuntimePool:
        """The runtimes of one model, each in a process of its own where it is timed."""

        def skip(name: str, error: ReconetBenchError) -> None:
            line = f"{model.source.name} in {name}: {error}"
            plain = line.replace(model.source.name, model.source.unstabilised_name)
            if plain not in self.result.skipped:  # with a stabiliser it fails for the same reason
                self.result.skipped.append(line)

        return RuntimePool(model, self.plan.resources, skip, apart=self.plan.times(model))

    def _open(self, pool: RuntimePool) -> dict[str, SessionHandle]:
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

    def _quality(self, opened: _Opened, clip: Clip, style: Style) -> None:
        """Stylise one clip in every runtime; record metrics and what each runtime changes."""
        content = self.plan.content.of(clip)
        done: list[tuple[list[np.ndarray], dict[str, Outcome]]] = []
        for name, session in list(opened.sessions.items()):
            self.report(f"{opened.name} on {clip.title} in {name}")
            try:
                frames = stylise_clip(session, clip, content, self.plan.true_motion and opened.model.source.uses_motion)
            except CANNOT_RUN as error:
                opened.drop(name, error)
                continue
            self._keep(opened, clip, name, frames, first=not done)
            # Metrics cost more than frames; where two runtimes give the same bytes they give the same numbers.
            same = next((outcomes for other, outcomes in done if all(map(np.array_equal, frames, other))), None)
            outcomes = same or measure_footage(Footage(clip, [from_uint8(frame) for frame in frames], style))
            done.append((frames, outcomes))
            self._record(opened.model, opened.sessions[name], clip, outcomes)

    def _rendered(self, model: Model, result: RenderedResult, clip: Clip, style: Style) -> None:
        """Measure what another tool rendered of one clip; what is wrong with it costs its own rows."""
        name = model.source.name
        if clip.name not in result.places:
            return
        self.report(f"{name} on {clip.title}")
        try:
            part, frames, first = result.frames(clip)
            lag = find_lag(part, frames)
            outcomes = measure_footage(Footage(part, frames, style))
        except DataError as error:
            self.result.skipped.append(f"{name} on {clip.title}: {error}")
            return
        doubts, mend = ([Doubt.LAG], f"give --offset {name}={result.offset + lag}") if lag else ([], "")
        if lag:
            self.result.warnings.append(f"{lag_warning(f'the frames of {name}', clip.name, lag)}: {mend}")
        if result.resized(clip):
            doubts.append(Doubt.RESIZED_RESULT)
        whole = [to_uint8(frame)[0] for frame in frames]
        if self.album is not None:
            self.album.add(name, part, whole, first)
        self._record(model, BY_ANOTHER_TOOL, clip, moved(outcomes, first), doubts, mend)

    def _keep(self, opened: _Opened, clip: Clip, runtime: str, frames: Sequence[np.ndarray], *, first: bool) -> None:
        """Write stylised frames where they are wanted: all as they are, those of the first runtime into the album."""
        if self.plan.frames_folder is not None:
            folder = self.plan.frames_folder.joinpath(*map(portable_name, (opened.name, clip.title, runtime)))
            for index, frame in enumerate(frames):
                write_image(folder / f"{clip.label(index)}.png", frame)
        if self.album is not None and first and not opened.model.is_content:
            self.album.add(opened.name, clip, frames)

    def _record(
        self,
        model: Model,
        made_by: MadeBy,
        clip: Clip,
        outcomes: Mapping[str, Outcome],
        more: Sequence[Doubt] = (),
        note: str = "",
    ) -> None:
        """What came of every metric, as records; ``more`` are doubts beside the model's own, ``note`` goes with them."""
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

    def _time(self, opened: _Opened, clips: Sequence[Clip]) -> list[_Timed]:
        """Time all runtimes of one model at each frame size, in order of the clips."""
        first_of_size: dict[tuple[int, int], Clip] = {}
        for clip in clips:
            first_of_size.setdefault(clip.size, clip)
        options = replace(SPEED, rounds=self.plan.rounds, budget=self.plan.speed_budget)
        timed = []
        for size, clip in first_of_size.items():
            self.report(f"timing {opened.name} at {Size(*size)}")
            frames = self.plan.content.of(clip)[:SPEED_FRAMES]
            timed.append((frames, measure(opened.sessions, frames, options, on_failure=opened.drop)))
        return timed

    def _speed(self, opened: _Opened, frames: Sequence[np.ndarray], timings: dict[str, Timing]) -> None:
        """Record what was timed of one model at one frame size; no speed without its parity."""
        pool, size = opened.pool, Size(*frames[0].shape[:2])
        clips = [clip for clip in self.plan.clips if clip.size == size]
        parities: dict[str, Parity | Absent] = {}
        expected = pool.ask_reference(lambda reference: reference_frames(reference, frames[:4]))
        for name in [name for name in timings if name in opened.sessions]:
            try:
                parities[name] = (
                    expected
                    if isinstance(expected, Absent)
                    else frames_parity(expected, opened.sessions[name], frames[:4])
                )
            except CANNOT_RUN as error:
                opened.drop(name, error)
        timings = {name: timing for name, timing in timings.items() if name in opened.sessions}
        for name, timing in timings.items():
            parity = parities[name]
            rows = speed_rows(
                timing,
                timings.get(REFERENCE_RUNTIME),
                parity,
                error_change(pool, name, clips, self.result.samples),
                opened.model.against,
                pool.is_reference(name),
            )
            record = self.result.recorder(opened.model, opened.sessions[name], size)
            adapted = opened.model.source.adaptations(*size)
            if "software" in timing.device:
                adapted = (*adapted, Doubt.SOFTWARE_GPU)
            for metric, row in rows.items():
                doubts = (*row.doubts, *(adapted if metric.startswith(("fps", "latency")) else ()))
                interval = {"ci_low": row.low, "ci_high": row.high}
                record(metric, row.unit, row.better, row.value, **interval, n=row.n, note=row.note, doubts=doubts)
            for boundary, samples in timing.samples.items():
                taken = [(seconds, turn) for turn, one in enumerate(samples.rounds) for seconds in one]
                self.result.timings += [
                    TimedFrame(opened.name, name, size, boundary, number, seconds, turn)
                    for number, (seconds, turn) in enumerate(taken)
                ]


def _seen_in_training(model: Model, clip: Clip) -> list[Doubt]:
    """Whether the model was trained on the clip."""
    family = clip.source.split("-")[0]
    if f"{family}:{clip.name}" not in model.trained_on:
        return []
    return [Doubt.TRAINED_ON_PHOTOGRAPHS if family == "synthetic" else Doubt.TRAINED_ON_VIDEO]
