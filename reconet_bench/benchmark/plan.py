"""What is to be compared and how, and all that came of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.core.errors import ReconetBenchError
from reconet_bench.core.record import RENDERED, Record
from reconet_bench.core.samples import Difference, SampleKey, TimedFrame
from reconet_bench.data.clip import Clip
from reconet_bench.data.selection import ClipAddress
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.selection import AUTO, Resources

#: Told what is being done now, in a few words.
Report = Callable[[str], None]


#: What tells whether a runtime changes the stability of a model; that it changes little else is told by its PSNR.
IN_EVERY_RUNTIME = ("temporal_error",)


class MadeBy(Protocol):
    """What made stylised frames: a session, or :data:`BY_ANOTHER_TOOL`."""

    runtime: str
    precision: str
    device: str


@dataclass
class _Tool:
    runtime: str = RENDERED
    precision: str = ""
    device: str = ""


#: What made frames that were only read.
BY_ANOTHER_TOOL: MadeBy = _Tool()


@dataclass(frozen=True)
class Plan:
    """What to compare and how.

    Attributes:
        runtimes: names; quality is shown for the first that runs. ``auto`` is the fastest faithful one of each
            model, at the size of the first clip.
        resources: device and threads of each runtime.
        rounds: of the speed measurement, the fewest; 0 leaves speed out.
        vgg: file of the loss network for ``style_distance``.
        frames_folder: where to write the stylised frames, ``None`` not to.
        pictures_folder: where to write the small pictures of the report, ``None`` not to.
        content: the frames of the clips, decoded once for models, pictures and provenance.
        speed_budget: seconds for each model and frame size in which more rounds are taken while a ratio to the
            reference's speed is not resolved.
        metrics: which are measured, see :func:`~reconet_bench.metrics.measure.chosen_metrics`. None: the usual ones
            in the first runtime of each model, and :data:`IN_EVERY_RUNTIME` alone in the others.
        album_frames: what :attr:`shown_frames` is of the whole, where this is a part of a comparison.
        addresses: how each of the clips is found again, for other machines; empty where that is not known.
        true_motion: give models that use motion the clips' true motion to the frame before, instead of estimating it.
    """

    models: Sequence[Model]
    clips: Sequence[Clip]
    runtimes: Sequence[str]
    resources: Resources = field(default_factory=Resources)
    rounds: int = 5
    vgg: Path | None = None
    frames_folder: Path | None = None
    pictures_folder: Path | None = None
    content: ContentFrames = field(default_factory=ContentFrames)
    speed_budget: float = 0.0
    true_motion: bool = False
    metrics: Sequence[str] = ()
    album_frames: int = 0
    addresses: Sequence[ClipAddress] = ()

    @property
    def shown_frames(self) -> int:
        """How many frames the report's pictures show: the more, the lighter each has to be."""
        shown = 1 + sum(not model.is_content for model in self.models)
        return self.album_frames or shown * sum(map(len, self.clips))

    @property
    def metrics_in_others(self) -> Sequence[str]:
        """Metrics that are measured of a model in other runtimes than its first."""
        return self.metrics or IN_EVERY_RUNTIME

    @property
    def steps(self) -> int:
        """How many times :func:`compare` reports."""
        timed = len({clip.size for clip in self.clips}) if self.rounds else 0
        read = sum(model.rendered is not None for model in self.models)
        shown = sum(not model.is_content for model in self.models) - read
        chosen = shown if AUTO in self.runtimes else 0
        run = len(self.models) - read
        return (run * len(self.runtimes) + read) * len(self.clips) + shown * timed + chosen

    def times(self, model: Model) -> bool:
        """Whether its speed is measured; the content itself takes no time."""
        return self.rounds > 0 and not model.is_content and model.rendered is None


@dataclass
class ComparisonResult:
    """Everything measured.

    Attributes:
        samples: value by frame index, of every metric that was measured.
        timings: every timed frame.
        differences: paired differences between models.
        skipped: one line for each model that a runtime could not run.
        warnings: one line for each rendered result that does not seem to fit its clip.
        chosen: one line for each model that ``auto`` stood for a runtime of: which, and why.
    """

    run: str
    time: str
    records: list[Record] = field(default_factory=list)
    samples: dict[SampleKey, Mapping[int, float]] = field(default_factory=dict)
    timings: list[TimedFrame] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)

    def skip(self, model: Model, runtime: str, error: ReconetBenchError) -> None:
        """Note that a runtime does not run a model, and why."""
        line = f"{model.source.name} in {runtime}: {error}"
        plain = line.replace(model.source.name, model.source.unstabilised_name)
        if plain not in self.skipped:  # with a stabiliser it fails for the same reason
            self.skipped.append(line)

    def recorder(
        self, model: Model, made_by: MadeBy, size: tuple[int, int], clip: Clip | None = None
    ) -> Callable[..., None]:
        """Appends a record of one model's frames, what made them and their size; of speed if there is no clip."""

        def record(metric: str, unit: str, better: str, value: float | None, **fields: Any) -> None:
            self.records.append(
                Record(
                    run=self.run,
                    time=self.time,
                    method=model.method,
                    style=model.style,
                    model=model.source.name,
                    runtime=made_by.runtime,
                    precision=made_by.precision,
                    device=made_by.device,
                    height=size[0],
                    width=size[1],
                    metric=metric,
                    unit=unit,
                    better=better,
                    value=value,
                    video=clip.name if clip else "",
                    source=clip.source if clip else "",
                    flow=clip.flow if clip else "",
                    **fields,
                )
            )

        return record


def new_result() -> ComparisonResult:
    """An empty result that begins now."""
    now = datetime.datetime.now(datetime.UTC)
    return ComparisonResult(now.strftime("%Y%m%d-%H%M%S"), now.isoformat(timespec="seconds"))
