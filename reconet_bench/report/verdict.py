"""What a reader wants within ten seconds: which is stable, which is fast, which reaches the style, can I trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconet_bench.core.record import Record
from reconet_bench.core.samples import ALL_VIDEOS, Difference
from reconet_bench.report.numbers import significant
from reconet_bench.report.ranking import ModelRow, fastest, paired

#: The best style distance of a run may be this many times better before the most stable model counts as held back.
UNDERSTYLED = 2.0


@dataclass(frozen=True)
class Card:
    """A question, its answer in a word or two, and what stands behind it."""

    question: str
    answer: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """One sentence and the cards below it."""

    sentence: str
    cards: list[Card]


def verdict(
    records: Sequence[Record],
    rows: Sequence[ModelRow],
    differences: Sequence[Difference],
    warnings: Sequence[str],
    problems: Sequence[str] = (),
) -> Verdict:
    """Answers from the numbers; a question that the run cannot answer has no card.

    Args:
        problems: what of the run is missing or broken; like ``warnings``, a reason for care.
    """
    stable = _best(rows, "temporal_error")
    fast = fastest(records)
    styled = _best(rows, "style_distance")
    cards, said = [], []
    if stable:
        cards.append(Card("Most stable", stable.label, _stability(stable, rows, differences, styled)))
        said.append(f"{stable.label} flickers least")
    if fast:
        place = f"{fast.runtime} {fast.precision}, {fast.size}, {fast.device}"
        name = next((row.label for row in rows if row.model == fast.model), fast.model)
        cards.append(
            Card(
                "Fastest",
                f"{significant(fast.value or 0)} fps",
                f"{name} in {place}" + (f" ({fast.remark})" if fast.remarks else ""),
            )
        )
        said.append(
            f"{fast.runtime if _as_fast(fast, records) else f'{name} in {fast.runtime}'} is fastest "
            f"with {significant(fast.value or 0)} frames per second"
        )
    if styled:
        cards.append(
            Card(
                "Nearest to the style",
                styled.label,
                f"style distance {significant(styled.cells['style_distance'].value)} (1 = not stylised)",
            )
        )
        said.append(f"{styled.label} comes nearest to the style")
    reasons = [
        f"{len(lines)} {what}{'s' if len(lines) > 1 else ''} below"
        for what, lines in (("warning", warnings), ("problem", problems))
        if lines
    ]
    clear = "no warning: no leakage, " + ("stable timing, unchanged output" if fast else "speed not measured")
    cards.append(Card("Can I trust it?", "With care" if reasons else "Yes", ", ".join(reasons) or clear))
    return Verdict(("; ".join(said) or "Nothing to rank in this run") + ".", cards)


def _as_fast(fast: Record, records: Sequence[Record]) -> bool:
    """Whether another model is as fast at this size within the spread of the timing: then the runtime alone decides."""
    spreads = [
        r.value or 0
        for r in records
        if r.metric == "latency_device_spread"
        and (r.model, r.runtime, r.height, r.width) == (fast.model, fast.runtime, fast.height, fast.width)
    ]
    limit = (fast.value or 0) / (1 + max(spreads, default=0.1))
    same = [
        r
        for r in records
        if r.metric == "fps_device" and r.model != fast.model and r.size == fast.size and not r.changed
    ]
    return any((r.value or 0) >= limit for r in same)


def _best(rows: Sequence[ModelRow], metric: str) -> ModelRow | None:
    found = [row for row in rows if metric in row.cells and not row.reference and not row.passed_over]
    return next((row for row in found if row.cells[metric].standing == "best"), found[0] if len(found) == 1 else None)


def _stability(
    best: ModelRow, rows: Sequence[ModelRow], differences: Sequence[Difference], styled: ModelRow | None
) -> str:
    cell = best.cells["temporal_error"]
    text = f"E(V) {significant(cell.value)}"
    others = sorted(
        (r for r in rows if "temporal_error" in r.cells and not r.reference and r is not best),
        key=lambda r: r.cells["temporal_error"].value,
    )
    if others and others[0].cells["temporal_error"].value > 0:
        second = others[0]
        text += f", {100 * (1 - cell.value / second.cells['temporal_error'].value):.0f} % below {second.label}"
        text += f" ({_test(paired(differences, 'temporal_error', best.model, second.model), cell.videos)})"
    own = best.cells.get("style_distance")
    if styled and own and own.value > UNDERSTYLED * styled.cells["style_distance"].value:
        ratio = own.value / styled.cells["style_distance"].value
        text += f"; but its style distance is {ratio:.1f} × the best, so it is stable partly because it stylises less"
    if unknown := [row.label for row in rows if row.passed_over]:
        text += f"; {', '.join(unknown)} not ranked: style not measured"
    return text


def _test(pairs: Sequence[Difference], videos: int) -> str:
    """What the paired differences between the two most stable models show, in words."""
    tested = [row for row in pairs if row.shown is not None]
    if not tested:
        return "not tested"
    first = tested[0]
    text = "a difference is shown" if first.shown else "no difference is shown"
    if first.video != ALL_VIDEOS or first.p is None:
        return f"{text} on {first.n} paired frames"
    text += f" for videos like these {videos}"
    if not first.shown and any(row.shown for row in tested[1:]):
        text += "; for these alone one is"
    return text
