"""Trained points on clips: the numbers of compare, kept in a file, and paired with the baseline frame by frame."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import TranslationClip

from reconet_bench.benchmark import equal_style
from reconet_bench.benchmark.equal_style import Judge, Measurement, paired_with, reported
from reconet_bench.core.errors import DataError, MetricUnavailable
from reconet_bench.core.samples import ALL_VIDEOS, THESE_CLIPS
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.statistics import difference_over_videos, estimate, mean_over_videos
from reconet_bench.metrics.style import style_of
from reconet_bench.models.checkpoint import find_checkpoint, load_checkpoint
from reconet_bench.networks.vgg import style_targets


@pytest.fixture(scope="module")
def clips():
    return [TranslationClip((2.0, 1.0), 8, name="one"), TranslationClip((-1.0, 2.0), 8, name="two")]


@pytest.fixture(scope="module")
def shipped():
    return find_checkpoint("johnson-lite-starry_night")


def test_a_point_is_measured_as_by_hand(clips, shipped, stand_in_weights, tmp_path, monkeypatch):
    from reconet_bench.core.ops import from_uint8, to_uint8

    judge, kept = Judge(clips, stand_in_weights, 1), tmp_path / "measured.json"
    targets = load_stand_in_targets(monkeypatch, stand_in_weights)
    found = judge.measure(shipped, kept)
    network = load_checkpoint(shipped).network
    for metric in ("temporal_error", "content_similarity"):
        values = []
        for clip in clips:
            frames = [from_uint8(to_uint8(clip.frame(i))[0]) for i in range(len(clip))]
            painted = [from_uint8(to_uint8(network(frame).detach())[0]) for frame in frames]
            samples = METRICS[metric].samples(Footage(clip, painted, style_of(targets, stand_in_weights)))
            np.testing.assert_allclose(
                list(found.values[metric][clip.name].values()), list(samples.values()), rtol=2e-2
            )
            values.append(float(METRICS[metric].reduce(np.array(list(samples.values())))))
        assert found.mean(metric).value == pytest.approx(np.mean(values), rel=1e-2)
    assert set(found.values) == set(reported()) & {*METRICS}
    # What is kept is read, and not measured again.
    monkeypatch.setattr(equal_style, "compare", None)
    assert judge.measure(shipped, kept) == found


def load_stand_in_targets(monkeypatch, weights):
    """Gram targets of the stand-in's width: those of a shipped model are of VGG-16's own."""
    import torch

    from reconet_bench.networks.vgg import load_loss_network

    painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    targets = style_targets(load_loss_network(weights), painting, 64)
    real = equal_style.load_by_name

    def loaded(*arguments):
        model = real(*arguments)
        model.style_targets = targets
        return model

    monkeypatch.setattr(equal_style, "load_by_name", loaded)
    return targets


@pytest.mark.parametrize("text", ["", "{", "[]", '{"values": {"temporal_error": {}}}', '{"values": 3, "remarks": []}'])
def test_a_file_that_is_no_measurement_is_measured_anew(text, tmp_path):
    (tmp_path / "measured.json").write_text(text)
    assert equal_style._read(tmp_path / "measured.json") is None


def test_a_point_without_a_style_distance_is_refused(clips, shipped, stand_in_weights, monkeypatch):
    real = equal_style.load_by_name
    monkeypatch.setattr(equal_style, "load_by_name", lambda *words: replace(real(*words), style_targets={}))
    with pytest.raises(MetricUnavailable, match=r"no style_distance: no style is known for this model"):
        Judge(clips[:1], stand_in_weights, 1).measure(shipped)


def measurement(scale: float, seed: int) -> Measurement:
    noise = np.random.default_rng(seed)

    def samples(video: int, count: int) -> dict[int, float]:
        return {i: float(scale * (1 + 0.2 * video) + 0.01 * noise.normal()) for i in range(count)}

    return Measurement({name: {f"v{v}": samples(v, 20) for v in range(3)} for name in reported()})


def test_differences_are_those_to_the_baseline_alone():
    measured = {"johnson": measurement(1.0, 1), "huang2017": measurement(0.5, 2), "xu2021": measurement(1.0, 3)}
    rows = paired_with("johnson", measured)
    assert {(row.first, row.second) for row in rows} == {("huang2017", "johnson"), ("xu2021", "johnson")}
    assert {row.video for row in rows} == {ALL_VIDEOS, THESE_CLIPS, "v0", "v1", "v2"}
    assert {row.metric for row in rows} == set(reported())
    row = next(r for r in rows if (r.first, r.metric, r.video) == ("huang2017", "temporal_error", ALL_VIDEOS))
    pairs = [
        (list(measured["huang2017"].values["temporal_error"][v].values()), list(one.values()))
        for v, one in measured["johnson"].values["temporal_error"].items()
    ]
    expected = difference_over_videos(METRICS["temporal_error"], pairs)
    assert (row.difference, row.ci_low, row.p) == (expected.value, expected.low, expected.p)
    assert row.verdict == "huang2017 is better"
    assert all(r.verdict == "no difference shown" for r in rows if r.first == "xu2021" and r.video == ALL_VIDEOS)
    assert paired_with("johnson", {"johnson": measured["johnson"]}) == []
    with pytest.raises(DataError, match="johnson was not measured"):
        paired_with("johnson", {"xu2021": measured["xu2021"]})


def test_a_mean_over_videos_takes_the_video_as_the_unit():
    metric = METRICS["temporal_error"]
    videos = [[0.01] * 10, [0.04] * 10, [0.09] * 10]
    found = mean_over_videos(metric, videos)
    assert found.value == pytest.approx(0.2)
    assert found.n == 30
    # Student's t of 0.1, 0.2, 0.3 with two degrees of freedom, symmetric in ratio.
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert found.high == pytest.approx(0.2 * np.exp(half / 0.2), rel=1e-5)
    assert found.low == pytest.approx(0.2 / np.exp(half / 0.2), rel=1e-5)
    assert mean_over_videos(metric, videos[:1]) == estimate(metric, videos[0])
    assert mean_over_videos(metric, [[0.01], [0.02]]).low is None


def test_a_measurement_survives_its_file(tmp_path):
    found = measurement(1.0, 4)
    (tmp_path / "m.json").write_text(
        json.dumps({"values": found.values, "remarks": ["a doubt"], "asked": ["ghosting"]})
    )
    assert equal_style._read(tmp_path / "m.json") == Measurement(found.values, ("a doubt",), ("ghosting",))
