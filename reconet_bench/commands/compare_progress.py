"""What ``compare`` shows while it is at work: numbers as they come, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from reconet_bench.commands.base import err

if TYPE_CHECKING:
    from reconet_bench.core.record import Record


class CompareProgress:
    """On a terminal a table that grows, with a bar below it; elsewhere a line for each model and video.

    Args:
        steps: how often :meth:`step` will be called.
        videos: how many each model is measured on.
    """

    def __init__(self, steps: int, videos: int) -> None:
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._videos, self._count = videos, 0
        self._said: set[tuple[str, str]] = set()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=err)
        self._task = self._bar.add_task("loading", total=steps)
        self._live = Live(self._bar, console=err, transient=True) if err.is_terminal else None

    def step(self, text: str, records: Sequence[Record]) -> None:
        """Something new is being done, and these are all records so far."""
        self._bar.update(self._task, description=text, advance=1)
        self.show(records)

    def show(self, records: Sequence[Record]) -> None:
        """The numbers that have come since."""
        from rich.console import Group

        from reconet_bench.report import terminal

        new, self._count = [record for record in records[self._count :] if record.video], len(records)
        if self._live is not None:
            if new:
                self._live.update(Group(terminal.so_far(records, self._videos), self._bar))
            return
        for place in dict.fromkeys((record.model, record.clip) for record in new):
            if place not in self._said:  # the first runtime speaks for the others
                self._said.add(place)
                runtime = next(record.runtime for record in new if (record.model, record.clip) == place)
                rows = [r for r in new if (r.model, r.clip, r.runtime) == (*place, runtime)]
                err.print(terminal.so_far_line(rows), markup=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
