"""The chart of all models in all runtimes: speed across, stability up, style as the size of a mark, target as its
shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.record import Record
from reconet_bench.core.size import Size
from reconet_bench.report import figures
from reconet_bench.report.figures import Series
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import overall
from reconet_bench.report.targets import TARGETS, target

WIDTH, HEIGHT = 640, 380
#: Half the width of the smallest and of the largest mark.
SMALLEST, LARGEST = 4.0, 10.0
STABILITY, STYLE = "temporal_error", "style_distance"


@dataclass(frozen=True)
class Spot:
    """A model in a runtime.

    Attributes:
        style: style distance; ``None`` where it was not measured.
        open: whether its frames are not those of the reference, so that the mark is drawn open.
    """

    series: Series
    runtime: str
    target: str
    fps: float
    error: float
    style: float | None
    open: bool = False

    @property
    def tip(self) -> str:
        """Everything in words."""
        style = "style not measured" if self.style is None else f"style distance {significant(self.style)}"
        changed = ", other frames than the reference" if self.open else ""
        return (
            f"{self.series.name}, {self.runtime} ({self.target}): {significant(self.fps)} fps, "
            f"E(V) {significant(self.error)}, {style}{changed}"
        )


def spots(records: Sequence[Record], series: Mapping[str, Series]) -> dict[Size, list[Spot]]:
    """All models in all runtimes that have a speed and a stability, by frame size.

    The stability is that in the same runtime, over the videos of that size; where it was not measured there, in the
    first runtime. A GPU in software has no speed of its own.
    """
    found: dict[Size, list[Spot]] = {}
    quality = [record for record in records if record.video]
    for speed in records:
        timed = not speed.video and speed.metric == "fps_device" and speed.value and speed.model in series
        if not timed or Doubt.SOFTWARE_GPU in speed.doubts:
            continue
        own = [r for r in quality if r.size == speed.size and r.model == speed.model]
        there = [r for r in own if r.runtime == speed.runtime and r.value is not None]
        cells = next((row.cells for row in overall(there or own)), {})
        if STABILITY not in cells:
            continue
        style = cells[STYLE].value if STYLE in cells else None
        said = speed.precision in speed.runtime.split(":")
        runtime = speed.runtime if said else f"{speed.runtime} {speed.precision}"
        spot = Spot(
            series[speed.model],
            runtime,
            target(speed),
            speed.value or 0.0,
            cells[STABILITY].value,
            style,
            speed.changed,
        )
        found.setdefault(speed.size, []).append(spot)
    return found


def speed_plot(size: Size, marks: Sequence[Spot]) -> str:
    """The chart of one frame size; towards the lower right is better, and larger is nearer to the style."""
    across = figures.axis([spot.fps for spot in marks], figures.LEFT + 12, WIDTH - 24, log=True)
    up = figures.axis([spot.error for spot in marks], HEIGHT - figures.BOTTOM - 6, figures.TOP + 20, zero=True)
    body = figures.frame("", across, up, f"frames a second at {size} (device)", WIDTH, HEIGHT, "E(V), temporal error")
    bottom = HEIGHT - figures.BOTTOM - 16
    body += f'<text class="hint" x="{WIDTH - 24}" y="{bottom}" text-anchor="end">better: fast and stable ↘</text>'
    models: dict[str, list[Spot]] = {}
    for spot in sorted(marks, key=lambda spot: spot.fps):
        models.setdefault(spot.series.name, []).append(spot)
    places = {id(spot): (across(spot.fps), up(spot.error)) for spot in marks}
    for own in models.values():
        line = "L".join("{:.1f} {:.1f}".format(*places[id(spot)]) for spot in own)
        body += f'<path class="line thin {own[0].series.css}" d="M{line}"{own[0].series.dash}/>' if own[1:] else ""
    body += "".join(_mark(spot, *places[id(spot)]) for spot in marks)
    room = _Room([(x - SMALLEST, y - SMALLEST, x + SMALLEST, y + SMALLEST) for x, y in places.values()])
    for name, own in models.items():
        body += room.write("name", figures.short(name, 40), *places[id(own[0])], 6.4, must=True)
    for spot in (spot for own in models.values() for spot in reversed(own)):
        body += room.write("small", spot.runtime, *places[id(spot)], 5.5)
    return figures.svg(f"Stability, speed and style at {size}: {'; '.join(s.tip for s in marks)}", body, WIDTH, HEIGHT)


#: Left, top, right and bottom.
_Box = tuple[float, float, float, float]


class _Room:
    """Where a chart is still empty.

    Args:
        taken: where it is not.
    """

    def __init__(self, taken: Sequence[_Box]) -> None:
        self._taken = list(taken)

    def write(self, kind: str, text: str, x: float, y: float, letter: float, must: bool = False) -> str:
        """A text above or below a mark where there is room, else nothing: the tip of the mark has it too.

        Args:
            letter: how wide one is.
            must: write it above if there is no room at all.
        """
        half = letter * len(text) / 2
        middle = min(max(x, figures.LEFT + 4 + half), WIDTH - 4 - half)
        lines = (y - LARGEST - 5, y + LARGEST + 11, y - LARGEST - 17, y + LARGEST + 22)
        boxes = [(middle - half - 3, line - 9, middle + half + 3, line + 2) for line in lines]
        free = [n for n, box in enumerate(boxes) if not any(map(_overlap(box), self._taken))]
        if not free and not must:
            return ""
        chosen = free[0] if free else 0
        self._taken.append(boxes[chosen])
        return (
            f'<text class="{kind}" x="{middle:.1f}" y="{lines[chosen]:.1f}" text-anchor="middle">{escape(text)}</text>'
        )


def _overlap(one: _Box) -> Callable[[_Box], bool]:
    return lambda other: one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _mark(spot: Spot, x: float, y: float) -> str:
    """The shape of the target; the more of the style is there, the larger."""
    share = 0.5 if spot.style is None else min(max(1 - spot.style, 0.0), 1.0)
    size = SMALLEST + (LARGEST - SMALLEST) * share
    kind = f"mark {'open ' if spot.open else ''}{spot.series.css}"
    return f'<g class="{kind}">{_shape(spot.target, x, y, size)}<title>{escape(spot.tip)}</title></g>'


def _shape(name: str, x: float, y: float, size: float) -> str:
    return figures.shape(TARGETS.index(name), x, y, size)


def legend(marks: Sequence[Spot]) -> list[tuple[str, str]]:
    """Target and its shape, of those that are there."""
    there = {spot.target for spot in marks}
    sign = '<svg class="sign" viewBox="0 0 32 16" aria-hidden="true"><g class="mark">{}</g></svg>'
    return [(name, sign.format(_shape(name, 16, 8, 6))) for name in TARGETS if name in there]
