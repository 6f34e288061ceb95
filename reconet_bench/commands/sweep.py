"""``reconet-bench sweep``: sizes × batches × threads × runtimes: how the time of a frame grows with its pixels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_onnx_options,
    at_least,
    err,
    onnx_hints,
    out,
    own_folder,
    size,
    stopped,
    warn,
)
from reconet_bench.commands.engine_option import add_engine_option, chosen_place
from reconet_bench.core.errors import DataError

if TYPE_CHECKING:
    from reconet_bench.benchmark.sweep import SweepResult, SweepRow
    from reconet_bench.models.loading import Model


@COMMANDS.register("sweep")
class Sweep(Command):
    """``reconet-bench sweep``."""

    summary = "Time runtimes at several frame sizes, batch sizes and thread counts."
    example = "reconet-bench sweep --sizes 256 512 1024x436 --runtimes torch openvino:bf16 -o reports/sweep"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "model",
            nargs="?",
            default="reconet-starry_night",
            metavar="MODEL",
            help="a shipped model by name, a checkpoint, or an ONNX file (default: reconet-starry_night)",
        )
        parser.add_argument(
            "--sizes",
            nargs="+",
            type=size,
            default=[],
            metavar="WxH",
            help="frame sizes (default: 256 512 1024x436 1280x720 1920x1080)",
        )
        parser.add_argument(
            "--runtimes",
            nargs="+",
            default=[],
            metavar="NAME",
            help="runtimes and variants, see: reconet-bench list runtimes (default: the usual ones that are installed)",
        )
        parser.add_argument(
            "--threads",
            nargs="+",
            type=at_least(1),
            default=[],
            metavar="N",
            help="CPU threads, several to compare them (default: all)",
        )
        parser.add_argument(
            "--batch",
            nargs="+",
            type=at_least(1),
            default=[1],
            metavar="N",
            help="batch sizes; times are per frame; auto is chosen with single frames (default: 1)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="auto is CUDA where there is one (default: auto)",
        )
        parser.add_argument(
            "--rounds", type=at_least(1), default=5, metavar="N", help="rounds of interleaved timing (default: 5)"
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            default=Path("reports/sweep"),
            metavar="DIR",
            help="folder for the tables and the plot; a sweep that is stopped leaves its rows (default: reports/sweep)",
        )
        add_engine_option(parser)
        add_onnx_options(parser)

    def run(self, options: Any) -> None:
        with own_folder(options.output, "sweep", "sweep.csv") as target:
            self._sweep(options, target)

    def _sweep(self, options: Any, target: Path) -> None:
        from reconet_bench.benchmark.sweep import SECONDS, SIZES, SweepPlan, SweepResult, sweep
        from reconet_bench.benchmark.sweep_away import sweep_away
        from reconet_bench.benchmark.timing import TimingOptions
        from reconet_bench.models import loading
        from reconet_bench.runtimes import selection

        result, failure = SweepResult(), None

        def say(line: str) -> None:
            err.print(line, markup=False)
            growing.grow(result)

        names = selection.usable_runtimes(options.runtimes, warn)
        with loading.workspace() as folder:
            model = loading.load_by_name(options.model, Path(folder), onnx_hints(options), warn, guess=False)
            plan = SweepPlan(
                model,
                options.sizes or SIZES,
                names,
                options.threads or [None],
                options.batch,
                options.device,
                TimingOptions(options.rounds, SECONDS),
            )
            growing = _GrowingSweep(target, model, options.rounds)
            try:
                if options.on is None:
                    sweep(plan, say, warn, result)
                else:
                    with chosen_place(options.on) as place:
                        sweep_away(plan, place, say, result)
                    for line in result.skipped:
                        warn(f"skipped {line}")
            except BaseException as stop:  # whatever it was that stopped it, an hour of rows is kept
                if not result.rows:
                    raise
                failure = stop
        _write(target, model, result, options.rounds, failure is not None)
        if failure is None:
            return
        raise stopped(failure, target)


#: What a sweep leaves; the plot only where it can be drawn.
_FILES = ("sweep.csv", "sweep.md", "provenance.json", "sweep.svg")


class _GrowingSweep:
    """The table in its folder, which grows while it is measured: whatever ends the process leaves the rows so far.

    The first rows take the place of an earlier sweep in the folder, which is not touched before.
    """

    def __init__(self, target: Path, model: Model, rounds: int) -> None:
        self._target, self._model, self._rounds, self._count = target, model, rounds, 0

    def grow(self, result: SweepResult) -> None:
        """Append the rows that have come since the last call."""
        from reconet_bench.core.files import write_text
        from reconet_bench.core.record import to_csv

        new = result.rows[self._count :]
        if not new:
            return
        table = self._target / "sweep.csv"
        if self._count:
            with table.open("a", encoding="utf-8", newline="") as file:
                file.write(to_csv(_cells(new)))
        else:
            for name in _FILES[1:]:
                (self._target / name).unlink(missing_ok=True)
            _write_facts(self._target, self._model, result, self._rounds, interrupted=True)
            write_text(table, to_csv(_cells(new), _columns()))
        self._count = len(result.rows)


def _columns() -> list[str]:
    from reconet_bench.benchmark.sweep import SweepRow

    return [field.name for field in fields(SweepRow)]


def _cells(rows: Sequence[SweepRow]) -> list[list[object]]:
    from reconet_bench.report.numbers import exact

    return [[exact(value) for value in astuple(row)] for row in rows]


def _write_facts(target: Path, model: Model, result: SweepResult, rounds: int, interrupted: bool) -> None:
    """Where the numbers come from."""
    from reconet_bench.core.files import write_text
    from reconet_bench.core.provenance import describe

    facts = {
        **describe(),
        **result.nodes,
        "threads": sorted({row.threads for row in result.rows}),
        "models": {model.source.name: model.checksum},
        "rounds": rounds,
        "chosen": result.chosen,
        "skipped": result.skipped,
        "interrupted": interrupted,
    }
    write_text(target / "provenance.json", json.dumps(facts, indent=2, sort_keys=True) + "\n")


def _write(target: Path, model: Model, result: SweepResult, rounds: int, interrupted: bool) -> None:
    """Print the tables, and leave the files."""
    from reconet_bench.benchmark.sweep import growth
    from reconet_bench.core.files import write_text
    from reconet_bench.core.machine import cpu_name
    from reconet_bench.core.record import to_csv
    from reconet_bench.report.markdown import as_text, markdown
    from reconet_bench.report.numbers import PARITY_HEADER, parity_cells, significant
    from reconet_bench.report.sweep_plot import plot
    from reconet_bench.report.terminal import plain_table

    rows = result.rows
    header = (
        "runtime",
        "threads",
        "size",
        "batch",
        "ms a frame",
        "p90 ms",
        "end to end ms",
        "fps",
        *PARITY_HEADER,
        "note",
    )
    shown = [
        [
            row.runtime,
            str(row.threads),
            str(row.size),
            str(row.batch),
            *map(significant, (row.device_ms, row.p90_ms, row.end_to_end_ms, row.fps)),
            *parity_cells(row.psnr, row.temporal_error_change),
            row.note,
        ]
        for row in rows
    ]
    of_growth = ("runtime", "threads", "batch", "time grows as pixels^", "ms a megapixel", "note")
    grown = [
        [g.runtime, str(g.threads), str(g.batch), f"{g.exponent:.2f}", significant(g.ms_per_megapixel), g.note]
        for g in growth(rows)
    ]
    title = f"{model.source.name}, {result.machine or (cpu_name() if rows[0].device == 'cpu' else rows[0].device)}"
    remarks = [
        *([model.against] if model.against else []),
        *(["interrupted: the table holds what was measured before"] if interrupted else []),
        *(f"auto: {line}" for line in result.chosen),
        *(f"skipped {line}" for line in result.skipped),
    ]
    texts = [markdown(header, shown), *([markdown(of_growth, grown)] if grown else [])]
    write_text(target / "sweep.csv", to_csv(_cells(rows), _columns()))
    write_text(
        target / "sweep.md",
        "\n".join([f"# Sweep\n\n{title}\n", *texts, *(f"- {as_text(remark)}" for remark in remarks), ""]),
    )
    _write_facts(target, model, result, rounds, interrupted)
    out.print(plain_table(header, shown, left=(0, 2, 10)))
    if model.against:
        out.print(f"PSNR and ΔE(V): {model.against}", markup=False)
    if grown:
        out.print(plain_table(of_growth, grown, left=(0, 5)))
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        label = f"{row.runtime}, {row.threads} threads" + (f", batch {row.batch}" if row.batch > 1 else "")
        lines.setdefault(label, []).append((row.size.pixels, row.device_ms))
    written = list(_FILES[:3])
    try:
        written.append(plot(target / "sweep.svg", lines, title).name)
    except DataError as reason:
        err.print(str(reason), style="yellow", markup=False)
    out.print(f"Written to {target}: {', '.join(written)}", markup=False)
