"""Candidates for another structure: each changes one thing of ``lite``, so that a study says what that thing costs."""

from __future__ import annotations

import functools
from dataclasses import replace

from reconet_bench.networks.base import NETWORKS
from reconet_bench.networks.lite import Lite, LiteShape

_LITE = Lite.shape
#: Shape and what is changed, by name.
CHANGED: dict[str, tuple[LiteShape, str]] = {
    "lite-3-blocks": (replace(_LITE, blocks=3), "3 residual blocks"),
    "lite-width-48": (replace(_LITE, half=24, quarter=48), "24 and 48 channels"),
    "lite-3x3": (replace(_LITE, kernel=3), "first and last convolution 3x3"),
    "lite-sub-pixel": (replace(_LITE, upsample="sub-pixel"), "sub-pixel convolution from quarter to half resolution"),
    "lite-zeros-inside": (
        replace(_LITE, padding="reflect-ends"),
        "zero padding but for the first and last convolution",
    ),
    "lite-zeros": (replace(_LITE, padding="zeros"), "zero padding throughout"),
}
#: What a structure study tries, what all are compared with first.
CANDIDATES = ("lite", *CHANGED, "small")


class _Changed(Lite):
    """``lite`` with one thing changed."""

    def __init__(self, shape: LiteShape, change: str) -> None:
        self.shape, self.summary = shape, f"as lite, with {change}; see 'study structure'"  # type: ignore[misc]


for _name, _of in CHANGED.items():
    NETWORKS.register(_name)(functools.partial(_Changed, *_of))


def described(name: str) -> str:
    """What a candidate changes, in a few words."""
    return CHANGED[name][1] if name in CHANGED else NETWORKS[name].summary
