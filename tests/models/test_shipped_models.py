"""The models that ship: complete, comparable, and in the order that their objectives promise."""

from __future__ import annotations

import json

import pytest
import torch

from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.methods.base import METHODS
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.models.checkpoint import load_checkpoint, shipped_models
from reconet_bench.networks.vgg import STYLE_TAPS

#: On the dissertation's network, from one trunk; and in each style on the light one.
FIRST = ("dougherty-starry_night", "johnson-starry_night", "reconet-starry_night")
STYLES = ("starry_night", "the_scream", "wave")


@pytest.fixture(scope="module")
def models():
    return {name: load_checkpoint(path) for name, path in shipped_models().items()}


def test_johnson_and_reconet_ship_in_every_style_and_the_field_in_one(models):
    assert set(FIRST) <= set(models)
    assert {f"{method}-lite-{style}" for method in ("johnson", "reconet") for style in STYLES} <= set(models)
    light = {model.method for name, model in models.items() if model.kind == "lite" and model.style == "starry_night"}
    assert {
        "dissertation-code",
        "dougherty",
        "gao2018",
        "huang2017",
        "johnson",
        "reconet",
        "wang2020",
        "xu2021",
    } <= light
    assert all(model.name == name for name, model in models.items())


def test_each_has_its_card_and_curve_and_is_small(models):
    for name, path in shipped_models().items():
        card = path.with_suffix(".md").read_text()
        assert f"# {name}" in card
        assert "Loss curve" in card
        assert path.with_suffix(".csv").read_text().startswith("step,content,style")
        assert path.stat().st_size < 6_000_000


def test_they_differ_in_the_objective_alone(models):
    shared = ("steps", "batch", "learning_rate", "seed", "size", "data", "style", "style_size", "loss_network", "trunk")
    first = [models[name] for name in FIRST]
    facts = [{key: model.info.get(key) for key in shared} for model in first]
    assert facts[0] == facts[1] == facts[2]
    trunk = facts[0]["trunk"]
    assert facts[0]["steps"] + trunk["step"] + trunk["trunk"]["step"] == 7000, (
        "a branch counts with the trunks it grew from"
    )
    assert facts[0]["size"] >= 192
    for model in first:
        assert model.info["weights"] == METHODS[model.method].weights, (
            "trained with other weights than the method's defaults"
        )
        common = {"content", "style", "tv"}
        assert {k: v for k, v in model.info["weights"].items() if k in common} == {
            k: METHODS["johnson"].weights[k] for k in common
        }


def all_steps(info: dict) -> int:
    """Steps of a model, and of those that it was begun from."""
    trunk = info.get("trunk") or {}
    return info.get("steps", info.get("step") or 0) + (all_steps(trunk) if trunk else 0)


def test_the_light_ones_share_data_style_and_loss(models):
    for style in STYLES:
        light = [model for model in models.values() if model.kind != "reconet" and model.style == style]
        for key in ("style", "style_size", "style_levels", "scale", "loss_network"):
            assert len({str(model.info[key]) for model in light}) == 1, key
        assert {model.info["data"]["textures"] for model in light} == {"232 photographs in photos"}
    assert min(all_steps(model.info) for model in models.values()) >= 2000


def test_they_say_nothing_of_the_machine_that_trained_them(models):
    for model in models.values():
        text = json.dumps(model.info)
        assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "C:\\\\")), text


def test_they_carry_their_style(models):
    for model in models.values():
        assert tuple(model.style_targets) == STYLE_TAPS
        assert all(torch.isfinite(gram).all() for gram in model.style_targets.values())


@pytest.mark.parametrize("kind", ["", "-lite"])
def test_the_order_on_a_built_in_clip(models, kind):
    clip = synthetic_clip("stroll", (160, 280), 4)
    errors = {}
    for method in ("reconet", "dougherty", "johnson"):
        model = models[f"{method}{kind}-starry_night"]
        with torch.inference_mode():
            frames = [model.network(clip.frame(index)) for index in range(len(clip))]
        metric = METRICS["temporal_error"]
        errors[method] = float(
            metric.reduce(torch.tensor(list(metric.samples(Footage(clip, frames)).values())).numpy())
        )
    assert errors["reconet"] < errors["dougherty"] < errors["johnson"], errors
    assert not kind or errors["reconet"] < 0.5 * errors["johnson"]
