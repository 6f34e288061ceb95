"""What the dissertation's tables and figures need to be trained: each training once, however many studies share it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import TrainingError
from reconet_bench.training.field_plan import FEWEST_STEPS, PLANNED, steps_that_fit
from reconet_bench.training.fleet import FleetModel
from reconet_bench.training.presets import Recipe, load_recipe, merged
from reconet_bench.training.settings import TrainingSettings, from_recipe
from reconet_bench.training.studies import STUDIES

#: The recipe of the proposed method, and those of the baselines of Table 6.1 by method.
PRESET = "dissertation"
BASELINES = {"johnson": "johnson2016", "dougherty": "dougherty2020"}
#: The study whose only run is the proposed method as it was published.
PROPOSED = "epochs"
#: The setting that decides how many pictures a training leaves, and not what it learns.
_PICTURES = "sample_count"


@dataclass(frozen=True)
class Trainings:
    """All that is to be trained.

    Attributes:
        models: different in their recipes; the proposed method is the first.
        studies: which of them belongs to each setting, by study and label.
        baselines: which of them is each baseline, by method.
    """

    models: Sequence[FleetModel]
    studies: Mapping[str, Mapping[str, str]]
    baselines: Mapping[str, str]

    @property
    def compared(self) -> list[str]:
        """The models of Tables 6.1 and 6.2: the baselines, then the proposed method."""
        return [*self.baselines.values(), self.models[0].name]

    def settings(self, model: FleetModel, vgg: Path | None) -> TrainingSettings:
        """The settings that a model is trained with."""
        return from_recipe(model.recipe, model.style, vgg=vgg)


def trainings(style: Path, shared: Recipe) -> Trainings:
    """The trainings for one painting.

    Args:
        shared: settings that all have in common, such as size and steps; they change the presets.

    Raises:
        UnknownName, TrainingError: a setting does not exist, or has another type.
    """
    models: list[FleetModel] = []

    def named(name: str, preset: str, overrides: Sequence[str] = ()) -> str:
        recipe = merged(load_recipe(preset, overrides), {"sample_every": 0, **shared}, "reproduce")
        same = [model.name for model in models if _learned(model.recipe) == _learned(recipe)]
        if not same:
            models.append(FleetModel(name, style, recipe))
        return same[0] if same else name

    studies = {
        study: {
            setting.label: named(f"{study}-{setting.label}", PRESET, setting.overrides)
            for setting in STUDIES[study].settings
        }
        for study in sorted(STUDIES, key=lambda study: study != PROPOSED)
    }
    baselines = {method: named(method, preset) for method, preset in BASELINES.items()}
    return Trainings(models, studies, baselines)


def _learned(recipe: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in recipe.items() if key != _PICTURES}


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a reproduction take here.

    Attributes:
        steps: of a training step, by method.
        start: of a training beside its steps.
        rest: of everything that is not a training.
    """

    steps: Mapping[str, float]
    start: float
    rest: float


def steps_in_time(ends: float, parallel: int, costs: Costs, models: Sequence[FleetModel]) -> int:
    """How many steps every training may have so that all is done in time.

    Args:
        ends: as ``time.monotonic`` counts.
        parallel: trainings that the machine runs at the same time as fast as one alone.

    Raises:
        TrainingError: not enough for any; the message says how many minutes are.
    """
    counts = Counter(str(model.recipe["method"]) for model in models)
    left = ends - time.monotonic() - costs.rest
    steps = steps_that_fit(parallel * left, costs.steps, counts, costs.start)
    if steps < FEWEST_STEPS:
        seconds = sum(count * (costs.start + FEWEST_STEPS * costs.steps[name]) for name, count in counts.items())
        least = seconds / parallel / PLANNED + costs.rest
        raise TrainingError(
            f"too little time for {len(models)} trainings and what is measured then: give at least "
            f"{1 + (least + 60) / 60:.0f} minutes, or a smaller --size"
        )
    return steps
