"""Whether two sessions compute the same: how far their frames are apart before 8 bits hide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconet_bench.errors import DataError
from reconet_bench.runtimes.session import Loaded, Session


@dataclass(frozen=True)
class Parity:
    """How far outputs in [0, 1] are from the reference's.

    Attributes:
        max_abs: largest absolute difference.
        psnr: peak signal-to-noise ratio over all frames, dB; infinite where they are equal.
        frames: how many were compared.
    """

    max_abs: float
    psnr: float
    frames: int


def session_parity(reference: Loaded, session: Loaded, frames: Sequence[np.ndarray]) -> Parity:
    """Compare two sessions on host frames ``(H, W, 3)`` uint8; they may be of different sizes.

    Raises:
        DataError: no frames. ModelError: an output is not finite.
    """
    return frames_parity(reference_frames(reference, frames), session, frames)


def reference_frames(reference: Loaded, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What others are compared with, on its own: a reference that fails is no fault of theirs."""
    return [reference.ask(Session.floats, image) for image in frames]


def frames_parity(expected: Sequence[np.ndarray], session: Loaded, frames: Sequence[np.ndarray]) -> Parity:
    """Compare what a session makes of host frames with :func:`reference_frames` of the same."""
    largest, squares, count = 0.0, 0.0, 0
    for wanted, image in zip(expected, frames, strict=True):
        difference = session.ask(Session.floats, image).astype(np.float64) - wanted
        largest = max(largest, float(np.abs(difference).max()))
        squares += float(np.square(difference).sum())
        count += difference.size
    if not count:
        raise DataError("parity needs at least one frame")
    return Parity(largest, float(10 * np.log10(count / squares)) if squares else float("inf"), len(frames))
