"""Many models side by side: the file that names them, the crops that they share, time limits and failures."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import windows

from reconet_bench.core.errors import DataError, ReconetBenchError, TrainingError, UnknownName
from reconet_bench.core.files import claimed
from reconet_bench.core.ops import warp
from reconet_bench.data.scene import Scene
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.training import crops as crops_module
from reconet_bench.training import fleet, loop
from reconet_bench.training.crop_store import FACTS_FILE, StoredCrops, mirrored, store_crops
from reconet_bench.training.crops import FLAT, RandomScenes
from reconet_bench.training.fleet import overrides, read_fleet, run_fleet, when_free
from reconet_bench.training.loop import train
from reconet_bench.training.presets import load_recipe

FLEET = """
preset = "lite"
steps = 40
style = "painting.png"
[models.one]
weights = { style = 5.0 }
[models.two]
method = "johnson"
network = "small"
style = "other.png"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_is_for_all_and_what_for_one(tmp_path):
    one, two = read_fleet(written(tmp_path, FLEET))
    assert (one.name, one.style, two.style) == ("one", tmp_path / "painting.png", tmp_path / "other.png")
    assert (one.recipe["method"], one.recipe["network"], one.recipe["steps"]) == ("reconet", "lite", 40)
    assert one.recipe["weights"] == {"style": 5.0}
    assert (two.recipe["method"], two.recipe["network"]) == ("johnson", "small")
    assert two.recipe["weights"] == {"style": 8.0}, "that of the preset"
    again = load_recipe("default", overrides(two.recipe))
    assert again == two.recipe


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("steps = ", TrainingError, "not a fleet file: Invalid value"),
        ("steps = 3", TrainingError, r"no models: give a table \[models.NAME\] for each"),
        ("[models]\none = 3", TrainingError, "no models"),
        ("[models.one]", TrainingError, 'model one: no style image: give style = "FILE"'),
        ('style = "a.png"\n[models."a/b"]', TrainingError, "leave out '/'"),
        ('style = "a.png"\nstep = 3\n[models.one]', UnknownName, "'step'.*did you mean 'steps'"),
        ('style = "a.png"\n[models.one]\nsteps = "many"', TrainingError, "model one: steps takes int, got 'many'"),
        ('style = "a.png"\npreset = "light"\n[models.one]', UnknownName, "did you mean 'lite'"),
    ],
)
def test_a_faulty_file_is_told_in_one_line(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_fleet(written(tmp_path, text))
    with pytest.raises(TrainingError, match=r"cannot read the fleet file .*No such file"):
        read_fleet(tmp_path / "none.toml")


def test_stored_crops_are_the_crops(tmp_path):
    made, seen = windows(), []
    store = store_crops(made, tmp_path / "store", 5, 2, lambda done, count: seen.append((done, count)))
    assert seen[-1] == (5, 5)
    crops = StoredCrops(store, 0)
    assert (crops.size, crops.count) == (32, 5)
    assert crops.describe() == {**made.describe(), "stored_crops": 5}
    assert crops.digest() == made.digest()
    expected = [made[index] for index in range(5)]

    def number(crop) -> int:
        return next(
            index
            for index, one in enumerate(expected)
            if any((crop.frames - side.frames).abs().max() < 1 / 255 for side in (one, mirrored(one)))
        )

    for epoch in range(2):
        assert sorted(number(crops[5 * epoch + index]) for index in range(5)) == list(range(5)), "each once an epoch"
    for index in range(20):
        crop = crops[index]
        other, inside = warp(crop.frames[1:2], crop.flows[:1])
        assert float((crop.masks[:1] * inside * (other - crop.frames[:1]).abs()).max()) < 0.02, "the motion fits"


def test_a_mirrored_crop_moves_the_other_way():
    crop = windows()[0]
    other = mirrored(crop)
    assert torch.equal(other.flows[:, 0], -crop.flows[:, 0].flip(-1))
    assert torch.equal(other.flows[:, 1], crop.flows[:, 1].flip(-1))
    assert torch.equal(mirrored(other).frames, crop.frames)


def test_a_store_is_kept_and_of_other_data_refused(tmp_path):
    store = store_crops(windows(), tmp_path / "store", 3, 1)
    before = (store / "frames.npy").stat().st_mtime_ns
    store_crops(windows(), store, 3, 1)
    assert (store / "frames.npy").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="holds crops of other data: delete it, or choose another folder"):
        store_crops(windows(), store, 4, 1)


@pytest.mark.parametrize("damage", ["no facts", "half a fact", "short", "missing"])
def test_an_incomplete_store_is_refused(tmp_path, damage):
    store = store_crops(windows(), tmp_path / "store", 3, 1)
    if damage == "no facts":
        (store / FACTS_FILE).unlink()
    elif damage == "half a fact":
        (store / FACTS_FILE).write_text('{"size": 32')
    elif damage == "short":
        (store / "flows.npy").write_bytes((store / "flows.npy").read_bytes()[:1000])
    else:
        (store / "masks.npy").unlink()
    with pytest.raises(DataError, match="no complete store" if "fact" in damage else "missing or truncated"):
        StoredCrops(store, 0)


class Here:
    """Trains in this process, as `Runner` says."""

    def __init__(self, fail: str = ""):
        self.fail, self.commands = fail, []

    def run(self, command, log):
        self.commands.append(command)
        folder = Path(command[command.index("-o") + 1])
        if folder.name == self.fail:
            log.write("reconet-bench: out of memory: lower --size\n")
            return 2
        (folder / "model.safetensors").write_text("")
        return 0

    def signal(self, number):
        pass


def test_a_model_that_fails_costs_no_other_and_is_named(tmp_path):
    models = read_fleet(written(tmp_path, FLEET))
    said = []
    with pytest.raises(TrainingError, match=r"1 of 2 models failed \(one: .*out of memory.*the others are"):
        run_fleet(models, {"one": [], "two": []}, tmp_path / "runs", report=said.append, runner=Here("one"))
    assert "two: done" in said
    again = Here()
    run_fleet(models, {"one": ["--device", "cpu"], "two": []}, tmp_path / "runs", runner=again)
    assert len(again.commands) == 1, "a finished model is not trained again"
    assert "--resume" in again.commands[0]
    assert 'network="lite"' in again.commands[0]


def test_the_time_is_shared_by_those_that_wait(tmp_path):
    runner = Here()
    run_fleet(read_fleet(written(tmp_path, FLEET)), {"one": [], "two": []}, tmp_path, 1, 10.0, runner=runner)
    minutes = [float(words[words.index("--minutes") + 1]) for words in runner.commands]
    assert minutes == pytest.approx([5.0, 10.0], abs=0.05)


def test_a_run_whose_time_is_over_ends_as_if_its_steps_were_done(settings, tmp_path, monkeypatch):
    clock = iter(np.arange(0, 1000, 0.5))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    rates = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda optimizer, rate: rates.append(rate))
    path = train(replace(settings, steps=1000, minutes=0.1, warm_up=0), windows(), tmp_path / "run")
    info = load_checkpoint(path).info
    assert info["steps"] == len(rates) < 20
    assert rates[0] > 0.9 * settings.learning_rate > 10 * rates[-1]
    assert json.dumps(info)


def test_a_flat_scene_is_drawn_again(monkeypatch):
    real, given = crops_module.random_scene, []

    def first_is_white(rng, textures, size):
        scene = real(rng, textures, size)
        given.append(scene)
        if len(given) > 1:
            return scene
        return Scene(tuple(replace(layer, texture=torch.ones_like(layer.texture)) for layer in scene.layers))

    monkeypatch.setattr(crops_module, "random_scene", first_is_white)
    crop = RandomScenes(32, 0)[7]
    assert len(given) == 2
    assert min(crop.frames.std((1, 2, 3)).tolist()) > FLAT


def test_photographs_without_any_contrast_are_refused(monkeypatch):
    real = crops_module.random_scene

    def white(rng, textures, size):
        scene = real(rng, textures, size)
        return Scene(tuple(replace(layer, texture=torch.ones_like(layer.texture)) for layer in scene.layers))

    monkeypatch.setattr(crops_module, "random_scene", white)
    monkeypatch.setattr(crops_module, "_ATTEMPTS", 2)
    with pytest.raises(ReconetBenchError, match="too flat to render scenes from"):
        RandomScenes(32, 0)[7]


class Slow(Here):
    """Needs a while for each model, whose curves grow meanwhile."""

    def run(self, command, log):
        folder = Path(command[command.index("-o") + 1])
        for step in (10, 20):
            (folder / "curves.csv").write_text(f"step,style\n{step},1\n")
            time.sleep(0.3)
        return super().run(command, log)


@pytest.mark.clock
def test_a_fleet_says_about_how_long_it_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "EVERY", 0.0)
    said: list[str] = []
    models = read_fleet(written(tmp_path, FLEET))
    run_fleet(models, {"one": [], "two": []}, tmp_path / "runs", 1, report=said.append, runner=Slow())
    told = [line for line in said if "left" in line]
    assert re.fullmatch(r"[01] of 2 models, about 1 min left   (one|two) \d+/40", told[-1])


def test_a_training_that_a_killed_fleet_has_left_is_waited_for(tmp_path):
    models, runner = read_fleet(written(tmp_path, FLEET)), Here()
    with ThreadPoolExecutor(1) as pool:
        with claimed(tmp_path / "runs" / "one"):
            done = pool.submit(run_fleet, models, {"one": [], "two": []}, tmp_path / "runs", runner=runner)
            ends = time.monotonic() + 30
            while len(runner.commands) < 1 and time.monotonic() < ends:
                time.sleep(0.01)
            assert [Path(words[words.index("-o") + 1]).name for words in runner.commands] == ["two"]
        done.result(timeout=30)
    assert len(runner.commands) == 2


def test_who_is_asked_to_stop_waits_no_longer(tmp_path):
    with claimed(tmp_path / "run"):
        assert not when_free(tmp_path / "run", lambda: True)
    assert when_free(tmp_path / "run", lambda: True)
