"""Many networks trained side by side on one machine, with one store of crops, within a time limit.

The models stand in a TOML file. Settings at its top are for all of them, as in a preset; each table of ``models``
changes them for one model::

    preset = "lite"
    steps = 20000

    [models.reconet-lite-wave]
    style = "wave.jpg"
    method = "reconet"
    weights = { temporal_short = 300 }
"""

from __future__ import annotations

import math
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import DataError, TrainingError, ended_by
from reconet_bench.core.files import claimed
from reconet_bench.report.loss_curves import parse_curves
from reconet_bench.training.presets import TABLES, as_toml, load_recipe, merged
from reconet_bench.training.processes import Processes, Runner, places
from reconet_bench.training.run_folder import CURVES_FILE
from reconet_bench.training.signals import stopping

#: Settings of the file that are no recipe's: the preset to start from, the painting, and the models themselves.
_OWN = ("preset", "style", "models")
#: Why a model was not trained that another process was training when this one was stopped.
IN_USE = "another process is training it"
#: Seconds between two lines about the progress of all.
EVERY = 15.0


@dataclass(frozen=True)
class FleetModel:
    """One model of a fleet.

    Attributes:
        name: of its run folder.
        style: the painting.
        recipe: all its settings, see :mod:`reconet_bench.training.presets`.
    """

    name: str
    style: Path
    recipe: Mapping[str, Any]


def read_fleet(path: Path) -> list[FleetModel]:
    """The models of a fleet file; paths in it are relative to its folder.

    Raises:
        TrainingError: not a readable fleet file, or a model has no painting. UnknownName: no such preset or setting.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read the fleet file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not a fleet file: {error}") from None
    models = content.get("models")
    if not isinstance(models, dict) or not models or not all(isinstance(own, dict) for own in models.values()):
        raise TrainingError(f"{path}: no models: give a table [models.NAME] for each")
    return [_model(path, name, content, own) for name, own in models.items()]


def _model(path: Path, name: str, shared: Mapping[str, Any], own: Mapping[str, Any]) -> FleetModel:
    where = f"{path}, model {name}"
    if Path(name).name != name:
        raise TrainingError(f"{where}: a model's name is also that of its folder: leave out '/'")
    preset = own.get("preset", shared.get("preset", "default"))
    recipe = load_recipe(str(preset))
    for layer in (shared, own):
        recipe = merged(recipe, {key: value for key, value in layer.items() if key not in _OWN}, where)
    style = own.get("style", shared.get("style"))
    if not isinstance(style, str):
        raise TrainingError(f'{where}: no style image: give style = "FILE"')
    return FleetModel(name, path.parent / style, recipe)


def overrides(recipe: Mapping[str, Any]) -> list[str]:
    """What a recipe changes in the default one, as ``key=value`` words for ``--set``."""
    words, default = [], load_recipe()
    for key, value in recipe.items():
        if value == default[key]:
            continue
        pairs = [(f"{key}.{name}", one) for name, one in value.items()] if key in TABLES else [(key, value)]
        words += [as_toml({"value": one}).partition("=")[2].strip().join((f"{name}=", "")) for name, one in pairs]
    return words


def run_fleet(
    models: Sequence[FleetModel],
    arguments: Mapping[str, Sequence[str]],
    folder: Path,
    jobs: int = 0,
    minutes: float = 0.0,
    report: Callable[[str], None] = lambda text: None,
    runner: Runner | None = None,
) -> None:
    """Train every model in its own process and run folder.

    A finished model is not trained again, and an interrupted one continues; a training that a killed fleet has left is
    waited for. With a time limit every model gets an equal
    share, and those that do not reach their steps end with a low learning rate all the same.

    Args:
        arguments: further words for ``reconet-bench train`` by model.
        folder: gets a run folder for each model.
        jobs: models that train at the same time; 0: all.
        minutes: time limit for all; 0: none.
        report: called with lines about the progress.

    Raises:
        TrainingError: models failed; the others are finished.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after every running training has saved its state.
    """
    jobs = min(jobs or len(models), len(models))
    running = runner or Processes(places(jobs, [word for words in arguments.values() for word in words]))
    began, turns = time.monotonic(), math.ceil(len(models) / jobs)

    def train(number: int) -> str:
        model = models[number]
        limit = (60 * minutes - (time.monotonic() - began)) / 60 / (turns - number // jobs) if minutes else 0.0
        if minutes and limit <= 0:
            return "not started: the time was over"
        if not when_free(folder / model.name, lambda: stop.asked):
            return IN_USE
        return train_model(
            model, [*arguments[model.name], *(["--minutes", f"{limit:.3f}"] if minutes else [])], folder, running
        )

    with stopping(running.signal) as stop, ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(train, number): model for number, model in enumerate(models)}
        failed = _watch(futures, folder, jobs, report)
    if stop.asked:
        raise KeyboardInterrupt(f"fleet: stopped: run the same command again to continue the models in {folder}")
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise TrainingError(f"{len(failed)} of {len(models)} models failed ({reasons}); the others are in {folder}")


def train_model(model: FleetModel, arguments: Sequence[str], folder: Path, running: Runner) -> str:
    """Train one model; returns the reason if it failed, else an empty text."""
    run = folder / model.name
    run.mkdir(parents=True, exist_ok=True)
    if finished(run):
        return ""
    words = [sys.executable, "-m", "reconet_bench.cli", "train", "--style", str(model.style), *arguments]
    with (run / "log.txt").open("a") as log:
        code = running.run([*words, "-o", str(run), "--resume", "--set", *overrides(model.recipe)], log)
    if not code:
        return ""
    if code < 0:
        return ended_by(code, "lower --size, --batch or --jobs")
    lines = (run / "log.txt").read_text().strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"


def when_free(run: Path, asked: Callable[[], bool]) -> bool:
    """Wait until no other process is writing into a run folder: a run that was killed may have left a training, which
    goes on by itself.

    Args:
        asked: whether to stop waiting.

    Returns:
        Whether the folder is free.
    """
    while True:
        try:
            with claimed(run):
                return True
        except DataError:
            if asked():
                return False
            time.sleep(0.5)


def finished(run: Path) -> bool:
    """Whether the training in a run folder has written its model."""
    return any(path.name != "state.safetensors" for path in run.glob("*.safetensors"))


def _watch(
    futures: Mapping[Future[str], FleetModel], folder: Path, jobs: int, report: Callable[[str], None]
) -> dict[str, str]:
    """Report until all are done; returns the reason for each model that failed."""
    failed: dict[str, str] = {}
    waiting, began = set(futures), time.monotonic()
    said, start = began, _steps_done(futures.values(), folder)
    total = sum(model.recipe["steps"] for model in futures.values())
    while waiting:
        done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            name, reason = futures[future].name, future.result()
            if reason:
                failed[name] = reason
            if reason or finished(folder / name):  # what was not begun before a stop has nothing to say
                report(f"{name}: {reason or 'done'}")
        if waiting and time.monotonic() - said >= EVERY:
            said = time.monotonic()
            done_steps = _steps_done(futures.values(), folder)
            left = (total - done_steps) * (said - began) / 60 / max(done_steps - start, 1e-9)
            about = f", about {max(1.0, left):.0f} min left" if done_steps > start else ""
            busy = [futures[future] for future in futures if future in waiting][:jobs]
            at_work = "   ".join(progress_of(folder, model) for model in busy)
            report(f"{len(futures) - len(waiting)} of {len(futures)} models{about}   {at_work}")
    return failed


def _steps_done(models: Iterable[FleetModel], folder: Path) -> float:
    """How many steps all models together have come; one whose time was over is done all the same."""
    return sum(model.recipe["steps"] if finished(folder / model.name) else step_of(folder, model) for model in models)


def progress_of(folder: Path, model: FleetModel) -> str:
    """``NAME 125/4000``: the step that a model in training has reached."""
    return f"{model.name} {step_of(folder, model):g}/{model.recipe['steps']}"


def step_of(folder: Path, model: FleetModel) -> float:
    """The step that a model in training has reached, as its curves say; 0 where they say nothing yet."""
    try:
        return parse_curves((folder / model.name / CURVES_FILE).read_text()).steps[-1]
    except Exception:  # no row yet, or half of one: this is for people
        return 0
