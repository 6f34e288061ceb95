"""Which weight to try next so that a method reaches the style of another one: pure functions of what was measured.

The temporal weights of a method are multiplied by one *factor*. A larger factor makes the frames steadier and keeps the
style back, so the style distance grows with it, apart from the noise of training. Sought is the largest factor whose
style distance still is within a band around the baseline's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Two style distances within this share of one another are called equal.
BAND = 0.03
#: The factor between two points while no bracket is found; its square where the style is off by more than ``FAR``.
STEP = 4.0
FAR = 0.12
#: A bracket whose ends are closer than this ratio is not halved again: training is not repeatable that finely.
CLOSEST = 1.1
#: Share of a time limit that is planned with: the pace of a machine varies.
PLANNED = 0.85
#: Fewest steps that a study is worth.
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Trial:
    """A trained point of a method.

    Attributes:
        factor: of its temporal weights, above 0.
        ratio: its style distance over that of the baseline.
    """

    factor: float
    ratio: float

    @property
    def fits(self) -> bool:
        """Whether its style is that of the baseline, within :data:`BAND`."""
        return not self.miss

    @property
    def miss(self) -> float:
        """How far the ratio is outside the band: above 0 the style is missed, below 0 it is passed, 0 is inside."""
        if self.ratio > 1 + BAND:
            return self.ratio - (1 + BAND)
        return min(0.0, self.ratio - (1 - BAND))


def next_factor(trials: Sequence[Trial], points: int) -> float | None:
    """The factor to train next; ``None`` if the points are used up or another one would tell nothing new.

    It starts at 1, goes up by :data:`STEP` while the style allows and down while it does not (by its square where the
    style is off by more than :data:`FAR`), and then halves, on a logarithmic scale, the bracket between the largest
    factor that keeps the style and the next larger one tried.

    Args:
        trials: trained so far, in any order.
        points: how many may be trained in all.
    """
    if len(trials) >= points:
        return None
    if not trials:
        return 1.0
    kept = [trial.factor for trial in trials if trial.ratio <= 1 + BAND]
    if not kept:
        lowest = min(trials, key=lambda trial: trial.factor)
        return lowest.factor / (STEP**2 if lowest.ratio > 1 + FAR else STEP)
    low = max(kept)
    above = [trial.factor for trial in trials if trial.factor > low]
    if not above:
        return low * STEP
    high = min(above)
    return math.sqrt(low * high) if high / low > CLOSEST else None


def equal_style(trials: Sequence[Trial]) -> Trial | None:
    """The point to report: of those within the band the one with the largest factor, else the nearest to the band."""
    fitting = [trial for trial in trials if trial.fits]
    if fitting:
        return max(fitting, key=lambda trial: trial.factor)
    return min(trials, key=lambda trial: abs(trial.miss), default=None)


def steps_that_fit(seconds: float, costs: Mapping[str, float], points: Mapping[str, int], overhead: float) -> int:
    """How many steps each point may have so that all fit into a time; 0 or fewer if not even their overhead does.

    Args:
        seconds: that there are.
        costs: seconds of a training step, by method.
        points: how many are to be trained, by method.
        overhead: seconds of a point beside its steps: starting, loading, measuring.
    """
    left = PLANNED * seconds - overhead * sum(points.values())
    return math.floor(left / sum(costs[name] * count for name, count in points.items()))
