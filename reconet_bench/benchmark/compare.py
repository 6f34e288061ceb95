"""The matrix of models × videos × runtimes: frames through every network, numbers out as records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from reconet_bench.benchmark.album import Album
from reconet_bench.benchmark.fastest_runtime import Choice, choose_runtime, with_auto_chosen
from reconet_bench.benchmark.paired_differences import differences
from reconet_bench.benchmark.plan import Plan, Result, new_result
from reconet_bench.benchmark.provenance import clip_frames
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.speed_records import PARITY, speed_rows
from reconet_bench.benchmark.timing import Timing, TimingOptions, measure
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import ModelError, ReconetBenchError
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import from_uint8
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Absent, Measured, Outcome, measure_footage
from reconet_bench.metrics.statistics import estimate
from reconet_bench.metrics.style import style_of
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, Parity, Session, SessionHandle, frames_parity, reference_frames
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Different frames in rotation while timing.
SPEED_FRAMES = 8
#: How long a turn is at each boundary.
SPEED = TimingOptions(seconds=0.5)


def compare(plan: Plan, report: Callable[[str], None] = lambda text: None, result: Result | None = None) -> Result:
    """Run every model on every clip in every runtime and measure.

    Args:
        report: told what is being done now, in a few words.
        result: filled as the work goes on; who is interrupted still has what was measured until then.

    A model that no runtime runs, and one that does not take a clip's size, cost their own rows and are noted as skipped.

    Raises:
        ModelError: no runtime can run any model.
        DataError: a clip is broken.
    """
    result = result or new_result()
    album = _album(plan)
    failed: list[str] = []
    for model in plan.models:
        if model.is_content and failed and not result.records:
            break  # the content stands beside models, and there are none
        clips = _taken(plan, model, result)
        with _pool(plan, model, result) as pool:
            sessions = _open(plan, pool, result, report) if clips else {}
            # Before any other frame: a session has one first frame, and keeps memory from then on.
            timed = _time(plan, pool, clips, sessions, report) if plan.times(model) and sessions else []
            style = style_of(model.style_targets, plan.vgg)
            for clip in clips:
                _quality(plan, pool, clip, sessions, style, result, report, album)
            if not sessions:
                failed.append(model.source.name)
            for frames, timings in timed if sessions else ():
                _speed(plan, pool, frames, timings, sessions, result)
    if failed and not result.records:
        names = ", ".join(f"'{name}'" for name in failed)
        raise ModelError(f"no runtime runs {names}: {'; '.join(result.skipped)}")
    result.differences = differences(plan.models, plan.clips, result.samples)
    return result


def _album(plan: Plan) -> Album | None:
    """The album with the content in it, where pictures are wanted."""
    if plan.pictures_folder is None:
        return None
    shown = 1 + sum(not model.is_content for model in plan.models)
    album = Album(plan.pictures_folder, shown * sum(len(clip) for clip in plan.clips))
    for clip in plan.clips:
        album.add_content(clip, clip_frames(clip))
    return album


def _taken(plan: Plan, model: Model, result: Result) -> list[Clip]:
    """The clips of a size that the model takes; of the others it is noted that it does not."""
    taken: list[Clip] = []
    refused: dict[str, list[str]] = {}
    for clip in plan.clips:
        try:
            model.source.check_frame(np.empty((*clip.size, 3), np.uint8))
            taken.append(clip)
        except ModelError as error:
            refused.setdefault(str(error), []).append(clip.title)
    result.skipped += [f"{model.source.name} on {', '.join(names)}: {reason}" for reason, names in refused.items()]
    return taken


def _pool(plan: Plan, model: Model, result: Result) -> RuntimePool:
    """The runtimes of one model, each in a process of its own where it is timed."""

    def skip(name: str, error: ReconetBenchError) -> None:
        result.skipped.append(f"{model.source.name} in {name}: {error}")

    return RuntimePool(model, plan.resources, skip, apart=plan.times(model))


def _open(plan: Plan, pool: RuntimePool, result: Result, report: Callable[[str], None]) -> dict[str, SessionHandle]:
    """The model in every runtime asked for. The content itself always has the reference: not every runtime can run it."""
    model = pool.model

    def choose() -> Choice:
        report(f"choosing a runtime for {model.source.name}")
        return choose_runtime(model, Size(*plan.clips[0].size), plan.resources)

    def note(choice: Choice) -> None:
        if choice.reason:
            result.chosen.append(f"{model.source.name} in {choice.reason}")

    if model.is_content:  # copying a frame takes no time in any runtime: there is nothing to choose
        names = with_auto_chosen(plan.runtimes, lambda: Choice(REFERENCE_RUNTIME, ""), note, pool.drop)
        return pool.open(names) or pool.open([REFERENCE_RUNTIME])
    return pool.open(with_auto_chosen(plan.runtimes, choose, note, pool.drop))


def _dropper(pool: RuntimePool, sessions: dict[str, SessionHandle]) -> Callable[[str, ReconetBenchError], None]:
    """Takes a runtime that does not run the model, or does no longer, out of the pool and of ``sessions``."""

    def drop(name: str, error: ReconetBenchError) -> None:
        pool.drop(name, error)
        sessions.pop(name, None)

    return drop


def _quality(
    plan: Plan,
    pool: RuntimePool,
    clip: Clip,
    sessions: dict[str, SessionHandle],
    style: Style,
    result: Result,
    report: Callable[[str], None],
    album: Album | None,
) -> None:
    """Stylise one clip in every runtime; record metrics and what each runtime changes."""
    model = pool.model
    seen = _seen_in_training(model, clip)
    content = clip_frames(clip)
    done: list[tuple[list[np.ndarray], dict[str, Outcome]]] = []
    drop = _dropper(pool, sessions)
    for name, session in list(sessions.items()):
        report(f"{model.source.name} on {clip.title} in {name}")
        try:
            frames = [session.ask(Session.proved, image) for image in content]
        except CANNOT_RUN as error:
            drop(name, error)
            continue
        if plan.frames_folder is not None:
            for index, frame in enumerate(frames):
                write_image(
                    plan.frames_folder / model.source.name / clip.title / name / f"{clip.label(index)}.png", frame
                )
        if album is not None and not done and not model.is_content:
            album.add(model.source.name, clip, frames)
        # Metrics cost more than frames; where two runtimes give the same bytes they give the same numbers.
        same = next((outcomes for other, outcomes in done if all(map(np.array_equal, frames, other))), None)
        outcomes = same or measure_footage(Footage(clip, [from_uint8(frame) for frame in frames], style))
        done.append((frames, outcomes))
        record = result.recorder(model, session, clip.size, clip)
        for metric_name, outcome in outcomes.items():
            metric = METRICS[metric_name]
            match outcome:
                case Absent(reason):
                    record(metric_name, metric.unit, metric.better, None, note=reason)
                case Measured(samples):
                    result.samples[SampleKey(model.source.name, clip.title, name, metric_name)] = samples
                    e = estimate(metric, list(samples.values()))
                    doubts = (*seen, *([Doubt.ESTIMATED_FLOW] if metric.uses_motion and clip.flow else []))
                    interval = {"ci_low": e.low, "ci_high": e.high}
                    record(metric_name, metric.unit, metric.better, e.value, **interval, n=e.n, doubts=doubts)


def _seen_in_training(model: Model, clip: Clip) -> list[Doubt]:
    """Whether the model was trained on the clip."""
    family = clip.source.split("-")[0]
    if f"{family}:{clip.name}" not in model.trained_on:
        return []
    return [Doubt.TRAINED_ON_PHOTOGRAPHS if family == "synthetic" else Doubt.TRAINED_ON_VIDEO]


#: Frames of one size, and what was timed on them by runtime.
Timed = tuple[list[np.ndarray], dict[str, Timing]]


def _time(
    plan: Plan,
    pool: RuntimePool,
    clips: Sequence[Clip],
    sessions: dict[str, SessionHandle],
    report: Callable[[str], None],
) -> list[Timed]:
    """Time all runtimes of one model at each frame size, in order of the clips."""
    drop = _dropper(pool, sessions)
    first_of_size: dict[tuple[int, int], Clip] = {}
    for clip in clips:
        first_of_size.setdefault(clip.size, clip)
    timed = []
    for (height, width), clip in first_of_size.items():
        report(f"timing {pool.model.source.name} at {width}x{height}")
        frames = clip_frames(clip, SPEED_FRAMES)
        timed.append((frames, measure(sessions, frames, replace(SPEED, rounds=plan.rounds), on_failure=drop)))
    return timed


def _speed(
    plan: Plan,
    pool: RuntimePool,
    frames: Sequence[np.ndarray],
    timings: dict[str, Timing],
    sessions: dict[str, SessionHandle],
    result: Result,
) -> None:
    """Record what was timed of one model at one frame size; no speed without its parity."""
    model, size = pool.model, Size(*frames[0].shape[:2])
    drop = _dropper(pool, sessions)
    parities: dict[str, Parity | Absent] = {}
    expected = pool.ask_reference(lambda reference: reference_frames(reference, frames[:4]))
    for name in [name for name in timings if name in sessions]:
        try:
            parities[name] = (
                expected if isinstance(expected, Absent) else frames_parity(expected, sessions[name], frames[:4])
            )
        except CANNOT_RUN as error:
            drop(name, error)
    timings = {name: timing for name, timing in timings.items() if name in sessions}
    origin = model.origin.name if model.origin else model.source.name
    videos = [clip.title for clip in plan.clips if clip.size == size]
    reference = (origin, pool.reference_name)
    known = any((key.model, key.runtime) == reference for key in result.samples)
    unknown = "no true flow at this size" if known else f"{origin} in {pool.reference_name} is not in this run"
    for name, timing in timings.items():
        change = _error_change(reference, (model.source.name, name), videos, result)
        record, parity = result.recorder(model, sessions[name], size), parities[name]
        for metric, row in speed_rows(
            timing,
            timings.get(REFERENCE_RUNTIME),
            parity,
            change,
            unknown,
            model.against,
            pool.is_reference(name),
        ).items():
            count = (
                (0 if isinstance(parity, Absent) else parity.frames)
                if metric in PARITY
                else len(timing.samples["device"].seconds)
            )
            record(metric, row.unit, row.better, row.value, n=count, note=row.note, doubts=row.doubts)
        for boundary, samples in timing.samples.items():
            taken = [(seconds, turn) for turn, one in enumerate(samples.rounds) for seconds in one]
            result.timings += [
                TimedFrame(model.source.name, name, size, boundary, number, seconds, turn)
                for number, (seconds, turn) in enumerate(taken)
            ]


def _error_change(
    reference: tuple[str, str], place: tuple[str, str], videos: Sequence[str], result: Result
) -> float | None:
    """Change of E(V) over all videos from one model and runtime to another, in percent; ``None`` without true flow."""

    def pooled(model: str, name: str) -> float:
        keys = [SampleKey(model, video, name, "temporal_error") for video in videos]
        values = [result.samples.get(key, {}).values() for key in keys]
        samples = np.array(list(itertools.chain.from_iterable(values)))
        return float(METRICS["temporal_error"].reduce(samples)) if samples.size else float("nan")

    expected, got = pooled(*reference), pooled(*place)
    return 100 * (got / expected - 1) if expected > 0 and got == got else None
