"""The main table for a paper: LaTeX with booktabs, one row per method, the mean over videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconet_bench.records import Record
from reconet_bench.report.overall import Cell, overall
from reconet_bench.report.tables import QUALITY, directions, quality_metrics, significant

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\char34}", "\n": " ", "\r": " ",
}  # fmt: skip
_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$"}


def latex(text: str) -> str:
    """Text as text; letters beyond ASCII stay as they are (LuaLaTeX, XeLaTeX, or a font that has them)."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def latex_table(records: Sequence[Record], differences: Sequence[dict[str, Any]] = ()) -> str:
    """A ``table`` environment; the best trained value is bold, and one with no shown difference to it is starred."""
    better, metrics = directions(records), quality_metrics(records)
    rows = overall(records, differences)
    heads = [f"{latex(QUALITY.get(metric, metric))} {_ARROWS.get(better[metric], '')}".strip() for metric in metrics]
    videos = ", ".join(dict.fromkeys(record.video for record in records if record.video))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}", r"  \centering",
        rf"  \caption{{Mean over {latex(videos)}, half the 95\,\% interval behind it. "
        r"Bold: best; $^{*}$: no difference to the best is shown (paired frames).}",
        rf"  \begin{{tabular}}{{l{'r' * len(metrics)}}}", r"    \toprule",
        f"    {' & '.join(['method', *heads])} \\\\", r"    \midrule",
        *(f"    {' & '.join([latex(row.label), *(_cell(row.cells.get(metric)) for metric in metrics)])} \\\\" for row in rows),
        r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = significant(cell.value)
    if cell.standing == "best":
        text = rf"\textbf{{{text}}}"
    if cell.low is not None and cell.high is not None:
        text += rf" {{\scriptsize$\pm${significant((cell.high - cell.low) / 2, 2)}}}"
    return text + (r"$^{*}$" if cell.standing == "tie" else "")
