"""``reconet-bench report``: rebuild the page and the tables of past runs from their folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, err, out, writable


@COMMANDS.register("report")
class Report(Command):
    """``reconet-bench report``."""

    summary = "Rebuild the page and tables of past runs from their folders."
    example = "reconet-bench report reports/sample"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders that compare wrote")
        parser.add_argument("--latex", action="store_true", help="also write table.tex, the main table for a paper")
        parser.add_argument(
            "--parquet", action="store_true", help="also write records.parquet, one number a row; needs pyarrow"
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="DIR",
            help="output folder; several runs get a subfolder each (default: the run folder)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.report.parquet import check_parquet, write_parquet
        from reconet_bench.report.run import load_run
        from reconet_bench.report.run_folder import write_reports

        if options.parquet:
            check_parquet()
        runs = [load_run(folder) for folder in options.runs]
        several = len(runs) > 1
        if options.output and len({run.name for run in runs}) < len(runs):
            raise DataError("two of these runs have the same name: rebuild them one at a time with --output")
        for run in runs:
            target = run.folder if options.output is None else options.output / run.name if several else options.output
            names, problems = write_reports(run, writable(target), options.latex, keep=True)
            if options.parquet:
                write_parquet(target / "records.parquet", run.records)
                names.append("records.parquet")
            for line in problems:
                err.print(f"{run.folder}: {line}", style="yellow", markup=False)
            out.print(f"Written to {target}: {', '.join(names)}", markup=False)
