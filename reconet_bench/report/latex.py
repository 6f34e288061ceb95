"""The main table for a paper: LaTeX with booktabs, one row per method, the mean over videos."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconet_bench.core.record import Record
from reconet_bench.core.samples import Difference
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import Cell, ModelRow, overall
from reconet_bench.report.tables import QUALITY, directions, quality_metrics

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"\textasciigrave{}",
    "\n": " ",
    "\r": " ",
}
#: Between two signs that TeX would draw as one: a dash, a closing quote.
_LIGATURES = re.compile(r"(?<=[-'])(?=[-'])")
_DAGGER = r"$^{\dagger}$"
_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$"}


def latex(text: str) -> str:
    """Text as text; letters beyond ASCII stay as they are (LuaLaTeX, XeLaTeX, or a font that has them)."""
    return _LIGATURES.sub("{}", "".join(_SPECIAL.get(letter, letter) for letter in text))


def latex_table(records: Sequence[Record], differences: Sequence[Difference] = ()) -> str:
    """A ``table`` environment.

    The best trained value is bold; one with no shown difference to it has a star, one that was not tested a dagger. The
    content itself stands below a line, because it does not compete.
    """
    better, metrics = directions(records), quality_metrics(records)
    rows = overall(records, differences)
    names = {metric: latex(QUALITY.get(metric, metric)) for metric in metrics}
    heads = [f"{name} {_ARROWS.get(better[metric], '')}".strip() for metric, name in names.items()]
    contested = {metric for row in rows for metric, cell in row.cells.items() if cell.standing == "best"}

    def lines_of(rows: list[ModelRow]) -> list[list[str]]:
        return [
            [latex(row.label), *(_cell(row.cells.get(m), m in contested and not row.reference) for m in metrics)]
            for row in rows
        ]

    lines, below = (
        lines_of([row for row in rows if not row.reference]),
        lines_of([row for row in rows if row.reference]),
    )
    signs = "Bold: best; $^{*}$: no difference to the best is shown (paired, Holm-corrected)"
    if any(_DAGGER in cell for line in lines for cell in line):
        signs += f"; {_DAGGER}: never tested for a difference to it"
    return (
        "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{Mean over {_videos(rows, names)}, its 95\,\% interval in brackets. {signs}.}}",
                rf"  \begin{{tabular}}{{l{'r' * len(metrics)}}}",
                r"    \toprule",
                f"    {' & '.join(['method', *heads])} \\\\",
                r"    \midrule",
                *(f"    {' & '.join(line)} \\\\" for line in lines),
                *([r"    \midrule"] if lines and below else []),
                *(f"    {' & '.join(line)} \\\\" for line in below),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
            ]
        )
        + "\n"
    )


def _videos(rows: Sequence[ModelRow], names: dict[str, str]) -> str:
    """The videos behind the means; where columns differ in them, with the columns they are behind."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for metric, name in names.items():
        # All cells of a column are means over the same videos.
        if over := next((row.cells[metric].over for row in rows if metric in row.cells), ()):
            columns.setdefault(over, []).append(name)
    listed = {latex(", ".join(over)): ", ".join(heads) for over, heads in columns.items()}
    return "; ".join(f"{over} ({heads})" if len(listed) > 1 else over for over, heads in listed.items()) or "no video"


def _cell(cell: Cell | None, contested: bool) -> str:
    if cell is None:
        return "--"
    text = significant(cell.value)
    if cell.standing == "best":
        text = rf"\textbf{{{text}}}"
    if cell.low is not None and cell.high is not None:
        text += rf" {{\scriptsize[{significant(cell.low, 2)}, {significant(cell.high, 2)}]}}"
    return text + ({"tie": r"$^{*}$", "": _DAGGER}.get(cell.standing, "") if contested else "")
