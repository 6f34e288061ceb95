"""Seconds per frame as they were measured, in rounds, and the statistics that are derived from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from reconet_bench.core.cpu_load import Span

#: A timing is stable if its rounds differ by less than this share.
STABLE_WITHIN = 0.10


@dataclass
class Samples:
    """Seconds per frame at one boundary, in rounds; all statistics are derived from them.

    Attributes:
        rounds: seconds per frame, as measured, a list per round.
    """

    rounds: list[list[float]] = field(default_factory=list)

    @property
    def seconds(self) -> np.ndarray:
        """All samples, in the order in which they were measured."""
        return np.array([value for one in self.rounds for value in one])

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))

    @property
    def p90(self) -> float:
        """Seconds that nine frames in ten stay within (linear interpolation)."""
        return float(np.percentile(self.seconds, 90))

    @property
    def p99(self) -> float:
        """Seconds that 99 frames in 100 stay within (linear interpolation)."""
        return float(np.percentile(self.seconds, 99))

    @property
    def fps(self) -> float:
        """Frames per second at the median."""
        return 1 / self.median

    @property
    def spread(self) -> float:
        """Interquartile range over the median: 0 = every frame took the same time."""
        low, high = np.percentile(self.seconds, (25, 75))
        return float(high - low) / self.median

    @property
    def stable(self) -> bool:
        """Whether the medians of the rounds lie within 10 % of the overall median, lowest to highest.

        Single slow frames do not matter to that, a machine that slows down does. One round alone
        proves nothing: it is not stable.
        """
        medians = [float(np.median(one)) for one in self.rounds]
        return len(medians) > 1 and max(medians) - min(medians) < STABLE_WITHIN * self.median


@dataclass
class Timing:
    """What was measured of one session.

    Attributes:
        runtime, device, precision, threads, load_seconds: the session's.
        first_frame: seconds of the first frame of all, end to end: what it allocates, compiles or tunes is in it;
            ``None`` where the session had run frames before.
        build_seconds: of compiling or building for this frame size, which the first frame of it waited for.
        warmup_frames: frames until it was warm, first one included, all boundaries.
        warm: whether every warm-up ended because frames took equal time, not because its time was over.
        peak_memory: bytes at the peak of loading and of the first frames, above a process that has PyTorch imported:
            weights and the pages of libraries count. Host memory on the CPU, device memory on CUDA without the
            context; ``None`` where it is not known, or the session had run frames before.
        placement: the session's: compute nodes by provider.
        turns: what others took of the processor in each round's turn; of the rounds that count alone.
        left_out: rounds that do not count, because others took the processor.
        motion: seconds that estimates of the motion to the frame before took, within ``end_to_end``; empty where the
            model uses none.
        samples: by boundary.
    """

    runtime: str
    device: str
    precision: str
    threads: int
    load_seconds: float
    first_frame: float | None = None
    build_seconds: float = 0.0
    warmup_frames: int = 0
    warm: bool = True
    peak_memory: int | None = None
    placement: dict[str, int] = field(default_factory=dict)
    turns: list[Span] = field(default_factory=list)
    left_out: int = 0
    motion: list[float] = field(default_factory=list)
    samples: dict[str, Samples] = field(default_factory=dict)

    @property
    def processor(self) -> Span:
        """What others took of the processor during all turns."""
        return functools.reduce(Span.and_then, self.turns, Span())

    @property
    def stable(self) -> bool:
        """Whether every boundary is stable. A warm-up that was too short shows here too: the rounds get faster."""
        return all(one.stable for one in self.samples.values())
