"""How many times as fast one session is as another: rounds are pairs, so a slow spell of the machine cancels out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reconet_bench.core.statistics import MeanError, error_of_values

#: A ratio is resolved if its interval goes no further than this share up and down.
RESOLVED_WITHIN = 0.03


@dataclass(frozen=True)
class SpeedRatio:
    """A speed over that of the reference.

    Attributes:
        value: the mean over the rounds (geometric, since it is a ratio): 2 is twice as fast.
        error: of its natural logarithm; ``None`` with fewer than two rounds.
        n: rounds behind it.
    """

    value: float
    error: MeanError | None
    n: int

    @property
    def half_width(self) -> float | None:
        """How far the 95 % interval goes, as a share of the value: 0.03 is 3 % up, and about as far down."""
        return None if self.error is None else math.expm1(self.error.half_width)

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        return None if self.error is None else self.value / math.exp(self.error.half_width)

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return None if self.error is None else self.value * math.exp(self.error.half_width)

    @property
    def resolved(self) -> bool:
        """Whether the interval is narrow enough to compare by."""
        return self.half_width is not None and self.half_width <= RESOLVED_WITHIN


def speed_ratio(own: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> SpeedRatio:
    """The speed of a session over that of the reference, whose rounds were interleaved with it.

    The median of each round over the reference's in the same round; Student's t over the rounds, of the logarithm.

    Args:
        own, reference: seconds per frame, a list for each round, one round or more; rounds beyond the shorter are left
            out.
    """
    logarithms = [math.log(median(theirs) / median(ours)) for ours, theirs in zip(own, reference, strict=False)]
    error = error_of_values(logarithms) if len(logarithms) > 1 else None
    return SpeedRatio(math.exp(math.fsum(logarithms) / len(logarithms)), error, len(logarithms))
