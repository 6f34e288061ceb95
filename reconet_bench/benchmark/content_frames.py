"""The frames of clips as a player would hand them over: decoded once for a whole run."""

from __future__ import annotations

import hashlib

import numpy as np

from reconet_bench.core.ops import to_uint8
from reconet_bench.data.clip import Clip

#: Bytes of frames that are kept; beyond that the clip that was used longest ago is decoded again when it is needed.
MOST_BYTES = 2**30


class ContentFrames:
    """8-bit frames of clips, kept while they fit into ``most_bytes``; their digests are kept for good."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Clip, list[np.ndarray]] = {}
        self._digests: dict[Clip, str] = {}

    def of(self, clip: Clip) -> list[np.ndarray]:
        """All frames of a clip, ``(H, W, 3)`` uint8 RGB.

        Raises:
            DataError: the clip is broken.
        """
        frames = self._kept.pop(clip, None) or self._decoded(clip)
        self._kept[clip] = frames  # the one used last comes last
        while sum(map(_bytes, self._kept.values())) > self._most_bytes:
            del self._kept[next(iter(self._kept))]
        return frames

    def decoded(self, clip: Clip) -> bool:
        """Whether the clip has been decoded, so that its digest is known."""
        return clip in self._digests

    def digest(self, clip: Clip) -> str:
        """SHA-256 of all frames, as ``sha256:<hex>``.

        Raises:
            DataError: the clip is broken.
        """
        if clip not in self._digests:
            self._decoded(clip)
        return self._digests[clip]

    def _decoded(self, clip: Clip) -> list[np.ndarray]:
        frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
        digest = hashlib.sha256()
        for frame in frames:
            digest.update(frame.tobytes())
        self._digests[clip] = f"sha256:{digest.hexdigest()}"
        return frames


def _bytes(frames: list[np.ndarray]) -> int:
    return sum(frame.nbytes for frame in frames)
