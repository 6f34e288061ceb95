"""What the tasks of a comparison cost on this machine, from a few frames of one clip."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.engine import Comparison
from reconet_bench.benchmark.journal import line_bytes
from reconet_bench.benchmark.plan import Plan, new_result
from reconet_bench.benchmark.quality_pass import QualityPass
from reconet_bench.benchmark.runtime_pool import OpenedModel
from reconet_bench.benchmark.task import Since, Task
from reconet_bench.core.errors import ModelError, ReconetBenchError
from reconet_bench.core.machine import cpu_threads
from reconet_bench.core.memory import host_bytes
from reconet_bench.data.clip import Clip, ClipView
from reconet_bench.metrics.base import Style
from reconet_bench.metrics.style import style_of
from reconet_bench.models.finding import find_checkpoint, known_export
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import SessionHandle

#: Two lengths of the clip, in frames: what does not grow with the length can be told from what does.
LENGTHS = (6, 12)
#: Frames that tell how long one takes in a runtime.
FRAMES = 3
#: Clips that are decoded a little: some take longer than others.
MOST = 8


@dataclass(frozen=True)
class Line:
    """Seconds that grow with the number of frames."""

    once: float
    each: float

    def at(self, frames: float) -> float:
        """Seconds of so many frames."""
        return self.once + self.each * frames

    @classmethod
    def through(cls, lengths: Sequence[int], seconds: Sequence[float]) -> Line:
        """The line through two measurements; with one, or where the longer took no longer, it begins at zero."""
        (short, *_), (less, *_) = lengths, seconds
        long, more = lengths[-1], seconds[-1]
        each = (more - less) / (long - short) if long > short else 0.0
        once = less - each * short
        return cls(once, each) if each > 0 and once >= 0 else cls(0.0, more / long)


@dataclass(frozen=True)
class Cost:
    """Seconds that one model takes, at the size of the first clip.

    Attributes:
        open: of loading it in every runtime, with its export in the cache.
        export: how much longer it takes where the export is not: it is made once for each model.
        cold: of a clip that nothing is known of: it is decoded, and what is measured of the content alone is, too.
        warm: of a clip that another model was measured on before, in the same process.
        frame: of one frame, by runtime.
        result: bytes that come back of a clip.
    """

    open: float
    cold: Line
    warm: Line
    frame: dict[str, float]
    result: int
    export: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Attributes:
        costs: by name of the model; models of one network share theirs.
        peak: bytes of memory at the peak; ``None`` where it is not known.
        decoding: seconds of a frame of some clips, by title, beyond those of the clip that the costs are of.
        frames: of the longest piece of a clip that was measured.
        pixels: of a frame.
        exported: names of the models whose exports are in the cache: those that were measured now, and those known.
    """

    costs: dict[str, Cost]
    decoding: dict[str, float]
    peak: int | None
    frames: int
    pixels: int
    exported: frozenset[str] = frozenset()


def calibrate(plan: Plan) -> Calibration:
    """Measure one model of each network on a piece of the longest clip; nothing is left behind.

    Raises:
        ModelError: no runtime runs a model.
    """
    clip = max(plan.clips, key=len)
    lengths = sorted({min(length, len(clip)) for length in LENGTHS})
    costs: dict[tuple[object, ...], Cost] = {}
    exported = {model.source.name for model in plan.models if _exported(model)}
    with (
        cpu_threads(plan.resources.threads or torch.get_num_threads()),
        tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder,
    ):
        decoding = {one.title: _decoding(one) for one in (clip, *plan.clips[:MOST])}
        kinds = {model.source.name: _kind(model) for model in plan.models if model.rendered is None}
        for model in plan.models:
            if model.rendered is None and kinds[model.source.name] not in costs:
                costs[kinds[model.source.name]] = _cost(plan, model, clip, lengths, Path(folder))
                exported.add(model.source.name)
    return Calibration(
        {name: costs[kind] for name, kind in kinds.items()},
        {title: seconds - decoding[clip.title] for title, seconds in decoding.items()},
        host_bytes("VmHWM"),
        lengths[-1],
        clip.size.pixels,
        frozenset(exported),
    )


def _kind(model: Model) -> tuple[object, ...]:
    """Models of one kind take the same time."""
    network = model.source.network
    if network is None:
        return (model.checksum, model.source.stabiliser)
    return (type(network), sum(one.numel() for one in network.parameters()), model.source.stabiliser)


def _exported(model: Model) -> bool:
    """Whether the export of a shipped model is in the cache; of others it is not known."""
    try:
        known = known_export(find_checkpoint(model.source.name))
    except ReconetBenchError:
        return False
    return known is not None and known.content() is not None


def _cost(plan: Plan, model: Model, clip: Clip, lengths: Sequence[int], folder: Path) -> Cost:
    """What one model costs."""
    part = dataclasses.replace(
        plan,
        models=[model],
        content=ContentFrames(),
        frames_folder=plan.frames_folder and folder / "frames",
        pictures_folder=plan.pictures_folder and folder / "pictures",
        rounds=0,
        album_frames=plan.shown_frames,  # the more frames there are, the lighter is each picture
    )
    work = Comparison(part, new_result())
    quality = QualityPass(part, work.result, work.report, work.album())
    began = perf_counter()
    with quality.pool(model) as pool:
        quality.open(pool)
        first = perf_counter() - began
    began = perf_counter()
    with quality.pool(model) as pool:
        opened = OpenedModel(pool, quality.open(pool))
        opening = perf_counter() - began
        if not opened.sessions:
            raise ModelError(f"no runtime runs '{model.source.name}': {'; '.join(work.result.skipped)}")
        style = style_of(model.style_targets, plan.vgg)
        cold: list[float] = []
        warm: list[float] = []
        size = 0
        quality.measure(opened, ClipView(clip, frames=2), style)  # what is only slow the first time
        for length in lengths:
            since = Since(work.result)
            view = ClipView(clip, frames=length)
            cold.append(_timed(quality, opened, view, style))
            size = line_bytes(since.outcome(Task.quality(model, clip)))
            if not model.is_content:  # as the next model finds the clip; of the content nothing is left to measure
                view = ClipView(clip, frames=length)
                part.content.of(view)
            warm.append(_timed(quality, opened, view, style))
        images = part.content.of(view)[:FRAMES]
        frame = {name: _seconds(session, images) for name, session in opened.sessions.items()}
    lines = Line.through(lengths, cold), Line.through(lengths, warm)
    return Cost(opening, *lines, frame, size, max(0.0, first - opening))


def _timed(quality: QualityPass, opened: OpenedModel, clip: Clip, style: Style) -> float:
    """Seconds of a clip."""
    began = perf_counter()
    quality.measure(opened, clip, style)
    return perf_counter() - began


def _decoding(clip: Clip) -> float:
    """Seconds that a frame takes until it is there with its motion."""
    began = perf_counter()
    for index in range(2):
        clip.frame(index)
    if clip.starts():
        clip.motion(clip.starts()[0])
    return (perf_counter() - began) / 2


def _seconds(session: SessionHandle, images: Sequence[np.ndarray]) -> float:
    began = perf_counter()
    for image in images:
        session(image)
    return (perf_counter() - began) / len(images)
