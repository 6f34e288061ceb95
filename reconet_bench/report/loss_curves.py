"""``curves.csv`` of a training run: loss terms and pace over the steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

#: Columns that are no loss terms: the pace since the row before, and the share of that time spent waiting for data.
PACE = ("steps_per_second", "waiting")
#: Column of what is optimised: the sum of the terms that have a weight and a gradient. Older curves lack it.
TOTAL = "total"
#: The share at the end of a training over which its losses are averaged.
TAIL = 0.1
#: A loss has converged where this share of its whole fall is done.
FALL = 0.9


@dataclass(frozen=True)
class Curves:
    """The rows of a ``curves.csv``; rows that are no numbers are left out.

    Attributes:
        steps: of each row.
        terms: weighted loss terms by name, a value for each row.
        pace: columns of :data:`PACE` that the file has.
        total: the loss that is optimised, a value for each row; empty where it was not noted. It is not always the sum
            of the terms: one of weight 0 is noted as it is, and one without gradients is not optimised.
    """

    steps: list[int] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    pace: dict[str, list[float]] = field(default_factory=dict)
    total: list[float] = field(default_factory=list)

    def table(self) -> dict[str, list[float]]:
        """Every column but the steps, by name, in the order in which training writes them."""
        return {**self.terms, **({TOTAL: self.total} if self.total else {}), **self.pace}

    def waiting(self) -> float | None:
        """Share of the whole run that was spent waiting for data; ``None`` where that was not noted."""
        if not all(name in self.pace for name in PACE) or not self.steps:
            return None
        counts = [after - before for before, after in zip([0, *self.steps], self.steps, strict=False)]
        seconds = [n / max(rate, 1e-9) for n, rate in zip(counts, self.pace["steps_per_second"], strict=True)]
        return sum(s * share for s, share in zip(seconds, self.pace["waiting"], strict=True)) / max(sum(seconds), 1e-9)


def parse_curves(text: str) -> Curves:
    """The content of a ``curves.csv``, of any version and however broken."""
    header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    if header[:1] != ["step"]:
        return Curves()
    numbers = []
    for row in rows:
        try:
            numbers.append([int(row[0]), *map(float, row[1:])])
        except (ValueError, IndexError):
            continue
    whole = [row for row in numbers if len(row) == len(header)]
    columns = {name: [row[place] for row in whole] for place, name in enumerate(header) if place}
    return Curves(
        [int(row[0]) for row in whole],
        {name: values for name, values in columns.items() if name not in (*PACE, TOTAL)},
        {name: columns[name] for name in PACE if name in columns},
        columns.get(TOTAL, []),
    )


def tail(values: Sequence[float]) -> float | None:
    """Mean over the last tenth; ``None`` where there is no value."""
    return fmean(values[-max(1, round(TAIL * len(values))) :]) if values else None


def converged(curves: Curves, term: str) -> float | None:
    """The share of a training after which :data:`FALL` of a loss's fall is done; ``None`` where it does not fall.

    The fall goes from the first row of the curve to the mean of its last tenth.
    """
    values = curves.total if term == TOTAL else curves.terms.get(term, [])
    end = tail(values)
    if end is None or end >= values[0]:
        return None
    limit = values[0] - FALL * (values[0] - end)
    return next(step for step, value in zip(curves.steps, values, strict=True) if value <= limit) / curves.steps[-1]
