"""LPIPS of content and stylised frame."""

from __future__ import annotations

from reconet_bench.metrics.base import METRICS, Footage, Metric
from reconet_bench.metrics.perceptual_distance import lpips
from reconet_bench.metrics.style import MOST_FRAMES, evenly_spread


@METRICS.register("lpips_content")
class LpipsContent(Metric):
    """LPIPS (VGG) of x_t and y_t, mean over at most :data:`~reconet_bench.metrics.style.MOST_FRAMES` frames.

    Reference: Zhang et al. 2018, see :func:`~reconet_bench.metrics.perceptual_distance.lpips`.
    """

    better = "lower"
    positive = True
    default = False
    summary = "LPIPS of content and stylised frame: lower = the content is kept as people see it"
    blind_to = "style: the unstylised film has 0; and flicker"

    def samples(self, footage: Footage) -> dict[int, float]:
        chosen = evenly_spread(len(footage.stylized), MOST_FRAMES)
        return {index: lpips(footage.content[index], footage.stylized[index]) for index in chosen}
