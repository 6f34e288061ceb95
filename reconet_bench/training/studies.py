"""The dissertation's studies of loss weights, optimisers and epochs, with any number of steps and any size."""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reconet_bench.core.errors import DataError, TrainingError, UnknownName, ended_by
from reconet_bench.core.files import atomic_path, write_text
from reconet_bench.core.images import write_image
from reconet_bench.report.loss_curves import parse_curves
from reconet_bench.report.loss_plot import plot_losses
from reconet_bench.training.processes import Processes, Runner, places
from reconet_bench.training.progress_pictures import progress_picture
from reconet_bench.training.run_folder import CURVES_FILE
from reconet_bench.training.signals import stopping

#: Rows of the picture of the study ``epochs``.
ROWS = 8
#: The losses in the table are means over this last share of a run.
TAIL = 0.1
#: File in the run folder of a finished setting: the arguments it was trained with.
DONE_FILE = "done"
#: The picture of the study ``epochs``.
EPOCHS_FILE = "epochs.png"
_TERMS = ("temporal_short", "temporal_long", "content", "style")
#: Table 5.1: λ_st, λ_lt, β, and the published temporal, long temporal, content and style loss (α = 1).
_TABLE_5_1 = (
    (10, 10, 1e4, 0.0004767, 0.0023654, 13.15, 0.0004993),
    (10, 100, 1e4, 0.0004494, 0.0015406, 14.85, 0.0004313),
    (100, 10, 1e4, 0.0002522, 0.0010092, 18.15, 0.0006853),
    (100, 100, 1e4, 0.0005467, 0.0018495, 10.82, 0.0003616),
    (10, 10, 1e5, 0.0035184, 0.0018208, 32.27, 0.0001166),
    (10, 100, 1e5, 0.0024016, 0.0026946, 28.37, 0.0001167),
    (100, 10, 1e5, 0.0021918, 0.0020594, 25.35, 0.0001065),
    (100, 100, 1e5, 0.0018925, 0.0020170, 27.14, 0.0001323),
)


@dataclass(frozen=True)
class Setting:
    """One run of a study.

    Attributes:
        label: name of its run folder and of its row.
        overrides: ``key=value`` settings on top of the study's recipe.
        published: the dissertation's numbers by term.
    """

    label: str
    overrides: tuple[str, ...]
    published: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it."""

    summary: str
    settings: tuple[Setting, ...]


STUDIES: dict[str, Study] = {
    "weights": Study(
        "loss weights: the eight settings of Table 5.1, beside their published losses",
        tuple(
            Setting(
                f"st{short:g}-lt{long:g}-style{style:g}",
                (
                    f"weights.temporal_short={short}",
                    f"weights.temporal_long={long}",
                    f"weights.style={style}",
                    "weights.content=1",
                ),
                dict(zip(_TERMS, published, strict=True)),
            )
            for short, long, style, *published in _TABLE_5_1
        ),
    ),
    "optimizers": Study(
        "Adam against Adamax (Fig. 5.2: Adamax reaches the lower loss)",
        (Setting("adam", ("optimizer=adam",), {}), Setting("adamax", ("optimizer=adamax",), {})),
    ),
    "epochs": Study(
        "the effect of longer training: the same scene at several points of one run (Fig. 5.1)",
        (Setting("run", (f"sample_count={ROWS}", "sample_every=0"), {}),),
    ),
}


def check_shared(name: str, named: Collection[str]) -> None:
    """Refuse shared options that set what the study varies: they would make its runs the same.

    Args:
        named: settings, named as in overrides.

    Raises:
        UnknownName: no such study.
        TrainingError: one of them is set by the study.
    """
    varied = {override.partition("=")[0] for setting in _study(name).settings for override in setting.overrides}
    if clash := sorted(own for own in varied for key in named if own == key or own.startswith(f"{key}.")):
        raise TrainingError(f"study {name} sets {clash[0]} itself, differently for each run: leave it out after --")


def run_study(
    name: str,
    arguments: Sequence[str],
    folder: Path,
    jobs: int = 1,
    report: Callable[[str], None] = lambda text: None,
    runner: Runner | None = None,
) -> pd.DataFrame:
    """Train every setting of a study and write its table.

    A finished setting is not trained again, an interrupted one continues.

    Args:
        arguments: of ``reconet-bench train``, for all settings.
        folder: gets a run folder for each setting, ``summary.csv``, ``summary.md`` and ``curves.png``.
        jobs: number of settings that train at the same time.
        runner: trains each setting; by default each in its own process.

    Returns:
        One row per setting: its unweighted losses, means over the last tenth of the run, and ``published_*`` values.

    Raises:
        UnknownName: no such study.
        TrainingError: a run failed (the others' results stay), or a finished run was trained with other arguments.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after every running training has saved its state.
    """
    study = _study(name)
    for done in (folder / setting.label / DONE_FILE for setting in study.settings):
        if done.exists() and done.read_text() != shlex.join(arguments):
            was = done.read_text() or "not recorded"
            raise TrainingError(f"{done.parent} was trained with other options ({was}): choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    jobs = max(1, min(jobs, len(study.settings)))
    running = runner or Processes(places(jobs, arguments))
    with stopping(running.signal) as stop, ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda setting: _train(setting, arguments, folder, running, report), study.settings))
    if stop.asked:
        raise KeyboardInterrupt(
            f"study {name}: stopped: the results so far are in {folder}; run the same command again to continue"
        )
    errors: dict[str, list[str]] = {}
    for setting, error in zip(study.settings, outcomes, strict=True):
        if error:
            errors.setdefault(error, []).append(setting.label)
    if errors:
        failed = "; ".join(f"{', '.join(labels)}: {error}" for error, labels in errors.items())
        raise TrainingError(f"study {name}: {failed}; run the same command again to continue")
    return write_study(name, {setting.label: folder / setting.label for setting in study.settings}, folder, report)


def write_study(
    name: str, runs: Mapping[str, Path], folder: Path, report: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Write what a study shows, from trainings that are finished wherever they are; see :func:`run_study`.

    Args:
        runs: run folder of each setting, by its label.
        folder: gets ``summary.csv``, ``summary.md`` and ``curves.png``.
    """
    study = _study(name)
    table = pd.DataFrame([_row(setting, runs[setting.label]) for setting in study.settings])
    with atomic_path(folder / "summary.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_text(folder / "summary.md", _markdown(name, study, table))
    if name == "epochs":
        write_image(folder / EPOCHS_FILE, progress_picture(runs[study.settings[0].label]))
    curves = {label: parse_curves((run / CURVES_FILE).read_text()) for label, run in runs.items()}
    try:
        plot_losses(folder / "curves.png", curves, study.summary)
    except DataError as reason:
        report(str(reason))
    return table


def _study(name: str) -> Study:
    if name not in STUDIES:
        raise UnknownName("study", name, STUDIES)
    return STUDIES[name]


def _train(
    setting: Setting, arguments: Sequence[str], folder: Path, running: Runner, report: Callable[[str], None]
) -> str:
    """Train one setting; returns the reason if it failed, else an empty text."""
    run = folder / setting.label
    run.mkdir(exist_ok=True)
    done = run / DONE_FILE
    if done.exists():
        report(f"{setting.label}: already done")
        return ""
    command = [
        sys.executable,
        "-m",
        "reconet_bench.cli",
        "train",
        *arguments,
        "-o",
        str(run),
        "--resume",
        "--set",
        *setting.overrides,
    ]
    report(f"{setting.label}: training")
    with (run / "log.txt").open("a") as log:
        code = running.run(command, log)
    if code is None:
        return ""
    if code < 0:
        # The last line of its log shows progress, not the reason.
        return ended_by(code, "lower --size, --batch or --jobs")
    if code:
        lines = (run / "log.txt").read_text().strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"
    write_text(done, shlex.join(arguments))
    report(f"{setting.label}: done")
    return ""


def _row(setting: Setting, run: Path) -> dict[str, object]:
    measured = final_losses(run)
    row: dict[str, object] = {"setting": setting.label, **measured}
    return {**row, **{f"published_{term}": value for term, value in setting.published.items()}}


def final_losses(run: Path) -> dict[str, float]:
    """Unweighted losses of a run, mean over the last :data:`TAIL` of its curve.

    Weighted terms of ``curves.csv`` are divided by the weights of the run's checkpoint.
    """
    from reconet_bench.models.checkpoint import load_checkpoint

    checkpoint = next(path for path in sorted(run.glob("*.safetensors")) if path.name != "state.safetensors")
    weights = load_checkpoint(checkpoint).info["weights"]
    with (run / CURVES_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = rows[-max(1, round(TAIL * len(rows))) :]
    return {
        term: float(np.mean([float(row[term]) for row in last])) / (weights[term] or 1.0)
        for term in last[0]
        if term in weights
    }


def _markdown(name: str, study: Study, table: pd.DataFrame) -> str:
    from reconet_bench.report.markdown import markdown
    from reconet_bench.report.numbers import significant

    rows = [
        [value if isinstance(value, str) else significant(value) for value in row]
        for row in table.itertuples(index=False)
    ]
    note = "Unweighted losses, mean over the last tenth of each run."
    if any(setting.published for setting in study.settings):
        note += (
            " Published: Mahakalkar 2022, Table 5.1; 512x512, 60 epochs of MPI-Sintel, its own code's losses: "
            "compare the order, not the numbers."
        )
    return f"# Study: {name}\n\n{study.summary}\n\n{markdown(list(table.columns), rows)}\n{note}\n"
