"""Hook of the documentation site: the reference of the commands is their own ``--help``."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

#: Where the commands stand in a page.
MARK = "<!-- commands -->"
#: Width of the help texts, in characters.
WIDTH = 96


def commands() -> str:
    """Markdown: a section for each command, with its help."""
    os.environ["COLUMNS"] = str(WIDTH)
    from reconet_bench.cli import build_parser

    parser = build_parser()
    (subparsers,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    sections = []
    for name, command in subparsers.choices.items():
        text = re.sub(r"\x1b\[[0-9;]*m", "", command.format_help()).rstrip()
        sections.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the text of each page."""
    return markdown.replace(MARK, commands()) if MARK in markdown else markdown
