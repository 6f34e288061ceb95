"""``reconet-bench runs``: list past runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, err, out


@COMMANDS.register("runs")
class Runs(Command):
    """``reconet-bench runs``."""

    summary = "List past runs: when, what was compared, and the command that repeats it."
    example = "reconet-bench runs reports"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "folder",
            nargs="?",
            type=Path,
            default=Path("reports"),
            metavar="DIR",
            help="folder to search (default: reports)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.report.run import find_runs, load_run
        from reconet_bench.report.terminal import history

        found = []
        for folder in find_runs(options.folder):
            try:
                found.append(load_run(folder))
            except DataError as error:
                err.print(f"skipped {error}", style="yellow", markup=False)
        if not found:
            raise DataError(f"no run in {options.folder}: create one with reconet-bench compare")
        out.print(history(sorted(found, key=lambda run: (run.time, str(run.folder)))))
