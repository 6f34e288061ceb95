"""The items of a reproduction, one function each: from run folders, loss curves and what was published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from reconet_bench.core.statistics import rank_correlation
from reconet_bench.report import figures
from reconet_bench.report.figures import Series
from reconet_bench.report.loss_curves import FALL, TOTAL, converged, parse_curves, tail
from reconet_bench.report.loss_panels import loss_panels
from reconet_bench.report.numbers import significant
from reconet_bench.report.page import Page
from reconet_bench.report.published_results import BESIDE, FoundingNumber
from reconet_bench.report.reproduction import Item, Picture, Row, Strip
from reconet_bench.report.run import Run

#: Our method for each of the dissertation's names; what is not here is not implemented.
METHODS = {"Johnson": "johnson", "Dougherty": "dougherty", "proposed": "reconet"}
#: The dissertation's name for each of our methods.
NAMES = {ours: name for name, ours in METHODS.items()}
PROPOSED, BASELINE = METHODS["proposed"], METHODS["Johnson"]
#: Epochs of the dissertation's curves.
_EPOCHS = 60
_SSIM, _ERROR = "ssim_adjacent", "temporal_error"


@dataclass(frozen=True)
class WeightSetting:
    """A row of Table 5.1: losses by term."""

    label: str
    published: Mapping[str, float]
    measured: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """What a reproduction has left.

    Attributes:
        weights: the settings of Table 5.1.
        optimizers: text of the loss curves by optimiser.
        proposed: text of the loss curves of the proposed method.
        progress: its sample pictures below one another, a WebP file.
        runs: what was measured, a run for each video.
    """

    weights: Sequence[WeightSetting]
    optimizers: Mapping[str, str]
    proposed: str
    progress: Path
    runs: Sequence[Run]

    @cached_property
    def pages(self) -> list[Page]:
        """The runs as pages show them."""
        return [Page(run) for run in self.runs]

    def values(self, metric: str) -> dict[str, dict[str, float]]:
        """A metric by video and by the dissertation's name of the method."""
        return {
            run.clips[0]: {
                NAMES[record.method]: record.value
                for record in run.records
                if record.metric == metric and record.value is not None and record.method in NAMES
            }
            for run in self.runs
        }

    def means(self, metric: str) -> dict[str, float]:
        """Its mean over the videos, by method."""
        by_video = list(self.values(metric).values())
        return {
            method: fmean(one[method] for one in by_video if method in one)
            for method in METHODS
            if any(method in one for one in by_video)
        }


def all_items(made: Evidence) -> list[Item]:
    """Every table and figure, in the dissertation's order."""
    return [
        table_5_1(made),
        figure_5_1(made),
        figure_5_2(made),
        *figures_6_1_to_6_3(made),
        table_6_1(made),
        table_6_2(made),
        figure_6_4(made),
        figure_6_5(made),
        figure_6_6(made),
    ]


def table_5_1(made: Evidence) -> Item:
    """Losses of the eight settings of the weights."""
    rows, found = [], []
    for term in made.weights[0].published:
        name = term.replace("_", " ")
        rows += [Row(name, one.label, one.published[term], one.measured.get(term)) for one in made.weights]
        known = [(one.published[term], one.measured[term]) for one in made.weights if term in one.measured]
        if (agreement := rank_correlation(known)) is not None:
            found.append(f"{name} {agreement:+.2f}".replace("-", "−"))
    return Item(
        "Table 5.1",
        "Loss weights",
        "Losses of eight settings of the weights; λ_short = 100, λ_long = 10 and β = 1e5 are chosen.",
        f"Rank correlation of the published order of the settings with ours: {', '.join(found) or UNRANKED}.",
        "Unweighted losses, mean over the last tenth of each training. Those of the dissertation are its own code's, "
        "where the long-term loss has no effect: compare the order of the settings, not the numbers.",
        rows,
    )


#: What stands in the place of a rank correlation that cannot be taken.
UNRANKED = "none, for all settings have one value"


def figure_5_1(made: Evidence) -> Item:
    """What the network paints as it is trained."""
    caption = "From left to right: content, two frames that follow one another as they are painted, their difference"
    return Item(
        "Fig. 5.1",
        "Longer training",
        "The output after epochs 1, 3 and later ones: no numbers.",
        strips=[Strip("", [Picture(made.progress, caption)])],
        large=True,
    )


def figure_5_2(made: Evidence) -> Item:
    """The loss with Adam and with Adamax."""
    series = [Series(name, (), slot) for slot, name in enumerate(made.optimizers)]
    charts = loss_panels(list(zip(series, made.optimizers.values(), strict=True)))
    ends = {name: tail(parse_curves(text).total) for name, text in made.optimizers.items()}
    known = {name: value for name, value in ends.items() if value is not None}
    lowest = min(known, key=lambda name: known[name], default="")
    return Item(
        "Fig. 5.2",
        "Adam and Adamax",
        "Adamax reaches the lower loss. Its curves are not known as numbers.",
        f"{lowest.capitalize()} ends with the lower total loss." if lowest else "",
        "One training each, with one learning rate for both. The end is the last tenth of a training.",
        [Row("total loss at the end", name, None, value) for name, value in ends.items()],
        [charts.pop(TOTAL), *charts.values()] if TOTAL in charts else list(charts.values()),
        [(figures.legend_mark(one), one.name) for one in series],
    )


def figures_6_1_to_6_3(made: Evidence) -> list[Item]:
    """The losses of the proposed method while it is trained."""
    charts = loss_panels([(Series(PROPOSED, (), 0), made.proposed)])
    curves = parse_curves(made.proposed)
    items = []
    for name, title, said, epoch, terms in (
        ("Fig. 6.1", "Content loss", "after about {} epochs", 35, ("content",)),
        ("Fig. 6.2", "Style loss", "before epoch {}", 20, ("style",)),
        ("Fig. 6.3", "Temporal losses", "after epoch {}", 20, ("temporal_short", "temporal_long")),
    ):
        when = said.format(epoch)
        shares = {term: converged(curves, term) for term in terms}
        rows = [
            Row(
                f"{100 * FALL:.0f} % of its fall is done after",
                term.replace("_", " "),
                None,
                None if share is None else 100 * share,
                f"converges {when} of {_EPOCHS} ({100 * epoch / _EPOCHS:.0f} %)",
                "it did not fall" if share is None else "",
                " % of the steps",
            )
            for term, share in shares.items()
        ]
        differs = "The dissertation's convergence was read off its curve. The chart shows weighted losses."
        shown = [charts[term] for term in terms if term in charts]
        items.append(Item(name, title, f"The loss of the proposed method converges {when}.", "", differs, rows, shown))
    return items


def table_6_1(made: Evidence) -> Item:
    """SSIM of adjacent frames."""
    numbers = [number for number in BESIDE if number.source.endswith("Table 6.1")]
    means = made.means(_SSIM)
    rows = [
        Row(number.what.rpartition(", ")[2], number.method, number.value, means.get(number.method))
        for number in numbers
    ]
    rows += _of_videos(made, _SSIM)
    order = sorted(means, key=lambda method: -means[method])
    return Item(
        "Table 6.1",
        "SSIM of adjacent frames",
        "On both clips the proposed method is highest, then Dougherty, then Johnson.",
        f"From high to low, mean over the videos: {', '.join(order)}.",
        f"Its clips are known by name alone: beside each number stands our mean over all videos. {_once(numbers)}",
        rows,
    )


def table_6_2(made: Evidence) -> Item:
    """Temporal error."""
    numbers = [number for number in BESIDE if number.source.endswith("Table 6.2")]
    sintel = {run.clips[0] for run in made.runs if run.records[0].source.startswith("sintel")}
    values = made.values(_ERROR)
    rows = []
    for number in numbers:
        measured = values[number.video].get(number.method) if number.video in sintel else None
        note = "needs MPI-Sintel" if not sintel else f"no {number.video} in this copy"
        note = note if number.method in METHODS else "not implemented here"
        rows.append(Row(number.video, number.method, number.value, measured, note=note))
    beside = {(row.what, row.which) for row in rows}
    rows += [row for row in _of_videos(made, _ERROR) if (row.what, row.which) not in beside]
    means = made.means(_ERROR)
    order = sorted(means, key=lambda method: means[method])
    return Item(
        "Table 6.2",
        "Temporal error",
        "The proposed method has a lower temporal error than Chen et al. 2017 on both sequences.",
        f"From low to high, mean over the videos: {', '.join(order)}.",
        f"{_once(numbers)} A network that stylises less has a lower error too.",
        rows,
    )


def figure_6_4(made: Evidence) -> Item:
    """SSIM of adjacent frames over time."""
    groups = [group for page in made.pages for group in page.curves if group["metric"] == _SSIM]
    page = made.pages[0]
    return Item(
        "Fig. 6.4",
        "SSIM of adjacent frames over time",
        "A curve for each of three methods. Its values are not known but for their means, in Table 6.1.",
        charts=[panel for group in groups for panel in group["panels"]],
        legend=[(page.sign(model), NAMES.get(name, name)) for model, name in page.names.items()],
        differs="As in Table 6.1.",
    )


def figure_6_5(made: Evidence) -> Item:
    """A pair of frames that fit together, and one that does not."""
    title, published = (
        "A consistent and an inconsistent pair",
        "A pair of frames that fit together beside one that does not: no numbers.",
    )
    for page in made.pages:
        models = {name: model for model, name in page.names.items()}
        if not page.strips or not {PROPOSED, BASELINE} <= models.keys():
            continue
        clip, number = page.clips[0], page.strips[0]["number"]
        strips = []
        for method in (BASELINE, PROPOSED):
            model = models[method]
            lane, error = clip.models[model], clip.errors.get(model, {})
            pair = [Picture(lane[n], f"frame {n}") for n in (number, number + 1) if n in lane]
            map_ = [Picture(error[number], "difference along the motion")] if number in error else []
            strips.append(Strip(f"{NAMES[method]}{_error_at(page.run, model, number)}", [*pair, *map_]))
        here = (
            f"{clip.video}, where the methods flicker most: dark is equal, bright is different, grey cannot be traced."
        )
        return Item("Fig. 6.5", title, published, here, "Other clips.", strips=strips)
    return Item("Fig. 6.5", title, published, "Nothing to show: no measured video has pictures of both methods.")


def figure_6_6(made: Evidence) -> Item:
    """Something that is seen, hidden, and seen again."""
    title = "Long term: seen, hidden, seen again"
    published = "Frames t−5, t−1 (where the object is hidden) and t: no numbers."
    for page in made.pages:
        strip = next((one for one in page.strips if one["long"]), None)
        if strip is None:
            continue
        strips = [
            Strip(
                NAMES.get(row["name"], row["name"]),
                [Picture(path, f"frame {number}") for number, path in row["frames"]],
            )
            for row in strip["long"]
        ]
        errors = made.values("temporal_error_long").get(strip["video"], {})
        rows = [Row("temporal error, five frames apart", method, None, value) for method, value in errors.items()]
        here = (
            f"{strip['video']}: a part of the content is hidden in the frame in the middle, and seen in the other two."
        )
        differs = "Another clip. The frame in the middle is the one where most is hidden."
        return Item("Fig. 6.6", title, published, here, differs, rows, strips=strips)
    return Item("Fig. 6.6", title, published, "Nothing to show: in no measured video something comes back.")


def _of_videos(made: Evidence, metric: str) -> list[Row]:
    return [
        Row(video, method, None, of[method])
        for video, of in made.values(metric).items()
        for method in METHODS
        if method in of
    ]


def _once(numbers: Sequence[FoundingNumber]) -> str:
    """What differs in any of the numbers, each thing once, as sentences."""
    said = dict.fromkeys(part.strip() for number in numbers for part in number.differs.split(";"))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said)


def _error_at(run: Run, model: str, number: int) -> str:
    """The temporal error of the pair that begins with a frame, counted from 1."""
    for key, values in run.samples.items():
        if (key.model, key.metric) == (model, _ERROR) and number - 1 in values:
            return f", E = {significant(math.sqrt(values[number - 1]))}"
    return ""
