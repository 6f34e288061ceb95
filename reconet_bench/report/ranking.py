"""One row per model over all videos: what the verdict, the main table and the README's table are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reconet_bench.core.record import CONTENT_METHOD, Record
from reconet_bench.core.samples import ALL_VIDEOS, Difference


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
class Row:
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


def true_videos(records: Iterable[Record]) -> set[str]:
    """Videos that were not measured along estimated motion alone: an estimate of these has a twin along true motion."""
    return {record.video for record in records if record.video and not record.flow}


def labels(records: Iterable[Record]) -> dict[str, str]:
    """What each model is called: its method, or its own name where two models share a method."""
    methods = {record.model: record.method for record in records}
    shared = [method for method in methods.values() if list(methods.values()).count(method) > 1]
    return {model: model if method in shared else method for model, method in methods.items()}


def overall(records: Sequence[Record], differences: Sequence[Difference] = ()) -> list[Row]:
    """Mean over videos of each model's metrics, in the first runtime.

    A column's mean is taken over the videos on which every model with that metric has a value, so that no model
    is spared a difficult one. Videos are independent, so the intervals' half-widths add in squares; a clip measured
    along true and along estimated flow counts once, along the true one.

    Args:
        differences: paired differences; they decide between ``worse`` and ``tie``.
    """
    known = first_runtime(records)
    true = true_videos(known)
    known = [record for record in known if not (record.flow and record.video in true)]
    names = labels(records)
    rows: dict[str, Row] = {}
    values: dict[str, dict[str, dict[str, Record]]] = {}
    for record in known:
        model = record.model
        rows.setdefault(model, Row(model, record.method, record.style, names[model]))
        if record.value is not None:
            values.setdefault(record.metric, {}).setdefault(model, {})[record.clip] = record
    for metric, by_model in values.items():
        shared = set.intersection(*(set(by_video) for by_video in by_model.values()))
        for model, by_video in by_model.items():
            if shared:
                rows[model].cells[metric] = _mean([record for video, record in by_video.items() if video in shared])
    better = {record.metric: record.better for record in known}
    styled = {row.model for row in rows.values() if "style_distance" in row.cells}
    for row in rows.values():
        row.passed_over = (
            not row.reference and row.model not in styled and any(not rows[model].reference for model in styled)
        )
    for metric in values:
        _rank(list(rows.values()), metric, better[metric], differences)
    return list(rows.values())


def _mean(records: Sequence[Record]) -> Cell:
    count = len(records)
    values = [record.value for record in records if record.value is not None]
    mean = sum(values) / count
    low = high = None
    if all(record.ci_low is not None and record.ci_high is not None for record in records):
        below = [value - (record.ci_low or 0) for value, record in zip(values, records, strict=True)]
        above = [(record.ci_high or 0) - value for value, record in zip(values, records, strict=True)]
        low, high = mean - math.hypot(*below) / count, mean + math.hypot(*above) / count
    return Cell(mean, low, high, count, over=tuple(record.clip for record in records))


def _rank(rows: Sequence[Row], metric: str, better: str, differences: Sequence[Difference]) -> None:
    """Mark the best of a column, and each other by its paired difference to that."""
    runners = [row for row in rows if metric in row.cells and not row.reference and not row.passed_over]
    if better not in ("lower", "higher") or len(runners) < 2:
        return
    best = (min if better == "lower" else max)(runners, key=lambda row: row.cells[metric].value)
    best.cells[metric].standing = "best"
    for row in runners:
        if row is not best:
            pair = paired(differences, metric, best.model, row.model)
            if pair is not None and pair.ci_low is not None and pair.ci_high is not None:
                below = (pair.first == best.model) == (better == "lower")
                shown = pair.ci_high < 0 if below else pair.ci_low > 0
                row.cells[metric].standing = "worse" if shown else "tie"


def paired(differences: Iterable[Difference], metric: str, first: str, second: str) -> Difference | None:
    """The paired difference of two models over all videos, or over the only one."""
    found = [row for row in differences if row.metric == metric and {row.first, row.second} == {first, second}]
    return next(iter(over_all_videos(found)), None)


def over_all_videos(differences: Iterable[Difference]) -> list[Difference]:
    """The differences over all videos; of two models that were measured on one video, the one on that."""
    differences = list(differences)
    count = Counter((row.metric, row.first, row.second) for row in differences)
    return [row for row in differences if row.video == ALL_VIDEOS or count[row.metric, row.first, row.second] == 1]
