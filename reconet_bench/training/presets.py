"""Presets: recipes of training runs as TOML files, which people can read, copy and override."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import TrainingError, UnknownName

FOLDER = Path(__file__).parent / "presets"
#: A recipe: settings by name, with the tables ``weights`` and ``options``; see ``presets/default.toml``.
Recipe = dict[str, Any]
TABLES = ("weights", "options")


def preset_names() -> list[str]:
    """The presets that are included."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(preset: str = "default", overrides: Sequence[str] = ()) -> Recipe:
    """The default recipe, changed by a preset and then by ``key=value`` settings.

    Args:
        preset: a name, or a ``.toml`` file.
        overrides: ``steps=2000``, ``weights.style=1e4``, ``options.constraint=none``.

    Raises:
        UnknownName: no such preset or setting. TrainingError: a value of the wrong type, or a broken file.
    """
    default = _read(FOLDER / "default.toml")
    path = Path(preset) if preset.endswith(".toml") else FOLDER / f"{preset}.toml"
    if preset.endswith(".toml") and not path.is_file():
        raise TrainingError(f"no such preset file: {path}")
    if not path.is_file():
        raise UnknownName("preset", preset, preset_names())
    recipe = merged(default, _read(path), str(path) if path.parent != FOLDER else f"preset {preset}")
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise TrainingError(f"--set takes KEY=VALUE, got '{text}'")
        table, dot, name = key.strip().partition(".")
        layer = {table: {name: _value(value)}} if dot else {table: _value(value)}
        recipe = merged(recipe, layer, f"--set {text}")
    return recipe


def merged(recipe: Recipe, layer: Mapping[str, Any], where: str) -> Recipe:
    """``recipe`` changed by ``layer``, whose keys must be in ``recipe`` and have the same type there."""
    result = {key: dict(value) if key in TABLES else value for key, value in recipe.items()}
    if "steps" in layer and "epochs" not in layer:
        result["epochs"] = 0  # a number of steps replaces the preset's epochs
    for key, value in layer.items():
        if key not in recipe:
            raise UnknownName(f"setting in {where}", key, recipe)
        if key in TABLES:
            if not isinstance(value, Mapping):
                raise TrainingError(f"{where}: '{key}' is a table: give {key}.NAME")
            result[key] |= {
                name: _fitting(0.0, one, f"{key}.{name}", where) if key == "weights" else one
                for name, one in value.items()
            }
        else:
            result[key] = _fitting(recipe[key], value, key, where)
    return result


def as_toml(recipe: Recipe) -> str:
    """The recipe as a preset file."""
    import tomli_w

    return tomli_w.dumps(recipe)


def _read(path: Path) -> Recipe:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not a preset: {error}") from None


def _value(text: str) -> Any:
    """A TOML value; a word without quotes is a string."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _fitting(known: Any, value: Any, key: str, where: str) -> Any:
    if isinstance(known, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(known):
        raise TrainingError(f"{where}: {key} takes {type(known).__name__}, got {value!r}")
    return value
