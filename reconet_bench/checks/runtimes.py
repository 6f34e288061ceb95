"""Every runtime that is installed: it loads a shipped model, proves its frames and is timed briefly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from reconet_bench.checks.base import CHECKS, Check, Finding, absent, failed, ok, warning
from reconet_bench.core.errors import ReconetBenchError

if TYPE_CHECKING:
    import numpy as np

    from reconet_bench.runtimes.model_source import ModelSource

#: The model that runtimes are tried with, and the frames: height, width, number.
_MODEL, _SIZE, _FRAMES = "reconet-small-starry_night", (96, 160), 4
#: How a reason begins that is the machine's and not the installation's.
_NOT_FOR_HERE = "unusable here: "


@CHECKS.register("runtimes")
class Runtimes(Check):
    """Each runtime in a process of its own, so that one that crashes is a line and no end."""

    title: ClassVar[str] = "runtimes"
    order: ClassVar[int] = 30

    def findings(self, full: bool) -> Iterator[Finding]:
        from reconet_bench.core.ops import to_uint8
        from reconet_bench.data.synthetic import synthetic_clip
        from reconet_bench.models.checkpoint import shipped_models
        from reconet_bench.models.loading import load_by_name, workspace
        from reconet_bench.runtimes.base import RUNTIMES, reference_frames
        from reconet_bench.runtimes.selection import REFERENCE_RUNTIME, Resources
        from reconet_bench.runtimes.worker import load_apart

        if _MODEL not in shipped_models():
            yield warning("runtimes", f"the shipped model {_MODEL} is not here", "install the package with its models")
            return
        clip = synthetic_clip("stroll", _SIZE, _FRAMES)
        frames = [to_uint8(clip.frame(index))[0] for index in range(_FRAMES)]
        with workspace() as folder:
            source = load_by_name(_MODEL, Path(folder)).source
            try:
                with load_apart(REFERENCE_RUNTIME, source, Resources()) as reference:
                    expected = reference_frames(reference, frames)
            except (ReconetBenchError, RuntimeError) as error:
                yield failed("torch", _line(error), "install PyTorch again: pip install --force-reinstall torch")
                return
            for name in RUNTIMES.names(default=not full):
                status = RUNTIMES[name].status
                if not status.usable:
                    text = status.text.removeprefix("missing: ")
                    yield absent(name, text.removeprefix(_NOT_FOR_HERE))
                    continue
                yield self._tried(name, source, frames, expected)

    def _tried(self, name: str, source: ModelSource, frames: list[np.ndarray], expected: list[np.ndarray]) -> Finding:
        from reconet_bench.benchmark.speed_records import gate
        from reconet_bench.benchmark.turns import time_frame
        from reconet_bench.runtimes.base import RUNTIMES, frames_parity
        from reconet_bench.runtimes.selection import Resources
        from reconet_bench.runtimes.worker import load_apart

        try:
            with load_apart(name, source, Resources()) as session:
                parity = frames_parity(expected, session, frames)
                taken = sorted(session.ask(time_frame, frames[0], "end_to_end") for _ in range(5))[2]
                where = ", ".join(f"{count} nodes on {place}" for place, count in session.placement.items())
                said = f"{1000 * taken:.1f} ms a frame on {session.device}, PSNR {parity.psnr:.0f} dB"
        except (ReconetBenchError, RuntimeError) as error:
            return failed(name, _line(error), f"install it again: {RUNTIMES[name].reinstall}".rstrip(": "))
        found = said + (f", {where}" if where else "")
        if gate(parity, None):
            return warning(name, found, "its frames are not PyTorch's: do not ship what it makes without looking at it")
        return ok(name, found)


def _line(error: Exception) -> str:
    """The line of an error that says most: of a traceback the last."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
