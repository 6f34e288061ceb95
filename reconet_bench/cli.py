"""The command line: finds the commands, and turns every user error into one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from reconet_bench.commands.base import COMMANDS, Parser, err
from reconet_bench.core.cache import cache_limit, trim
from reconet_bench.core.errors import ReconetBenchError, enough_memory
from reconet_bench.core.version import __version__

#: Exit code for anything that a user can fix.
USER_ERROR = 2
#: Commands that pass what follows ``--`` to another one.
HANDED_ON = {"study": "train"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``reconet-bench``."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        cache_limit()  # a mistake in it is told before the work
        with enough_memory("for this: take smaller frames, fewer of them, or a smaller batch"):
            options.run(options)
        trim()
    except ReconetBenchError as error:
        _fail(str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror or error}{where}")
    except KeyboardInterrupt as interrupt:
        _fail(str(interrupt) or "stopped")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line, and its ``words``.

    A command of :data:`HANDED_ON` passes what follows ``--`` to another command. These words are kept as
    ``handed_on``, and parsed as ``handed_on_options``, so that a mistake in them is found before anything begins. They
    are split off here because argparse of Python 3.11 does not support it.
    """
    parser = build_parser()
    receiver = HANDED_ON.get(words[0]) if words else None
    if receiver is None:
        return parser.parse_args(words, argparse.Namespace(words=list(words)))
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.handed_on = list(words[end + 1 :])
    options.handed_on_options = parser.parse_args([receiver, *options.handed_on])
    return options


def _fail(message: str) -> NoReturn:
    err.print(f"reconet-bench: {' '.join(message.split())}", markup=False, style="red")
    sys.exit(USER_ERROR)


class _Parser(Parser):
    """A parser whose errors are one line like all others."""

    def error(self, message: str) -> NoReturn:
        _fail(f"{message} (see: {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each command's function is its ``run``."""
    parser = _Parser(
        prog="reconet-bench",
        formatter_class=RawDescriptionRichHelpFormatter,
        description="Train ReCoNet, export it, and compare video style transfer: speed, stability, fidelity.",
        epilog="Start here:  reconet-bench compare",
    )
    parser.add_argument("--version", action="version", version=f"reconet-bench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            epilog=f"Example:  {command.example}",
            formatter_class=RawDescriptionRichHelpFormatter,
        )
        command.add_options(sub)
        sub.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    main()
