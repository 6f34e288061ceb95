"""Numbers as people read them, and as programs do."""

from __future__ import annotations

import math


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """``0.0312 [0.0300, 0.0325]``; a dash where there is no value, no bracket where there is no interval."""
    if value is None:
        return "–"
    text = significant(value)
    if low is None or high is None:
        return text
    return f"{text} [{significant(low)}, {significant(high)}]"


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits, plain notation, never more than five decimals; counts from 1000 as integers."""
    if value == 0:
        return "0"
    if abs(value) < 10 ** (-digits - 2):
        return f"{value:.1e}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def p_cell(p: float | None, corrected: float | None) -> str:
    """A p value as tables show it, and in brackets the same corrected for how many were tested."""
    return _short(p) if corrected is None else f"{_short(p)} ({_short(corrected)})"


def _short(p: float | None) -> str:
    return "–" if p is None else "<0.0001" if p < 1e-4 else f"{p:.2g}"


#: Columns of :func:`parity_cells`.
PARITY_HEADER = ("PSNR dB", "ΔE(V) %")


def parity_cells(psnr: float | None, change: float | None) -> list[str]:
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
