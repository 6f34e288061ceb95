"""Markdown tables whose cells are text, whatever they look like."""

from __future__ import annotations

import re
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub-flavoured table; what a cell holds is text, whatever it looks like."""
    return marked_table(
        [unmarked(str(cell)) for cell in header], [[unmarked(str(cell)) for cell in row] for row in rows]
    )


def marked_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """:func:`markdown` of cells that are Markdown themselves; none of them opens a tag, a column or a line."""
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join(
            "| " + " | ".join(_on_its_line(str(cell)).replace("|", "\\|") for cell in line) + " |" for line in lines
        )
        + "\n"
    )


def as_text(text: str) -> str:
    """Text that stays on its line, and that no reader of Markdown takes for anything else."""
    return _on_its_line(unmarked(text))


def _on_its_line(text: str) -> str:
    return " ".join(re.sub(r"<(?!\s|$)", "&lt;", text.replace("&", "&amp;")).splitlines())


#: What makes text into code, emphasis, strike-through, quotes, links and footnotes, and at its begin into headings and
#: lists. An underscore within a word and the brackets of an interval do nothing, and stay as people read them.
_MARKUP = re.compile(
    r"""[\\`*~>] | (?<![^\W_])_ | _(?![^\W_]) | \](?=[(\[:])   # the bracket that ends a link's text
    | ^\[ | ^\#(?=\#{0,5}(\s|$)) | ^[-+](?=[-\s]|$)""",
    re.VERBOSE,
)


def unmarked(text: str) -> str:
    """Text in which what would be markup is escaped."""
    return re.sub(r"^(\d{1,9})([.)])(?=\s|$)", r"\1\\\2", _MARKUP.sub(r"\\\g<0>", text.strip()))
