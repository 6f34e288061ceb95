"""The smallest network: as ``lite``, with fewer channels and blocks."""

from __future__ import annotations

from reconet_bench.networks.base import NETWORKS
from reconet_bench.networks.lite import Lite, LiteShape


@NETWORKS.register("small")
class Small(Lite):
    """For slow processors and browsers."""

    summary = "as lite, with fewer channels and blocks: 0.2 M parameters"
    shape = LiteShape(half=24, quarter=48, blocks=4)
