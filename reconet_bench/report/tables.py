"""Tables from records: one row per method, video and runtime; differences; speed; what is missing and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reconet_bench.core.record import RENDERED, Record
from reconet_bench.core.samples import Difference
from reconet_bench.report import explained, interval_meaning
from reconet_bench.report.markdown import as_text, markdown
from reconet_bench.report.numbers import p_cell, significant, with_interval
from reconet_bench.report.published_results import published_for
from reconet_bench.report.summary import summary
from reconet_bench.report.targets import NOTES, by_target

#: Metrics of the quality table, in order, with a short heading.
QUALITY = {
    "temporal_error": "E(V)",
    "temporal_error_long": "E(V) long",
    "warping_error": "warping error",
    "ssim_adjacent_warped": "SSIM warped",
    "ssim_adjacent": "SSIM adj.",
    "content_similarity": "content SSIM",
    "style_distance": "style dist.",
    "ghosting": "ghosting",
    "texture_lock": "texture lock",
    "temporal_error_10": "E(V) 10",
    "temporal_error_first": "E(V) to first",
    "temporal_error_per_motion": "E(V) per px",
    "temporal_error_over_content": "E(V) / content",
    "flicker_raw": "raw flicker",
    "carpet": "carpet",
    "lpips_content": "LPIPS content",
    "lpips_adjacent_warped": "LPIPS warped",
    "dino_adjacent": "DINO adj.",
    "content_temporal_error": "content E(V)",
    "traceable_share": "traceable",
}
#: How the names of metrics begin that are recorded, but are in no table.
DETAILS = ("style_distance_relu",)
#: Metrics of the speed table.
SPEED = {
    "fps_device": "fps",
    "fps_end_to_end": "fps end to end",
    "latency_device": "median ms",
    "latency_device_p90": "p90 ms",
    "latency_device_p99": "p99 ms",
    "latency_device_spread": "spread",
    "speed_up": "× torch",
    "speed_up_end_to_end": "× torch end to end",
    "share_of_limit": "% of limit",
    "load_time": "load s",
    "first_frame": "first frame ms",
    "peak_memory": "peak MiB",
    "parity_max_abs": "max abs",
    "parity_psnr": "PSNR dB",
    "temporal_error_change": "ΔE(V) %",
}
#: Metrics whose samples are squared and whose value is the root of their mean; a frame alone is shown by its root.
SQUARED = (
    "temporal_error",
    "temporal_error_long",
    "temporal_error_10",
    "temporal_error_first",
    "temporal_error_per_motion",
    "temporal_error_over_content",
    "content_temporal_error",
    "carpet",
)
ARROWS = {"lower": "↓", "higher": "↑", "reference": ""}


def directions(records: Iterable[Record]) -> dict[str, str]:
    """Which way each metric is better, read from the records."""
    return {record.metric: record.better for record in records}


def absences(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(metric, where, reason) of each metric that could not be measured, each reason once per video."""
    seen: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.value is None and record.note and not is_detail(record.metric):
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


def without_speed(records: Iterable[Record]) -> str:
    """A sentence on the models that have no speed because another tool rendered their frames; empty without any."""
    names = ", ".join(dict.fromkeys(record.model for record in records if record.runtime == RENDERED))
    return f"No speed of {names}: another tool rendered these frames." if names else ""


def heading(metric: str, names: dict[str, str], better: dict[str, str]) -> str:
    """``E(V) ↓``: short name and direction."""
    return f"{names.get(metric, metric)} {ARROWS.get(better.get(metric, ''), '')}".strip()


def quality_metrics(records: Iterable[Record]) -> list[str]:
    """Metrics of quality that have values, in the order of the table; those of a newer version come last."""
    found = {record.metric for record in records if record.video and record.value is not None}
    return [metric for metric in QUALITY if metric in found] + sorted(
        metric for metric in found - QUALITY.keys() if not is_detail(metric)
    )


def is_detail(metric: str) -> bool:
    """Whether a metric is a part of another one, which has a column of its own."""
    return metric.startswith(DETAILS)


def quality_markdown(records: Sequence[Record]) -> str:
    """The quality table with intervals, one row per method, video and runtime."""
    metrics, better = quality_metrics(records), directions(records)
    rows = [
        [row.place.clip, row.label, row.place.runtime, *(row.cell(metric) for metric in metrics)]
        for row in summary(records)
    ]
    return markdown(["video", "method", "runtime", *(heading(m, QUALITY, better) for m in metrics)], rows)


def speed_markdown(records: Sequence[Record]) -> str:
    """The speed tables, one for each target with a row per model, runtime and size; empty where nothing was timed."""
    better, parts = directions(records), []
    for name, own in by_target(records).items():
        rows, metrics = speed_rows(own)
        header = ["model", "runtime", "size", *(heading(m, SPEED, better) for m in metrics), "note"]
        parts += [f"### {name}", *([NOTES[name]] if NOTES[name] else []), markdown(header, rows)]
    return "\n\n".join(part.strip() for part in parts)


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
        groups.setdefault((record.model, place, str(record.size)), []).append(record)
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
    if record.value is None:
        return record.note
    return with_interval(record.value, record.ci_low, record.ci_high)


def differences_markdown(rows: Sequence[Difference]) -> str:
    """Paired differences between methods, as a Markdown table."""
    return markdown(DIFFERENCES_HEADER, [difference_cells(row) for row in rows])


#: Columns of :func:`difference_cells`.
DIFFERENCES_HEADER = ("metric", "video", "first − second", "difference [95 % interval]", "frames", "p", "verdict")


def difference_cells(row: Difference) -> list[str]:
    """Cells of one paired difference."""
    return [
        row.metric,
        row.video,
        f"{row.first} − {row.second}",
        with_interval(row.difference, row.ci_low, row.ci_high),
        str(row.n),
        p_cell(row.p, row.p_corrected),
        row.verdict,
    ]


def published_rows(records: Iterable[Record], recalled: bool = False) -> list[list[str]]:
    """Published numbers on the videos that were measured; those that are only recalled stand by themselves."""
    videos = {record.video for record in records if record.source.startswith("sintel")}
    return [
        [p.video, p.method, p.style, p.metric, significant(p.value), p.source] for p in published_for(videos, recalled)
    ]


PUBLISHED_HEADER = ["video", "method", "style", "metric", "published value", "source"]


def report_markdown(
    records: Sequence[Record], rows: Sequence[Difference], provenance: dict[str, Any], flows: str = ""
) -> str:
    """The whole ``summary.md``; ``flows`` sets estimated flow beside true flow."""
    version = interval_meaning.version_of(provenance, rows)
    note = f"{_QUALITY_NOTE} {interval_meaning.of_values(version)}"
    parts = ["# Comparison", _machine(provenance), "## Quality", note, quality_markdown(records)]
    if rendered := without_speed(records):
        parts.append(as_text(rendered))
    if rows:
        parts += [
            "## Paired differences",
            interval_meaning.of_differences(version),
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
    if recalled := published_rows(records, recalled=True):
        parts += [
            "## Recalled from papers, not checked against them",
            "Written down from memory: do not cite them.",
            markdown(PUBLISHED_HEADER, recalled),
        ]
    if meaning := explained.explanations(provenance):
        parts += ["## What the metrics say, and what they are blind to", markdown(explained.HEADER, meaning)]
    if missing := absences(record for record in records if record.video):
        parts += ["## Not measured, and why", markdown(["metric", "where", "reason"], missing)]
    if notes := remarks(record for record in records if record.video):
        parts += ["## Remarks", "\n".join(f"- {as_text(note)}" for note in notes)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_QUALITY_NOTE = (
    "↓ lower is better, ↑ higher is better. `identity` is the unstylised content: a low E(V) counts only beside a low "
    "style distance."
)
_SPEED_NOTE = (
    "Batch 1, fresh frames in rotation, runtimes interleaved; *fps* starts and ends on the device, *end to end* "
    "with 8-bit frames in host memory. *% of limit* is the least time that this machine needs for a frame's operations "
    "or memory traffic, over the time taken. PSNR, max abs and ΔE(V) are against PyTorch fp32 on the same frames, or "
    "against what the note says. "
    "With fewer than a hundred frames, p99 is close to the slowest frame; records.csv has the number of frames."
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
    cpu, threads = as_text(provenance.get("cpu") or "unknown CPU"), provenance.get("threads")
    return f"`{command}` on {cpu} ({threads} threads){as_text(gpu)}; {as_text(shown)}."
