"""The estimated motion of whole clips, made before it is needed, and kept in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from reconet_bench.core.errors import DataError
from reconet_bench.core.machine import cpu_threads
from reconet_bench.data.flow.base import EstimatedClip
from reconet_bench.data.selection import ClipAddress


@dataclass(frozen=True)
class KeptFlow:
    """What there is of a clip.

    Attributes:
        pairs: of frames, with motion between them.
        estimated: how many of these were not in the cache.
        files: of the cache, by name; empty where they were made in the cache that they are for.
    """

    pairs: int
    estimated: int
    files: dict[str, bytes]


def keep_flow(address: ClipAddress, threads: int, back: bool) -> KeptFlow:
    """Estimate the motion between all frames of a clip, as far as it is not in the cache of this machine.

    Args:
        threads: of PyTorch: the last bits of a network's flow depend on them.
        back: whether the files come back, for another machine.

    Raises:
        DataError: the motion is not estimated, but known.
        OSError: the cache cannot be written.
    """
    clip = address.clip()
    if not isinstance(clip, EstimatedClip):
        raise DataError(f"{address.title} has true flow: give --flow dis to estimate it all the same")
    files, estimated = {}, 0
    with cpu_threads(threads):
        for index in clip.starts():
            path, made = clip.keep(index)
            estimated += made
            if back:
                files[path.name] = path.read_bytes()
    return KeptFlow(len(clip.starts()), estimated, files)
