"""Whether stylised frames lag behind their content: editors and renderers drop or repeat frames at the start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from reconet_bench.data.clip import Clip
from reconet_bench.data.structure import edges

#: The largest offset that is looked for, in frames.
LARGEST = 3
#: An offset is told from that many frames on, if it fits nearly all of them better, by that much in the mean.
_FEWEST, _NEARLY_ALL, _BETTER = 3, 0.8, 0.01


def lag_warning(what: str, clip: str, lag: int) -> str:
    """The sentence about frames that seem to be ``lag`` frames behind the content (ahead of it if negative)."""
    count = abs(lag)
    place = f"{count} frame{'s' if count > 1 else ''} {'behind' if lag > 0 else 'ahead of'}"
    return f"{clip}: {what} seem to be {place} the content, so their numbers are wrong"


def find_lag(clip: Clip, stylized: Sequence[Tensor]) -> int:
    """How many frames the stylised frames are behind the content: those of ``i`` show the content of ``i - lag``.

    The edges of a stylised frame are compared with those of the content frames around it (correlation of the steps of
    luminance). In a still scene all fit alike, and nothing is found.

    Args:
        stylized: as many frames ``(1, 3, H, W)`` in [0, 1] as the clip has.

    Returns:
        From ``-LARGEST`` (ahead) to ``LARGEST``; 0 where no other offset is clearly better.
    """
    content = [edges(clip.frame(index), clip.luminance) for index in range(len(clip))]
    painted = [edges(frame, clip.luminance) for frame in stylized]
    lags = range(-LARGEST, LARGEST + 1)
    shown = {lag: [index for index in range(len(painted)) if 0 <= index - lag < len(content)] for lag in lags}
    fits = {lag: np.array([painted[i] @ content[i - lag] for i in shown[lag]]) for lag in lags}
    # A style may turn light into dark: what counts is how strongly the edges agree.
    strongest = max((float(fit.mean()) for fit in fits.values() if len(fit)), key=abs, default=1.0)
    sign = -1.0 if strongest < 0 else 1.0
    best, gain = 0, _BETTER
    for lag in lags:
        better = sign * (fits[lag] - np.array([painted[i] @ content[i] for i in shown[lag]]))
        if len(better) >= _FEWEST and (better > 0).mean() >= _NEARLY_ALL and better.mean() > gain:
            best, gain = lag, float(better.mean())
    return best
