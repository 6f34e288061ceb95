"""The package from Python: the names that are promised, and what they give."""

from __future__ import annotations

import json

import numpy as np
import pytest
from clips import make_clip, scene, times
from conftest import DESIGN, SIZE

import reconet_bench
from reconet_bench import api, cli
from reconet_bench.benchmark.fastest_runtime import Choice
from reconet_bench.core.images import write_image
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.selection import Selection
from reconet_bench.models.checkpoint import Checkpoint, save_checkpoint
from reconet_bench.networks.base import Identity


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "identity-none.safetensors"
    save_checkpoint(path, Checkpoint(Identity().eval(), "identity", ""))
    return path


def test_every_promised_name_is_there_and_stays_what_it_is():
    for name in reconet_bench.__all__:
        first = getattr(reconet_bench, name)
        assert callable(first)
        assert getattr(reconet_bench, name) is first, "a module of the same name must not take its place"
        assert first.__doc__
    assert set(reconet_bench.__all__) <= set(dir(reconet_bench))
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        reconet_bench.stylise  # noqa: B018


def test_arrays_and_videos_are_stylised_and_measured(model, tmp_path):
    source = make_clip(tmp_path / "a.mp4")
    with reconet_bench.load_model(model, runtime="torch", device="cpu", threads=1) as network:
        np.testing.assert_array_equal(network(scene(0)), scene(0))
        done = reconet_bench.stylize(network, source, tmp_path / "b.mp4")
    assert done.frames == 8
    assert times(tmp_path / "b.mp4") == times(source)
    values = reconet_bench.measure(source, tmp_path / "b.mp4", frames=4)
    assert values["content_similarity"] > 0.9
    assert values["temporal_error"] < 0.05
    frames = [scene(number) for number in range(4)]
    measured = reconet_bench.measure(source, frames, frames=4, flow="none")
    assert measured.keys() & DESIGN == {"content_similarity", "ssim_adjacent"}
    only = reconet_bench.measure(source, frames, frames=4, flow="none", metrics=["flicker_raw"])
    assert only.keys() == {"flicker_raw"}
    with pytest.raises(reconet_bench.ReconetBenchError, match="did you mean 'flicker_raw'"):
        reconet_bench.measure(source, frames, frames=4, flow="none", metrics=["flicker"])


def test_a_built_in_clip_takes_the_size_and_length_of_the_frames_as_evaluate_does(tmp_path, capsys):
    clip = Selection(size=(48, 64), frames=3).clip("stroll")
    frames = [to_uint8(clip.frame(index))[0] for index in range(3)]
    for index, frame in enumerate(frames):
        write_image(tmp_path / f"{index}.png", frame)
    values = reconet_bench.measure("stroll", frames)
    assert values["content_similarity"] > 0.99
    cli.main(["evaluate", "--stylized", str(tmp_path), "--video", "stroll", "--json"])
    assert json.loads(capsys.readouterr().out) == values


def test_auto_is_the_fastest_runtime_at_the_size_of_the_first_frame(model, monkeypatch):
    asked = []

    def choose(chosen, size, resources):
        asked.append((chosen.source.name, str(size), resources.threads))
        return Choice("torch", "torch: the only one")

    monkeypatch.setattr(api, "choose_runtime", choose)
    with reconet_bench.load_model(model, runtime="auto", device="cpu", threads=1) as network:
        assert asked == []
        with pytest.raises(reconet_bench.RuntimeUnavailable, match="chosen at the first frame"):
            network.session  # noqa: B018
        for _ in range(2):
            np.testing.assert_array_equal(network(scene(0)), scene(0))
        assert network.session.runtime == "torch"
    assert asked == [("identity-none", f"{SIZE[1]}x{SIZE[0]}", 1)]


def test_every_kind_of_error_can_be_caught_by_its_name():
    kinds = [
        getattr(reconet_bench, name) for name in reconet_bench.__all__ if isinstance(getattr(reconet_bench, name), type)
    ]
    errors = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(errors) == 7
    assert all(issubclass(kind, reconet_bench.ReconetBenchError) for kind in errors)


def test_mistakes_are_errors_of_one_tree(model, tmp_path):
    source = make_clip(tmp_path / "a.mp4")
    for wrong in (
        lambda: reconet_bench.load_model("nonsense"),
        lambda: reconet_bench.load_model(model, runtime="nonsense"),
        lambda: reconet_bench.stylize("nonsense", source, tmp_path / "b.mp4"),
        lambda: reconet_bench.measure(source, [np.zeros(SIZE)]),
        lambda: reconet_bench.measure(source, [scene(0)]),
    ):
        with pytest.raises(reconet_bench.ReconetBenchError):
            wrong()
