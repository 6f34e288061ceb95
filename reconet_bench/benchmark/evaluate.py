"""Measure frames that any tool stylised, beside the content that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from reconet_bench.benchmark.lag import find_lag, lag_warning
from reconet_bench.core.machine import cpu_threads
from reconet_bench.core.size import Size
from reconet_bench.data.clip import ClipView
from reconet_bench.data.footage import StylizedFrames, read_stylized
from reconet_bench.data.selection import DEFAULT_VIDEOS, Selection
from reconet_bench.metrics.base import METRICS, Footage, Style
from reconet_bench.metrics.measure import Outcome, chosen_metrics, measure_footage, measured_samples
from reconet_bench.metrics.statistics import Estimate, estimate


@dataclass(frozen=True)
class Evaluation:
    """What came of each metric on stylised frames.

    Attributes:
        name: of the content that they were compared with.
        remark: a note if its motion is estimated; else empty.
        lag: how many frames the stylised frames still seem to be behind, see :func:`find_lag`; 0 if they are not.
        offset: that was asked for.
        outcomes: by metric.
        estimates: value and interval of each metric that could be measured.
    """

    name: str
    remark: str
    outcomes: dict[str, Outcome]
    estimates: dict[str, Estimate]
    lag: int = 0
    offset: int = 0

    @property
    def warning(self) -> str:
        """What to know of frames that do not show the content beside them; empty if they do."""
        return lag_warning("the stylised frames", self.name, self.lag) if self.lag else ""


@dataclass(frozen=True)
class Measuring:
    """How stylised frames are measured, see :func:`evaluate`.

    Attributes:
        threads: of PyTorch; the last bits of a metric depend on them.
    """

    selection: Selection
    style: Style | None
    offset: int
    metrics: Sequence[str]
    threads: int


def evaluate_files(stylized: Path, video: str, how: Measuring) -> Evaluation:
    """Read stylised frames of a folder or video, and measure them."""
    with cpu_threads(how.threads):
        frames = read_stylized(stylized, how.selection.frames)
        return evaluate(video, frames, how.selection, how.style, how.offset, how.metrics)


def evaluate(
    video: str,
    stylized: Sequence[Tensor],
    selection: Selection | None = None,
    style: Style | None = None,
    offset: int = 0,
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Measure stylised frames.

    Args:
        video: the content, by name or path. A built-in clip, which has any size and length, takes those of the frames
            unless ``selection`` says otherwise.
        stylized: as many frames ``(1, 3, H, W)`` in [0, 1] as the content has.
        selection: where names are looked up, and how the content is read.
        style: see :class:`~reconet_bench.metrics.base.Style`.
        offset: how many frames the stylised frames are behind the content, negative if they are ahead: frames without a
            partner are left out.
        metrics: which are measured, see :func:`~reconet_bench.metrics.measure.chosen_metrics`.

    Raises:
        UnknownName, DataError: no such content or metric, or frames that do not belong to it.
    """
    chosen_metrics(metrics)  # an unknown name is reported before frames are read
    wanted = selection or Selection()
    if video in DEFAULT_VIDEOS and len(stylized):
        height, width = stylized[0].shape[-2:]
        wanted = replace(wanted, size=wanted.size or Size(height, width), frames=wanted.frames or len(stylized))
    clip = wanted.clip(video)
    if isinstance(stylized, StylizedFrames):
        stylized.check_numbers(clip)
    if offset and len(clip) == len(stylized):
        stylized = stylized[max(offset, 0) : len(clip) + min(offset, 0)]
        clip = ClipView(clip, frames=len(stylized) or 1, first=max(-offset, 0))
    footage = Footage(clip, stylized, style)
    outcomes = measure_footage(footage, metrics)
    samples = measured_samples(outcomes)
    estimates = {name: estimate(METRICS[name], list(values.values())) for name, values in samples.items()}
    return Evaluation(clip.name, clip.remark, outcomes, estimates, find_lag(clip, footage.stylized), offset)
