"""Footage that is stylised on another machine, by a model that is sent there."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from reconet_bench.core.sent_files import read_folder
from reconet_bench.models.sent_model import SentModel
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.video.stylize import Done, FootageInput, FootageOutput, stylize_file


@dataclass(frozen=True)
class Away:
    """How all footage is stylised.

    Attributes:
        output: without its path.
    """

    sent: SentModel
    runtime: str
    device: str
    threads: int
    output: FootageOutput


@dataclass(frozen=True)
class Stylised:
    """What comes back: the written files by their names, and how it went."""

    files: dict[str, bytes]
    done: Done
    seconds: float
    runtime: str
    device: str


def stylize_away(footage: FootageInput, name: str, how: Away) -> Stylised:
    """Stylise footage that lies on this machine.

    Args:
        name: of the video, the image, or the folder of frames to be written.
    """
    model = how.sent.received()
    with (
        tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder,
        RUNTIMES[how.runtime].load(model.source, how.device, how.threads) as session,
    ):
        began = perf_counter()
        done = stylize_file(session, footage, replace(how.output, path=Path(folder) / name))
        seconds = perf_counter() - began
        return Stylised(read_folder(Path(folder)), done, seconds, session.runtime, str(session.device))
