"""How the parity of a speed is written: for people in a table, for machines in CSV."""

from __future__ import annotations

import math

from reconet_bench.report.tables import significant

#: Columns of :func:`cells`.
HEADER = ("PSNR dB", "ΔE(V) %")


def cells(psnr: float | None, change: float | None) -> list[str]:
    """PSNR to the reference and change of E(V), as a table shows them; a dash where there is none.

    Args:
        psnr: dB; infinite where the frames are equal.
        change: percent.
    """
    shown = "–" if psnr is None else "identical" if math.isinf(psnr) else significant(psnr)
    return [shown, "–" if change is None else f"{change:+.2f}"]


def exact(value: object) -> object:
    """A cell of CSV: an infinite PSNR, that of equal frames, is ``inf``; an empty cell means that there is none."""
    return "inf" if value == math.inf else value
