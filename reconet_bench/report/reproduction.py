"""The dissertation's tables and figures: what was published, what was measured, the difference, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconet_bench.core.record import to_csv
from reconet_bench.report.markdown import as_text, markdown
from reconet_bench.report.numbers import significant
from reconet_bench.report.page import from_template
from reconet_bench.report.verdict import Card

#: What a reproduction writes.
FILES = ("reproduction.html", "reproduction.md", "reproduction.csv")
#: What stands where a number is in no source that we have.
UNKNOWN = "not known"


@dataclass(frozen=True)
class Row:
    """One quantity.

    Attributes:
        which: the method or setting that it is of.
        published: ``None`` where the dissertation's number is not known.
        said: what the dissertation says in words instead.
        note: why nothing was measured.
        unit: of all numbers.
    """

    what: str
    which: str
    published: float | None
    measured: float | None
    said: str = ""
    note: str = ""
    unit: str = ""

    @property
    def cells(self) -> list[str]:
        """As tables show it, see :data:`HEADER`."""
        published = self.said or (UNKNOWN if self.published is None else self._shown(self.published))
        measured = (self.note or "not measured") if self.measured is None else self._shown(self.measured)
        return [self.what, self.which, published, measured, self.difference]

    @property
    def difference(self) -> str:
        """Measured less published, and how many times as large."""
        if self.published is None or self.measured is None:
            return "–"
        change = self.measured - self.published
        sign = "+" if change > 0 else "−" if change < 0 else ""
        times = f" (×{significant(self.measured / self.published)})" if self.published else ""
        return f"{sign}{significant(abs(change))}{times}"

    def _shown(self, value: float) -> str:
        return f"{significant(value)}{self.unit}"


HEADER = ("what", "of", "published", "measured here", "difference")


@dataclass(frozen=True)
class Picture:
    """A picture of a figure: a WebP file, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Strip:
    """Pictures beside one another."""

    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Item:
    """A table or figure of the dissertation.

    Attributes:
        name: ``Table 5.1``.
        published: what the dissertation says.
        here: what is seen here; empty where pictures say it.
        differs: what is not the same, beside the set-up that all items share.
        charts: inline SVG.
        legend: sign and name of each line in the charts.
        strips: pictures.
        large: whether its pictures need the whole width.
    """

    name: str
    title: str
    published: str
    here: str = ""
    differs: str = ""
    rows: Sequence[Row] = ()
    charts: Sequence[str] = ()
    legend: Sequence[tuple[str, str]] = ()
    strips: Sequence[Strip] = ()
    large: bool = False

    @property
    def complete(self) -> bool:
        """Whether it shows something that was made here."""
        return bool(self.charts or self.strips or any(row.measured is not None for row in self.rows))


@dataclass(frozen=True)
class SetUp:
    """One thing about how it was made, there and here."""

    what: str
    published: str
    here: str


SET_UP_HEADER = ("set-up", "dissertation", "here")


@dataclass(frozen=True)
class Reproduction:
    """All items, and how they were made.

    Attributes:
        cards: the answers to see first.
        remarks: reasons not to take the numbers as they stand.
        facts: machine and versions, a name and a value each.
    """

    items: Sequence[Item]
    set_up: Sequence[SetUp]
    cards: Sequence[Card]
    remarks: Sequence[str]
    command: str
    facts: Sequence[tuple[str, str]] = field(default=())

    @property
    def sentence(self) -> str:
        """What there is."""
        rows = [row for item in self.items for row in item.rows if row.published is not None]
        beside = sum(row.measured is not None for row in rows)
        shown = sum(item.complete for item in self.items)
        return (
            f"{shown} of {len(self.items)} tables and figures of the dissertation are measured again; "
            f"{beside} of {len(rows)} published numbers have ours beside them"
        )


def write_reproduction(folder: Path, made: Reproduction) -> None:
    """Write :data:`FILES`."""
    from reconet_bench.core.files import write_text

    write_text(folder / "reproduction.html", reproduction_page(made))
    write_text(folder / "reproduction.md", reproduction_markdown(made))
    write_text(folder / "reproduction.csv", reproduction_csv(made))


def reproduction_page(made: Reproduction) -> str:
    """One HTML file that needs nothing but a browser."""
    return from_template("reproduction.html.j2", made=made, header=HEADER, set_up_header=SET_UP_HEADER)


def reproduction_markdown(made: Reproduction) -> str:
    """The same without pictures."""
    parts = [f"# {made.sentence}\n", *(f"- {as_text(line)}\n" for line in made.remarks)]
    for item in made.items:
        parts.append(f"\n## {item.name}: {item.title}\n\nPublished: {as_text(item.published)}\n")
        if item.here:
            parts.append(f"\nHere: {as_text(item.here)}\n")
        if item.rows:
            parts.append("\n" + markdown(HEADER, [row.cells for row in item.rows]))
        if item.charts or item.strips:
            parts.append("\nIts picture is in `reproduction.html`.\n")
        if item.differs:
            parts.append(f"\nWhat differs: {as_text(item.differs)}\n")
    set_up = [[one.what, one.published, one.here] for one in made.set_up]
    parts.append("\n## What differs in the set-up\n\n" + markdown(SET_UP_HEADER, set_up))
    parts.append(f"\n```\n{made.command}\n```\n")
    return "".join(parts)


def reproduction_csv(made: Reproduction) -> str:
    """One line for each quantity; what is not known is empty."""
    header = ("item", "what", "of", "published", "measured", "difference", "said", "note")
    return to_csv(
        (
            (
                item.name,
                row.what,
                row.which,
                row.published,
                row.measured,
                None if row.published is None or row.measured is None else row.measured - row.published,
                row.said,
                row.note,
            )
            for item in made.items
            for row in item.rows
        ),
        header,
    )
