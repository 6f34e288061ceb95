"""Whether two sessions compute the same: how far their frames are apart before 8 bits hide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconet_bench.core.errors import DataError
from reconet_bench.runtimes.handle import SessionHandle
from reconet_bench.runtimes.session import Session


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


def session_parity(reference: SessionHandle, session: SessionHandle, frames: Sequence[np.ndarray]) -> Parity:
    """Compare two sessions on host frames ``(H, W, 3)`` uint8; they may be of different sizes.

    Raises:
        DataError: no frames. ModelError: an output is not finite.
    """
    return frames_parity(reference_frames(reference, frames), session, frames)


def reference_frames(reference: SessionHandle, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What others are compared with, on its own: a reference that fails is no fault of theirs."""
    return float_frames(reference, frames)


def float_frames(session: SessionHandle, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a session makes of a sequence of frames or batches, before 8 bits: ``(N, 3, H, W)`` float32 in [0, 1]."""
    session.ask(Session.reset)
    return [session.ask(Session.floats, image) for image in frames]


def frames_parity(expected: Sequence[np.ndarray], session: SessionHandle, frames: Sequence[np.ndarray]) -> Parity:
    """Compare what a session makes of host frames with :func:`reference_frames` of the same."""
    return parity_of(expected, float_frames(session, frames))


def parity_of(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> Parity:
    """How far float frames are from others, one by one; raises DataError where there are none."""
    largest, squares, count = 0.0, 0.0, 0
    for wanted, frame in zip(expected, got, strict=True):
        difference = frame.astype(np.float64) - wanted
        largest = max(largest, float(np.abs(difference).max()))
        squares += float(np.square(difference).sum())
        count += difference.size
    if not count:
        raise DataError("parity needs at least one frame")
    return Parity(largest, float(10 * np.log10(count / squares)) if squares else float("inf"), len(got))
