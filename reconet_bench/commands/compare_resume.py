"""``compare --resume``: the settings of a run that ended early, from its folder."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import Command, Parser, warn
from reconet_bench.core.errors import DataError

if TYPE_CHECKING:
    from reconet_bench.benchmark.journal import Journal
    from reconet_bench.benchmark.plan import Plan

#: Options that say nothing of what is measured: they may be given beside ``--resume``.
FREE = frozenset({"resume", "json", "on"})


def resumed(command: Command, options: Any) -> Any:
    """The options of the run that ``options.resume`` names, with :data:`FREE` ones as they are given now.

    Raises:
        DataError: it is no run that can go on, or an option says something else than the run's own.
    """
    folder = options.resume
    facts = run_facts(folder)
    program, *words = shlex.split(str(facts.get("command", "")))[1:] or [""]
    if program != "compare":
        raise DataError(f"--resume {folder}: provenance.json does not name the compare command that made the run")
    now = given(command, options.words[1:])
    own = Parser(add_help=False, prog=f"{folder}/provenance.json")
    command.add_options(own)
    then = own.parse_args(words)
    flags = {action.dest: max(action.option_strings, key=len) for action in own._actions}
    for name, value in now.items():
        if name == "output" and value.resolve() == folder.resolve():
            continue
        if name not in FREE and value != getattr(then, name):
            raise DataError(f"--resume {folder}: {flags[name]} is not what the run was begun with: leave it out")
    vars(then).update({name: getattr(options, name) for name in FREE}, output=folder)
    return then


def given(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """The options that stand on a command line, defaults left out."""
    parser = Parser(add_help=False, prog="reconet-bench compare")
    command.add_options(parser)
    nothing = object()
    blank = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), nothing))
    return {name: value for name, value in vars(parser.parse_args(words, blank)).items() if value is not nothing}


def run_facts(folder: Path) -> dict[str, Any]:
    """The provenance of a run.

    Raises:
        DataError: it cannot be read.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"--resume {folder}: not a run folder of compare: no provenance.json") from None
    return facts


def check_unchanged(folder: Path, plan: Plan, seed: int, journal: Journal) -> None:
    """Raise DataError where what is measured, or what measures it, is not what it was when the run began."""
    from reconet_bench.benchmark.provenance import another_machine, provenance, what_changed

    then, now = run_facts(folder), provenance(plan, seed, decode=False)
    changed = what_changed(then, now)
    for clip in plan.clips:
        pixels = {outcome.pixels for task, outcome in journal.done.items() if task.clip == clip.title}
        if changed is None and pixels and pixels != {plan.content.digest(clip)}:
            changed = f"the frames of {clip.title} have changed"
    machine = another_machine(then, now)
    if changed is None and machine and plan.rounds:
        changed = f"{machine}, and speeds of two machines are not compared"
    if changed is not None:
        raise DataError(f"--resume {folder}: {changed}: start another run")
    if machine:
        warn(f"{machine}: the last digits of numbers may differ")
