"""What ``study field`` leaves: tables and plot of the points that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconet_bench.commands.base import out, warn

if TYPE_CHECKING:
    from reconet_bench.benchmark.equal_style import Measurement
    from reconet_bench.commands.study_field_start import CheckedStudy
    from reconet_bench.report.equal_style import FieldPoint, FieldResult
    from reconet_bench.training.field_study import Course


def write_result(checked: CheckedStudy, courses: Sequence[Course], folder: Path) -> None:
    """Write the files of a study, and print its table.

    Args:
        courses: the baseline first, which has its point.
    """
    from reconet_bench.core.errors import DataError
    from reconet_bench.core.files import write_text
    from reconet_bench.report import equal_style as tables
    from reconet_bench.report.pareto_plot import plot_pareto
    from reconet_bench.report.terminal import plain_table

    result = _result(checked, courses, folder)
    write_text(folder / "summary.md", tables.summary_markdown(result))
    write_text(folder / "table.csv", tables.table_csv(result))
    write_text(folder / "points.csv", tables.points_csv(result))
    write_text(folder / "differences.csv", tables.differences_csv(result))
    try:
        plot_pareto(folder / "pareto.png", result)
    except DataError as reason:
        warn(str(reason))
    out.print(plain_table(tables.table_header(result), tables.table_rows(result, intervals=False), left=(0, 1)))
    for line in (*tables.remarks(result), *result.remarks):
        out.print(line, markup=False)
    out.print(f"Written to {folder}: {', '.join(name for name in tables.FILES if (folder / name).is_file())}")


def _result(checked: CheckedStudy, courses: Sequence[Course], folder: Path) -> FieldResult:
    from reconet_bench.benchmark.equal_style import MEASURED_FILE, paired_with, reported
    from reconet_bench.commands.study_field_start import TRUNK_FILE
    from reconet_bench.core.provenance import describe
    from reconet_bench.metrics.base import METRICS
    from reconet_bench.report.equal_style import FieldResult, FieldRow
    from reconet_bench.training.field_plan import BAND
    from reconet_bench.training.field_study import trained_model

    judge, options = checked.judge, checked.options
    style = next(iter(courses[0].points.values()))
    points: list[FieldPoint] = []
    rows: list[FieldRow] = []
    equal: dict[str, Measurement] = {}
    remarks: dict[str, None] = {}
    for course in courses:
        measured, made = {}, {}
        for trial in course.trials(style):
            run = course.runs[trial.factor]
            one = measured[trial.factor] = judge.measure(trained_model(run), run / MEASURED_FILE)
            model = course.objective.at(trial.factor)
            weights = {term: model.recipe["weights"][term] for term in course.objective.terms}
            made[trial.factor] = _point(course.objective.name, trial.factor, weights, one, trial.miss)
            remarks |= dict.fromkeys(one.remarks)
        chosen = course.chosen(style)
        so_far = f"{len(made)} of {options.points} points: " if course.ended and not course.failed else ""
        row = FieldRow(course.objective.name, made[chosen.factor] if chosen else None, so_far + course.ended)
        if chosen and row.equal:
            equal[row.method] = measured[chosen.factor]
        points += made.values()
        rows.append(row)
    facts, recipe = describe(), courses[0].objective.recipe
    versions, gpu = facts["versions"], f", {facts['gpu']}" if facts["gpu"] else ""
    setup = [
        f"command: {facts['command']}",
        f"every point: {recipe['steps']} steps from {checked.path.stem} on {recipe['size']}x{recipe['size']} crops, "
        f"seed {recipe['seed']}, learning rate {recipe['learning_rate']:g}",
        f"measured on {', '.join(clip.title for clip in judge.clips)}: {options.frames} frames of "
        f"{options.video_size[1]}x{options.video_size[0]} each",
        f"{facts['cpu']}{gpu}; reconet-bench {versions['reconet-bench']}, torch {versions['torch']}",
    ]
    metrics = [name for name in reported() if any(name in point.cells for point in points)]
    return FieldResult(
        f"What each objective buys at equal style: {checked.objectives[0].style.stem} on {checked.trunk.kind}",
        BAND,
        rows[0].point,
        _point("trunk", 0.0, {}, judge.measure(checked.path, folder / TRUNK_FILE)) if checked.own_style else None,
        points,
        rows,
        {name: METRICS[name].better for name in metrics},
        paired_with(rows[0].method, equal),
        setup,
        list(remarks),
    )


def _point(
    method: str, factor: float, weights: dict[str, float], measured: Measurement, miss: float = 0.0
) -> FieldPoint:
    from reconet_bench.report.equal_style import Cell, FieldPoint

    means = {metric: measured.mean(metric) for metric in measured.values}
    return FieldPoint(method, factor, weights, {name: Cell(e.value, e.low, e.high) for name, e in means.items()}, miss)
