"""The page: one HTML file that needs nothing but a browser, made from a run folder alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reconet_bench.core.samples import answers
from reconet_bench.report import explained, figures, flow_agreement, interval_meaning, tables, verdict
from reconet_bench.report.beside_published import PublishedRow, published_rows
from reconet_bench.report.figures import Point, Series
from reconet_bench.report.loss_panels import loss_panels
from reconet_bench.report.numbers import significant
from reconet_bench.report.player import ClipPictures, data_uri, find_clips, player_data, within_budget
from reconet_bench.report.ranking import ModelRow, fastest, labels, overall
from reconet_bench.report.run import Run
from reconet_bench.report.speed_plot import legend, speed_plot, spots
from reconet_bench.report.speed_section import TargetSpeed, speed_section
from reconet_bench.report.summary import summary

#: Per-frame curves that are open when the page is; the others are folded.
OPEN_CURVES = ("temporal_error", "ssim_adjacent", "style_distance")
_HERE = Path(__file__).parent


def page(run: Run) -> str:
    """The whole file as text."""
    return render(Page(run))


def render(shown: Page) -> str:
    """:func:`page`, from its parts."""
    return from_template("page.html.j2", page=shown, run=shown.run)


def from_template(name: str, **parts: object) -> str:
    """A template of this folder with its parts, style and script put in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=significant, uri=data_uri)
    texts = {kind: (_HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    return environment.get_template(name).render(**parts, **texts) + "\n"


@dataclass
class Page:
    """What the template shows, part by part."""

    run: Run

    def __post_init__(self) -> None:
        self.records = self.run.records
        self.better = tables.directions(self.records)
        self.metrics = tables.quality_metrics(self.records)
        self.ranked = [metric for metric in self.metrics if self.better[metric] != "reference"]
        left_out = explained.hidden(self.run.provenance)
        self.ranked = [metric for metric in self.ranked if metric not in left_out]
        self.explanations_header = explained.HEADER
        self.names = labels(self.records)
        self.rows: list[ModelRow] = overall(self.records, self.run.differences)
        shown = [row.model for row in self.rows if not row.reference]
        content = {record.model for record in self.records if record.is_content}
        slots = {model: index for index, model in enumerate(dict.fromkeys([*shown, *self.names]))}
        self.series = {
            model: Series(name, (), -1 if model in content else slots[model]) for model, name in self.names.items()
        }
        found, missing = find_clips(self.run.folder / "pictures", self.run.clips, shown)
        self.clips, heavy = within_budget(found)
        self.flow_header = flow_agreement.HEADER
        self.differences_header = tables.DIFFERENCES_HEADER
        self.problems = [*self.run.problems, *missing, *heavy]
        if not found:
            self.problems.append("this run has no pictures, so the page has no filmstrip and no player")

    @cached_property
    def verdict(self) -> verdict.Verdict:
        """What to see in ten seconds."""
        return verdict.verdict(self.records, self.rows, self.run.differences, self.warnings, self.run.problems)

    @cached_property
    def warnings(self) -> list[str]:
        """Everything that qualifies a number: leakage, unstable timing, changed output, uncommitted code."""
        found = [
            f"{self.names[r.model]} on {r.clip}: {r.remark}"
            for r in self.records
            if r.value is not None and r.remarks and r.video
        ]
        rows, _ = tables.speed_rows(self.records)
        found += [f"{self.names.get(row[0], row[0])} in {row[1]} at {row[2]}: {row[-1]}" for row in rows if row[-1]]
        if self.run.provenance.get("dirty"):
            found.append("the code had uncommitted changes")
        if self.run.provenance.get("interrupted"):
            found.append("the run was stopped before it was complete")
        return list(dict.fromkeys([*found, *(f"skipped {line}" for line in self.run.provenance.get("skipped") or ())]))

    def sign(self, model: str) -> str:
        """Colour, dash and marker of a model."""
        return figures.legend_mark(self.series[model])

    def head(self, metric: str) -> str:
        """Short name and direction of a metric."""
        return tables.heading(metric, tables.QUALITY, self.better)

    @cached_property
    def per_video(self) -> list[tuple[str, str, list[str]]]:
        """Video, label with runtime, and cells with intervals: nothing left out."""
        return [
            (
                row.place.clip,
                f"{self.names[row.place.model]} · {row.place.runtime} {row.place.precision}".strip(),
                [row.cell(metric) for metric in self.metrics],
            )
            for row in summary(self.records)
        ]

    @cached_property
    def without_speed(self) -> str:
        """The models that have no speed because another tool rendered their frames."""
        return tables.without_speed(self.records)

    @cached_property
    def differences(self) -> list[list[str]]:
        """Paired differences over several videos, or on the only one."""
        return [tables.difference_cells(row) for row in answers(self.run.differences)]

    @cached_property
    def explanations(self) -> list[list[str]]:
        """What each metric says and is blind to."""
        return explained.explanations(self.run.provenance)

    @cached_property
    def meaning(self) -> tuple[str, str]:
        """What the intervals of values and of differences mean."""
        version = interval_meaning.version_of(self.run.provenance, self.run.differences)
        return interval_meaning.of_values(version), interval_meaning.of_differences(version)

    @cached_property
    def flows(self) -> tuple[list[list[str]], list[str]]:
        """Estimated flow beside true flow: rows of the table, and lines about the order of the methods."""
        found = flow_agreement.beside_true_flow(self.records)
        return [row for one in found for row in one.rows], [
            flow_agreement.NOTE,
            *(one.order for one in found if one.order),
        ]

    @cached_property
    def speed(self) -> list[TargetSpeed]:
        """What was timed, by target."""
        return speed_section(self.records, self.names, self.series)

    @cached_property
    def beside(self) -> list[PublishedRow]:
        """Published numbers with ours beside them."""
        return published_rows(self.records, self.rows, self.names)

    @cached_property
    def recalled(self) -> list[PublishedRow]:
        """The same for numbers that are recalled from papers and not checked against them."""
        return published_rows(self.records, self.rows, self.names, recalled=True)

    # --- figures ----------------------------------------------------------------------------------------

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """Per-frame curves: a group for each metric, in it a panel for each video, all on one scale."""
        by_place: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
        taken: dict[tuple[str, str, str], str] = {}
        for key, values in self.run.samples.items():
            place = (key.model, key.video, key.metric)
            if key.model in self.series and values and taken.setdefault(place, key.runtime) == key.runtime:
                root = math.sqrt if key.metric in tables.SQUARED else float
                by_place.setdefault(key.metric, {}).setdefault(key.video, {})[key.model] = [
                    (i + 1, root(max(v, 0) if root is math.sqrt else v)) for i, v in sorted(values.items())
                ]
        order = [metric for metric in tables.QUALITY if metric in by_place] + sorted(
            by_place.keys() - tables.QUALITY.keys()
        )
        return [
            self._group(metric, by_place[metric])
            for metric in order
            if metric not in ("content_temporal_error", "traceable_share") and not tables.is_detail(metric)
        ]

    def _group(self, metric: str, videos: dict[str, dict[str, list[tuple[float, float]]]]) -> dict[str, Any]:
        # The content has style distance 1 and content SSIM 1 by definition: it would flatten the others.
        constant = metric in ("style_distance", "content_similarity")
        chosen = {
            video: [
                Series(s.name, points, s.slot)
                for model, points in models.items()
                if not ((s := self.series[model]).slot < 0 and constant)
            ]
            for video, models in videos.items()
        }
        chosen = {video: series for video, series in chosen.items() if series}
        values = [y for series in chosen.values() for one in series for _, y in one.points]
        shared = figures.axis(values, figures.HEIGHT - figures.BOTTOM, figures.TOP) if values else None
        panels = [figures.lines(video, series, "frame", shared, cursor=video) for video, series in chosen.items()]
        return {"head": self.head(metric), "metric": metric, "open": metric in OPEN_CURVES, "panels": panels}

    @cached_property
    def trade_off(self) -> str:
        """Stability against style, the area of a mark its speed; empty where either is not measured."""
        points = []
        for row in self.rows:
            x, y = row.cells.get("style_distance"), row.cells.get("temporal_error")
            if x and y and x.value > 0:
                bounds = [(c.low, c.high) if c.low is not None and c.high is not None else None for c in (x, y)]
                fast = fastest(record for record in self.records if record.model == row.model)
                speed = fast.value if fast else None
                points.append(Point(self.series[row.model], x.value, y.value, bounds[0], bounds[1], speed))
        return (
            figures.trade_off(points, "style distance (1 = not stylised)", "E(V), temporal error")
            if len(points) > 1
            else ""
        )

    @cached_property
    def speed_plots(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Speed, stability and style of all models in all runtimes: a chart for each size, and the shapes in it."""
        found = spots(self.records, self.series)
        return [(speed_plot(size, marks), legend(marks)) for size, marks in sorted(found.items()) if len(marks) > 1]

    @cached_property
    def losses(self) -> list[str]:
        """Loss curves: a panel for each term, on a logarithmic scale."""
        known = [(self.series[model], text) for model, text in self.run.curves.items() if model in self.series]
        return list(loss_panels(known).values())

    # --- pictures ---------------------------------------------------------------------------------------

    @cached_property
    def player(self) -> str:
        """Frames of the player as JSON."""
        return player_data(self.clips, self.names)

    @cached_property
    def strips(self) -> list[dict[str, Any]]:
        """Of each clip the instant at which the models flicker most: content, models, and their heat maps."""
        return [strip for index, clip in enumerate(self.clips) if (strip := self._strip(index, clip))]

    def _strip(self, index: int, clip: ClipPictures) -> dict[str, Any] | None:
        """Its pictures are those of the player, by clip, lane and frame: a page holds each once."""
        shared = set(clip.content).intersection(*clip.models.values())
        if not shared:
            return None
        mapped = shared.intersection(*clip.errors.values()) if clip.errors else set()
        number = max(sorted(mapped or shared), key=lambda n: self._flicker(clip.video, n))
        at = clip.numbers.index(number)
        cells = [{"name": "content", "place": f"{index} 0 {at}", "error": False}]
        cells += [
            {"name": self.names[m], "place": f"{index} {lane} {at}", "error": number in clip.errors.get(m, {})}
            for lane, m in enumerate(clip.models, 1)
        ]
        long = [{"name": self.names.get(m, "content"), "frames": sorted(lane.items())} for m, lane in clip.long.items()]
        return {"video": clip.video, "number": number, "cells": cells, "long": long}

    def _flicker(self, video: str, number: int) -> float:
        return sum(
            values.get(number - 1, 0)
            for key, values in self.run.samples.items()
            if key.video == video and key.metric == "temporal_error"
        )

    # --- provenance -------------------------------------------------------------------------------------

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Where the numbers come from, as pairs."""
        return list(_flat({key: fact for key, fact in self.run.provenance.items() if key != "explained"}))


def _flat(facts: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name} · ")
        elif value not in (None, "", []) and key != "command":
            yield name, " × ".join(map(str, value)) if isinstance(value, list) else str(value)
