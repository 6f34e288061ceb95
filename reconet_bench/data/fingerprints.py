"""What tells whether another machine has the same clips and files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from reconet_bench.core.errors import ReconetBenchError
from reconet_bench.core.files import path_digests
from reconet_bench.core.ops import to_uint8
from reconet_bench.core.place import FINGERPRINT
from reconet_bench.data.clip import Clip
from reconet_bench.data.selection import ClipAddress


def fingerprints(addresses: Sequence[ClipAddress], paths: Sequence[Path] = ()) -> dict[str, str]:
    """What each clip is on this machine, by its title, and each file or folder, by its path; or why it is not there."""
    found = path_digests(paths)
    for address in addresses:
        try:
            found[address.title] = fingerprint(address.clip())
        except (ReconetBenchError, OSError) as error:
            found[address.title] = str(error)
    return found


def fingerprint(clip: Clip) -> str:
    """A checksum that tells clips apart by what is quickly read: number and size of the frames, and the first one."""
    clip.check(range(len(clip)))
    digest = hashlib.sha256(repr((len(clip), *clip.size, clip.flow, clip.digest)).encode())
    digest.update(to_uint8(clip.frame(0))[0].tobytes())
    return f"{FINGERPRINT}{digest.hexdigest()}"
