"""Estimated flow beside true flow: how far apart E(V) is, and whether both put the methods in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconet_bench.core.record import Record
from reconet_bench.report.markdown import as_text, markdown
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import first_runtime, labels, true_videos

NOTE = (
    "Both columns use the same frames. Estimated flow leaves out pixels that it cannot trace, mostly fast ones and "
    "edges, so its E(V) is often lower: compare methods along one flow only."
)
HEADER = ["video", "flow", "method", "E(V) true", "E(V) estimated", "change", "traceable, true", "traceable, estimated"]


@dataclass
class FlowComparison:
    """A clip with true flow, measured along an estimate as well.

    Attributes:
        rows: cells under :data:`HEADER`, a row for each model.
        true, estimated: methods from the steadiest to the least steady along either flow; the content itself left out.
    """

    video: str
    estimator: str
    rows: list[list[str]]
    true: list[str]
    estimated: list[str]

    @property
    def order(self) -> str:
        """Whether both flows put the methods in one order, in a line; empty where there is one method."""
        if len(self.true) < 2:
            return ""
        if self.true == self.estimated:
            same = f"{self.video}: {self.estimator} puts the methods in the same order as true flow"
            return f"{same}: {' < '.join(self.true)}"
        estimated, true = (" < ".join(order) for order in (self.estimated, self.true))
        return f"{self.video}: {self.estimator} puts the methods in another order ({estimated}) than true flow ({true})"


def beside_true_flow(records: Sequence[Record]) -> list[FlowComparison]:
    """Every clip of a run that was measured along both, in the first runtime; empty where there is none."""
    quality = first_runtime(records)
    names = labels(quality)
    values = {(r.clip, r.model, r.metric): r.value for r in quality if r.value is not None}
    content = {record.model for record in quality if record.is_content}
    true = true_videos(quality)
    twins = {record.clip: record for record in quality if record.flow and record.video in true}
    found = []
    for estimate, twin in twins.items():
        clips = (twin.video, estimate)
        both = [model for model in names if all((clip, model, "temporal_error") in values for clip in clips)]
        rows = []
        for model in both:
            e, estimated = (values[clip, model, "temporal_error"] for clip in clips)
            shares = [values.get((clip, model, "traceable_share")) for clip in clips]
            change = f"{100 * (estimated / e - 1):+.1f} %" if e else "–"
            traced = ["–" if share is None else f"{100 * share:.1f} %" for share in shares]
            rows.append([twin.video, twin.flow, names[model], significant(e), significant(estimated), change, *traced])
        models = [model for model in both if model not in content]
        ordered = [
            [names[m] for m in sorted(models, key=lambda m: values[clip, m, "temporal_error"])] for clip in clips
        ]
        if rows:
            found.append(FlowComparison(twin.video, twin.flow, rows, *ordered))
    return found


def flow_markdown(records: Sequence[Record]) -> str:
    """Table and orders; empty where nothing was measured along both flows."""
    found = beside_true_flow(records)
    orders = [f"- {as_text(beside.order)}" for beside in found if beside.order]
    return (
        "\n".join([NOTE + "\n", markdown(HEADER, [row for beside in found for row in beside.rows]), *orders])
        if found
        else ""
    )
