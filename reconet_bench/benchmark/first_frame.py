"""What the first session of a model takes until its first frame: later ones find what it has compiled or built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconet_bench.benchmark.turns import peak_since_loading, time_frame
from reconet_bench.core.memory import peak_memory
from reconet_bench.runtimes.base import Session


@dataclass(frozen=True)
class FirstFrame:
    """Loading and the first frame of a size, as :class:`~reconet_bench.benchmark.timing.Timing` has them.

    Attributes:
        load_seconds: of the session.
        build_seconds: of compiling or building for this frame size.
        first_frame: seconds of the first frame of all, end to end; ``None`` where the session had run another size.
        peak_memory: bytes at the peak of loading and of the first frames; ``None`` likewise, or where it is not known.
    """

    load_seconds: float
    build_seconds: float
    first_frame: float | None
    peak_memory: int | None


def first_frame(session: Session, image: np.ndarray) -> FirstFrame:
    """Run the first frame of a size, ``(H, W, 3)`` uint8, end to end, and once more on the device alone."""
    fresh, built = not session.used, session.build_seconds
    with peak_memory(session.device) as peak:
        taken = time_frame(session, image, "end_to_end")
        time_frame(session, image, "device")
    return FirstFrame(
        session.load_seconds,
        session.build_seconds - built,
        taken if fresh else None,
        peak_since_loading(session, peak) if fresh else None,
    )
