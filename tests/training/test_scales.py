"""The scale of the loss network's taps: whatever a training optimised against, its style is judged by one yardstick."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_runs import windows

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.metrics.style import distances_to_style, style_of
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.models.loading import load_by_name
from reconet_bench.networks.vgg import STYLE_TAPS
from reconet_bench.training.loop import train
from reconet_bench.training.presets import load_recipe, preset_names

FRAMES = torch.rand(2, 1, 3, 40, 56, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def louder(stand_in_weights, tmp_path):
    """The same network at fifty times the activation, as a file of another lineage is."""
    state, metadata = read_tensors(stand_in_weights)
    path = tmp_path / "louder.safetensors"
    louder = {key: value * 50 if key.endswith("bias") or key == "0.weight" else value for key, value in state.items()}
    write_tensors(path, louder, metadata)
    return path


def distance(path, vgg, folder) -> float:
    """``style_distance`` of two fixed frames, as a comparison judges this checkpoint."""
    style = style_of(load_by_name(str(path), folder).style_targets, vgg)
    assert style.network is not None, style.reason
    content, stylized = (distances_to_style(frame, style.targets, style.network) for frame in FRAMES)
    return sum(stylized[tap] / content[tap] for tap in STYLE_TAPS) / len(STYLE_TAPS)


def test_unit_and_raw_checkpoints_of_one_network_have_one_style_distance(settings, tmp_path, stand_in_weights):
    short = replace(settings, steps=1, sample_every=0)
    unit = distance(train(short, windows(), tmp_path / "unit"), stand_in_weights, tmp_path)
    assert unit > 0.05
    raw = train(replace(short, scale="raw"), windows(), tmp_path / "raw")
    assert distance(raw, stand_in_weights, tmp_path) == pytest.approx(unit, rel=1e-3)


def test_what_is_saved_fits_half_precision_at_any_scale_of_the_file(settings, tmp_path, louder):
    saved = load_checkpoint(train(replace(settings, steps=1, sample_every=0, vgg=louder), windows(), tmp_path / "run"))
    assert all(1e-4 < float(saved.style_targets[name].abs().max()) < 100 for name in STYLE_TAPS)


def test_the_raw_scale_is_refused_of_a_file_that_is_not_at_torchvisions(settings, tmp_path, louder):
    with pytest.raises(TrainingError) as caught:
        train(replace(settings, scale="raw", vgg=louder), windows(), tmp_path / "run")
    assert str(caught.value).startswith(f"{louder} is not at torchvision's scale (mean activation of relu1_2: ")
    assert "--set scale=unit" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_means_the_same_with_any_file(name):
    assert load_recipe(name)["scale"] in ("unit", "painting")
