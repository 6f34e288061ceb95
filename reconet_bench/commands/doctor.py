"""``reconet-bench doctor``: does everything here really work?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, out

if TYPE_CHECKING:
    from reconet_bench.checks.base import Finding


@COMMANDS.register("doctor")
class Doctor(Command):
    """``reconet-bench doctor``."""

    summary = "Check this installation: machine, files, runtimes and codecs, each with what to do."
    example = "reconet-bench doctor --full"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--full", action="store_true", help="try every runtime and variant, and training too; takes a few minutes"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
        parser.add_argument(
            "--report", action="store_true", help="print a block to paste into a bug report, without personal paths"
        )

    def run(self, options: Any) -> None:
        from reconet_bench.checks.base import CHECKS, Outcome, timed

        found: list[Finding] = []
        quiet = options.json or options.report
        for _, check in sorted(CHECKS.items(), key=lambda item: item[1].order):
            for finding in timed(check, options.full):
                found.append(finding)
                if not quiet:
                    _show(finding)
        if options.json:
            print(json.dumps([{**dataclasses.asdict(one), "outcome": str(one.outcome)} for one in found]))
        elif options.report:
            print(_block(found))
        counts = {kind: sum(one.outcome == kind for one in found) for kind in Outcome}
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        if not quiet:
            out.print(f"\n{said}", markup=False)
        if counts[Outcome.FAILED]:
            sys.exit(1)


def _show(finding: Finding) -> None:
    """One line as soon as it is known, and what to do below it."""
    from rich.text import Text

    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    line = Text.assemble(
        (f"{finding.outcome:<10}", colours.get(finding.outcome, "dim")), f"{finding.what:<28}", (finding.found, "")
    )
    out.print(line, soft_wrap=True)
    if finding.remedy:
        out.print(Text(f"{'':<10}{'':<28}→ {finding.remedy}", "dim"), soft_wrap=True)


def _block(found: list[Finding]) -> str:
    """What a maintainer needs, as Markdown; the home folder and the user's name are left out."""
    home, here = str(Path.home()), str(Path.cwd())

    def plain(text: str) -> str:
        return text.replace(here, ".").replace(home, "~")

    rows = [f"{one.outcome:<10}{one.what:<28}{plain(one.found)}" for one in found]
    from reconet_bench.core.provenance import versions

    facts = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join(["```", *rows, "", facts, "```"])
