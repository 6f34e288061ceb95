"""Options of what is carried from frame to frame: stabilisers, and the motion that they and networks with state use."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import between

if TYPE_CHECKING:
    from reconet_bench.data.clip import Clip
    from reconet_bench.models.loading import Model

#: ``--state-flow`` that takes the clip's own motion.
TRUE_FLOW = "true"


def add_motion_options(parser: argparse.ArgumentParser, true: bool = False) -> None:
    """What is carried from frame to frame: stabilisers, and the motion that they and networks with state use."""
    group = parser.add_argument_group("from frame to frame")
    group.add_argument(
        "--stabilise",
        nargs="+" if true else None,
        default=[] if true else "",
        metavar="blend|average",
        help="blend mixes in the frame shown before, warped along estimated motion, where content can be traced; "
        "average mixes it in as it is, which ghosts"
        + (". Each model gets another row, such as johnson+blend" if true else ""),
    )
    group.add_argument(
        "--stabilise-strength",
        type=between(0, 0.99),
        default=0.8,
        metavar="X",
        help="the most of the past in a frame (default: 0.8)",
    )
    group.add_argument(
        "--state-flow",
        default="dis",
        metavar="dis|raft|true" if true else "dis|raft",
        help="motion to the frame before, for blend and for networks with state"
        + ("; true takes the clip's own where it has one, and the rows say so" if true else "")
        + " (default: dis)",
    )


def give_motion(models: Sequence[Model], options: Any, clips: Sequence[Clip] = ()) -> None:
    """Give models that use motion the estimator that ``--state-flow`` and ``--raft`` name.

    Raises:
        UnknownName, ModelError: no such estimator, or its weights are missing.
        DataError: true motion is asked for, and one of ``clips`` does not know it.
    """
    from dataclasses import replace

    from reconet_bench.temporal.history import MotionEstimator

    using = [model for model in models if model.source.uses_motion]
    if not using:
        return
    name = "dis" if options.state_flow == TRUE_FLOW else options.state_flow
    estimator = MotionEstimator(name, getattr(options, "raft", None) if name == "raft" else None)
    estimator.load()
    for model in using:
        model.source = replace(model.source, motion=estimator)
        model.origin = replace(model.origin, motion=estimator) if model.origin else None
    if options.state_flow == TRUE_FLOW:
        for clip in clips:
            clip.motion_back(1)
