"""``compare --dry-run``: what is to be done, how long it will take, and what has to be moved."""

from __future__ import annotations

import dataclasses
import json
from time import perf_counter
from typing import TYPE_CHECKING

from reconet_bench.commands.base import err, out
from reconet_bench.core.errors import DataError

if TYPE_CHECKING:
    from reconet_bench.benchmark.forecast import Forecast
    from reconet_bench.benchmark.plan import Plan


def show_forecast(plan: Plan, began: float, as_json: bool) -> None:
    """Measure a little, and print what to expect; nothing is written.

    Args:
        began: when the command began, by ``perf_counter``.

    Raises:
        DataError: which runtimes there will be is not known before the comparison.
    """
    from reconet_bench.benchmark.calibration import calibrate
    from reconet_bench.benchmark.forecast import forecast
    from reconet_bench.runtimes.selection import AUTO

    if AUTO in plan.runtimes:
        raise DataError("--dry-run: --runtimes auto measures speed to choose by it: name the runtimes")
    start = perf_counter() - began
    with err.status("measuring a few frames"):
        found = forecast(plan, calibrate(plan), start)
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
    else:
        _print(plan, found)


def _print(plan: Plan, found: Forecast) -> None:
    from rich.table import Table

    frames = sum(map(len, plan.clips))
    tasks = Table(title=f"Quality: {len(found.seconds)} models x {len(plan.clips)} clips, {frames} frames")
    for name in ("model", "tasks", "runtimes", "one after the other"):
        tasks.add_column(name)
    for name, seconds in found.seconds.items():
        tasks.add_row(name, str(len(plan.clips)), ", ".join(plan.runtimes), _time(seconds))
    out.print(tasks)
    table = Table(title="Expected")
    for name in ("where", "tasks at once", "quality", "speed", "in all", "to the nodes", "back"):
        table.add_column(name)
    for one in found.estimates:
        where = f"{one.nodes} node{'s' if one.nodes > 1 else ''} like this" if one.nodes else "here, no engine"
        moved = (_bytes(one.sent), _bytes(one.back)) if one.nodes else ("", "")
        table.add_row(where, str(one.at_once), *map(_time, (one.quality, one.speed, one.total)), *moved)
    out.print(table)
    memory = f"{_bytes(found.memory)} of memory in each task; " if found.memory is not None else ""
    out.print(f"{memory}{_bytes(found.content)} of frames, which every node reads from its own disk")
    if any(map(plan.times, plan.models)):
        out.print("Speed takes at most this long: it ends sooner where the ratios are known sooner")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
