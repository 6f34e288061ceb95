"""How near a timed runtime comes to what the machine can do at most, as numbers of a comparison.

The limit is that of :mod:`~reconet_bench.benchmark.roofline`. The peak rates behind it are measured once a process, in
about a second for each precision, on the machine that timed.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from reconet_bench.benchmark.peak_rates import Ceiling, measure_ceiling
from reconet_bench.benchmark.roofline import network_cost
from reconet_bench.benchmark.speed_records import SpeedNumber
from reconet_bench.benchmark.timing_samples import Timing
from reconet_bench.core.doubts import Doubt
from reconet_bench.core.errors import ModelError
from reconet_bench.core.size import Size

#: Metrics of the limit, and of a runtime's share of it.
LIMIT, SHARE = "limit_device", "share_of_limit"
#: Precisions whose peak is measured, by device: half floats on a processor that has none would take minutes.
PEAKS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")}
#: Seconds of each trial of a peak rate; there are three.
TRIAL = 0.2


@functools.cache
def _peak(precision: str, device: str, threads: int) -> Ceiling:
    return measure_ceiling(precision, torch.device(device), threads, TRIAL, quick=True)


def limit_rows(
    network: nn.Module | None, size: Size, timing: Timing, doubts: tuple[Doubt, ...] = ()
) -> dict[str, SpeedNumber]:
    """The least time of a frame on this machine, and the share of it in the time that was taken, by metric.

    Args:
        network: whose operations are counted; without one there is no row.
        doubts: about the time that was taken.
    """
    if network is None or "device" not in timing.samples:
        return {}
    place = timing.device.partition(":")[0]
    if timing.precision not in PEAKS.get(place, ()):
        return {SHARE: SpeedNumber(None, "%", "higher", "no peak measured", n=0)}
    try:
        cost = network_cost(network, *size)
    except ModelError:
        return {SHARE: SpeedNumber(None, "%", "higher", "no operations to count", n=0)}
    limit = cost.seconds(_peak(timing.precision, place, timing.threads))
    samples = timing.samples["device"]
    return {
        LIMIT: SpeedNumber(1000 * limit, "ms", "reference"),
        SHARE: SpeedNumber(100 * limit / samples.median, "%", "higher", doubts=doubts, n=len(samples.seconds)),
    }
