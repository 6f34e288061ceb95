"""The training loop of every method; read it from top to bottom."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from reconet_bench.core import machine, provenance
from reconet_bench.core.errors import TrainingError
from reconet_bench.core.files import write_text
from reconet_bench.methods.base import METHODS, LossContext
from reconet_bench.methods.style_loss import StyleLoss
from reconet_bench.models.checkpoint import SUFFIX, Checkpoint, save_checkpoint
from reconet_bench.networks.vgg import (
    LossNetwork,
    at_unit_scale,
    find_weights,
    load_loss_network,
    read_style,
)
from reconet_bench.training.crops import TrainingCrops
from reconet_bench.training.distributed import Group, joined, local_device
from reconet_bench.training.loader import Loader
from reconet_bench.training.precision import Precision
from reconet_bench.training.progress import LossMeter, ProgressLog, TrainingProgress, check_tensorboard
from reconet_bench.training.progress_pictures import write_sample
from reconet_bench.training.run_folder import (
    RECIPE_FILE,
    STATE_FILE,
    branch,
    fingerprint,
    last_state,
    load_state,
    save_state,
    trim_curves,
)
from reconet_bench.training.settings import LARGEST_SEED, TrainingSettings
from reconet_bench.training.signals import one_line, stopping
from reconet_bench.training.step import (
    TrainStep,
    can_be_graphed,
    compiled,
    graphed_step,
    make_optimizer,
    set_learning_rate,
)

#: Largest mean activation of relu1_2 at torchvision's scale; that of files of the Caffe lineage is about a hundred.
LOUDEST = 10.0
#: Every so many steps, processes with GPUs ask one another whether to stop.
AGREE = 16


@dataclass(frozen=True)
class Hardware:
    """The device that a run trains on, and the number format."""

    device: torch.device
    precision: Precision


class TimeLimit:
    """How much of a run's time has passed.

    Args:
        minutes: the limit; 0: none.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds, self._start = 60 * minutes, time.monotonic()

    @property
    def share(self) -> float:
        """Share that has passed, 0 to 1; 0 without a limit."""
        return min(1.0, (time.monotonic() - self._start) / self._seconds) if self._seconds else 0.0


@dataclass(frozen=True)
class Run:
    """Where a run is kept.

    Attributes:
        resume: whether to go on from the state in ``folder``.
        recipe: the run as a preset file, kept in the folder; empty if there is none.
    """

    folder: Path
    resume: bool
    recipe: str


def train(
    settings: TrainingSettings,
    data: TrainingCrops,
    folder: Path,
    resume: bool = False,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    recipe: str = "",
) -> Path:
    """Train one network; returns the path of its checkpoint in ``folder``.

    On one machine, the same settings, data and seed give the same weights, also if the run was
    interrupted and resumed, and with any number of loading processes. On CUDA they agree up to rounding:
    the GPU chooses the order of sums (in the backward pass of resizing and warping).

    Args:
        recipe: of the run as a preset file, kept in its folder.

    Raises:
        TrainingError: a setting is invalid, the saved state is of other settings, the loss is not
            finite, or memory or disk ran out; the last saved state stays.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the current step is finished and saved.
    """
    hardware = check_start(settings)
    check_folder(folder, resume)
    with (
        joined(hardware.device) as group,
        one_line(data.size, settings.batch, settings.compile, lambda: last_state(folder)),
        fastest_kernels(hardware.device),
    ):
        return _train(settings, data, Run(folder, resume, recipe), report, hardware, group)


def fastest_kernels(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Let cuDNN try its kernels on the first steps and keep the fastest: all crops have one size."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return cast(contextlib.AbstractContextManager[object], torch.backends.cudnn.flags(enabled=True, benchmark=True))


def check_start(settings: TrainingSettings) -> Hardware:
    """The hardware to train on. Settings that this machine cannot run are found here, before any data is prepared.

    Raises:
        ReconetBenchError: a setting makes no sense, or this machine cannot provide it.
    """
    settings.check()
    if settings.tensorboard:
        check_tensorboard()
    device = local_device(machine.pick_device(settings.device))
    return Hardware(device, Precision.of(settings.precision, device))


def check_files(settings: TrainingSettings, network: bool = True) -> None:
    """Raise ModelError, DataError or MetricUnavailable if the painting or the loss ``network`` cannot be read."""
    read_style(settings.style)
    if network:
        load_loss_network(settings.vgg, settings.scale != "raw")


def check_folder(folder: Path, resume: bool) -> None:
    """Raise TrainingError if a new run would overwrite another run, or a checkpoint."""
    if (folder / STATE_FILE).exists():
        saved = last_state(folder)
        if not resume:
            raise TrainingError(
                f"{folder} contains another run: {saved}; continue with --resume, or choose another --output"
            )
    elif models := sorted(folder.glob(f"*{SUFFIX}")):
        raise TrainingError(
            f"{models[0]} would be overwritten: there is no {STATE_FILE} beside it to resume from; "
            "choose another --output"
        )


def _train(
    settings: TrainingSettings,
    data: TrainingCrops,
    run: Run,
    report: Callable[[TrainingProgress], None],
    hardware: Hardware,
    group: Group,
) -> Path:
    folder, device, precision = run.folder, hardware.device, hardware.precision
    weights, options = settings.check()
    perceptual, style = prepare_loss_network(settings, device, precision)
    torch.manual_seed(settings.seed)
    method = METHODS[settings.method]
    network = method.network(options, settings.network).to(device).to(memory_format=torch.channels_last)
    graphed = can_be_graphed(settings, device, group.world, precision)
    optimizer = make_optimizer(settings, network, graphed)
    folder.mkdir(parents=True, exist_ok=True)
    facts = fingerprint(settings, data, group.world, precision.name)
    start, sums = load_state(folder, facts, network, optimizer, precision) if run.resume else (0, {})
    if group.any(start > 0, device) and not start:
        raise TrainingError(
            f"{folder} has a saved state on another machine but not on this one: "
            "--output must be on a disk that all machines share"
        )
    if not start and settings.branch_from:
        start = branch(settings, facts, network, optimizer)
    group.wait()
    if group.main:
        trim_curves(folder, start)
        if run.recipe:
            write_text(folder / RECIPE_FILE, run.recipe)

    forward = group.wrap(method.training_module(network), device)
    generator = torch.Generator()
    context = LossContext(perceptual, style, generator, options)
    if settings.compile:
        forward, context = compiled(forward, context)
    plain_step = TrainStep(method, forward, optimizer, context, weights, precision)
    train_step = graphed_step(plain_step) if graphed else plain_step
    loader, losses = Loader(settings, data, start, device, group), LossMeter(folder, group, device, sums)
    log = ProgressLog(folder, start, settings.steps, report, settings.tensorboard) if group.main else None
    # All processes of a group stop at the same step, so they must agree. On GPUs asking means waiting for them.
    agree_every = AGREE if group.world > 1 and device.type == "cuda" else 1
    done, limit = start, TimeLimit(settings.minutes)
    try:
        with stopping() as stop, contextlib.closing(iter(loader)) as batches:
            for step, batch in batches:
                generator.manual_seed((settings.seed * 1_000_003 + step * group.world + group.rank) % LARGEST_SEED)
                set_learning_rate(optimizer, settings.learning_rate_at(step, limit.share))
                done = step + 1
                losses.add(done, train_step(batch))
                last = done == settings.steps or group.any(limit.share >= 1, device)
                if last or settings.row_due(done):
                    means, _ = losses.take()
                    if log:
                        log.row(done, means, loader, settings.learning_rate_at(step, limit.share))
                asked = done % agree_every == 0 and group.any(stop.asked, device)
                if asked or last or done % settings.save_every == 0:
                    sums = losses.sums()
                    if group.main:
                        save_state(folder, facts, done, network, optimizer, precision, sums)
                # After the state: if the disk is too full for a picture, no step is lost.
                if log and (settings.picture_due(done) or (last and settings.picture_due(settings.steps))):
                    log.picture(done, write_sample(folder, done, network, data, device))
                if asked:
                    group.wait()
                    raise KeyboardInterrupt
                if last:
                    break
    except KeyboardInterrupt:
        # A second Ctrl-C may come in the middle of a step: the last complete state is the one saved.
        raise KeyboardInterrupt(f"stopped at step {done}: {last_state(folder)}; continue with --resume") from None
    finally:
        if log:
            log.close()
    # The targets that style_distance uses, at unit scale whatever the training used.
    targets = dict(style.levels[0])
    judged = at_unit_scale(targets, load_loss_network(settings.vgg)) if settings.scale == "raw" else targets
    checkpoint = Checkpoint(
        network.eval(), settings.method, settings.style.stem, judged, _info(settings, {**facts, "steps": done})
    )
    path = folder / f"{checkpoint.name}{SUFFIX}"
    if group.main:
        save_checkpoint(path, checkpoint)
    return path


def prepare_loss_network(
    settings: TrainingSettings, device: torch.device, precision: Precision
) -> tuple[LossNetwork, StyleLoss]:
    """The loss network, on its device and in the number format of the training, and the style loss.

    Raises:
        TrainingError: the settings ask for the raw scale, but the file is not at the scale of published loss weights.
    """
    painting = read_style(settings.style)
    if settings.scale == "raw" and (mean := load_loss_network(settings.vgg).scales["relu1_2"]) > LOUDEST:
        raise TrainingError(
            f"{find_weights(settings.vgg)} is not at torchvision's scale (mean activation of relu1_2: {mean:.0f}), "
            "which scale 'raw' needs: "
            "give --set scale=unit, or torchvision's file by --vgg"
        )
    # A copy: the loaded network is shared, and this function changes it in place.
    perceptual = (
        copy.deepcopy(load_loss_network(settings.vgg, settings.scale != "raw"))
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    style = StyleLoss.of(
        perceptual, painting.to(device), settings.style_size, settings.style_levels, settings.scale == "painting"
    )
    # Converted once: autocast would round these frozen weights again at every step.
    return perceptual.to(precision.dtype), style


def _info(settings: TrainingSettings, facts: dict[str, object]) -> dict[str, object]:
    return {
        **facts,
        "style_file": settings.style.name,
        **{
            key: value
            for key, value in provenance.describe().items()
            if key in ("command", "commit", "dirty", "versions", "cpu", "gpu")
        },
    }
