"""Rounds of a speed measurement in which other programs took the processor, and which are therefore left out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from reconet_bench.core.cpu_load import Span

#: A round is disturbed if others took so much more of the processor, during any session's turn, than they usually did.
#: What they always take is no reason: then there are no other rounds to be had.
DISTURBED = 0.10


def calm_rounds(spans: Sequence[Sequence[Span]], fewest: int) -> list[int]:
    """Numbers of the rounds that count, from 0: those that were not disturbed, or all if these are too few.

    What decides is the work of other programs alone, and never how long a frame took.

    Args:
        spans: what others took in each round, for each session; as many rounds for all of them.
        fewest: how many undisturbed rounds are enough.
    """
    rounds = len(spans[0]) if spans else 0
    shares = [[span.others / span.whole if span.whole else 0.0 for span in session] for session in spans]
    calm = [number for number in range(rounds) if all(own[number] <= median(own) + DISTURBED for own in shares)]
    return calm if len(calm) >= fewest else list(range(rounds))
