"""The speed of models in runtimes, beside its parity: timed in sessions of their own when quality is known."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from reconet_bench.benchmark.error_change import error_change
from reconet_bench.benchmark.first_frame import FirstFrame
from reconet_bench.benchmark.plan import ComparisonResult, Plan, Report
from reconet_bench.benchmark.runtime_pool import OpenedModel, RuntimePool
from reconet_bench.benchmark.share_of_limit import limit_rows
from reconet_bench.benchmark.speed_records import speed_rows
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.samples import TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.metrics.measure import Absent
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, Parity, frames_parity, reference_frames
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: Different frames in rotation while timing.
SPEED_FRAMES = 8
#: How long a turn is at each boundary: short ones, for many rounds are worth more than long ones.
SPEED = TimingOptions(seconds=0.1, reference=REFERENCE_RUNTIME, restarts=True)

#: What the first session of a model took, by runtime and frame size.
FirstFrames = Mapping[tuple[str, Size], FirstFrame]


@dataclass
class SpeedPass:
    """Times models one after another, and records what came of it."""

    plan: Plan
    result: ComparisonResult
    report: Report

    def pool(self, model: Model) -> RuntimePool:
        """The runtimes of one model, each in a process of its own."""
        return RuntimePool(model, self.plan.resources, functools.partial(self.result.skip, model))

    def run(self, opened: OpenedModel, size: Size, first: FirstFrames) -> None:
        """Time all runtimes of one model at one frame size; its quality has been measured.

        Args:
            first: loading and first frames are those of its first sessions: later ones find what these have built.
        """
        options = replace(SPEED, rounds=self.plan.rounds, budget=self.plan.speed_budget)
        clip = next(clip for clip in self.plan.clips if clip.size == size)
        self.report(f"timing {opened.name} at {size}")
        frames = self.plan.content.of(clip)[:SPEED_FRAMES]
        timings = measure(opened.sessions, frames, options, on_failure=opened.drop)
        begun = {name: first[name, size] for name in timings if (name, size) in first}
        timings |= {name: replace(timings[name], **asdict(begun[name])) for name in begun}
        self._record(opened, frames, timings)

    def _record(self, opened: OpenedModel, frames: Sequence[np.ndarray], timings: dict[str, Timing]) -> None:
        """Record what was timed of one model at one frame size; no speed without its parity."""
        pool, size = opened.pool, Size(*frames[0].shape[:2])
        clips = [clip for clip in self.plan.clips if clip.size == size]
        parities: dict[str, Parity | Absent] = {}
        expected = pool.ask_reference(lambda reference: reference_frames(reference, frames[:4]))
        for name in [name for name in timings if name in opened.sessions]:
            try:
                parities[name] = (
                    expected
                    if isinstance(expected, Absent)
                    else frames_parity(expected, opened.sessions[name], frames[:4])
                )
            except CANNOT_RUN as error:
                opened.drop(name, error)
        timings = {name: timing for name, timing in timings.items() if name in opened.sessions}
        for name, timing in timings.items():
            parity = parities[name]
            rows = speed_rows(
                timing,
                timings.get(REFERENCE_RUNTIME),
                parity,
                error_change(pool, name, clips, self.result.samples),
                opened.model.against,
                pool.is_reference(name),
            )
            rows |= limit_rows(opened.model.source.network, size, timing, rows["fps_device"].doubts)
            record = self.result.recorder(opened.model, opened.sessions[name], size)
            adapted = opened.model.source.adaptations(*size)
            if "software" in timing.device:
                adapted = (*adapted, Doubt.SOFTWARE_GPU)
            for metric, row in rows.items():
                doubts = (*row.doubts, *(adapted if metric.startswith(("fps", "latency")) else ()))
                interval = {"ci_low": row.low, "ci_high": row.high}
                record(metric, row.unit, row.better, row.value, **interval, n=row.n, note=row.note, doubts=doubts)
            for boundary, samples in timing.samples.items():
                taken = [(seconds, turn) for turn, one in enumerate(samples.rounds) for seconds in one]
                self.result.timings += [
                    TimedFrame(opened.name, name, size, boundary, number, seconds, turn)
                    for number, (seconds, turn) in enumerate(taken)
                ]
