"""Presets: complete, readable, overridable, and every slip named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TranslationClip, picture

from reconet_bench.core.errors import TrainingError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.training.crops import ClipCrops
from reconet_bench.training.data import steps_of
from reconet_bench.training.loop import train
from reconet_bench.training.presets import FOLDER, as_toml, load_recipe, preset_names
from reconet_bench.training.settings import TrainingSettings, from_recipe, whole_recipe


def test_the_presets_that_the_field_asks_for_are_there():
    names = {
        "default",
        "dissertation",
        "dissertation-code",
        "gao2018",
        "johnson2016",
        "dougherty2020",
        "dougherty2020-published",
    }
    assert names <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_settings_that_check(name):
    recipe = load_recipe(name)
    settings = from_recipe(recipe, Path("style.png"))
    weights, options = settings.check()
    assert set(weights) == set(METHODS[settings.method].weights)
    assert set(options) == set(METHODS[settings.method].options)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_shown_is_a_preset(name, tmp_path):
    (tmp_path / "mine.toml").write_text(as_toml(load_recipe(name)))
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe(name)


def test_the_default_preset_is_what_the_settings_say():
    recipe = load_recipe()
    assert from_recipe(recipe, Path("style.png")) == TrainingSettings(recipe["method"], Path("style.png"))


def test_the_rate_falls_at_its_milestones():
    settings = TrainingSettings(
        "reconet",
        Path("wave.png"),
        steps=4,
        schedule="steps",
        milestones=(0.5,),
        decay=0.1,
        learning_rate=0.01,
        warm_up=0,
    )
    assert [settings.learning_rate_at(step) for step in range(4)] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_the_dissertation_in_its_own_numbers():
    text, code = load_recipe("dissertation"), load_recipe("dissertation-code")
    assert text["weights"] == {"content": 1, "style": 1e5, "tv": 1e-6, "temporal_short": 100, "temporal_long": 10}
    assert (text["optimizer"], text["learning_rate"], text["batch"], text["size"], text["epochs"]) == (
        "adamax",
        1e-4,
        2,
        512,
        60,
    )
    settings = replace(from_recipe(text, Path("s.png")), steps=60)
    rates = [settings.learning_rate_at(step) for step in (0, 7, 8, 19, 20, 59)]
    assert rates == pytest.approx([1e-4, 1e-4, 2e-5, 2e-5, 4e-6, 4e-6])
    differ = {key for key in text if text[key] != code[key]}
    assert differ == {"method", "options"}
    weights, _ = from_recipe(code, Path("s.png")).check()
    assert (weights["temporal_short"], weights["temporal_long"]) == (10, 100)


def test_the_dissertations_presets_see_its_frames_and_its_tanh():
    for name in ("dissertation", "dissertation-code"):
        recipe = load_recipe(name)
        assert (recipe["fit"], recipe["split"]) == ("squash", "dissertation")
        settings = from_recipe(recipe, Path("s.png"))
        _, options = settings.check()
        assert METHODS[settings.method].network(options).plain_tanh
        assert "904 samples" in (FOLDER / f"{name}.toml").read_text()
    assert load_recipe()["fit"] == "crop"


def test_the_baselines_presets_are_the_published_ones():
    """A clip is two images; content and style are sums over them and the pop loss is a mean."""
    johnson, dougherty, published = (
        load_recipe(name) for name in ("johnson2016", "dougherty2020", "dougherty2020-published")
    )
    assert (2 * johnson["batch"], johnson["options"]["content_tap"]) == (4, "relu2_2")
    assert johnson["steps"] * 2 * johnson["batch"] == 2 * 82782
    assert (dougherty["weights"]["pop"], dougherty["options"]["normalised_pop"]) == (2 * 50, True)
    assert dougherty["options"]["content_tap"] == published["options"]["content_tap"] == "relu2_2"
    # What we train by default is as it was.
    assert METHODS["johnson"].options == {"plain_tanh": False, "content_tap": "relu3_3"}
    assert METHODS["dougherty"].options == {"plain_tanh": False, "content_tap": "relu3_3", "normalised_pop": False}
    assert METHODS["reconet"].options == {"plain_tanh": False, "constraint": "luminance"}


def test_settings_override_in_order():
    recipe = load_recipe(
        "dissertation", ["steps=7", "weights.style=5", "learning_rate=1", "split=train", "milestones=[0.5]"]
    )
    assert (recipe["steps"], recipe["epochs"]) == (7, 0), "whoever names steps does not want the preset's epochs"
    assert recipe["weights"]["style"] == 5.0
    assert recipe["learning_rate"] == 1.0
    assert (recipe["split"], recipe["milestones"]) == ("train", [0.5])


@pytest.mark.parametrize(
    ("preset", "overrides", "error", "message"),
    [
        ("disertation", [], UnknownName, "unknown preset 'disertation': did you mean 'dissertation'"),
        ("none.toml", [], TrainingError, "no such preset file: none.toml"),
        ("default", ["step=3"], UnknownName, "unknown setting in --set step=3 'step': did you mean 'steps'"),
        ("default", ["steps=many"], TrainingError, "--set steps=many: steps takes int, got 'many'"),
        ("default", ["steps"], TrainingError, "--set takes KEY=VALUE, got 'steps'"),
        ("default", ["weights=3"], TrainingError, "'weights' is a table: give weights.NAME"),
        ("default", ["weights.style=big"], TrainingError, "weights.style takes float, got 'big'"),
        ("default", ["seed=true"], TrainingError, "seed takes int, got True"),
    ],
)
def test_slips_are_named(preset, overrides, error, message):
    with pytest.raises(error) as caught:
        load_recipe(preset, overrides)
    assert message in str(caught.value)


def test_a_broken_preset_file_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("steps = = 3")
    with pytest.raises(TrainingError, match=r"mine\.toml: not a preset"):
        load_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adamx"}, "unknown optimizer 'adamx': did you mean 'adamax'"),
        ({"schedule": "linear"}, "unknown schedule 'linear'"),
        ({"scale": "unity"}, "unknown scale 'unity': did you mean 'unit'"),
        ({"milestones": (8.0,)}, "milestones are shares of the run between 0 and 1, got 8.0"),
        ({"milestones": ("8",)}, "milestones are shares of the run between 0 and 1, got '8'"),
        ({"milestones": ([0.5],)}, "milestones are shares of the run between 0 and 1, got [0.5]"),
        ({"decay": 0.0}, "decay must be between 0 and 1, got 0.0"),
        (
            {"method": "johnson", "options": {"content_tap": "relu22"}},
            "unknown content_tap 'relu22': did you mean 'relu2_2'",
        ),
        ({"method": "dougherty", "options": {"normalised_pop": 1}}, "option 'normalised_pop' takes bool, got 1"),
        ({"options": {"swapped": True}}, "unknown option of reconet 'swapped': known: constraint, plain_tanh"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises((TrainingError, UnknownName)) as caught:
        replace(TrainingSettings("reconet", Path("s.png")), **change).check()
    assert message in str(caught.value)


def test_epochs_are_passes_over_the_windows():
    data = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    settings = TrainingSettings("reconet", Path("s.png"), batch=2)
    count = data.describe()["windows"]
    assert steps_of(settings, data, 3).steps == 3 * -(-count // 2)
    assert steps_of(settings, data, 4, processes=2).steps == 4 * -(-count // 4), "a step takes a batch of each process"
    assert steps_of(settings, data, 0).steps == settings.steps


def test_milestones_in_epochs_are_those_of_a_run_in_epochs():
    """Epochs 8 and 20, whether there are 60 of them or 20, where the second is never reached."""
    data = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    for name in ("dissertation", "dissertation-code"):
        recipe = load_recipe(name)
        settings = from_recipe(recipe, Path("s.png"))
        milestones = {
            epochs: steps_of(settings, data, epochs, 1, recipe["milestone_epochs"]).milestones
            for epochs in (0, 5, 20, 60)
        }
        assert milestones == {0: (0.1333, 0.3333), 5: (), 20: (0.4,), 60: (0.1333, 0.3333)}, (
            "the shares that older runs of 60 had"
        )
    assert steps_of(replace(settings, milestones=(0.5,)), data, 20).milestones == (0.5,)


def test_a_whole_recipe_names_every_weight_and_switch_and_means_the_same(tmp_path):
    for name in preset_names():
        recipe = load_recipe(name)
        whole = whole_recipe(recipe)
        method = METHODS[recipe["method"]]
        assert whole["weights"].keys() == method.weights.keys()
        assert whole["options"].keys() == method.options.keys()
        (tmp_path / "run.toml").write_text(as_toml(whole))
        again = from_recipe(load_recipe(str(tmp_path / "run.toml")), Path("s.png"))
        assert again.check() == from_recipe(recipe, Path("s.png")).check()
    with pytest.raises(UnknownName, match="did you mean 'johnson'"):
        whole_recipe(load_recipe(overrides=["method=jonson"]))


def test_rows_and_pictures_are_due_often_enough():
    settings = TrainingSettings("reconet", Path("s.png"))

    def rows(steps: int, **change: int) -> list[int]:
        changed = replace(settings, steps=steps, **change)
        return [done for done in range(1, steps + 1) if changed.row_due(done)]

    assert rows(3) == [1, 2, 3]
    assert rows(100) == list(range(5, 101, 5))
    assert rows(1010) == [*range(25, 1001, 25), 1010]
    assert rows(10, log_every=4) == [4, 8, 10]
    for steps, pictures in ((3, 3), (8, 8), (15, 8), (20, 7), (1000, 8)):
        changed = replace(settings, steps=steps, sample_count=8, sample_every=0)
        due = [done for done in range(1, steps + 1) if changed.picture_due(done)]
        assert (len(due), due[-1]) == (pictures, steps)
    assert not any(replace(settings, sample_every=0).picture_due(done) for done in (1, 4000))


@pytest.mark.parametrize("method", ["dissertation-code", "gao2018"])
def test_every_method_trains_saves_and_loads(method, tmp_path, stand_in_weights):
    style = tmp_path / "wave.png"
    write_image(style, picture(0, (0.0, 0.0), (64, 64)))
    settings = TrainingSettings(
        method,
        style,
        steps=2,
        batch=2,
        optimizer="adamax",
        style_size=64,
        vgg=stand_in_weights,
        device="cpu",
        precision="fp32",
        scale="raw",
        schedule="constant",
        save_every=1,
        log_every=1,
    )
    data = ClipCrops(32, 0, [TranslationClip((2.0, 1.0))])
    checkpoint = load_checkpoint(train(settings, data, tmp_path / "run"))
    assert checkpoint.info["options"] == METHODS[method].options
    assert (checkpoint.info["optimizer"], checkpoint.info["scale"]) == ("adamax", "raw")
    with torch.inference_mode():
        assert checkpoint.network(torch.rand(1, 3, 30, 34)).shape == (1, 3, 30, 34)
