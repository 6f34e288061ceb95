"""What each objective buys at equal style: trained points measured on clips, and compared with the baseline."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reconet_bench.benchmark.compare import compare
from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.paired_differences import against
from reconet_bench.benchmark.plan import Plan
from reconet_bench.core.errors import DataError, MetricUnavailable
from reconet_bench.core.files import write_text
from reconet_bench.core.machine import cpu_threads
from reconet_bench.core.samples import Difference, SampleKey
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import METRICS
from reconet_bench.metrics.statistics import Estimate, mean_over_videos
from reconet_bench.models.loading import load_by_name
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME, Resources

#: What a study reports, as far as there is such a metric; the style distance is what is made equal.
STYLE = "style_distance"
REPORTED = ("temporal_error", "temporal_error_long", "content_similarity", "ghosting", STYLE)
#: File of a run folder with what was measured of its model.
MEASURED_FILE = "measured.json"

#: Value by frame index, by metric and video.
Values = Mapping[str, Mapping[str, Mapping[int, float]]]


@dataclass(frozen=True)
class Measurement:
    """The reported metrics of one model on all clips.

    Attributes:
        values: sample by frame index, by metric and video; a metric is left out where a clip has none of it.
        remarks: reasons not to take the numbers as they stand, a sentence each.
        asked: metrics that were measured, or could not be.
    """

    values: Values
    remarks: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def mean(self, metric: str) -> Estimate:
        """Mean over the clips, each with the same weight, with the interval for videos like these."""
        return mean_over_videos(METRICS[metric], [list(one.values()) for one in self.values[metric].values()])


@dataclass
class Judge:
    """Measures models on the same clips, each once: what was measured is kept in the model's folder.

    Attributes:
        clips: with their frames, decoded once for all models.
        threads: CPU threads; ``None``: all.
        also: metrics on request, beside those of :func:`reported`.
    """

    clips: Sequence[Clip]
    vgg: Path | None
    threads: int | None = None
    content: ContentFrames = field(default_factory=ContentFrames)
    also: Sequence[str] = ()

    def measure(self, checkpoint: Path, kept: Path | None = None) -> Measurement:
        """Stylise all clips with a checkpoint and measure; what stands in the file ``kept`` is not measured again.

        Raises:
            ModelError: not a checkpoint of this package. DataError: its frames are broken.
            MetricUnavailable: the style distance could not be measured.
        """
        asked = [*reported(), *self.also]
        if kept is not None and (known := _read(kept)) is not None and {*known.asked} >= {*asked}:
            return known
        threads = cpu_threads(self.threads) if self.threads else contextlib.nullcontext()
        with threads, tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
            model = load_by_name(str(checkpoint), Path(folder))
            plan = Plan(
                [model],
                self.clips,
                [REFERENCE_RUNTIME],
                Resources(threads=self.threads),
                rounds=0,
                vgg=self.vgg,
                content=self.content,
                metrics=asked,
            )
            result = compare(plan)
        values: dict[str, dict[str, Mapping[int, float]]] = {}
        for key, samples in result.samples.items():
            if key.metric in asked:
                values.setdefault(key.metric, {})[key.video] = samples
        values = {metric: videos for metric, videos in values.items() if len(videos) == len(self.clips)}
        if STYLE not in values:
            reasons = [r.note for r in result.records if r.metric == STYLE and r.note] + result.skipped
            raise MetricUnavailable(f"{checkpoint}: no {STYLE}: {reasons[0] if reasons else 'no frames'}")
        doubts = dict.fromkeys(doubt.sentence for record in result.records for doubt in record.doubts)
        found = Measurement(values, tuple(doubts), tuple(asked))
        if kept is not None:
            write_text(kept, json.dumps(asdict(found)))
        return found


def reported() -> list[str]:
    """The metrics of :data:`REPORTED` that there are."""
    return [name for name in REPORTED if name in METRICS]


def _read(path: Path) -> Measurement | None:
    """What :meth:`Judge.measure` kept; ``None`` if there is nothing, or nothing readable."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        values = {
            metric: {
                video: {int(index): float(value) for index, value in samples.items()}
                for video, samples in videos.items()
            }
            for metric, videos in found["values"].items()
        }
        return Measurement(values, tuple(found["remarks"]), tuple(found.get("asked", values)))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def paired_with(baseline: str, measured: Mapping[str, Measurement]) -> list[Difference]:
    """Paired differences of every model to the baseline, on the same frames, with verdicts corrected for their number.

    Args:
        measured: by the name of the model; the baseline is among them.

    Raises:
        DataError: the baseline is not among them.
    """
    if baseline not in measured:
        raise DataError(f"{baseline} was not measured: there is nothing to compare with")
    samples = {
        SampleKey(name, video, REFERENCE_RUNTIME, metric): values
        for name, one in measured.items()
        for metric, videos in one.values.items()
        for video, values in videos.items()
    }
    videos = list(dict.fromkeys(key.video for key in samples))
    return against(baseline, [name for name in measured if name != baseline], videos, reported(), samples)
