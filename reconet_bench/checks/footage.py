"""Codecs: what is written is read again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from reconet_bench.checks.base import CHECKS, Check, Finding, failed, ok
from reconet_bench.core.errors import ReconetBenchError

#: A file suffix for each codec.
_SUFFIXES = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".webm", "gif": ".gif"}
_COUNT, _LIGHT = 4, 120


@CHECKS.register("footage")
class Footage(Check):
    """PyAV's encoders and decoders."""

    title: ClassVar[str] = "footage"
    order: ClassVar[int] = 40

    def findings(self, full: bool) -> Iterator[Finding]:
        from reconet_bench.core.images import write_image
        from reconet_bench.video.reader import VideoReader
        from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file
        from reconet_bench.video.writer import ENCODERS

        with tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
            for number in range(_COUNT):
                write_image(Path(folder) / "in" / f"{number}.png", np.full((64, 96, 3), _LIGHT, np.uint8))
            for codec in ENCODERS:
                film = Path(folder) / f"{codec}{_SUFFIXES.get(codec, '.mp4')}"
                footage = FootageInput(Path(folder) / "in", rate=Fraction(25))
                try:
                    stylize_file(lambda frame: frame, footage, FootageOutput(film, codec=codec))
                    with VideoReader(film) as reader:
                        frames = [frame.image for frame in reader]
                except (ReconetBenchError, OSError, ValueError) as error:
                    yield failed(codec, str(error), "install PyAV again: pip install --force-reinstall av")
                    continue
                if len(frames) != _COUNT or abs(float(np.mean(frames)) - _LIGHT) > 4:
                    yield failed(codec, f"{len(frames)} of {_COUNT} frames came back right", "install PyAV again")
                else:
                    yield ok(codec, "writes and reads")
