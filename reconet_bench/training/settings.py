"""The settings of a training run, apart from its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.methods.base import METHODS
from reconet_bench.methods.flat_content import CARPET
from reconet_bench.networks.base import DEFAULT_NETWORK, NETWORKS

OPTIMIZERS = ("adam", "adamax")
SCHEDULES = ("cosine", "steps", "constant")
#: Scales of the taps of the loss network, see :mod:`reconet_bench.networks.vgg`.
SCALES = ("unit", "raw", "painting")
#: Seeds must be below this, as in PyTorch.
LARGEST_SEED = 2**63
PRECISIONS = ("auto", "bf16", "fp16", "fp32")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that determines a run, apart from its data.

    Attributes:
        style: the style image, a file.
        network: name of the network, see :mod:`reconet_bench.networks.base`.
        style_size: shorter side of the style image in pixels; a larger one gives larger strokes.
        optimizer: ``adam`` or ``adamax``.
        schedule: of the learning rate after ``warm_up`` steps: ``cosine`` to zero, ``steps`` (times ``decay`` at each
            of ``milestones``, which are shares of the run), or ``constant``.
        weights: overrides of the method's loss weights by term.
        options: overrides of the method's switches by name.
        scale: of the loss network's taps: ``unit`` mean activation, with any file; ``painting``, where moreover each
            tap's style error is divided by the painting's own (see :mod:`reconet_bench.methods.style_loss`); or
            ``raw``, with torchvision's file only.
        style_levels: sizes at which painting and output are compared, each half the one before.
        precision: ``fp32``, ``bf16`` or (CUDA) ``fp16``; ``auto``: see :mod:`reconet_bench.training.precision`.
        branch_from: where to start instead of at random. The folder of another run: its last saved weights,
            optimiser and step. A checkpoint: its weights, at step 0 with a fresh optimiser. Several objectives
            from one trunk differ in nothing else.
        compile: whether network and loss network go through ``torch.compile``.
        workers: processes that load data; ``None``: see :mod:`reconet_bench.training.loader`.
        tensorboard: whether to write TensorBoard events too.
        graphs: whether a training step on a GPU runs as a CUDA graph, where it can.
        minutes: time limit of the run; 0: none. A run that reaches it ends as if its steps were done, with the
            learning rate at its end too.
        save_every: steps between saved states.
        sample_every: steps between pictures of a scene that is not trained on; 0 makes none.
        sample_count: instead, at most this many pictures, evenly spread over the run.
        log_every: steps between rows of ``curves.csv``, each the mean since the last; 0: 25, or fewer if the run would
            have under 20 rows.
    """

    method: str
    style: Path
    network: str = DEFAULT_NETWORK
    steps: int = 4000
    batch: int = 1
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    decay: float = 0.2
    warm_up: int = 50
    style_size: int = 384
    style_levels: int = 1
    seed: int = 0
    weights: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    scale: str = "unit"
    vgg: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    workers: int | None = None
    tensorboard: bool = False
    graphs: bool = True
    minutes: float = 0.0
    branch_from: Path | None = None
    save_every: int = 200
    sample_every: int = 500
    sample_count: int = 0
    log_every: int = 0

    def check(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Check everything; returns the loss weights and the method's switches to train with.

        Raises:
            UnknownName: no such method, term, switch, optimiser, schedule, scale or precision.
            TrainingError: a number is out of range.
        """
        method, _ = METHODS[self.method], NETWORKS[self.network]
        if not method.trainable:
            raise TrainingError(f"method '{self.method}' has nothing to train")
        least = {
            "steps": 1,
            "batch": 1,
            "save_every": 1,
            "log_every": 0,
            "style_size": 32,
            "style_levels": 1,
            "seed": 0,
            "workers": 0,
            "warm_up": 0,
            "sample_every": 0,
            "sample_count": 0,
        }
        for name, limit in least.items():
            if (getattr(self, name) or 0) < limit and getattr(self, name) is not None:
                raise TrainingError(f"{name} must be at least {limit}, got {getattr(self, name)}")
        if self.seed >= LARGEST_SEED:
            raise TrainingError(f"seed must be below 2 to the 63rd, got {self.seed}")
        known = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "scale": SCALES, "precision": PRECISIONS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise UnknownName(name, getattr(self, name), values)
        if not 0 < self.learning_rate < 1:
            raise TrainingError(f"learning rate must be between 0 and 1, got {self.learning_rate}")
        if not all(isinstance(share, int | float) and 0 < share < 1 for share in self.milestones):
            raise TrainingError(
                f"milestones are shares of the run between 0 and 1, got {', '.join(map(repr, self.milestones))}"
            )
        if not 0 < self.decay <= 1:
            raise TrainingError(f"decay must be between 0 and 1, got {self.decay}")
        options = self.all_options()
        return METHODS[self.method].final_weights(self.all_weights(), options), options

    def all_weights(self) -> dict[str, float]:
        """All loss weights: those of the settings, else the method's."""
        method = METHODS[self.method]
        known = [*method.weights, CARPET]
        if unknown := self.weights.keys() - known:
            raise UnknownName(f"loss term of {self.method}", min(unknown), known)
        weights = {**method.weights, **self.weights}
        if bad := [name for name, weight in weights.items() if not 0 <= weight < math.inf]:
            raise TrainingError(f"weight of '{bad[0]}' must be zero or more, got {weights[bad[0]]}")
        if not any(weights.values()):
            raise TrainingError(f"all weights of {self.method} are zero: there is nothing to optimise")
        return weights

    def all_options(self) -> dict[str, Any]:
        """All switches: those of the settings, else the method's."""
        method = METHODS[self.method]
        if unknown := self.options.keys() - method.options.keys():
            raise UnknownName(f"option of {self.method}", min(unknown), method.options or ("none",))
        return method.check_options({**method.options, **self.options})

    def row_due(self, done: int) -> bool:
        """Whether the curves get a row after ``done`` steps; the last step always gives one."""
        return done % (self.log_every or max(1, min(25, self.steps // 20))) == 0 or done == self.steps

    def picture_due(self, done: int) -> bool:
        """Whether there is a sample picture after ``done`` steps; the last step gives one, if any step does."""
        every = -(-self.steps // self.sample_count) if self.sample_count else self.sample_every
        return bool(every) and (done % every == 0 or done == self.steps)

    def learning_rate_at(self, step: int, time_share: float = 0.0) -> float:
        """The learning rate of a step, counted from 0; a run whose time is limited goes by the time if that is ahead.

        Args:
            time_share: share of the time limit that has passed, 0 to 1.
        """
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, min(self.warm_up, self.steps)))
        step = max(step, int(time_share * self.steps))
        if self.schedule == "cosine":
            return rate * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
        if self.schedule == "steps":
            return float(rate * self.decay ** sum(step >= share * self.steps for share in self.milestones))
        return rate


def whole_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with all loss weights and switches of its method; raises as :meth:`TrainingSettings.check` does."""
    settings = from_recipe(recipe, Path())
    settings.check()
    return {**recipe, "weights": settings.all_weights(), "options": settings.all_options()}


def from_recipe(recipe: Mapping[str, Any], style: Path, **rest: Any) -> TrainingSettings:
    """Settings of a recipe (see :mod:`reconet_bench.training.presets`); ``rest`` are fields that no recipe has."""
    names = {field.name for field in fields(TrainingSettings)}
    values = {name: value for name, value in recipe.items() if name in names}
    return TrainingSettings(**{**values, "style": style, "milestones": tuple(recipe["milestones"]), **rest})
