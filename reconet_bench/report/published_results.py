"""Numbers that papers report on the videos we measure, to stand beside ours, always marked as published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A number from a paper: other style, other training, other evaluation code than ours.

    Attributes:
        recalled: whether it is written down from memory and not checked against the paper.
    """

    method: str
    video: str
    metric: str
    value: float
    style: str
    source: str
    recalled: bool = False


_DISSERTATION = "Mahakalkar 2022, Table 6.2"
_GAO = "Gao et al. 2018, as recalled from the paper"

PUBLISHED = (
    Published("Chen et al. 2017", "alley_2", "temporal_error", 0.0934, "candy", _DISSERTATION),
    Published("Chen et al. 2017", "market_6", "temporal_error", 0.1030, "candy", _DISSERTATION),
    Published("ReCoNet (dissertation)", "alley_2", "temporal_error", 0.0821, "candy", _DISSERTATION),
    Published("ReCoNet (dissertation)", "market_6", "temporal_error", 0.0801, "candy", _DISSERTATION),
    *(
        Published(method, video, "temporal_error", value, "candy", _GAO, recalled=True)
        for method, values in {
            "Chen et al. 2017": {"ambush_5": 0.1352, "bandage_2": 0.0715, "temple_2": 0.1094},
            "ReCoNet (Gao et al. 2018)": {
                "alley_2": 0.0846,
                "ambush_5": 0.0819,
                "bandage_2": 0.0662,
                "market_6": 0.0862,
                "temple_2": 0.0831,
            },
            "Huang et al. 2017": {
                "alley_2": 0.0439,
                "ambush_5": 0.0675,
                "bandage_2": 0.0304,
                "market_6": 0.0553,
                "temple_2": 0.0513,
            },
            "Ruder et al. 2016": {
                "alley_2": 0.0252,
                "ambush_5": 0.0512,
                "bandage_2": 0.0195,
                "market_6": 0.0407,
                "temple_2": 0.0361,
            },
        }.items()
        for video, value in values.items()
    ),
)


@dataclass(frozen=True)
class FoundingNumber:
    """A number of the founding work beside what a run measured of the same quantity.

    Attributes:
        metric: ours that comes nearest; means over the run's videos stand beside the number, or the video's own.
        video: the video it is of, where we may measure that too.
        size: the frame size that a speed is of, height and width; one at another size is none to compare it with.
        differs: what is not the same, so that nobody takes the two for one.
        recalled: as in :class:`Published`.
    """

    what: str
    method: str
    value: float
    metric: str
    source: str
    differs: str
    video: str = ""
    size: tuple[int, int] | None = None
    recalled: bool = False


_OURS = "another style, training set and code; its evaluation code is not printed"
_PATCH = "other clips and style; the patch is not motion compensated, so the clip decides as much as the method"
_SPEED = "Tesla P100, PyTorch 1.12; what was copied within the clock is not said"

BESIDE = (
    FoundingNumber(
        "temporal error, alley_2",
        "proposed",
        0.0821,
        "temporal_error",
        _DISSERTATION,
        f"{_OURS}; its model was trained on this sequence",
        "alley_2",
    ),
    FoundingNumber(
        "temporal error, alley_2", "Chen et al. 2017", 0.0934, "temporal_error", _DISSERTATION, _OURS, "alley_2"
    ),
    FoundingNumber(
        "temporal error, market_6",
        "proposed",
        0.0801,
        "temporal_error",
        _DISSERTATION,
        f"{_OURS}; its model was trained on this sequence",
        "market_6",
    ),
    FoundingNumber(
        "temporal error, market_6", "Chen et al. 2017", 0.1030, "temporal_error", _DISSERTATION, _OURS, "market_6"
    ),
    *(
        FoundingNumber(
            f"SSIM of adjacent frames, {clip}", method, value, "ssim_adjacent", "Mahakalkar 2022, Table 6.1", _PATCH
        )
        for clip, values in {"Scenery–wave": (0.40, 0.59, 0.66), "Woodpecker–vangogh": (0.68, 0.85, 0.88)}.items()
        for method, value in zip(("Johnson", "Dougherty", "proposed"), values, strict=True)
    ),
    FoundingNumber(
        "content SSIM (content leak)",
        "proposed",
        0.52,
        "content_similarity",
        "Mahakalkar 2022",
        "other clips and style",
    ),
    FoundingNumber(
        "content SSIM (content leak)",
        "Dougherty",
        0.40,
        "content_similarity",
        "Mahakalkar 2022",
        "other clips and style",
    ),
    FoundingNumber(
        "frames a second, 256x256", "all three alike", 47, "fps_device", "Mahakalkar 2022", _SPEED, size=(256, 256)
    ),
    FoundingNumber(
        "frames a second, 512x512", "all three alike", 10, "fps_device", "Mahakalkar 2022", _SPEED, size=(512, 512)
    ),
    *(
        FoundingNumber(
            f"temporal error, {p.video}",
            p.method,
            p.value,
            "temporal_error",
            p.source,
            "not checked against the paper; another style, training set and code",
            p.video,
            recalled=True,
        )
        for p in PUBLISHED
        if p.recalled
    ),
)


def published_for(videos: Iterable[str], recalled: bool = False) -> list[Published]:
    """Published numbers on any of these videos, by video then method: those that were checked, or those recalled."""
    wanted = set(videos)
    found = (p for p in PUBLISHED if p.video in wanted and p.recalled == recalled)
    return sorted(found, key=lambda p: (p.video, p.source, p.method))
