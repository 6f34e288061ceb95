"""The hot operations beside the network: decoding, warping, metrics, rendering, the loss network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import to_uint8, warp
from reconet_bench.data.clip import Pair
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.base import Footage, Style
from reconet_bench.metrics.measure import Absent, measure_footage, measured_samples
from reconet_bench.metrics.similarity import ssim
from reconet_bench.metrics.temporal_error import pair_errors
from reconet_bench.networks.vgg import STYLE_TAPS, load_loss_network
from reconet_bench.video.frames import Frame, StreamFormat
from reconet_bench.video.reader import VideoReader
from reconet_bench.video.writer import VideoWriter


@pytest.fixture(scope="module")
def pair() -> Pair:
    return synthetic_clip("carousel", (256, 448), 3).pair(0)


def test_warp(benchmark: Any, pair: Pair) -> None:
    """As metrics do it: in float64."""
    warped, inside = benchmark(warp, pair.second.double(), pair.motion.flow)
    error = (pair.first - warped).abs()[pair.motion.mask.expand(-1, 3, -1, -1) > 0].mean()
    assert error < 0.02
    assert 0.9 < inside.mean() <= 1


def test_temporal_error(benchmark: Any, pair: Pair) -> None:
    value = benchmark(pair_errors, pair.first, pair.second, pair.motion.flow, pair.motion.mask)
    assert 0 < float(value.masked) < 0.02**2


def test_metrics(benchmark: Any, size: tuple[int, int]) -> None:
    """All metrics that need no loss network, on a clip of seven frames."""
    clip = synthetic_clip("carousel", size, 7)
    footage = Footage(clip, [clip.frame(index) for index in range(len(clip))], Style({}, None, "not asked for"))
    measure_footage(footage)  # a clip keeps what it has rendered, and rendering is no metric
    found = benchmark(measure_footage, footage)
    assert isinstance(found["style_distance"], Absent)
    assert all(len(samples) >= 2 for samples in measured_samples(found).values())
    assert max(found["temporal_error"].samples.values()) < 0.02
    benchmark.extra_info.update(ms_a_frame=round(1000 * benchmark.stats.stats.median / len(clip), 1))


def test_ssim(benchmark: Any, pair: Pair) -> None:
    assert benchmark(ssim, pair.first, pair.first) == pytest.approx(1)


def test_render_frame(benchmark: Any) -> None:
    def render() -> torch.Tensor:
        return synthetic_clip("rush", (256, 448), 2).frame(0)

    assert torch.equal(benchmark(render), render())


def test_loss_network(benchmark: Any, pair: Pair) -> None:
    try:
        network = load_loss_network()
    except MetricUnavailable as reason:
        pytest.skip(str(reason))
    with torch.inference_mode():
        taps = benchmark(network, pair.first)
    assert tuple(taps) == STYLE_TAPS


def test_decode(benchmark: Any, tmp_path: Path) -> None:
    """24 frames of H.264 to RGB."""
    clip = synthetic_clip("stroll", (256, 448), 24)
    pictures = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, clip.size, StreamFormat(Fraction(1, 24), Fraction(24)))
    for number, picture in enumerate(pictures):
        writer.write(Frame(picture, number))
    writer.close()

    def decode() -> list[np.ndarray]:
        with VideoReader(path) as reader:
            return [frame.image for frame in reader]

    decoded = benchmark(decode)
    assert len(decoded) == len(pictures)
    assert np.abs(decoded[5].astype(int) - pictures[5]).mean() < 6
