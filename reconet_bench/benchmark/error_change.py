"""How much a runtime changes E(V) against the reference, over the clips of one frame size."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reconet_bench.benchmark.rendering import stylise_clip
from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.core.samples import SampleKey, Samples
from reconet_bench.data.clip import Clip, ClipView
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.measure import Absent
from reconet_bench.runtimes.base import SessionHandle

#: Frames of each clip that the reference stylises where it is not itself among the runtimes of the run.
FRAMES = 8

#: Squared errors of pairs, by clip and first frame.
_Errors = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class ErrorChange:
    """The change of E(V) from the reference.

    Attributes:
        percent: ``None`` where there is none.
        pairs: of frames behind it.
        unknown: why there is none, else empty.
    """

    percent: float | None
    pairs: int = 0
    unknown: str = ""


def error_change(pool: RuntimePool, runtime: str, clips: Sequence[Clip], samples: Samples) -> ErrorChange:
    """The change of E(V) that ``runtime`` makes, on the pairs that the reference was measured on too.

    Args:
        pool: knows the model and its reference, which is run on a few frames where ``samples`` do not hold it: for an
            ONNX file of the user's own on a GPU it is the CPU.
        clips: of one frame size. A clip along estimated flow does not count beside the same along true flow.
        samples: of the run so far.
    """
    true = {clip.name for clip in clips if not clip.flow}
    clips = [clip for clip in clips if not clip.flow or clip.name not in true]
    got = _errors(samples, pool.model.source.name, runtime, clips)
    if not got:
        return ErrorChange(None, unknown="no flow is known at this size, or E(V) was not asked for")
    origin, name = pool.model.origin, pool.reference_name
    expected: _Errors = {}
    if origin is not None or pool.is_reference(name):
        expected = _errors(samples, (origin or pool.model.source).name, name, clips)
    if not expected:
        measured = _measured(pool, [clip for clip in clips if clip.title in got])
        if isinstance(measured, Absent):
            return ErrorChange(None, unknown=measured.reason)
        expected = measured
    return change_between(expected, got)


def change_between(expected: _Errors, got: _Errors) -> ErrorChange:
    """The change of E(V) over all pairs that both have, pooled."""
    pairs = [
        (errors[index], got[clip][index])
        for clip, errors in expected.items()
        for index in errors
        if index in got.get(clip, {})
    ]
    if not pairs:
        return ErrorChange(None, unknown="no pair of frames was measured in both")
    before, after = METRICS["temporal_error"].reduce(np.array(pairs).T)
    if not before > 0:
        return ErrorChange(None, len(pairs), "the reference's E(V) is zero")
    return ErrorChange(float(100 * (after / before - 1)), len(pairs))


def _errors(samples: Samples, model: str, runtime: str, clips: Sequence[Clip]) -> _Errors:
    keys = (SampleKey(model, clip.title, runtime, "temporal_error") for clip in clips)
    return {key.video: samples[key] for key in keys if key in samples}


def _measured(pool: RuntimePool, clips: Sequence[Clip]) -> _Errors | Absent:
    """Errors of the first frames of each clip in the reference."""
    found: dict[str, Mapping[int, float]] = {}
    for clip in clips:
        start = ClipView(clip, frames=FRAMES)
        content = [to_uint8(start.frame(index))[0] for index in range(len(start))]
        stylised = pool.ask_reference(functools.partial(_stylised, start, content))
        if isinstance(stylised, Absent):
            return stylised
        with contextlib.suppress(MetricUnavailable):  # of so few frames; other clips may tell
            found[clip.title] = METRICS["temporal_error"].samples(Footage(start, stylised))
    return found


def _stylised(clip: Clip, content: Sequence[np.ndarray], session: SessionHandle) -> list[Tensor]:
    return [from_uint8(frame) for frame in stylise_clip(session, clip, content)]
