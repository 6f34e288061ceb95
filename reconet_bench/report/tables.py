"""Tables from records: one row per method, video and runtime; differences; speed; what is missing and why."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from reconet_bench.core.record import COLUMNS, Record
from reconet_bench.core.samples import Difference
from reconet_bench.report.published_results import published_for

#: Metrics of the quality table, in order, with a short heading.
QUALITY = {
    "temporal_error": "E(V)",
    "temporal_error_long": "E(V) long",
    "warping_error": "warping error",
    "ssim_adjacent_warped": "SSIM warped",
    "ssim_adjacent": "SSIM adj.",
    "content_similarity": "content SSIM",
    "style_distance": "style dist.",
    "content_temporal_error": "content E(V)",
    "traceable_share": "traceable",
}
#: Metrics of the speed table.
SPEED = {
    "fps_device": "fps",
    "fps_end_to_end": "fps end to end",
    "latency_device": "median ms",
    "latency_device_p90": "p90 ms",
    "latency_device_p99": "p99 ms",
    "latency_device_spread": "spread",
    "speed_up": "× torch",
    "load_time": "load s",
    "first_frame": "first frame ms",
    "peak_memory": "peak MiB",
    "parity_max_abs": "max abs",
    "parity_psnr": "PSNR dB",
    "temporal_error_change": "ΔE(V) %",
}
#: Metrics whose samples are squared and whose value is the root of their mean; a frame alone is shown by its root.
SQUARED = ("temporal_error", "temporal_error_long", "content_temporal_error")
ARROWS = {"lower": "↓", "higher": "↑", "reference": ""}
_SUBJECT = ["method", "style", "model"]
_PLACE = ["video", "source", "runtime", "precision", "device", "height", "width"]


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a data frame with the columns of :class:`~reconet_bench.core.record.Record`."""
    return pd.DataFrame([{**vars(record), "video": record.clip} for record in records], columns=list(COLUMNS))


def summary(records: Sequence[Record]) -> pd.DataFrame:
    """One row per model, video and runtime; columns are metrics, intervals as ``METRIC_low``/``METRIC_high``.

    Speed, which belongs to a model, runtime and frame size, is repeated on each video of that size.
    """
    table = frame_of(records)
    quality = _wide(table[table.video != ""], _SUBJECT + _PLACE)
    # Rows to be compared stand together: by video, then model, then runtime, each in order of appearance.
    by = ["video", "model", "runtime"]
    quality = quality.sort_values(
        by, key=lambda column: column.map(list(dict.fromkeys(column)).index), kind="stable", ignore_index=True
    )
    speed_rows = table[table.video == ""]
    if speed_rows.empty:
        return quality
    keys = [*_SUBJECT, "runtime", "precision", "device", "height", "width"]
    # A metric of both, of which a broken run may have one, keeps its name where it is of a video.
    return quality.merge(_wide(speed_rows, keys), on=keys, how="left", suffixes=("", "_of_no_video"))


def spreadsheet(table: pd.DataFrame) -> str:
    """A table as CSV for people: a name that a spreadsheet would run as a formula gets an apostrophe, which keeps it text.

    The files for programs (``records.csv`` and the like) hold names as they are.
    """

    def as_name(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell

    return str(table.rename(columns=as_name).map(as_name).to_csv(index=False))


def _wide(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in table.to_dict("records"):
        row = rows.setdefault(tuple(record[key] for key in keys), {key: record[key] for key in keys})
        row[record["metric"]] = record["value"]
        if pd.notna(record["ci_low"]):
            row[f"{record['metric']}_low"], row[f"{record['metric']}_high"] = record["ci_low"], record["ci_high"]
    return pd.DataFrame(list(rows.values()), columns=None if rows else keys)


def directions(records: Iterable[Record]) -> dict[str, str]:
    """Which way each metric is better, read from the records."""
    return {record.metric: record.better for record in records}


def absences(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(metric, where, reason) of each metric that could not be measured, each reason once per video."""
    seen: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.value is None and record.note:
            where = seen.setdefault((record.metric, record.note), [])
            place = record.clip or record.runtime
            if place not in where:
                where.append(place)
    return [(metric, ", ".join(where), note) for (metric, note), where in seen.items()]


def remarks(records: Iterable[Record]) -> list[str]:
    """What to know about rows that do have values, such as leakage; each once."""
    return list(
        dict.fromkeys(
            f"{r.model} on {r.clip or r.runtime}: {r.remark}" for r in records if r.value is not None and r.remarks
        )
    )


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """``0.0312 [0.0300, 0.0325]``; a dash where there is no value, no bracket where there is no interval."""
    if value is None or pd.isna(value):
        return "–"
    text = significant(value)
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return text
    return f"{text} [{significant(low)}, {significant(high)}]"


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits, plain notation, never more than five decimals; counts from 1000 as integers."""
    if value == 0:
        return "0"
    if abs(value) < 10 ** (-digits - 2):
        return f"{value:.1e}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def heading(metric: str, names: dict[str, str], better: dict[str, str]) -> str:
    """``E(V) ↓``: short name and direction."""
    return f"{names.get(metric, metric)} {ARROWS.get(better.get(metric, ''), '')}".strip()


def quality_metrics(records: Iterable[Record]) -> list[str]:
    """Metrics of quality that have values, in the order of the table; those of a newer version come last."""
    found = {record.metric for record in records if record.video and record.value is not None}
    return [metric for metric in QUALITY if metric in found] + sorted(found - QUALITY.keys())


def quality_markdown(records: Sequence[Record]) -> str:
    """The quality table with intervals, one row per method, video and runtime."""
    table, better = summary(records), directions(records)
    metrics = quality_metrics(records)
    rows = []
    for row in rows_of(table):
        cells = [with_interval(row[m], row.get(f"{m}_low"), row.get(f"{m}_high")) for m in metrics]
        rows.append([row["video"], label(row, table), row["runtime"], *cells])
    return markdown(["video", "method", "runtime", *(heading(m, QUALITY, better) for m in metrics)], rows)


def speed_markdown(records: Sequence[Record]) -> str:
    """The speed table, one row per model, runtime and size; empty where nothing was timed."""
    rows, metrics = speed_rows(records)
    better = directions(records)
    if not rows:
        return ""
    return markdown(["model", "runtime", "size", *(heading(m, SPEED, better) for m in metrics), "note"], rows)


def speed_rows(records: Sequence[Record], metrics: Iterable[str] = SPEED) -> tuple[list[list[str]], list[str]]:
    """Cells of the speed table and the metrics that have values."""
    timed = [record for record in records if record.video == ""]
    found = [metric for metric in metrics if any(r.metric == metric and r.value is not None for r in timed)]
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in timed:
        said = record.precision in record.runtime.split(":")
        place = (
            record.runtime
            + ("" if said else f" {record.precision}")
            + ("" if record.device == "cpu" else f" {record.device}")
        )
        groups.setdefault((record.model, place, f"{record.width}x{record.height}"), []).append(record)
    rows = []
    for key, group in groups.items():
        values = {record.metric: record for record in group}
        shown = [values[metric] for metric in found if metric in values and values[metric].value is not None]
        notes = dict.fromkeys(remark for record in shown for remark in record.remarks)  # each once
        cells = [_speed_cell(values.get(metric)) for metric in found]
        rows.append([*key, *cells, "; ".join(notes)])
    return rows, found


def _speed_cell(record: Record | None) -> str:
    if record is None:
        return "–"
    return record.note if record.value is None else significant(record.value)


def differences_markdown(rows: Sequence[Difference]) -> str:
    """Paired differences between methods, as a Markdown table."""
    header = ["metric", "video", "first − second", "difference", "frames", "verdict"]
    return markdown(header, [difference_cells(row) for row in rows])


def difference_cells(row: Difference) -> list[str]:
    """Cells of one paired difference."""
    return [
        row.metric,
        row.video,
        f"{row.first} − {row.second}",
        with_interval(row.difference, row.ci_low, row.ci_high),
        str(row.n),
        row.verdict,
    ]


def published_rows(records: Iterable[Record]) -> list[list[str]]:
    """Published numbers on the videos that were measured."""
    videos = {record.video for record in records if record.source.startswith("sintel")}
    return [[p.video, p.method, p.style, p.metric, significant(p.value), p.source] for p in published_for(videos)]


PUBLISHED_HEADER = ["video", "method", "style", "metric", "published value", "source"]


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as dictionaries by column."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def label(row: dict[str, Any], table: pd.DataFrame) -> str:
    """The method, or the model's name where the method alone would not tell rows apart."""
    alone = table.groupby("method").model.nunique()[row["method"]] == 1
    return str(row["method"] if alone else row["model"])


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


def report_markdown(
    records: Sequence[Record], rows: Sequence[Difference], provenance: dict[str, Any], flows: str = ""
) -> str:
    """The whole ``summary.md``; ``flows`` sets estimated flow beside true flow."""
    parts = ["# Comparison", _machine(provenance), "## Quality", _QUALITY_NOTE, quality_markdown(records)]
    if rows:
        parts += [
            "## Paired differences",
            "First minus second, on the same frames; the bracket is the 95 % bootstrap interval.",
            differences_markdown(rows),
        ]
    if flows:
        parts += ["## Estimated flow beside true flow", flows]
    if speed := speed_markdown(records):
        parts += ["## Speed and parity", _SPEED_NOTE, speed]
    if published := published_rows(records):
        parts += [
            "## Published numbers on these videos",
            "From papers, with another style, other training and other evaluation code: for orientation only.",
            markdown(PUBLISHED_HEADER, published),
        ]
    if missing := absences(record for record in records if record.video):
        parts += ["## Not measured, and why", markdown(["metric", "where", "reason"], missing)]
    if notes := remarks(record for record in records if record.video):
        parts += ["## Remarks", "\n".join(f"- {as_text(note)}" for note in notes)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_QUALITY_NOTE = (
    "↓ lower is better, ↑ higher is better. Brackets are 95 % bootstrap intervals over frames. `identity` is the "
    "unstylised content: a low E(V) counts only beside a low style distance."
)
_SPEED_NOTE = (
    "Batch 1, fresh frames in rotation, runtimes interleaved; *fps* starts and ends on the device, *end to end* "
    "with 8-bit frames in host memory. PSNR, max abs and ΔE(V) are against PyTorch fp32 on the same frames, or against what the note says. "
    "The p99 of fewer than a hundred frames is all but the slowest of them; records.csv says how many they were."
)


def _machine(provenance: dict[str, Any]) -> str:
    gpu = f", {provenance['gpu']}" if provenance.get("gpu") else ""
    versions = provenance.get("versions") or {}
    shown = ", ".join(
        f"{name} {versions[name]}"
        for name in ("torch", "onnxruntime", "onnxruntime-gpu", "openvino")
        if name in versions
    )
    command = " ".join(str(provenance.get("command", "")).replace("`", "'").split())
    return f"`{command}` on {as_text(provenance.get('cpu') or 'unknown CPU')} ({provenance.get('threads')} threads){as_text(gpu)}; {as_text(shown)}."


#: Columns of :func:`parity_cells`.
PARITY_HEADER = ("PSNR dB", "ΔE(V) %")


def parity_cells(psnr: float | None, change: float | None) -> list[str]:
    """PSNR to the reference and change of E(V), as a table shows them; a dash where there is none.

    Args:
        psnr: dB; infinite where the frames are equal.
        change: percent.
    """
    shown = "–" if psnr is None else "identical" if math.isinf(psnr) else significant(psnr)
    return [shown, "–" if change is None else f"{change:+.2f}"]


def exact(value: object) -> object:
    """A cell of CSV: an infinite PSNR, that of equal frames, is ``inf``; an empty cell means that there is none."""
    return "inf" if value == math.inf else value
