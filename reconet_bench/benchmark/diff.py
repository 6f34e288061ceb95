"""One run against another: paired differences with intervals, and what else changed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconet_bench.benchmark.speed_ratio import speed_ratio
from reconet_bench.benchmark.speed_records import RATIOS
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import DataError, MetricUnavailable
from reconet_bench.core.record import UNTOLD, Record
from reconet_bench.core.samples import SIGNIFICANCE, TimingKey
from reconet_bench.core.statistics import error_of_mean, error_of_values, holm, interval
from reconet_bench.metrics.base import METRICS, Footage, Metric
from reconet_bench.metrics.statistics import Estimate, difference_on_clips, difference_over_videos
from reconet_bench.report.run import Run
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

#: The numbers of speed that are paired; all others are of their tails and circumstances.
SPEED = re.compile(r"(fps|latency)_(device|end_to_end)|speed_up(?:_end_to_end)?")
#: Boundary of the ratios to the reference's speed, by metric.
_BOUNDARY = {metric: boundary for boundary, metric in RATIOS.items()}

#: Doubts about a timing that leave nothing to judge.
_DISTURBED = {Doubt.UNSTABLE, Doubt.COLD, Doubt.BUSY, Doubt.REFERENCE_COLD}


@dataclass(frozen=True)
class Change:
    """A metric of one model in one runtime, before and after.

    Attributes:
        where: runtime, and the frame size where it is a speed.
        relative: change in percent of the value before; ``None`` where that is zero.
        low, high: 95 % interval of the difference; ``None`` where the samples do not allow one.
        n: pairs behind it, of a speed the timed frames of the smaller side.
        unstable: whether a side's rounds do not agree, or it was cold or disturbed, so that nothing can be told.
        p: probability of such a difference if there is none; ``None`` where there is no interval.
        p_corrected: the same, corrected for how many changes were tested (Holm).
    """

    metric: str
    better: str
    model: str
    where: str
    before: float
    after: float
    low: float | None
    high: float | None
    n: int
    unstable: bool = False
    p: float | None = None
    p_corrected: float | None = None

    @property
    def relative(self) -> float | None:
        return 100 * (self.after / self.before - 1) if self.before else None

    @property
    def shown(self) -> bool:
        """Whether there is a difference, by the corrected p value."""
        return self.p_corrected is not None and self.p_corrected < SIGNIFICANCE

    @property
    def judged(self) -> bool:
        """Whether there is an interval to judge by, and rounds that agree."""
        return not self.unstable and self.p is not None

    @property
    def verdict(self) -> str:
        """In words."""
        if self.unstable:
            return "unstable or disturbed, not judged"
        if not self.judged and self.before != self.after:
            return "no interval, not judged"
        if not self.shown:
            return "the same" if self.before == self.after else "no difference shown"
        if self.better not in ("lower", "higher"):
            return "changed"
        return "better" if (self.after < self.before) == (self.better == "lower") else "worse"


def changes(before: Run, after: Run) -> tuple[list[Change], list[str]]:
    """Every metric that both runs have of the same model on the same pixels, and a line about what cannot be paired.

    Raises:
        DataError: the runs have nothing in common.
    """
    pairs, notes = _same_models(before, after)
    videos, more = _same_videos(before, after)
    found = [*_quality(before, after, pairs, videos), *_speed(before, after, pairs)]
    if not found:
        raise DataError(
            f"{before.folder} and {after.folder} have nothing in common: no model on the same video in the same runtime"
        )
    # What has not changed at all asks for no test.
    corrected = holm([change.p if change.judged and change.before != change.after else None for change in found])
    return [replace(change, p_corrected=p) for change, p in zip(found, corrected, strict=True)], notes + more


def _same_models(before: Run, after: Run) -> tuple[dict[str, str], list[str]]:
    """Models by name; where that fails, the only one of a method on either side."""
    pairs = {name: name for name in before.models if name in after.models}
    notes = []
    methods = [{record.model: record.method for record in run.records} for run in (before, after)]
    rest = [{name: method for name, method in side.items() if name not in pairs} for side in methods]
    for name, method in rest[0].items():
        same = [other for other, its in rest[1].items() if its == method and method not in UNTOLD]
        if len(same) == 1 and list(rest[0].values()).count(method) == 1:
            pairs[name] = same[0]
            notes.append(f"{name} is compared with {same[0]}: the only other {method}")
        else:
            notes.append(f"{name} is in {before.name} only")
    notes += [f"{name} is in {after.name} only" for name in rest[1] if name not in pairs.values()]
    return pairs, notes


def _same_videos(before: Run, after: Run) -> tuple[list[str], list[str]]:
    """Videos of the same pixels in both; frames of others cannot be paired."""
    facts = [run.provenance.get("videos") or {} for run in (before, after)]
    sizes = [{r.clip: r.size for r in run.records if r.video} for run in (before, after)]
    same, notes = [], []
    for video in before.clips:
        pixels = [(side.get(video) or {}).get("pixels") for side in facts]
        if video not in after.clips:
            notes.append(f"{video} is in {before.name} only")
        elif sizes[0][video] != sizes[1][video] or (None not in pixels and pixels[0] != pixels[1]):
            notes.append(f"{video} is left out: it has other pixels in {after.name}")
        else:
            same.append(video)
    return same, notes + [f"{video} is in {after.name} only" for video in after.clips if video not in before.clips]


class _Unknown(Metric):
    """A metric of another version: its samples are read from a run, and their mean is all that can be taken."""

    better, summary = "reference", "a metric of another version"

    def samples(self, footage: Footage) -> dict[int, float]:
        raise MetricUnavailable("a metric of another version cannot be measured with this one")


def _quality(before: Run, after: Run, pairs: dict[str, str], videos: Sequence[str]) -> Iterator[Change]:
    """Mean over all shared videos, frames paired one by one."""
    better = {record.metric: record.better for record in (*before.records, *after.records)}
    known = dict(METRICS.items())
    places = dict.fromkeys(replace(key, video="") for key in before.samples if key.model in pairs)
    for place in places:
        if place.metric in known and known[place.metric].detail:
            continue
        pairs_of: list[tuple[list[float], list[float]]] = []
        for video in videos:
            old = before.samples.get(replace(place, video=video), {})
            new = after.samples.get(replace(place, video=video, model=pairs[place.model]), {})
            if frames := sorted(old.keys() & new.keys()):
                pairs_of.append(([new[frame] for frame in frames], [old[frame] for frame in frames]))
        if pairs_of:
            how = known.get(place.metric) or _Unknown()
            e = difference_on_clips(how, pairs_of)
            if e.p is None:  # clips that are too short for an interval of their own
                e = difference_over_videos(how, pairs_of)
            new_value, old_value = (
                float(np.mean([how.reduce(np.asarray(pair[side])) for pair in pairs_of])) for side in (0, 1)
            )
            yield Change(
                metric=place.metric,
                better=better.get(place.metric, "reference"),
                model=place.model,
                where=place.runtime,
                before=old_value,
                after=new_value,
                low=e.low,
                high=e.high,
                n=e.n,
                p=e.p,
            )


def _speed(before: Run, after: Run, pairs: dict[str, str]) -> Iterator[Change]:
    """Frames a second, latency and the ratio to the reference's speed at each boundary; the unit is the round."""
    for record in before.records:
        found = SPEED.fullmatch(record.metric)
        if not found or record.video or record.value is None or record.model not in pairs:
            continue
        model = record.model
        twin = next((other for other in after.records if _same_place(record, other, pairs[model])), None)
        if twin is not None and twin.value is not None:
            e = _speed_difference((before, model), (after, pairs[model]), record, found[1])
            unstable = any(_DISTURBED & set(side.doubts) for side in (record, twin))
            yield Change(
                metric=record.metric,
                better=record.better,
                model=model,
                where=place_of(record),
                before=record.value,
                after=twin.value,
                low=e.low,
                high=e.high,
                n=e.n,
                p=e.p,
                unstable=unstable,
            )


def _speed_difference(before: tuple[Run, str], after: tuple[Run, str], record: Record, kind: str | None) -> Estimate:
    """After minus before of one number of speed, given runs and the model's name in them; ``kind``: fps or latency."""
    boundary = _BOUNDARY.get(record.metric) or record.metric.removeprefix(f"{kind}_")

    def rounds(runtime: str) -> list[list[list[float]]]:
        return [run.timings.get(TimingKey(name, runtime, record.size, boundary), []) for run, name in (before, after)]

    if record.metric in _BOUNDARY:
        return _ratio_difference(rounds(record.runtime), rounds(REFERENCE_RUNTIME))
    return _median_difference(rounds(record.runtime), kind == "fps")


def _ratio_difference(own: Sequence[list[list[float]]], reference: Sequence[list[list[float]]]) -> Estimate:
    """After minus before of the speed over the reference's in the same rounds (Welch, of the logarithms)."""
    n = min(map(len, (*own, *reference)))
    if n < 2:
        return Estimate(float("nan"), None, None, n)
    before, after = (speed_ratio(ours, theirs) for ours, theirs in zip(own, reference, strict=True))
    if before.error is None or after.error is None:
        return Estimate(after.value - before.value, None, None, n)
    change = math.log(after.value / before.value)
    half_sum = error_of_mean([before.error, after.error])  # of the mean of both sides: half of their sum
    low, high = (before.value * math.expm1(change + sign * 2 * half_sum.half_width) for sign in (-1, 1))
    return Estimate(after.value - before.value, low, high, n, half_sum.p_value(change / 2))


def place_of(record: Record) -> str:
    """Where a record was taken, in words."""
    return record.runtime if record.video else f"{record.runtime} {record.precision} {record.device} {record.size}"


def _same_place(one: Record, other: Record, model: str) -> bool:
    keys = ("metric", "video", "runtime", "precision", "device", "height", "width")
    return other.model == model and all(getattr(one, key) == getattr(other, key) for key in keys)


def _median_difference(rounds: Sequence[Sequence[Sequence[float]]], rate: bool) -> Estimate:
    """After minus before, in frames a second or in milliseconds, of two sets of timings.

    Rounds are the unit of the interval and not frames: those of one round share the machine's mood. Student's t of
    both sides' rounds (Welch).
    """
    scaled = [[1 / np.median(one) if rate else 1000 * np.median(one) for one in side] for side in rounds]
    n = min(sum(map(len, side)) for side in rounds)
    if min(map(len, rounds)) < 2:
        return Estimate(float("nan"), None, None, n)
    before, after = (np.median(np.concatenate(side)) for side in rounds)
    value = float(1 / after - 1 / before if rate else 1000 * (after - before))
    half_sum = error_of_mean([error_of_values(side) for side in scaled])  # of the mean of both sides: half of their sum
    return Estimate(value, *interval(value, 2 * half_sum.half_width), n, half_sum.p_value(value / 2))


def setup_changes(before: Run, after: Run) -> list[tuple[str, str, str]]:
    """Facts of provenance that are not the same: (what, before, after)."""
    facts = [dict(_flat(run.provenance)) for run in (before, after)]
    names = dict.fromkeys(itertools.chain(*facts))
    rows = [(name, facts[0].get(name, "–"), facts[1].get(name, "–")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def _flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", str(value)
