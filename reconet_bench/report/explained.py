"""What each metric of a run says and cannot see, as the run itself noted it."""

from __future__ import annotations

from typing import Any

#: Columns of :func:`explanations`.
HEADER = ["metric", "what it says", "blind to"]


def explanations(provenance: dict[str, Any]) -> list[list[str]]:
    """A row for each metric that the run explains; runs of older versions explain none."""
    return [
        [name, text["summary"], text["blind_to"]]
        for name, text in _noted(provenance).items()
        if isinstance(text.get("summary"), str) and isinstance(text.get("blind_to"), str)
    ]


def hidden(provenance: dict[str, Any]) -> set[str]:
    """Metrics that nobody asked for by name and that are not among the usual ones: the main table leaves them out."""
    return {name for name, text in _noted(provenance).items() if text.get("shown") is False}


def _noted(provenance: dict[str, Any]) -> dict[str, dict[str, Any]]:
    noted = provenance.get("explained") or {}
    return {name: text for name, text in noted.items() if isinstance(text, dict)}
