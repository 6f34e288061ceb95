"""The same tables for a terminal, coloured and narrow enough to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reconet_bench.core.record import Record
from reconet_bench.core.samples import ALL_VIDEOS, Difference, answers
from reconet_bench.report import flow_agreement, tables
from reconet_bench.report.numbers import p_cell, significant, with_interval
from reconet_bench.report.ranking import first_runtime, labels, overall
from reconet_bench.report.run import Run
from reconet_bench.report.summary import SummaryRow, summary
from reconet_bench.report.targets import by_target

#: Columns that fit a terminal; the files hold all.
_QUALITY = (
    "temporal_error",
    "temporal_error_long",
    "ssim_adjacent_warped",
    "ssim_adjacent",
    "content_similarity",
    "style_distance",
    "ghosting",
    "texture_lock",
)
_SPEED = (
    "fps_device",
    "fps_end_to_end",
    "latency_device_p90",
    "speed_up",
    "share_of_limit",
    "peak_memory",
    "parity_psnr",
    "temporal_error_change",
)
#: What is shown while a comparison is at work.
SO_FAR = ("temporal_error", "style_distance", "content_similarity")
#: Letters of a name that a table does not fold, and of a changed fact that is told on one line.
LONGEST, SHORT = 36, 100


def comparison(
    records: Sequence[Record], differences: Sequence[Difference], asked: Sequence[str] = ()
) -> RenderableType:
    """Everything ``compare`` shows: quality, paired differences, speed, published numbers, what is missing.

    Args:
        asked: metrics that were asked for by name, which are shown beside the usual ones.
    """
    parts: list[RenderableType] = [quality(records, asked)]
    if rendered := tables.without_speed(records):
        parts.append(Text(rendered))
    if pooled := answers(differences):
        parts.append(differences_table(pooled))
    if beside := flow_agreement.beside_true_flow(records):
        parts.append(
            _table(
                "Estimated flow beside true flow",
                flow_agreement.HEADER,
                [row for one in beside for row in one.rows],
                left=(0, 1, 2),
            )
        )
        parts += [Text(one.order) for one in beside if one.order]
    targets = by_target(records)
    rows, metrics = tables.speed_rows([record for own in targets.values() for record in own], _SPEED)
    if rows:
        parts.append(speed(records, rows, metrics, [len(tables.speed_rows(own)[0]) for own in targets.values()]))
        parts += [
            Text(f"{model} in {runtime} at {size}: {note}", style="yellow")
            for model, runtime, size, *_, note in rows
            if note
        ]
    if published := tables.published_rows(records):
        parts.append(
            _table(
                "Published numbers on these videos (other style and training: orientation only)",
                tables.PUBLISHED_HEADER,
                published,
                left=(0, 1, 2, 3, 5),
            )
        )
    for metric, where, reason in tables.absences(record for record in records if record.video):
        parts.append(Text(f"{metric} not measured on {where}: {reason}", style="yellow"))
    for remark in tables.remarks(record for record in records if record.video):
        parts.append(Text(remark, style="bold red"))
    return Group(*parts)


def so_far(records: Sequence[Record], videos: int) -> Table:
    """What a comparison knows while it is at work: the mean of each model over the videos that it has done.

    Args:
        videos: how many there will be.
    """
    shown = first_runtime(records)
    names, better = labels(shown), tables.directions(shown)
    out = Table(title="So far", title_justify="left")
    out.add_column("method", no_wrap=True)
    out.add_column("videos", justify="right")
    for metric in SO_FAR:
        out.add_column(tables.heading(metric, tables.QUALITY, better), justify="right")
    for model, name in names.items():
        own = [record for record in shown if record.model == model]
        values = [[r.value for r in own if r.metric == metric and r.value is not None] for metric in SO_FAR]
        cells = [significant(sum(known) / len(known)) if known else "–" for known in values]
        out.add_row(Text(name), f"{len({record.clip for record in own})} of {videos}", *cells)
    return out


def so_far_line(records: Sequence[Record]) -> str:
    """The same on a line, of the records of one model on one video."""
    known = {record.metric: record.value for record in records if record.value is not None}
    values = [f"{tables.QUALITY[metric]} {significant(known[metric])}" for metric in SO_FAR if metric in known]
    return f"{records[0].model} on {records[0].clip}: {', '.join(values) or 'no number'}"


def quality(records: Sequence[Record], asked: Sequence[str] = ()) -> Table:
    """One row per video and model, in the first runtime that ran it; the best trained value of a video is bold.

    As on the page, a model whose style was not measured, though that of others was, is not called the best.
    """
    shown = first_runtime(records)
    runtimes = ", ".join(dict.fromkeys(record.runtime for record in shown))
    rows, better = summary(shown), tables.directions(shown)
    columns = dict.fromkeys((*_QUALITY, *(metric for metric in asked if not tables.is_detail(metric))))
    metrics = [metric for metric in columns if any(row.value(metric) is not None for row in rows)]
    out = Table(title=f"Stability and fidelity (frames by {runtimes}; intervals in summary.md)", title_justify="left")
    out.add_column("video", no_wrap=True)
    out.add_column("method", no_wrap=True)
    for metric in metrics:
        out.add_column(tables.heading(metric, tables.QUALITY, better), justify="right")
    passed_over = {row.model for row in overall(records) if row.passed_over}
    for video, group in groupby(rows, key=lambda row: row.place.clip):
        members = list(group)
        models = [row for row in members if not row.place.is_content and row.place.model not in passed_over]
        best = {metric: _best(models, metric, better[metric]) for metric in metrics}
        for row in members:
            values = {metric: row.value(metric) for metric in metrics}
            cells = [
                Text(with_interval(value, None, None), style="bold" if value is not None and value == best[m] else "")
                for m, value in values.items()
            ]
            title = Text(video if row is members[0] else "")
            out.add_row(title, Text(row.label), *cells, style="dim" if row.place.is_content else "")
        out.add_section()
    return out


def _best(rows: Sequence[SummaryRow], metric: str, better: str) -> float | None:
    values = [value for row in rows if (value := row.value(metric)) is not None]
    if len(values) < 2:
        return None
    return min(values) if better == "lower" else max(values)


def differences_table(rows: Sequence[Difference]) -> Table:
    """Paired differences, one row for two models and a metric: over all videos, with what these clips alone show."""
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for row in rows:
        groups.setdefault((row.metric, row.first, row.second), []).append(row)
    cells = []
    for group in groups.values():
        first, *others = sorted(group, key=lambda row: row.video != ALL_VIDEOS)
        metric, video, pair, difference, _, p, verdict = tables.difference_cells(first)
        verdicts = [f"{video}: {verdict}", *(other.verdict for other in others)]
        if len(pair) > LONGEST:
            pair = pair.replace(" − ", "\n− ", 1)
            called = {f"{first.first} is": "the first is", f"{first.second} is": "the second is"}
            for name, short in called.items():
                verdicts = [one.replace(name, short) for one in verdicts]
        cells.append([metric, pair, difference, p, *verdicts])
    widest = max(map(len, cells))
    header = ["metric", "first − second", "difference [95 % interval]", "p", "verdict", "on these clips"][:widest]
    title = "Paired differences (p in brackets: corrected for the number of tests, which decides the verdict)"
    rows_filled = [row + [""] * (widest - len(row)) for row in cells]
    return _table(title, header, rows_filled, left=(0, 1, 4, 5))


def speed(
    records: Sequence[Record], rows: Sequence[Sequence[str]], metrics: Sequence[str], groups: Sequence[int]
) -> Table:
    """Speed and parity, one row per model, runtime and size.

    Args:
        groups: how many rows each target has, in order; a line parts them.
    """
    better = tables.directions(records)
    header = ["model", "runtime", "size", *(tables.heading(metric, tables.SPEED, better) for metric in metrics)]
    out = _table(
        "Speed, with what it costs in fidelity to PyTorch fp32, or to what a note says",
        header,
        [row[:-1] for row in rows],
        left=(0, 1, 2),
    )
    for end in accumulate(groups):
        out.rows[end - 1].end_section = True
    return out


def estimates(rows: Sequence[tuple[str, str, str, str]]) -> Table:
    """What ``evaluate`` shows: metric, value with interval, frames, meaning or reason."""
    return _table("", ["metric", "value [95 % interval]", "frames", "meaning"], rows, left=(0, 1, 3))


def changes(rows: Sequence[Sequence[Any]], setup: Sequence[tuple[str, str, str]]) -> RenderableType:
    """What ``diff`` shows: metrics before and after, and the facts around them that are not the same.

    Args:
        rows: (metric, better, model, where, before, after, percent, low, high, n, p, corrected p, verdict) each.
    """
    cells = [
        (
            f"{metric} {tables.ARROWS.get(better, '')}",
            model,
            where,
            significant(before),
            significant(after),
            "–" if percent is None else f"{percent:+.2f}",
            with_interval(after - before, low, high),
            str(n),
            p_cell(p, corrected),
            verdict,
        )
        for metric, better, model, where, before, after, percent, low, high, n, p, corrected, verdict in rows
    ]
    header = ["metric", "model", "where", "before", "after", "%", "difference [95 % interval]", "n", "p", "verdict"]
    title = "After minus before, on the same frames (p in brackets: corrected for the number of rows)"
    parts: list[RenderableType] = [_table(title, header, cells, left=(0, 1, 2, 9))]
    if setup:
        parts.append(Text("What else changed", style="italic"))
        parts += [_change(*fact) for fact in setup]
    return Group(*parts)


def _change(what: str, before: str, after: str) -> Text:
    """One fact on a line; what is too long for that, such as a command, on three: a table would fold it."""
    line = Text(f"  {what}: ", overflow="fold")
    if len(what) + len(before) + len(after) < SHORT:
        return line.append(f"{before} → {after}")
    return line.append(f"\n    before  {before}\n    after   {after}")


def history(runs: Sequence[Run]) -> RenderableType:
    """Past runs, a few lines each: a table would fold the command, which is there to be copied."""
    parts: list[RenderableType] = []
    for run in runs:
        head = Text(str(run.folder), style="bold", overflow="fold").append(
            f"  {run.time[:16].replace('T', ' ')}", style="not bold dim"
        )
        parts += [head, Text(f"  {', '.join(run.models)} on {', '.join(run.clips) or 'no video'}", overflow="fold")]
        if command := run.provenance.get("command"):
            parts.append(Text(f"  $ {command}", style="dim", overflow="fold"))
        parts += [Text(f"  {problem}", style="yellow") for problem in run.problems]
    return Group(*parts)


def listing(kind: str, rows: Sequence[tuple[str, str]], unusable: Collection[str] = ()) -> Table:
    """One kind of thing that there is: name and what it is, or why it is missing.

    Args:
        unusable: names of those that cannot be used here; they are coloured.
    """
    out = Table(title=kind, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name, text in rows:
        out.add_row(Text(name), Text(text, style="yellow" if name in unusable else ""))
    return out


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> Table:
    out = Table(title=title or None, title_justify="left")
    for index, name in enumerate(header):
        named = index in left and index < 3
        # A name stays on one line, but for one so long that it would leave the numbers no room.
        long = named and any(len(line) > LONGEST for row in rows for line in row[index].splitlines())
        out.add_column(
            name,
            justify="left" if index in left else "right",
            overflow="fold",
            no_wrap=named and not long,
            max_width=LONGEST if long else None,
        )
    for row in rows:
        out.add_row(*map(Text, row))  # as text: brackets in a name are no markup
    return out


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> Table:
    """A table of cells as they are; ``left`` are the columns of text."""
    return _table("", header, rows, left)
