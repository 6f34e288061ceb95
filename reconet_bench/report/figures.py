"""Charts as inline SVG: a few hundred characters each, coloured by the page's own variables, so that they follow
its dark and light and print as sharp as text. Every series has a colour of Okabe & Ito, a dash and a marker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from reconet_bench.core.doubts import Doubt
from reconet_bench.report.numbers import significant

#: Drawing area: every panel has this size, and the page scales it to its column.
WIDTH, HEIGHT = 300, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 30, 36
#: Units that one line of a label takes.
LINE = 13
#: Stroke patterns by series; the first is unbroken.
DASHES = ("", "6 3", "2 3", "8 3 2 3", "10 4", "4 2")
#: How many colours the page knows; series beyond them start again, told apart by their dash.
COLOURS = 6


@dataclass(frozen=True)
class Series:
    """Points of one model.

    Attributes:
        slot: which colour, dash and marker; -1 is the reference, grey.
    """

    name: str
    points: Sequence[tuple[float, float]]
    slot: int

    @property
    def css(self) -> str:
        """Class of its colour."""
        return "s0" if self.slot < 0 else f"s{self.slot % COLOURS + 1}"

    @property
    def dash(self) -> str:
        """Attribute of its stroke pattern."""
        pattern = "1 3" if self.slot < 0 else DASHES[(self.slot + self.slot // COLOURS) % len(DASHES)]
        return f' stroke-dasharray="{pattern}"' if pattern else ""


@dataclass(frozen=True)
class Axis:
    """A range of values laid on a range of the drawing, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-12))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers within the range: four to six, on a logarithmic axis 1, 2 and 5 of each decade."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            few = [10.0**d for d in decades if self.low <= 10.0**d <= self.high]
            many = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
            return few if len(few) > 2 else many
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis(values: Sequence[float], start: float, end: float, zero: bool = False, log: bool = False) -> Axis:
    """An axis that holds all values with a little room; ``zero`` begins it at 0."""
    if log:
        positive = [value for value in values if value > 0] or [1.0]
        return Axis(min(positive) / 1.3, max(positive) * 1.3, start, end, log=True)
    low, high = min(values), max(values)
    if zero and low >= 0:
        return Axis(0, high * 1.08 or 1, start, end)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1
    return Axis(low - room, high + room, start, end)


def shape(kind: int, x: float, y: float, size: float) -> str:
    """One of four shapes: circle, square, triangle, diamond."""
    s = size
    return {
        0: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s:.1f}"/>',
        1: f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}"/>',
        2: f'<path d="M{x:.1f} {y - 1.2 * s:.1f}L{x + 1.1 * s:.1f} {y + 0.8 * s:.1f}H{x - 1.1 * s:.1f}Z"/>',
        3: f'<path d="M{x:.1f} {y - 1.3 * s:.1f}L{x + 1.3 * s:.1f} {y:.1f}L{x:.1f} {y + 1.3 * s:.1f}'
        f'L{x - 1.3 * s:.1f} {y:.1f}Z"/>',
    }[kind % 4]


def marker(series: Series, x: float, y: float, size: float = 3, tip: str = "") -> str:
    """A mark whose shape tells the series where colour does not."""
    drawn = shape(series.slot, x, y, size) if series.slot >= 0 else shape(0, x, y, 0.7 * size)
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<g class="mark {series.css}">{drawn}{title}</g>'


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    values: Axis | None = None,
    log: bool = False,
    cursor: str | None = None,
) -> str:
    """Curves over frames or steps.

    Args:
        values: a vertical axis shared with other panels.
        cursor: name of a video, whose player moves a line over this panel.
    """
    points = [point for one in series for point in one.points]
    across = Axis(
        min(x for x, _ in points), max(max(x for x, _ in points), min(x for x, _ in points) + 1), LEFT, WIDTH - RIGHT
    )
    up = values or axis([y for _, y in points], HEIGHT - BOTTOM, TOP, log=log)
    body = frame(title, across, up, x_label)
    if cursor is not None:
        step = across(across.low + 1) - across(across.low)
        body += (
            f'<line class="cursor" data-video="{escape(cursor)}" data-zero="{across(0):.2f}" data-step="{step:.3f}" '
            f'x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}" style="display:none"/>'
        )
    for one in series:
        path = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in one.points)
        body += f'<path class="line {one.css}" d="M{path}"{one.dash}><title>{escape(one.name)}</title></path>'
        if len(one.points) <= 60:
            body += "".join(
                marker(one, across(x), up(y), 2.2, f"{one.name}, {x_label} {x:g}: {significant(y)}")
                for x, y in one.points
            )
    return svg(f"{title}: {', '.join(one.name for one in series)}", body)


@dataclass(frozen=True)
class Point:
    """A model in the trade-off: where it stands, with intervals, and how fast it is (``None`` unknown)."""

    series: Series
    x: float
    y: float
    x_interval: tuple[float, float] | None
    y_interval: tuple[float, float] | None
    fps: float | None


def trade_off(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Style against stability; the area of a mark is its speed. Towards the lower left is better."""
    width, height = 430, 300
    across = axis([p.x for p in points], LEFT, width - 20, log=True)
    up = axis([v for p in points for v in (p.y, *(p.y_interval or ()))], height - BOTTOM - 6, TOP, zero=True)
    body = frame("", across, up, x_label, width, height, y_label)
    body += f'<text class="hint" x="{LEFT + 16}" y="{height - BOTTOM - 16}">↙ better: stylised and stable</text>'
    fastest = max((p.fps for p in points if p.fps), default=1.0)
    taken: list[tuple[float, float, float]] = []
    for p in sorted(points, key=lambda p: -p.y):
        x, y = across(p.x), up(p.y)
        if p.y_interval:
            low, high = (up(bound) for bound in p.y_interval)
            body += f'<path class="whisker {p.series.css}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
        if p.x_interval and p.x_interval[0] > 0:
            low, high = (across(bound) for bound in p.x_interval)
            body += f'<path class="whisker {p.series.css}" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
        size = 5 + 5 * math.sqrt(p.fps / fastest) if p.fps else 6
        speed = f", {significant(p.fps)} fps" if p.fps else ""
        body += marker(p.series, x, y, size, f"{p.series.name}: {significant(p.x)}, {significant(p.y)}{speed}")
        name = short(p.series.name, 24)
        extent = 6.2 * len(name)
        right = x + 16 + extent < width
        begin = x + size + 6 if right else x - size - 6
        left, line = begin - (0 if right else extent), y + 4
        while any(abs(line - other) < LINE and left < stop and start < left + extent for start, stop, other in taken):
            line += 1  # two models that stand together would write over each other
        taken.append((left, left + extent, line))
        anchor = "start" if right else "end"
        body += f'<text class="name" x="{begin:.1f}" y="{line:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
    return svg(f"{y_label} against {x_label}", body, width, height)


@dataclass(frozen=True)
class Bar:
    """A model in a runtime: frames a second, and why not to take them as they stand."""

    series: Series
    runtime: str
    value: float
    doubts: Sequence[Doubt] = ()


def bars(title: str, rows: Sequence[Bar], unit: str) -> str:
    """Horizontal bars, grouped by model; one in doubt is drawn open."""
    width, step = 430, 25
    left = max(116, 10 + round(6.1 * min(max(len(row.runtime) for row in rows), 28)))
    groups = list(dict.fromkeys(row.series.name for row in rows))
    height = TOP + step * (len(rows) + len(groups)) + 10
    scale = Axis(0, max(row.value for row in rows) or 1, left, width - 118)
    body, y = f'<text class="title" x="0" y="16">{escape(title)}</text>', TOP + 14.0
    for group in groups:
        body += f'<text class="name" x="0" y="{y:.0f}">{escape(short(group, 60))}</text>'
        y += 8
        for row in (row for row in rows if row.series.name == group):
            kind = "bar open" if row.doubts else "bar"
            text = f"{significant(row.value)} {unit}" + (f" · {short(row.doubts[0], 14)}" if row.doubts else "")
            tip = "; ".join([f"{group}, {row.runtime}: {text}", *(doubt.sentence for doubt in row.doubts)])
            body += (
                f'<text x="{left - 8}" y="{y + 12:.0f}" text-anchor="end">{escape(short(row.runtime, 28))}</text>'
                f'<rect class="{kind} {row.series.css}" x="{left}" y="{y:.0f}" '
                f'width="{max(scale(row.value) - left, 1):.1f}" height="15" rx="2">'
                f"<title>{escape(tip)}</title></rect>"
                f'<text class="value" x="{scale(row.value) + 6:.1f}" y="{y + 12:.0f}">{escape(text)}</text>'
            )
            y += step - 4
        y += 17
    return svg(title, body, width, max(int(y) - 8, height - step))


def legend_mark(series: Series) -> str:
    """The sign of a series, for a legend in HTML."""
    body = f'<path class="line {series.css}" d="M1 8H31"{series.dash}/>' + marker(series, 16, 8, 4)
    return f'<svg class="sign" viewBox="0 0 32 16" aria-hidden="true">{body}</svg>'


def short(text: str, length: int) -> str:
    """A name cut to what a chart has room for; the table has all of it."""
    return text if len(text) <= length else text[: length - 1] + "…"


def frame(
    title: str, across: Axis, up: Axis, x_label: str, width: int = WIDTH, height: int = HEIGHT, y_label: str = ""
) -> str:
    """Title, grid, ticks and labels."""
    right, bottom = across.end, up.start
    body = f'<text class="title" x="{LEFT - 44}" y="16">{escape(short(title or y_label, 38))}</text>'
    form: Callable[[float], str] = significant
    for tick in up.ticks():
        y = up(tick)
        body += (
            f'<path class="grid" d="M{across.start:.0f} {y:.1f}H{right:.0f}"/>'
            f'<text x="{across.start - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{form(tick)}</text>'
        )
    ticks = across.ticks()
    whole = [tick for tick in ticks if tick == int(tick)]
    for tick in whole if len(whole) > 1 and not across.log else ticks:
        body += f'<text x="{across(tick):.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{form(tick)}</text>'
    middle = (across.start + right) / 2
    return f'{body}<text class="label" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>'


def svg(label: str, body: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'
