"""A clip through a session, from its first frame to its last, as one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reconet_bench.data.clip import Clip
from reconet_bench.runtimes.base import Session, SessionHandle


def stylise_clip(
    session: SessionHandle, clip: Clip, content: Sequence[np.ndarray], true_motion: bool = False
) -> list[np.ndarray]:
    """Every frame stylised in order; nothing is carried over from an earlier clip, and every value is looked at.

    Args:
        content: the frames of the clip, ``(H, W, 3)`` uint8.
        true_motion: give the session the clip's true motion to the frame before, where it would estimate it.

    Raises:
        RuntimeUnavailable, ModelError: the session cannot run it. DataError: the clip does not know its true motion.
    """
    session.ask(Session.reset)
    frames = []
    for index, image in enumerate(content):
        if true_motion and index:
            session.ask(Session.give_motion, clip.motion_back(index))
        frames.append(session.ask(Session.proved, image))
    return frames
