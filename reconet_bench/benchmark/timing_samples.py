"""Seconds per frame as they were measured, in rounds, and the statistics that are derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
