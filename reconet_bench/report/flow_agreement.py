"""Estimated flow beside true flow: how far E(V) along the one is from E(V) along the other, and whether they agree on the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconet_bench.core.record import MARK, Record, known_twin
from reconet_bench.report.ranking import REFERENCE_METHOD, first_runtime, labels
from reconet_bench.report.tables import as_text, markdown, significant

NOTE = (
    "The same frames along both. An estimate leaves out pixels that it cannot trace, mostly those that move fast or lie at "
    "edges, so its E(V) is often lower: compare methods along one flow, never across."
)
HEADER = ["video", "flow", "method", "E(V) true", "E(V) estimated", "change", "traceable, true", "traceable, estimated"]


@dataclass
class Beside:
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
            return f"{self.video}: {self.estimator} puts the methods in the same order as true flow: {' < '.join(self.true)}"
        return f"{self.video}: {self.estimator} puts the methods in another order ({' < '.join(self.estimated)}) than true flow ({' < '.join(self.true)})"


def beside_true_flow(records: Sequence[Record]) -> list[Beside]:
    """Every clip of a run that was measured along both, in the first runtime; empty where there is none."""
    quality = first_runtime(records)
    names = labels(quality)
    videos = list(dict.fromkeys(record.video for record in quality))
    values = {(r.video, r.model or r.method, r.metric): r.value for r in quality if r.value is not None}
    models = [
        model
        for model in names
        if not any(r.method == REFERENCE_METHOD and (r.model or r.method) == model for r in quality)
    ]
    found = []
    for video in videos:
        if (true := known_twin(video, videos)) is None:
            continue
        both = [model for model in names if all((v, model, "temporal_error") in values for v in (true, video))]
        rows = []
        for model in both:
            e, estimated = (values[v, model, "temporal_error"] for v in (true, video))
            shares = [values.get((v, model, "traceable_share")) for v in (true, video)]
            change = f"{100 * (estimated / e - 1):+.1f} %" if e else "–"
            traced = ["–" if share is None else f"{100 * share:.1f} %" for share in shares]
            rows.append(
                [true, video.partition(MARK)[2], names[model], significant(e), significant(estimated), change, *traced]
            )
        ordered = [
            [names[m] for m in sorted((m for m in both if m in models), key=lambda m: values[v, m, "temporal_error"])]
            for v in (true, video)
        ]
        if rows:
            found.append(Beside(true, video.partition(MARK)[2], rows, *ordered))
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
