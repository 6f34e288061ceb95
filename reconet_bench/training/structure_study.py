"""The structure study: candidates for the network, each trained for the same processor time on the same crops.

The time of a step is measured first, in turns, and says how many steps each candidate gets. So a study that was killed
goes on to the same result, and other programs on the machine do not decide which candidate is trained for longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reconet_bench.training.fleet import FleetModel
from reconet_bench.training.presets import Recipe, load_recipe, merged

#: Steps between saved states: what a killed study has to train again at most.
_SAVE_EVERY = 50
#: The objective that all candidates are trained with.
METHOD = "reconet"


def shared_recipe(size: int, seed: int, precision: str) -> Recipe:
    """What all candidates share: the preset ``lite`` with the objective of ReCoNet."""
    own = {"method": METHOD, "size": size, "seed": seed, "precision": precision}
    return merged(load_recipe("lite"), {**own, "save_every": _SAVE_EVERY, "sample_every": 0}, "study structure")


def steps_in(cpu_minutes: float, step_seconds: float) -> int:
    """How many steps fit into a processor time, one at least."""
    return max(1, int(60 * cpu_minutes / step_seconds))


def structure_models(names: Sequence[str], style: Path, recipe: Recipe, steps: Mapping[str, int]) -> list[FleetModel]:
    """What is to be trained: a model for each candidate, whose learning rate falls to zero over its own steps.

    Args:
        steps: of each candidate.
    """
    return [FleetModel(name, style, {**recipe, "network": name, "steps": steps[name]}) for name in names]
