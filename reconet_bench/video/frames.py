"""Video frames: 8-bit RGB with timestamps, colour descriptions by ITU-T H.273, and errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reconet_bench.core.errors import DataError

#: ITU-T H.273 codes, as FFmpeg uses them: matrices of HD and of SD footage, ranges.
BT709, BT601, UNSPECIFIED = 1, 6, 2
LIMITED, FULL = 1, 2
#: Matrices that can be written, by swscale's own numbers.
SWSCALE = {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, 9: 9}
#: Seconds before the wanted start at which a seek aims: without an index, as in MPEG-TS, it may land too late.
SEARCH_MARGIN = 2
#: Seconds by which a given time may differ from that of a frame: files and people round to a millisecond.
TOLERANCE = Fraction(1, 2000)


class Frame(NamedTuple):
    """A decoded frame: ``image`` ``(H, W, 3)`` uint8 RGB; ``pts`` and ``duration`` in ticks (0 = unknown)."""

    image: np.ndarray
    pts: int
    duration: int = 0


@dataclass(frozen=True)
class StreamFormat:
    """Time base, frame rate and colour description of a video.

    Attributes:
        time_base: seconds of one tick of ``Frame.pts``.
        rate: frames per second, the mean where it varies.
        matrix, color_range, primaries, transfer: codes of ITU-T H.273.
        aspect: width of a pixel over its height.
    """

    time_base: Fraction
    rate: Fraction
    matrix: int = BT709
    color_range: int = LIMITED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    aspect: Fraction = Fraction(1)


def moment(seconds: float) -> Fraction:
    """A time given by a person, to the microsecond; its binary fraction could miss the frame that is meant."""
    return Fraction(seconds).limit_denominator(10**6)


@contextlib.contextmanager
def one_line(path: Path, what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into a DataError of one line."""
    import av

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to open it") from None
    except (av.error.FFmpegError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"{path}: {what} ({reason})") from None
