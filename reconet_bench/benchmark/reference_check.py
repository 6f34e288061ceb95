"""How close a runtime's frames are to the reference's: parity and the change of E(V), on a built-in clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reconet_bench.benchmark.runtime_pool import RuntimePool
from reconet_bench.benchmark.speed_records import gate
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.core.ops import from_uint8, to_uint8
from reconet_bench.data.clip import Clip
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.metrics.measure import Absent
from reconet_bench.runtimes.base import CANNOT_RUN, Parity, SessionHandle, float_frames, parity_of

#: The built-in clip that runtimes are tried and timed on, and how many of its frames.
CLIP, FRAMES = "carousel", 4


@dataclass(frozen=True)
class Fidelity:
    """What a runtime changes against the reference, on the same frames.

    Attributes:
        change: of E(V), in percent; ``None`` where there is none.
        unknown: why there is none, else empty.
    """

    parity: Parity
    change: float | None
    unknown: str = ""

    @property
    def failed(self) -> Doubt | None:
        """The doubt of :func:`reconet_bench.benchmark.speed_records.gate`, unless it passes."""
        return gate(self.parity, self.change)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the note of a speed says of it; empty strings where there is nothing to say."""
        return self.failed.sentence if self.failed else "", f"no change of E(V): {self.unknown}" if self.unknown else ""

    def __str__(self) -> str:
        return f"PSNR {self.parity.psnr:.1f} dB" + ("" if self.change is None else f", ΔE(V) {self.change:+.2f} %")


@dataclass(frozen=True)
class Expected:
    """What the reference makes of a probe.

    Attributes:
        frames: its outputs ``(N, 3, H, W)`` in [0, 1], before 8 bits.
        error: E(V) of its frames; ``None`` where there is none.
        unknown: why there is none, else empty.
    """

    frames: Sequence[np.ndarray]
    error: float | None
    unknown: str = ""


def probe_clip(size: tuple[int, int]) -> Clip:
    """The clip of a probe, ``size`` being height and width; to render it takes longer than all the rest of a probe."""
    return synthetic_clip(CLIP, size, FRAMES)


class Probe:
    """Frames that sessions are timed on, and by which each is compared with the reference.

    Args:
        clip: with true flow.
        batch: frames at once.

    Attributes:
        images: to be used in rotation: frames ``(H, W, 3)`` uint8, or batches ``(N, H, W, 3)`` of them, with another
            frame in each place of a batch and another batch each time.
    """

    def __init__(self, clip: Clip, batch: int = 1) -> None:
        frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
        count = len(frames)
        self.clip = clip
        self.images = (
            [np.stack([frames[(start + n) % count] for n in range(batch)]) for start in range(count)]
            if batch > 1
            else frames
        )
        #: These hold each frame of the clip, in order.
        self._whole = self.images[::batch]

    def expect(self, reference: SessionHandle) -> Expected:
        """What sessions are compared with.

        Raises:
            RuntimeUnavailable, ModelError: the reference itself cannot do it, which is no other's fault.
        """
        frames = float_frames(reference, self._whole)
        try:
            error = self._temporal_error(frames)
        except MetricUnavailable as reason:
            return Expected(frames, None, str(reason))
        return Expected(frames, error or None, "" if error else "the reference's E(V) is zero")

    def compare(self, expected: Expected, session: SessionHandle) -> Fidelity:
        """How true the frames of ``session`` are.

        Raises:
            RuntimeUnavailable, ModelError: the session cannot do it.
        """
        frames = float_frames(session, self._whole)
        change = None if expected.error is None else 100 * (self._temporal_error(frames) / expected.error - 1)
        return Fidelity(parity_of(expected.frames, frames), change, expected.unknown)

    def _temporal_error(self, frames: Sequence[np.ndarray]) -> float:
        """E(V) of the clip in float frames ``(N, 3, H, W)``, as a viewer would get them: at 8 bits."""
        stylised = [from_uint8(frame) for batch in frames for frame in to_uint8(torch.from_numpy(batch))]
        metric = METRICS["temporal_error"]
        samples = metric.samples(Footage(self.clip, stylised[: len(self.clip)]))
        return float(metric.reduce(np.array(list(samples.values()))))


def fidelities(pool: RuntimePool, probe: Probe, sessions: Mapping[str, SessionHandle]) -> dict[str, Fidelity | Absent]:
    """How close each session's frames are to the pool's reference, by runtime, or why that is not known.

    A session that breaks off is dropped from the pool and has no entry.
    """
    expected = pool.ask_reference(probe.expect)
    found: dict[str, Fidelity | Absent] = {}
    for name, session in sessions.items():
        try:
            found[name] = expected if isinstance(expected, Absent) else probe.compare(expected, session)
        except CANNOT_RUN as error:
            pool.drop(name, error)
    return found


def remarks(fidelity: Fidelity | Absent) -> tuple[str, ...]:
    """What the note of a speed says of its fidelity; empty strings where there is nothing to say."""
    return (fidelity.reason,) if isinstance(fidelity, Absent) else fidelity.remarks
