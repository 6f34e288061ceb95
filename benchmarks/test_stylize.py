"""Footage in, footage out, against the network alone: decoding, encoding and waiting cost at most a tenth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from reconet_bench.core.images import write_image
from reconet_bench.core.ops import to_uint8
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.loading import load_by_name
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file

MODEL, RUNTIME, SIZE, FRAMES, TURNS = "reconet-starry_night", "onnxruntime", (144, 320), 96, 5
#: Frames a second from file to file, over those of the network alone.
SHARE = 0.9


def test_a_video_takes_as_long_as_its_network(benchmark: Any, tmp_path: Path) -> None:
    clip = synthetic_clip("carousel", SIZE, 24)
    frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
    for number in range(FRAMES):
        write_image(tmp_path / "in" / f"{number:04d}.png", frames[number % len(frames)])
    stylize_file(lambda image: image, FootageInput(tmp_path / "in"), FootageOutput(tmp_path / "in.mp4"))
    with RUNTIMES[RUNTIME].load(load_by_name(MODEL, tmp_path).source) as session:
        session(frames[0])
        alone: list[float] = []

        def network() -> None:
            """The network's turn, just before the whole's: both see the same machine."""
            began = time.perf_counter()
            for number in range(FRAMES):
                session(frames[number % len(frames)])
            alone.append(FRAMES / (time.perf_counter() - began))

        shares: list[float] = []

        def whole() -> None:
            began = time.perf_counter()
            assert (
                stylize_file(session, FootageInput(tmp_path / "in.mp4"), FootageOutput(tmp_path / "out.mp4")).frames
                == FRAMES
            )
            shares.append(FRAMES / (time.perf_counter() - began) / alone[-1])

        benchmark.pedantic(whole, setup=network, rounds=TURNS, warmup_rounds=0)
    share = float(np.median(shares))
    benchmark.extra_info.update(
        network_fps=round(float(np.median(alone)), 2), share_of_network=round(share, 3), frames=FRAMES
    )
    assert share >= SHARE
