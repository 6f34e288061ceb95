"""One row per model over all videos: what the verdict, the main table and the README's table are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reconet_bench.core.record import CONTENT_METHOD, RENDERED, UNTOLD, Record
from reconet_bench.core.samples import ALL_VIDEOS, Difference, answers
from reconet_bench.core.statistics import FEWEST, error_of_values, interval


@dataclass
class Cell:
    """A value with its interval, and how it stands to the best of its column.

    Attributes:
        videos: how many it is the mean of.
        standing: ``best``, ``worse`` (a difference to the best is shown), ``tie`` (none is shown), or empty where
            nothing was tested.
        over: names of those videos.
    """

    value: float
    low: float | None
    high: float | None
    videos: int
    standing: str = ""
    over: tuple[str, ...] = ()


@dataclass
class ModelRow:
    """A model with its cells by metric.

    Attributes:
        passed_over: its style was not measured though that of others was: who paints nothing must not win.
    """

    model: str
    method: str
    style: str
    label: str
    cells: dict[str, Cell] = field(default_factory=dict)
    passed_over: bool = False

    @property
    def reference(self) -> bool:
        """Whether it is the content itself."""
        return self.method == CONTENT_METHOD


def first_runtime(records: Iterable[Record]) -> list[Record]:
    """Quality records of each model and video in the first runtime that ran it: one number for each metric."""
    first: dict[tuple[str, str], str] = {}
    found = []
    for record in records:
        if record.video and first.setdefault((record.model, record.clip), record.runtime) == record.runtime:
            found.append(record)
    return found


def fastest(records: Iterable[Record]) -> Record | None:
    """The record of most frames a second on the device; one of changed output does not compete."""
    speeds = (r for r in records if r.metric == "fps_device" and r.value is not None and not r.changed)
    return max(speeds, key=lambda record: record.value or 0, default=None)


def true_videos(records: Iterable[Record]) -> set[str]:
    """Videos that were not measured along estimated motion alone: an estimate of these has a twin along true motion."""
    return {record.video for record in records if record.video and not record.flow}


def labels(records: Iterable[Record]) -> dict[str, str]:
    """What each model is called: its method, or its own name where two models share a method or it is not known."""
    methods = {record.model: record.method for record in records}
    shared = [method for method in methods.values() if list(methods.values()).count(method) > 1]
    shared += UNTOLD
    return {model: model if method in shared else method for model, method in methods.items()}


def overall(records: Sequence[Record], differences: Sequence[Difference] = ()) -> list[ModelRow]:
    """Mean over videos of each model's metrics, in the first runtime.

    A column's mean is taken over the videos on which every model with that metric has a value, so that no model
    is spared a difficult one. Rendered results that lack one of them have no mean, and take none from others. A clip
    measured along true and along estimated flow counts once, along the true one.
    Over several videos, the interval takes the video as the unit; over one, it is of that video's frames.

    Args:
        differences: paired differences; they decide between ``worse`` and ``tie``.
    """
    known = first_runtime(records)
    true = true_videos(known)
    known = [record for record in known if not (record.flow and record.video in true)]
    names = labels(records)
    rows: dict[str, ModelRow] = {}
    values: dict[str, dict[str, dict[str, Record]]] = {}
    for record in known:
        model = record.model
        rows.setdefault(model, ModelRow(model, record.method, record.style, names[model]))
        if record.value is not None:
            values.setdefault(record.metric, {}).setdefault(model, {})[record.clip] = record
    better = {record.metric: record.better for record in known}
    for metric, by_model in values.items():
        ours = {model: by_video for model, by_video in by_model.items() if rows[model].method != RENDERED}
        shared = set.intersection(*(set(by_video) for by_video in (ours or by_model).values()))
        for model, by_video in by_model.items():
            if shared and shared <= by_video.keys():
                over = [record for video, record in by_video.items() if video in shared]
                rows[model].cells[metric] = _mean(over, better[metric])
    styled = {row.model for row in rows.values() if "style_distance" in row.cells}
    for row in rows.values():
        row.passed_over = (
            not row.reference and row.model not in styled and any(not rows[model].reference for model in styled)
        )
    for metric in values:
        _rank(list(rows.values()), metric, better[metric], differences)
    return list(rows.values())


def _mean(records: Sequence[Record], better: str) -> Cell:
    """The mean over videos, of each of which there is a record with a value."""
    values = [record.value for record in records if record.value is not None]
    mean = sum(values) / len(values)
    low, high = records[0].ci_low, records[0].ci_high
    if len(values) > 1:
        low = high = None
        if sum(record.n for record in records) >= FEWEST:
            # What is better lower is an error or a distance.
            positive = better == "lower" and min(values) > 0
            low, high = interval(mean, error_of_values(values).half_width, positive)
    return Cell(mean, low, high, len(values), over=tuple(record.clip for record in records))


def _rank(rows: Sequence[ModelRow], metric: str, better: str, differences: Sequence[Difference]) -> None:
    """Mark the best of a column, and each other by its paired difference to that."""
    runners = [row for row in rows if metric in row.cells and not row.reference and not row.passed_over]
    if better not in ("lower", "higher") or len(runners) < 2:
        return
    best = (min if better == "lower" else max)(runners, key=lambda row: row.cells[metric].value)
    best.cells[metric].standing = "best"
    for row in runners:
        if row is not best:
            pair = next(iter(paired(differences, metric, best.model, row.model)), None)
            if pair is not None and pair.shown is not None:
                best_is_lower = (pair.difference < 0) == (pair.first == best.model)
                row.cells[metric].standing = "worse" if pair.shown and best_is_lower == (better == "lower") else "tie"


def paired(differences: Iterable[Difference], metric: str, first: str, second: str) -> list[Difference]:
    """The paired differences of two models: over all videos, then on these clips; or on the only one."""
    found = [row for row in differences if row.metric == metric and {row.first, row.second} == {first, second}]
    return sorted(answers(found), key=lambda row: row.video != ALL_VIDEOS)
