"""What ``study structure`` writes: summary, table and plot, from the finished candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reconet_bench.commands.base import out, warn
from reconet_bench.commands.study_field_start import say

if TYPE_CHECKING:
    from reconet_bench.benchmark.equal_style import Measurement
    from reconet_bench.benchmark.structure_speed import CandidateSpeed
    from reconet_bench.commands.study_structure_start import CheckedStructures
    from reconet_bench.training.fleet import FleetModel


@dataclass(frozen=True)
class Reached:
    """What was measured of the trained candidates.

    Attributes:
        values: by candidate.
        reasons: why others have none.
        failed: of these, what could not be measured.
    """

    values: dict[str, Measurement] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    failed: str = ""


def measured(checked: CheckedStructures, models: Sequence[FleetModel], folder: Path, anew: bool = True) -> Reached:
    """Measure the finished candidates; what was measured is kept.

    Args:
        anew: whether to measure what was not measured yet.
    """
    from reconet_bench.benchmark.equal_style import MEASURED_FILE
    from reconet_bench.core.errors import ReconetBenchError
    from reconet_bench.report.structure_table import UNMEASURED, UNTRAINED
    from reconet_bench.training.field_study import trained_model
    from reconet_bench.training.fleet import finished

    found, reasons, failed = {}, {}, []
    for model in models:
        run = folder / "candidates" / model.name
        known = (run / MEASURED_FILE).is_file()
        if not finished(run) or not (known or anew):
            reasons[model.name] = UNMEASURED if finished(run) else UNTRAINED
            continue
        if not known:
            say(f"measuring {model.name}")
        try:
            found[model.name] = checked.judge.measure(trained_model(run), run / MEASURED_FILE)
        except ReconetBenchError as error:
            reasons[model.name] = str(error)
            failed.append(f"{model.name}: {error}")
    return Reached(found, reasons, "; ".join(failed))


def write_structures(
    checked: CheckedStructures,
    models: Sequence[FleetModel],
    reached: Reached,
    speeds: Mapping[str, Mapping[str, CandidateSpeed]],
    folder: Path,
) -> None:
    """Write the files of a study, and print its table.

    Args:
        speeds: by runtime and candidate.
    """
    from reconet_bench.core.errors import DataError
    from reconet_bench.core.files import write_text
    from reconet_bench.core.provenance import describe
    from reconet_bench.metrics.base import METRICS
    from reconet_bench.networks.base import NETWORKS
    from reconet_bench.networks.candidates import described
    from reconet_bench.report import structure_table as tables
    from reconet_bench.report.equal_style import Cell
    from reconet_bench.report.structure_plot import plot_structures
    from reconet_bench.report.terminal import plain_table

    options, recipe = checked.options, checked.recipe
    rows = []
    for model in models:
        name = model.name
        one = reached.values.get(name)
        means = {metric: one.mean(metric) for metric in one.values} if one else {}
        times = {
            runtime: tables.Time(*(getattr(speed[name], part) for part in ("ms", "ratio", "low", "high", "note")))
            for runtime, speed in speeds.items()
        }
        size = sum(p.numel() for p in NETWORKS[name].build().parameters())
        cells = {metric: Cell(mean.value, mean.low, mean.high) for metric, mean in means.items()}
        rows.append(
            tables.StructureRow(
                tables.Candidate(name, described(name), size),
                model.recipe["steps"],
                checked.costs[name],
                times,
                cells,
                reached.reasons.get(name, ""),
            )
        )
    facts = describe()
    versions = facts["versions"]
    setup = [
        f"command: {facts['command']}",
        f"every candidate: method {recipe['method']}, {options.cpu_minutes:g} processor minutes on "
        f"{recipe['size']}x{recipe['size']} crops, seed {recipe['seed']}, learning rate {recipe['learning_rate']:g}, "
        f"which falls to zero over its own steps; precision {recipe['precision']}",
        f"measured on {', '.join(clip.title for clip in checked.judge.clips)}: {options.frames} frames of "
        f"{options.video_size[1]}x{options.video_size[0]} each",
        f"timed at {options.speed_size[1]}x{options.speed_size[0]} with random weights, {options.rounds} rounds, "
        "all candidates in turns",
        f"{facts['cpu']}; reconet-bench {versions['reconet-bench']}, torch {versions['torch']}",
    ]
    metrics = [metric for metric in tables.METRICS if any(metric in row.cells for row in rows)]
    remarks = [f"{name} was not timed: {reason}" for name, reason in checked.missing.items()]
    remarks += dict.fromkeys(remark for one in reached.values.values() for remark in one.remarks)
    result = tables.StructureResult(
        f"Structures for the network, with {options.style_image.stem}",
        rows,
        list(speeds),
        {metric: METRICS[metric].better for metric in metrics},
        setup,
        remarks,
    )
    write_text(folder / "summary.md", tables.summary_markdown(result))
    write_text(folder / "table.csv", tables.table_csv(result))
    try:
        plot_structures(folder / "structures.png", result)
    except DataError as reason:
        warn(str(reason))
    out.print(plain_table(tables.table_header(result), tables.table_rows(result, intervals=False), left=(0,)))
    for line in (*tables.remarks(result), *result.remarks):
        out.print(line, markup=False)
    out.print(f"Written to {folder}: {', '.join(name for name in tables.FILES if (folder / name).is_file())}")
