"""What ``reproduce`` leaves: the page, its tables, and the studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconet_bench.commands.base import out
from reconet_bench.commands.reproduce_start import say

if TYPE_CHECKING:
    from reconet_bench.commands.reproduce_start import CheckedReproduction, Prepared
    from reconet_bench.report.reproduced_items import Evidence
    from reconet_bench.report.reproduction import SetUp
    from reconet_bench.report.verdict import Card


def write_result(checked: CheckedReproduction, prepared: Prepared, measured: Sequence[Path], folder: Path) -> None:
    """Write the studies and the page, and print what is seen.

    Args:
        measured: run folders of ``compare``, one for each video.
    """
    from reconet_bench.core.provenance import describe
    from reconet_bench.report.reproduced_items import all_items
    from reconet_bench.report.reproduction import FILES, Reproduction, write_reproduction

    evidence = _evidence(prepared, measured, folder)
    facts = describe()
    machine = {"CPU": facts["cpu"], "GPU": facts["gpu"], "commit": facts.get("commit"), **facts["versions"]}
    made = Reproduction(
        all_items(evidence),
        _set_up(checked, prepared),
        _cards(evidence),
        _remarks(checked, prepared, evidence),
        facts["command"],
        [(name, str(value)) for name, value in machine.items() if value],
    )
    write_reproduction(folder, made)
    out.print(made.sentence, markup=False)
    for item in made.items:
        if item.here:
            out.print(f"{item.name}  {item.here}", markup=False)
    out.print(f"Written to {folder}: {', '.join(FILES)}", markup=False)


def _evidence(prepared: Prepared, measured: Sequence[Path], folder: Path) -> Evidence:
    from reconet_bench.benchmark.album import encode
    from reconet_bench.core.files import atomic_path
    from reconet_bench.report.reproduced_items import Evidence, WeightSetting
    from reconet_bench.report.run import load_run
    from reconet_bench.training.progress_pictures import progress_picture
    from reconet_bench.training.reproduction import PROPOSED
    from reconet_bench.training.run_folder import CURVES_FILE
    from reconet_bench.training.studies import STUDIES, final_losses, write_study

    runs = {
        study: {label: prepared.trained / name for label, name in labels.items()}
        for study, labels in prepared.plan.studies.items()
    }
    for study, ran in runs.items():
        write_study(study, ran, folder / "studies" / study, say)
    proposed = prepared.trained / prepared.plan.models[0].name
    with atomic_path(folder / "studies" / PROPOSED / "progress.webp") as temporary:
        temporary.write_bytes(encode(progress_picture(proposed), 80))
    return Evidence(
        [
            WeightSetting(one.label, one.published, final_losses(runs["weights"][one.label]))
            for one in STUDIES["weights"].settings
        ],
        {label: (run / CURVES_FILE).read_text() for label, run in runs["optimizers"].items()},
        (proposed / CURVES_FILE).read_text(),
        folder / "studies" / PROPOSED / "progress.webp",
        [load_run(run) for run in measured],
    )


def _set_up(checked: CheckedReproduction, prepared: Prepared) -> list[SetUp]:
    """What the dissertation had, and what is here."""
    from reconet_bench.core.provenance import describe
    from reconet_bench.models.checkpoint import load_checkpoint
    from reconet_bench.networks.vgg import find_weights
    from reconet_bench.report.reproduction import SetUp

    recipe, info = prepared.plan.models[0].recipe, load_checkpoint(prepared.checkpoint(prepared.plan.compared[-1])).info
    data, facts = checked.data.describe(), describe()
    scenes = (
        f"MPI-Sintel, clean pass, all but bandage_1: {data['windows']} samples of frames with a long-term pair"
        if checked.root
        else f"rendered scenes, {data['textures']}"
    )
    shown = "; ".join(f"{video.clip.name} {len(video.clip)} frames {video.clip.size}" for video in checked.videos)
    epochs = f" ({prepared.steps * recipe['batch'] / int(str(data['windows'])):.3g} epochs)" if checked.root else ""
    network = find_weights(checked.options.vgg)
    return [
        SetUp(
            "painting",
            "Candy in Table 6.2, wave and van Gogh in Table 6.1; others not known",
            checked.options.style.name,
        ),
        SetUp("training data", "MPI-Sintel, clean pass, all but bandage_1: 992 pairs", scenes),
        SetUp("size of a crop", "512x512", f"{checked.size}x{checked.size}"),
        SetUp("batch", "2", str(recipe["batch"])),
        SetUp(
            "length of a training",
            "60 epochs; its text also says 20, its code's default is 100",
            f"{prepared.steps} steps{epochs}",
        ),
        SetUp(
            "optimiser",
            "Adamax, learning rate 1e-4, times 0.2 after epochs 8 and 20",
            "the same, at the same shares of the training; the baselines have those of their own papers",
        ),
        SetUp(
            "loss network",
            "VGG-16, ImageNet",
            f"VGG-16, {network.name if network else 'not known'}, taps at unit mean activation",
        ),
        SetUp("measured on", "alley_2, market_6, and clips that are not known but by name", shown),
        SetUp("baselines", "not known how they were trained", "trained here, as long and on the same crops"),
        SetUp(
            "code",
            "its released code departs from its text",
            "the text: see “The dissertation's code” in the documentation",
        ),
        SetUp(
            "machine",
            "Tesla P100, PyTorch 1.12.1, CUDA 11.3",
            f"{facts['gpu'] or facts['cpu']}, PyTorch {facts['versions']['torch']}, {info['precision']}",
        ),
    ]


def _remarks(checked: CheckedReproduction, prepared: Prepared, evidence: Evidence) -> list[str]:
    """Reasons not to take the numbers as they stand."""
    from reconet_bench.commands.reproduce_start import FULL_SIZE

    lines = []
    if checked.root is None or checked.size < FULL_SIZE:
        lines.append(
            f"{prepared.steps} steps on {checked.size}x{checked.size} crops: this run shows that every part works. "
            "Its networks are far from trained, so its numbers say little about the methods."
        )
    doubts = dict.fromkeys(
        f"{doubt.sentence[:1].upper()}{doubt.sentence[1:]}"
        for run in evidence.runs
        for record in run.records
        if record.value is not None
        for doubt in record.doubts
    )
    problems = [f"{run.name}: {line}" for run in evidence.runs for line in run.problems]
    return [*lines, "Every training was done once: another seed gives other numbers.", *doubts, *problems]


def _cards(evidence: Evidence) -> list[Card]:
    """The answers to see first."""
    from reconet_bench.report.reproduced_items import figure_5_2
    from reconet_bench.report.verdict import Card

    steady, errors = evidence.means("ssim_adjacent"), evidence.means("temporal_error")
    lower = min((row for row in figure_5_2(evidence).rows if row.measured), key=lambda row: row.measured or 0)
    return [
        Card(
            "Highest SSIM of adjacent frames",
            max(steady, key=lambda method: steady[method]),
            "published: proposed (Table 6.1)",
        ),
        Card(
            "Lowest temporal error",
            min(errors, key=lambda method: errors[method]),
            "published: proposed (Table 6.2)",
        ),
        Card("Lower loss at the end", lower.which, "published: adamax (Fig. 5.2)"),
    ]
