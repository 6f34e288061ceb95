"""How much of a clip the temporal metrics can see at all."""

from __future__ import annotations

from reconet_bench.metrics.base import METRICS, Footage, Metric, once_per_clip


@METRICS.register("traceable_share")
class TraceableShare(Metric):
    """Share of pixels whose motion to the next frame is known and visible: M_t averaged over the frame.

    Low where much is occluded or leaves the frame, or where estimated flow is not to be trusted.
    """

    better = "reference"
    of_content = True
    uses_motion = True
    summary = "share of pixels that can be traced to the next frame: what the temporal metrics see"
    blind_to = "the stylised frames: it is of the clip alone"

    def samples(self, footage: Footage) -> dict[int, float]:
        def shares() -> dict[int, float]:
            return {index: float(footage.clip.motion(index).mask.mean()) for index in footage.starts(1)}

        return once_per_clip(footage.clip, "traceable_share", shares)
