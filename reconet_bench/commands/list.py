"""``reconet-bench list``: show methods, models, runtimes (with the reason one is missing), metrics and data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, out


@COMMANDS.register("list")
class List(Command):
    """``reconet-bench list``."""

    summary = "Show methods, models, runtimes (with the reason one is missing), metrics and data."
    example = "reconet-bench list runtimes"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", nargs="*", metavar="KIND", help="methods, models, runtimes, metrics, data (default: all)")
        parser.add_argument("--sintel", type=Path, metavar="DIR", help="folder that holds Sintel's 'training'")

    def run(self, options: Any) -> None:
        from reconet_bench.errors import UnknownName
        from reconet_bench.report.terminal import listing
        from reconet_bench.subjects import inventory

        known = inventory(options.sintel)
        for name in options.what or known:
            if name not in known:
                raise UnknownName("kind", name, known)
            out.print(listing(name, known[name]))
