"""The training loop of every method; read it from top to bottom."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from reconet_bench.core import machine, provenance
from reconet_bench.core.errors import TrainingError
from reconet_bench.core.files import write_text
from reconet_bench.methods.base import METHODS, Batch, LossContext, Method
from reconet_bench.models.checkpoint import SUFFIX, Checkpoint, save_checkpoint
from reconet_bench.networks.vgg import (
    LossNetwork,
    at_unit_scale,
    find_weights,
    load_loss_network,
    read_style,
    style_targets,
)
from reconet_bench.report.loss_curves import TOTAL
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

#: Largest mean activation of relu1_2 at torchvision's scale; that of files of the Caffe lineage is about a hundred.
LOUDEST = 10.0
#: Every so many steps, processes with GPUs ask one another whether to stop.
AGREE = 16


@dataclass(frozen=True)
class Hardware:
    """The device that a run trains on, and the number format."""

    device: torch.device
    precision: Precision


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
    ):
        return _train(settings, data, Run(folder, resume, recipe), report, hardware, group)


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
        load_loss_network(settings.vgg, settings.scale == "unit")


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
    perceptual, targets = prepare_loss_network(settings, device, precision)
    torch.manual_seed(settings.seed)
    method = METHODS[settings.method]
    network = method.network(options).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(settings, network)
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
    context = LossContext(perceptual, targets, generator, options)
    if settings.compile:
        forward, context = compiled(forward, context)
    loader, losses = Loader(settings, data, start, device, group), LossMeter(folder, group, device, sums)
    log = ProgressLog(folder, start, settings.steps, report, settings.tensorboard) if group.main else None
    # All processes of a group stop at the same step, so they must agree. On GPUs asking means waiting for them.
    agree_every = AGREE if group.world > 1 and device.type == "cuda" else 1
    done = start
    try:
        with stopping() as stop, contextlib.closing(iter(loader)) as batches:
            for step, batch in batches:
                generator.manual_seed((settings.seed * 1_000_003 + step * group.world + group.rank) % LARGEST_SEED)
                for parameters in optimizer.param_groups:
                    parameters["lr"] = settings.learning_rate_at(step)
                done = step + 1
                losses.add(done, train_step(method, forward, optimizer, batch, context, weights, precision))
                last = done == settings.steps
                if settings.row_due(done):
                    means, _ = losses.take()
                    if log:
                        log.row(done, means, loader, settings.learning_rate_at(step))
                asked = done % agree_every == 0 and group.any(stop.asked, device)
                if asked or last or done % settings.save_every == 0:
                    sums = losses.sums()
                    if group.main:
                        save_state(folder, facts, done, network, optimizer, precision, sums)
                # After the state: if the disk is too full for a picture, no step is lost.
                if log and settings.picture_due(done):
                    log.picture(done, write_sample(folder, done, network, data, device))
                if asked:
                    group.wait()
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        # A second Ctrl-C may come in the middle of a step: the last complete state is the one saved.
        raise KeyboardInterrupt(f"stopped at step {done}: {last_state(folder)}; continue with --resume") from None
    finally:
        if log:
            log.close()
    # The targets that style_distance uses, at unit scale whatever the training used.
    judged = targets if settings.scale == "unit" else at_unit_scale(targets, load_loss_network(settings.vgg))
    checkpoint = Checkpoint(network.eval(), settings.method, settings.style.stem, judged, _info(settings, facts))
    path = folder / f"{checkpoint.name}{SUFFIX}"
    if group.main:
        save_checkpoint(path, checkpoint)
    return path


def prepare_loss_network(
    settings: TrainingSettings, device: torch.device, precision: Precision
) -> tuple[LossNetwork, dict[str, Tensor]]:
    """The loss network, on its device and in the number format of the training, and the Gram matrices of the style.

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
        copy.deepcopy(load_loss_network(settings.vgg, settings.scale == "unit"))
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    targets = style_targets(perceptual, painting.to(device), settings.style_size)
    # Converted once: autocast would round these frozen weights again at every step.
    return perceptual.to(precision.dtype), targets


def make_optimizer(settings: TrainingSettings, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of the settings; fused if PyTorch has it."""
    if settings.optimizer == "adamax":
        return torch.optim.Adamax(network.parameters(), lr=settings.learning_rate)
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)


def compiled(forward: nn.Module, context: LossContext) -> tuple[nn.Module, LossContext]:
    """Network and loss network through ``torch.compile``, as one graph for the size of the training crops."""
    perceptual = cast(LossNetwork, torch.compile(context.perceptual, dynamic=False))
    return cast(nn.Module, torch.compile(forward, dynamic=False)), replace(context, perceptual=perceptual)


def train_step(
    method: Method,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    context: LossContext,
    weights: dict[str, float],
    precision: Precision,
) -> dict[str, Tensor]:
    """One optimiser step.

    Returns:
        The weighted terms (the plain value if the weight is 0) and the total, detached.
    """
    with precision.autocast(batch.frames.device):
        terms = method.objective(network, batch, context)
    optimised = [weights[name] * term.float() for name, term in terms.items() if weights[name] and term.requires_grad]
    if not optimised:
        without = ", ".join(name for name in terms if weights[name])
        raise TrainingError(
            f"there is nothing to optimise: with these options the weighted terms ({without}) have no gradient; "
            "give another term a weight"
        )
    optimizer.zero_grad(set_to_none=True)
    total = torch.stack(optimised).sum()
    precision.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    precision.scaler.step(optimizer)
    precision.scaler.update()
    return {
        **{name: (weights[name] or 1.0) * term.detach().float() for name, term in terms.items()},
        TOTAL: total.detach(),
    }


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
