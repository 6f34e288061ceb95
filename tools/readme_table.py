"""Make the README's table from the sample report: ``python tools/readme_table.py`` rewrites it in place."""

from __future__ import annotations

import re
from pathlib import Path

from reconet_bench.core.files import write_text
from reconet_bench.report.markdown import markdown
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import first_runtime, overall
from reconet_bench.report.run import Run, load_run

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- table: python tools/readme_table.py -->", "<!-- end of table -->"


def table(run: Run) -> str:
    """E(V) on each video and over all, its long-term form, style distance and content SSIM; the most stable is bold."""
    known = {(r.model, r.clip, r.metric): r.value for r in first_runtime(run.records)}
    rows = []
    for row in overall(run.records, run.differences):
        numbers = [known.get((row.model, video, "temporal_error")) for video in run.clips]
        means = [
            row.cells.get(metric)
            for metric in ("temporal_error", "temporal_error_long", "style_distance", "content_similarity")
        ]
        best = means[0] is not None and means[0].standing == "best"
        values = [*numbers, *(cell.value if cell else None for cell in means)]
        rows.append(
            [
                f"**{row.label}**" if best else row.label,
                *("–" if value is None else significant(value) for value in values),
            ]
        )
    videos = [f"{video} ↓" for video in run.clips]
    return markdown(
        ["model, and its E(V) on", *videos, "all ↓", "five frames apart ↓", "style distance ↓", "content SSIM ↑"], rows
    ).replace(r"\*\*", "**")  # cells are text, and these stars are ours


def with_table(readme: str, run: Run) -> str:
    """The README with its table made anew."""
    found = re.search(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", readme, re.S)
    if not found:
        raise SystemExit(f"README.md has no place for the table: {BEGIN} … {END}")
    return readme.replace(found[0], f"{BEGIN}\n{table(run)}{END}")


def main() -> None:
    """Rewrite the README."""
    path = ROOT / "README.md"
    write_text(path, with_table(path.read_text(encoding="utf-8"), load_run(ROOT / "reports" / "sample")))
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
