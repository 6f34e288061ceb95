"""What ``compare`` is to do, by its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import onnx_hints, selection, warn
from reconet_bench.commands.motion_options import TRUE_FLOW, give_motion
from reconet_bench.commands.result_options import rendered_models
from reconet_bench.core.size import Size

if TYPE_CHECKING:
    from reconet_bench.benchmark.plan import Plan

#: Fewest rounds of the speed measurement, and seconds for more, unless the user says otherwise.
ROUNDS, BUDGET = 5, 20.0
#: Folders in a run folder that grow while it is measured; they take the place of the earlier ones at its end.
NEW_PICTURES, NEW_FRAMES = "pictures.new", "frames.new"


def comparison_plan(options: Any, folder: Path, target: Path) -> Plan:
    """Models, clips and runtimes, looked at so far that a mistake is told before costly work.

    Args:
        folder: where exports may be written; it is there as long as the plan is used.
        target: the run folder.
    """
    from reconet_bench.benchmark.plan import Plan
    from reconet_bench.core.record import CONTENT_METHOD
    from reconet_bench.metrics.measure import chosen_metrics
    from reconet_bench.models.loading import ShippedSet, load_all, stabilised, with_rendered
    from reconet_bench.models.painting import give_style, paint
    from reconet_bench.runtimes.selection import Resources, usable_runtimes

    if options.quick:
        quicken(options)
    hints = onnx_hints(options)
    chosen_metrics(options.metrics)  # an unknown name is reported before anything is read
    found = selection(options).found(options.videos)
    clips = list(found)
    for clip in clips:
        clip.check(range(len(clip)))
    runtimes = usable_runtimes(options.runtimes, warn)
    shipped = ShippedSet(options.style_name, options.network)
    rendered = rendered_models(options, clips, warn)
    alone = rendered and not options.models
    methods = options.methods or ([CONTENT_METHOD] if alone else [])
    models = with_rendered(load_all(options.models, methods, folder, hints, warn, shipped), rendered)
    models = stabilised(models, options.stabilise, options.stabilise_strength)
    give_motion(models, options, clips)
    paint(models, options.style_size, options.vgg)
    if options.style:
        give_style(models, options.style, options.style_size, options.vgg)
    return Plan(
        models,
        clips,
        runtimes,
        Resources(options.device, options.threads),
        options.rounds,
        options.vgg,
        target / NEW_FRAMES if options.save_frames else None,
        None if options.no_pictures else target / NEW_PICTURES,
        speed_budget=options.speed_budget,
        true_motion=options.state_flow == TRUE_FLOW,
        metrics=options.metrics,
        addresses=list(found.values()),
    )


def quicken(options: Any) -> None:
    """Make a first look of a comparison, except where the user says otherwise."""
    options.size = options.size or Size(128, 224)
    options.frames = options.frames or 7
    options.runtimes = options.runtimes or ["torch", "onnxruntime"]
    options.no_pictures = True
    if (options.rounds, options.speed_budget) == (ROUNDS, BUDGET):
        options.rounds, options.speed_budget = 2, 0.0
