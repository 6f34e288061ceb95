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

NAMES = ("dougherty-starry_night", "johnson-starry_night", "reconet-starry_night")


@pytest.fixture(scope="module")
def models():
    return {name: load_checkpoint(path) for name, path in shipped_models().items()}


def test_three_methods_ship_each_with_its_card_and_curve(models):
    assert tuple(models) == NAMES
    for name, path in shipped_models().items():
        card = path.with_suffix(".md").read_text()
        assert f"# {name}" in card
        assert "Loss curve" in card
        assert path.with_suffix(".csv").read_text().startswith("step,content,style")
        assert path.stat().st_size < 6_000_000


def test_they_differ_in_the_objective_alone(models):
    shared = ("steps", "batch", "learning_rate", "seed", "size", "data", "style", "style_size", "loss_network", "trunk")
    facts = [{key: model.info.get(key) for key in shared} for model in models.values()]
    assert facts[0] == facts[1] == facts[2]
    trunk = facts[0]["trunk"]
    assert facts[0]["steps"] + trunk["step"] + trunk["trunk"]["step"] == 7000, (
        "a branch counts with the trunks it grew from"
    )
    assert facts[0]["size"] >= 192
    for model in models.values():
        assert model.info["weights"] == METHODS[model.method].weights, (
            "trained with other weights than the method's defaults"
        )
        common = {"content", "style", "tv"}
        assert {k: v for k, v in model.info["weights"].items() if k in common} == {
            k: METHODS["johnson"].weights[k] for k in common
        }


def test_they_say_nothing_of_the_machine_that_trained_them(models):
    for model in models.values():
        text = json.dumps(model.info)
        assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "C:\\\\")), text


def test_they_carry_their_style(models):
    for model in models.values():
        assert tuple(model.style_targets) == STYLE_TAPS
        assert all(torch.isfinite(gram).all() for gram in model.style_targets.values())


def test_the_order_on_a_built_in_clip(models):
    clip = synthetic_clip("stroll", (160, 280), 4)
    errors = {}
    for name, model in models.items():
        with torch.inference_mode():
            frames = [model.network(clip.frame(index)) for index in range(len(clip))]
        metric = METRICS["temporal_error"]
        errors[name] = float(metric.reduce(torch.tensor(list(metric.samples(Footage(clip, frames)).values())).numpy()))
    assert errors["reconet-starry_night"] < errors["dougherty-starry_night"] < errors["johnson-starry_night"], errors
