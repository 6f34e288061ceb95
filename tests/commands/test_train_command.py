"""What ``train`` and ``study`` find before anything is prepared, and the recipe that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import picture
from safetensors.torch import save_file

from reconet_bench import cli
from reconet_bench.core.images import transparency, write_image
from reconet_bench.core.tensor_files import read_tensors, write_tensors
from reconet_bench.models.checkpoint import load_checkpoint
from reconet_bench.networks.vgg import read_style

TINY = (
    "--data",
    "synthetic",
    "--size",
    "32",
    "--style-size",
    "64",
    "--steps",
    "2",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--set",
    "sample_every=0",
)


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_image(tmp_path / "wave.png", picture(0, (0.0, 0.0), (64, 64)))
    return tmp_path / "wave.png"


@pytest.fixture
def fails(capsys, monkeypatch, tmp_path):
    """The one line that a command line ends with."""
    monkeypatch.chdir(tmp_path)

    def line(*words: object) -> str:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(word) for word in words])
        assert caught.value.code == 2
        (told,) = capsys.readouterr().err.strip().splitlines()
        return told

    return line


def test_cheap_mistakes_come_before_footage_and_downloads(fails, style, tmp_path, stand_in_weights):
    """The footage is not there either, which is found last; a download would fail without network."""
    footage = ("--data", "footage", "--footage", "nowhere")
    words = ("train", *footage, "--vgg", stand_in_weights, "--style", style)
    assert "cannot read image none.png" in fails(*words, "--style", "none.png", "--download-vgg")
    assert "no device 'tpu' here" in fails(*words, "--device", "tpu", "--download-vgg")
    assert "--vgg and --download-vgg both choose the loss network" in fails(*words, "--download-vgg")
    assert "precision fp16 needs a CUDA GPU" in fails(*words, "--device", "cpu", "--precision", "fp16")
    assert "no such file: none.safetensors" in fails(*words, "--vgg", "none.safetensors")
    assert "is not a writable folder" in fails(*words, "-o", style / "run")
    (tmp_path / "run").mkdir()
    save_file({}, tmp_path / "run" / "state.safetensors", {"step": "3", "settings": "{}"})
    assert "contains another run: step 3 is saved" in fails(*words, "-o", "run")
    (tmp_path / "other").mkdir()
    save_file({}, tmp_path / "other" / "state.safetensors", {"format": "pt"})
    for resume in ((), ("--resume",)):
        assert "is not the state of a training: choose another --output" in fails(*words, "-o", "other", *resume)
    (tmp_path / "models").mkdir()
    save_file({}, tmp_path / "models" / "reconet-dots.safetensors")
    for resume in ((), ("--resume",)):
        assert "reconet-dots.safetensors would be overwritten: there is no state.safetensors beside it" in fails(
            *words, "-o", "models", *resume
        )
    assert "option 'content_tap' takes str, got [1]" in fails(
        *words, "--method", "johnson", "--set", "options.content_tap=[1]"
    )
    assert "no such footage: nowhere" in fails(*words, "-o", "new")
    state, metadata = read_tensors(stand_in_weights)
    write_tensors(tmp_path / "zero.safetensors", {key: value * 0 for key, value in state.items()}, metadata)
    assert "zero.safetensors: the loss network gives no usable activations" in fails(
        *words, "--vgg", "zero.safetensors"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--flow", "raft"), "--flow has no effect with --data synthetic: give --data footage"),
        (("--set", "flow=raft"), "--flow has no effect with --data synthetic"),
        (("--split", "all"), "--split has no effect with --data synthetic: give --data sintel"),
        (("--pass", "final"), "--pass has no effect with --data synthetic: give --data sintel"),
        (("--set", "fit=squash"), "--set fit has no effect with --data synthetic: give --data sintel or footage"),
        (("--set", "luminance=animation"), "--set luminance has no effect with --data synthetic: give --data footage"),
        (
            ("--steps", "3", "--epochs", "2"),
            "--steps and --epochs both set the length of the training: give only one of them",
        ),
        (("--textures", "nope"), "no such folder: nope"),
        (("--method", "jonson"), "unknown method 'jonson': did you mean 'johnson'"),
        (("--weights", "flicker=3"), "unknown loss term of reconet 'flicker'"),
        (("--set", "milestone_epochs=[0]"), "milestone_epochs must be numbers above 0"),
    ],
)
def test_what_makes_no_sense_is_neither_shown_nor_trained(fails, words, message):
    assert message in fails("train", "--show", *words)
    assert message in fails("train", "--style", "none.png", *words)


def test_a_run_leaves_its_recipe_which_repeats_it(style, tmp_path, stand_in_weights, capsys):
    given = ("train", "--style", str(style), "--vgg", str(stand_in_weights))
    changed = ("--method", "johnson", "--weights", "tv=3", "--set", "options.content_tap=relu2_2")
    cli.main([*given, *TINY, *changed, "-o", str(tmp_path / "one")])
    capsys.readouterr()
    cli.main(["train", "--show", *TINY, *changed])
    assert capsys.readouterr().out == (tmp_path / "one" / "recipe.toml").read_text()
    recipe = (tmp_path / "one" / "recipe.toml").read_text()
    assert "tv = 3.0\n" in recipe
    assert 'content_tap = "relu2_2"\n' in recipe
    assert "plain_tanh = false\n" in recipe
    cli.main(
        [*given, "--preset", str(tmp_path / "one" / "recipe.toml"), "--device", "cpu", "-o", str(tmp_path / "two")]
    )
    one, two = (load_checkpoint(tmp_path / name / "johnson-wave.safetensors") for name in ("one", "two"))
    assert one.info == two.info
    assert all(value.equal(two.network.state_dict()[name]) for name, value in one.network.state_dict().items())


def test_a_study_finds_its_mistakes_before_it_begins(fails, tmp_path, style, stand_in_weights):
    assert "no style image: give the painting to learn from by --style FILE" in fails(
        "study", "weights", "-o", "st", "--", "--steps", "3"
    )
    words = ("--style", style, "--vgg", stand_in_weights)
    assert "unknown loss term of johnson 'temporal_" in fails(
        "study", "weights", "-o", "st", "--", *words, "--method", "johnson"
    )
    assert "study epochs sets sample_every itself" in fails(
        "study", "epochs", "-o", "st", "--", *words, "--set", "sample_every=0"
    )
    assert not (tmp_path / "st").exists()


def test_a_transparent_painting_lies_on_white(tmp_path):
    image = picture(0, (0.0, 0.0), (64, 64))
    write_image(tmp_path / "whole.png", image)
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 51
    cv2.imwrite(str(tmp_path / "part.png"), np.dstack([image[:, :, ::-1], alpha]))
    whole, part = read_style(tmp_path / "whole.png"), read_style(tmp_path / "part.png")
    assert transparency(tmp_path / "whole.png") is None
    assert (part[:, :, :10] == 1).all()
    torch.testing.assert_close(part[:, :, 10:20], 0.2 * whole[:, :, 10:20] + 0.8)
    assert part[:, :, 20:].equal(whole[:, :, 20:])
