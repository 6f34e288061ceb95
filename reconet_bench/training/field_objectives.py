"""The objectives of a field study: what each trains from one trunk, and what its temporal weights are.

All share the trunk's network, painting, style loss and weights of content, style and total variation. What is left to a
method is its own terms, whose weights are multiplied by one factor, see :mod:`reconet_bench.training.field_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import TrainingError
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import Checkpoint, load_checkpoint, model_name, shipped_models
from reconet_bench.training.fleet import FleetModel
from reconet_bench.training.presets import Recipe, load_recipe, merged

#: The method that all others are compared with.
BASELINE = "johnson"
#: Terms that have the trunk's weights in every method; a method's other terms make it steady.
COMMON_TERMS = ("content", "style", "tv")
#: Settings that are those of the trunk's own training.
_OF_TRUNK = ("style_size", "style_levels", "scale", "learning_rate", "optimizer")
#: Steps between saved states: what a killed study has to train again at most.
_SAVE_EVERY = 50


@dataclass(frozen=True)
class Objective:
    """A method in a field study.

    Attributes:
        name: of the method.
        terms: weights of its temporal terms at factor 1; none if it has no such term.
        recipe: its settings at factor 1, see :mod:`reconet_bench.training.presets`.
        style: the painting, a file.
    """

    name: str
    terms: Mapping[str, float]
    recipe: Mapping[str, Any]
    style: Path

    def at(self, factor: float) -> FleetModel:
        """The model to train with the temporal weights times ``factor``; its name is that of its run folder."""
        weights = {**self.recipe["weights"], **{term: factor * weight for term, weight in self.terms.items()}}
        name = f"{self.name}-x{factor:.4g}" if self.terms else self.name
        return FleetModel(name, self.style, {**self.recipe, "weights": weights})


def trainable_methods() -> list[str]:
    """Every method with something to train, the baseline first."""
    names = [name for name, method in METHODS.items() if method.trainable]
    return sorted(names, key=lambda name: name != BASELINE)


def trunk_recipe(trunk: Checkpoint, **changes: Any) -> Recipe:
    """The recipe that all objectives share: the preset ``lite``, and what the trunk was trained with.

    Args:
        changes: further settings, such as ``steps`` and ``size``.
    """
    info = trunk.info
    weights = {term: weight for term, weight in info.get("weights", {}).items() if term in COMMON_TERMS}
    own = {name: info[name] for name in _OF_TRUNK if name in info}
    layer = {"network": trunk.kind, "weights": weights, "save_every": _SAVE_EVERY, "sample_every": 0}
    return merged(load_recipe("lite"), {**own, **layer, **changes}, "trunk")


def objectives(names: Sequence[str], trunk: Checkpoint, style: Path, recipe: Recipe) -> list[Objective]:
    """What is to be trained: the baseline, then the methods of ``names`` in their order.

    Args:
        recipe: that they share, see :func:`trunk_recipe`.

    Raises:
        UnknownName: no such method.
        TrainingError: a method has nothing to train, or cannot train the trunk's network.
    """
    return [_objective(name, trunk, style, recipe) for name in dict.fromkeys([BASELINE, *names])]


def beginning_at(objective: Objective, terms: Mapping[str, float]) -> Objective:
    """The same with other temporal weights at factor 1."""
    recipe = {**objective.recipe, "weights": {**objective.recipe["weights"], **terms}}
    return replace(objective, terms=dict(terms), recipe=recipe)


def with_steps(objective: Objective, steps: int) -> Objective:
    """The same with another number of steps."""
    return replace(objective, recipe={**objective.recipe, "steps": steps})


def _objective(name: str, trunk: Checkpoint, style: Path, recipe: Recipe) -> Objective:
    method = METHODS[name]
    if not method.trainable:
        raise TrainingError(f"method '{name}' has nothing to train: leave it out of --methods")
    weights = {**method.weights, **{term: w for term, w in recipe["weights"].items() if term in method.weights}}
    terms = {term: weight for term, weight in weights.items() if term not in COMMON_TERMS and weight > 0}
    terms = _shipped_terms(name, terms, recipe, trunk) or terms
    options = _options(name, trunk)
    own = {"method": name, "weights": {**weights, **terms}, "options": options}
    return Objective(name, terms, {**recipe, **own}, style)


def _shipped_terms(name: str, terms: Mapping[str, float], recipe: Recipe, trunk: Checkpoint) -> dict[str, float]:
    """Temporal weights of the shipped model of a method, in proportion to the style weight; empty if there is none.

    Their search begins near the answer. Those of another network or scale of the style loss would mean nothing here.
    """
    begin = model_name(name, trunk.kind, "")
    found = [path for stem, path in shipped_models().items() if terms and stem.startswith(f"{begin}-")]
    for path in sorted(found, key=lambda path: path.stem != f"{begin}-{trunk.style}"):
        shipped = load_checkpoint(path)
        known = shipped.info.get("weights", {})
        same = (shipped.method, shipped.kind, shipped.info.get("scale")) == (name, trunk.kind, recipe["scale"])
        if same and known.keys() >= {"style", *terms} and known["style"]:
            ratio = recipe["weights"].get("style", known["style"]) / known["style"]
            return {term: float(known[term] * ratio) for term in terms if known[term] > 0}
    return {}


def _options(name: str, trunk: Checkpoint) -> dict[str, Any]:
    """Switches with which a method trains the trunk's network as it is, one clip a step.

    The dissertation's code changes the network too; here it is the objective that is compared. Its long-term frame of
    another clip needs two clips, and as that loss has no gradient, it changes nothing of what is optimised.
    """
    method, known = METHODS[name], trunk.info.get("options", {})
    wanted = METHODS[trunk.method].network_options({**METHODS[trunk.method].options, **known})
    options = {**method.options, **{switch: value for switch, value in known.items() if switch in method.options}}
    if "long_from_shuffled" in options:
        options["long_from_shuffled"] = False
    for switch, value in options.items():
        if isinstance(value, bool):
            flipped = {**options, switch: not value}
            if _unlike(method.network_options(flipped), wanted) < _unlike(method.network_options(options), wanted):
                options = flipped
    if _unlike(method.network_options(options), wanted):
        advice = "choose another --trunk" if name == BASELINE else "leave it out of --methods"
        raise TrainingError(f"method '{name}' cannot train the network of a trunk of '{trunk.method}': {advice}")
    return {switch: value for switch, value in options.items() if value != method.options[switch]}


def _unlike(one: object, other: object) -> int:
    """In how many fields two options of networks differ."""
    return sum(value != vars(other)[key] for key, value in vars(one).items())
