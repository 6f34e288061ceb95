"""Model cards: what a checkpoint is, how it was trained and how the losses went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconet_bench.core.record import Record
from reconet_bench.report.loss_curves import Curves, parse_curves
from reconet_bench.report.markdown import as_text, markdown, marked_table, unmarked
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import first_runtime
from reconet_bench.report.run import Run

#: Rows of the loss curve that a card shows.
CURVE_ROWS = 12


#: What a card says of a model's frames: column, metric.
MEASURED = (
    ("E(V) ↓", "temporal_error"),
    ("five apart ↓", "temporal_error_long"),
    ("style distance ↓", "style_distance"),
    ("content SSIM ↑", "content_similarity"),
)


def model_card(
    name: str, summary: str, info: Mapping[str, Any], curves: str, licence: str = "", measured: str = ""
) -> str:
    """Markdown card of a model.

    Args:
        summary: one line on its method.
        info: the checkpoint's training facts.
        curves: text of ``curves.csv``, each row the mean since the last.
        licence: of the weights, where they are given away under one.
        measured: a section of its own, see :func:`measured_section`.
    """
    data, parsed = info.get("data") or {}, parse_curves(curves)
    size, processes = info.get("size"), info.get("processes", 1)
    batch = f"batch {info.get('batch')}" + (
        f" in each of {processes} processes: {info.get('batch', 1) * processes} a step" if processes > 1 else ""
    )
    facts = {
        "Objective": summary,
        "Style": f"{info.get('style_file')}, shorter side {info.get('style_size')} pixels",
        "Data": _data(data),
        "Begun from": _trunk(info.get("trunk")),
        "Steps": f"{info.get('steps')}, {batch}, {size}x{size} pixels, seed {info.get('seed')}",
        "Loss weights": ", ".join(f"{term} {weight:g}" for term, weight in (info.get("weights") or {}).items()),
        "Optimiser": _optimiser(info),
        "Waiting for data": f"{share:.1%} of the time" if (share := parsed.waiting()) is not None else None,
        "Command": f"`{str(info.get('command')).replace('`', chr(39))}`",
        "Code": f"commit {info.get('commit')}, torch {(info.get('versions') or {}).get('torch')}",
        "Machine": info.get("gpu") or info.get("cpu"),
        "Loss network": info.get("loss_network"),
        "Licence": licence,
    }
    rows = [[key, str(value) if key == "Command" else unmarked(str(value))] for key, value in facts.items() if value]
    return "\n".join(
        [
            f"# {as_text(name)}\n",
            marked_table(["", ""], rows),
            *([measured] if measured else []),
            "## Loss curve\n",
            f"Weighted terms{' and the total that is optimised' if parsed.total else ''}, "
            "each the mean over the steps since the row before in `curves.csv`.\n",
            _curve(parsed),
            "<details><summary>All training facts</summary>\n",
            f"```json\n{json.dumps(dict(info), indent=2, sort_keys=True)}\n```\n</details>\n",
        ]
    )


def measured_section(run: Run, model: str) -> str:
    """What a run measured of a model: value, 95 % interval and number of frames or pairs, a row for each video.

    Empty if the model is not in the run.
    """
    records = [record for record in first_runtime(run.records) if record.model == model]
    if not records:
        return ""
    known = {(record.clip, record.metric): record for record in records}
    videos = list(dict.fromkeys(record.clip for record in records))
    rows = [[video, *(_number(known.get((video, metric))) for _, metric in MEASURED)] for video in videos]
    first = records[0]
    command = run.provenance.get("command", "command not known")
    how = f"{first.size}, {first.runtime} {first.precision}; `{command}`, {first.time[:10]}."
    table = markdown(["video", *(column for column, _ in MEASURED)], rows)
    return f"## Measured\n\n{table}\nValue, 95 % interval, number of frames or pairs. {how}\n"


def _number(record: Record | None) -> str:
    if record is None or record.value is None:
        return f"– ({record.note})" if record and record.note else "–"
    interval = (
        f" [{significant(record.ci_low)}, {significant(record.ci_high)}]"
        if record.ci_low is not None and record.ci_high is not None
        else ""
    )
    return f"{significant(record.value)}{interval}, n={record.n}"


def _data(data: Mapping[str, Any]) -> str:
    """A description of training data in words, part by part."""
    words = [
        ", ".join(value) if isinstance(value, list) else str(value)
        for key, value in data.items()
        if value and key != "parts"
    ]
    return "; ".join([", ".join(words), *(_data(part) for part in data.get("parts", ()))])


def _optimiser(info: Mapping[str, Any]) -> str:
    schedule = {"steps": f"times {info.get('decay')} at {info.get('milestones')} of the run"}.get(
        info.get("schedule", "cosine"), info.get("schedule", "cosine")
    )
    name, rate, precision = info.get("optimizer", "adam"), info.get("learning_rate"), info.get("precision")
    return f"{name}, learning rate {rate}, {schedule}, precision {precision}"


def _trunk(trunk: Mapping[str, Any] | None) -> str:
    """The trainings before this one, the nearest first."""
    if not trunk:
        return ""
    before = _trunk(trunk.get("trunk"))
    return f"step {trunk.get('step')} of a {trunk.get('method')} run" + (f", itself from {before}" if before else "")


def _curve(curves: Curves) -> str:
    """A few rows of the curves, evenly spread, the last among them."""
    columns, count = curves.table(), len(curves.steps)
    step = max(1, count // CURVE_ROWS)
    chosen = [*range(step - 1, count, step)]
    chosen += [count - 1] if count and count - 1 not in chosen else []
    rows = [[str(curves.steps[n]), *(significant(values[n]) for values in columns.values())] for n in chosen]
    return markdown(["step", *columns], rows)
