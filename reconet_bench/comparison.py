"""The matrix of models × videos × runtimes: frames through every network, numbers out as records."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.auto import choose_runtime
from reconet_bench.data.base import Clip
from reconet_bench.data.files import write_image
from reconet_bench.differences import differences
from reconet_bench.environment import checksum, describe
from reconet_bench.errors import MetricUnavailable, ModelError, RuntimeUnavailable
from reconet_bench.metrics.base import METRICS, Footage, Style, estimate
from reconet_bench.ops import from_uint8, to_uint8
from reconet_bench.perceptual import find_weights
from reconet_bench.pictures import Album
from reconet_bench.records import MARK, Record
from reconet_bench.runtimes.base import RUNTIMES, Loaded, Parity, Session, session_parity
from reconet_bench.speed import PARITY, speed_rows
from reconet_bench.subjects import AUTO, REFERENCE_RUNTIME, Subject, model_style, reference_runtime
from reconet_bench.timing import measure
from reconet_bench.workers import open_all

#: Different frames in rotation while timing, and seconds of a turn at each boundary.
SPEED_FRAMES, SPEED_SECONDS = 8, 0.5


@dataclass(frozen=True)
class Plan:
    """What to compare and how.

    Attributes:
        runtimes: names; quality is shown for the first that runs. ``auto`` is the fastest faithful one of each
            model, at the size of the first clip.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of each runtime; ``None`` is all usable cores.
        rounds: of the speed measurement; 0 leaves speed out.
        vgg: file of the loss network for ``style_distance``.
        frames_folder: where to write the stylised frames, ``None`` not to.
        pictures_folder: where to write the small pictures of the report, ``None`` not to.
    """

    subjects: Sequence[Subject]
    clips: Sequence[Clip]
    runtimes: Sequence[str]
    device: str = "auto"
    threads: int | None = None
    rounds: int = 5
    vgg: Path | None = None
    frames_folder: Path | None = None
    pictures_folder: Path | None = None

    @property
    def steps(self) -> int:
        """How many times :func:`compare` reports."""
        timed = len({clip.size for clip in self.clips}) if self.rounds else 0
        shown = sum(subject.method != "identity" for subject in self.subjects)
        chosen = shown if AUTO in self.runtimes else 0
        return len(self.subjects) * len(self.clips) * len(self.runtimes) + shown * timed + chosen


@dataclass
class Result:
    """Everything measured.

    Attributes:
        samples: (model, video, runtime, metric) → value by frame index.
        timings: (model, runtime, size, boundary, number, seconds) of every timed frame.
        differences: paired differences between models, see :func:`~reconet_bench.differences.differences`.
        skipped: one line for each model that a runtime could not run.
        chosen: one line for each model that ``auto`` stood for a runtime of: which, and why.
    """

    run: str
    time: str
    records: list[Record] = field(default_factory=list)
    samples: dict[tuple[str, str, str, str], dict[int, float]] = field(default_factory=dict)
    timings: list[tuple[str, str, str, str, int, float]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)


def new_result() -> Result:
    """An empty result that begins now."""
    now = datetime.datetime.now(datetime.UTC)
    return Result(now.strftime("%Y%m%d-%H%M%S"), now.isoformat(timespec="seconds"))


def compare(plan: Plan, report: Callable[[str], None] = lambda text: None, result: Result | None = None) -> Result:
    """Run every model on every clip in every runtime and measure.

    Args:
        report: told what is being done now, in a few words.
        result: filled as the work goes on; who is interrupted still has what was measured until then.

    Raises:
        ModelError: no runtime can run a model.
        DataError: a clip is broken.
    """
    result = result or new_result()
    album = _album(plan)
    for subject in plan.subjects:
        with contextlib.ExitStack() as stack:
            sessions = _open(plan, subject, stack, result, report)
            style = model_style(subject, plan.vgg)
            for clip in plan.clips:
                _quality(plan, subject, clip, sessions, style, result, report, album)
                if not sessions:
                    raise ModelError(f"no runtime runs '{subject.model.name}': {'; '.join(result.skipped)}")
            if _timed(plan, subject):
                for size, clip in {clip.size: clip for clip in reversed(plan.clips)}.items():
                    report(f"timing {subject.model.name} at {size[1]}x{size[0]}")
                    _speed(plan, subject, _content(clip, SPEED_FRAMES), sessions, result)
    result.differences = differences(plan.subjects, [clip.name for clip in plan.clips], result.samples)
    return result


def _album(plan: Plan) -> Album | None:
    """The album with the content in it, where pictures are wanted."""
    if plan.pictures_folder is None:
        return None
    shown = 1 + sum(subject.method != "identity" for subject in plan.subjects)
    album = Album(plan.pictures_folder, shown * sum(len(clip) for clip in plan.clips))
    for clip in plan.clips:
        album.add_content(clip, _content(clip))
    return album


def _open(
    plan: Plan, subject: Subject, stack: contextlib.ExitStack, result: Result, report: Callable[[str], None]
) -> dict[str, Loaded]:
    """The model in every runtime: each in a worker of its own where it is timed, else here."""
    sessions: dict[str, Loaded] = {}
    drop = _dropper(subject, sessions, result)
    names: list[str] = []
    for asked in plan.runtimes:
        try:
            names.append(_fastest(plan, subject, result, report) if asked == AUTO else asked)
        except RuntimeUnavailable as error:
            drop(asked, error)
    sessions.update(open_all(names, subject.model, plan.device, plan.threads, stack, drop, apart=_timed(plan, subject)))
    if not sessions:
        raise ModelError(f"no runtime runs '{subject.model.name}': {'; '.join(result.skipped)}")
    return sessions


def _timed(plan: Plan, subject: Subject) -> bool:
    """Whether speed is measured; the content itself takes no time."""
    return plan.rounds > 0 and subject.method != "identity"


def _dropper(subject: Subject, sessions: dict[str, Loaded], result: Result) -> Callable[[str, RuntimeUnavailable], None]:
    """Takes a runtime that does not run the model, or does no longer, out of ``sessions`` and notes why."""

    def drop(name: str, error: RuntimeUnavailable) -> None:
        sessions.pop(name, None)
        result.skipped.append(f"{subject.model.name} in {name}: {error}")

    return drop


def _fastest(plan: Plan, subject: Subject, result: Result, report: Callable[[str], None]) -> str:
    """What ``auto`` stands for; the content itself takes no time in any runtime, so there is nothing to choose."""
    if subject.method == "identity":
        return REFERENCE_RUNTIME
    report(f"choosing a runtime for {subject.model.name}")
    choice = choose_runtime(subject, plan.clips[0].size, plan.device, plan.threads)
    result.chosen.append(f"{subject.model.name} in {choice.reason}")
    return choice.name


@contextlib.contextmanager
def _reference(plan: Plan, subject: Subject, sessions: dict[str, Loaded]) -> Iterator[Loaded]:
    """What parity is measured against, opened for the purpose where it is not among ``sessions``."""
    name, device = reference_runtime(subject.model)
    if name in sessions and sessions[name].device == (device or sessions[name].device):
        yield sessions[name]
        return
    with RUNTIMES[name].load(subject.model, device or plan.device, plan.threads) as reference:
        yield reference


def measure_footage(footage: Footage) -> dict[str, dict[int, float] | str]:
    """Every metric on one stylised clip: samples by frame index, or the reason why there are none."""
    measured: dict[str, dict[int, float] | str] = {}
    for name, metric in METRICS.items():
        try:
            measured[name] = metric.samples(footage)
        except MetricUnavailable as reason:
            measured[name] = str(reason)
    return measured


def _content(clip: Clip, count: int | None = None) -> list[np.ndarray]:
    """The first frames of a clip as a player would hand them over, 8 bits."""
    return [to_uint8(clip.frame(index))[0] for index in range(min(len(clip), count or len(clip)))]


def _quality(
    plan: Plan, subject: Subject, clip: Clip, sessions: dict[str, Loaded], style: Style,
    result: Result, report: Callable[[str], None], album: Album | None,
) -> None:  # fmt: skip
    """Stylise one clip in every runtime; record metrics and what each runtime changes."""
    family = clip.source.split("-")[0]
    leak = "trained on this sequence: not a fair test" if f"{family}:{clip.name.partition(MARK)[0]}" in subject.trained_on else ""
    content = _content(clip)
    done: list[tuple[list[np.ndarray], dict[str, dict[int, float] | str]]] = []
    drop = _dropper(subject, sessions, result)
    for name, session in list(sessions.items()):
        report(f"{subject.model.name} on {clip.name} in {name}")
        try:
            frames = [session.ask(Session.proved, image) for image in content]
        except RuntimeUnavailable as error:
            drop(name, error)
            continue
        if plan.frames_folder is not None:
            for index, frame in enumerate(frames):
                write_image(plan.frames_folder / subject.model.name / clip.name / name / f"{clip.label(index)}.png", frame)
        if album is not None and not done and subject.method != "identity":
            album.add(subject.model.name, clip, frames)
        # Metrics cost more than frames; where two runtimes give the same bytes they give the same numbers.
        same = next((values for other, values in done if all(map(np.array_equal, frames, other))), None)
        measured = same or measure_footage(Footage(clip, [from_uint8(frame) for frame in frames], style))
        done.append((frames, measured))
        for metric_name, samples in measured.items():
            metric = METRICS[metric_name]
            record = _recorder(result, subject, session, clip.size, video=clip.name, source=clip.source)
            if isinstance(samples, str):
                record(metric_name, metric.unit, metric.better, None, note=samples)
                continue
            result.samples[subject.model.name, clip.name, name, metric_name] = samples
            e = estimate(metric, list(samples.values()))
            note = "; ".join(filter(None, (leak, clip.remark if metric.uses_motion else "")))
            record(metric_name, metric.unit, metric.better, e.value, ci_low=e.low, ci_high=e.high, n=e.n, note=note)


def _recorder(
    result: Result, subject: Subject, session: Loaded, size: tuple[int, int], video: str = "", source: str = ""
) -> Callable[..., None]:
    """Appends a record of one model, runtime and size to the result, given its number."""

    def record(metric: str, unit: str, better: str, value: float | None, **fields: Any) -> None:
        result.records.append(
            Record(
                run=result.run, time=result.time, method=subject.method, style=subject.style, model=subject.model.name,
                runtime=session.runtime, precision=session.precision, device=session.device, height=size[0], width=size[1],
                metric=metric, unit=unit, better=better, value=value, video=video, source=source, **fields,
            )
        )  # fmt: skip

    return record


def _speed(plan: Plan, subject: Subject, frames: Sequence[np.ndarray], sessions: dict[str, Loaded], result: Result) -> None:
    """Time all runtimes of one model at one frame size; no speed without its parity."""
    height, width = frames[0].shape[:2]
    drop = _dropper(subject, sessions, result)
    timings = measure(sessions, frames, plan.rounds, SPEED_SECONDS, on_failure=drop)
    parities: dict[str, Parity] = {}
    with _reference(plan, subject, sessions) as reference:
        for name in list(timings):
            try:
                parities[name] = session_parity(reference, sessions[name], frames[:4])
            except RuntimeUnavailable as error:
                drop(name, error)
                del timings[name]
    videos = [clip.name for clip in plan.clips if clip.size == (height, width)]
    unknown = "no true flow at this size" if reference.runtime in sessions else f"{reference.runtime} is not in this run"
    for name, timing in timings.items():
        change = _error_change(subject.model.name, videos, reference.runtime, name, result)
        record = _recorder(result, subject, sessions[name], (height, width))
        for metric, row in speed_rows(timing, timings.get(REFERENCE_RUNTIME), parities[name], change, unknown).items():
            count = parities[name].frames if metric in PARITY else len(timing.samples["device"].seconds)
            record(metric, row.unit, row.better, row.value, n=count, note=row.note)
        for boundary, samples in timing.samples.items():
            place = (subject.model.name, name, f"{width}x{height}", boundary)
            result.timings += [(*place, number, seconds) for number, seconds in enumerate(samples.seconds.tolist())]


def _error_change(model: str, videos: Sequence[str], reference: str, runtime: str, result: Result) -> float | None:
    """Change of E(V) over all videos against the reference runtime, in percent; ``None`` without true flow."""

    def pooled(name: str) -> float:
        values = [result.samples.get((model, video, name, "temporal_error"), {}).values() for video in videos]
        samples = np.array(list(itertools.chain.from_iterable(values)))
        return float(METRICS["temporal_error"].reduce(samples)) if samples.size else float("nan")

    expected, got = pooled(reference), pooled(runtime)
    return 100 * (got / expected - 1) if expected > 0 and got == got else None


def provenance(plan: Plan, seed: int) -> dict[str, Any]:
    """Where the numbers come from: machine, versions, commit, seed, and checksums of models and videos."""
    loss_network = find_weights(plan.vgg)
    return {
        **describe(),
        "seed": seed,
        "models": {subject.model.name: subject.checksum for subject in plan.subjects},
        "videos": {clip.name: _video_facts(clip) for clip in plan.clips},
        "loss_network": checksum(loss_network) if loss_network and loss_network.is_file() else None,
    }


def _video_facts(clip: Clip) -> dict[str, Any]:
    """Source and size, and a checksum of all frames as they were measured."""
    digest = hashlib.sha256()
    for frame in _content(clip):
        digest.update(frame.tobytes())
    return {"source": clip.source, "frames": len(clip), "size": list(clip.size), "pixels": f"sha256:{digest.hexdigest()}"}
