"""The option of where tasks run: here, or on a Ray cluster."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconet_bench.benchmark.engine import Engine
    from reconet_bench.core.place import Place


def add_engine_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        type=_ray,
        metavar="ray[://HOST:PORT]",
        help="run the tasks on a Ray cluster: the one at this address of its client server, else the one that "
        "$RAY_ADDRESS names, else Ray is started on this machine; a task takes --threads cores (default: here, one "
        "task after the other)",
    )


def chosen_engine(on: str | None) -> Engine:
    """The engine that ``--on`` names."""
    from reconet_bench.benchmark.engine import LocalEngine

    if on is None:
        return LocalEngine()
    from reconet_bench.benchmark.ray_engine import RayEngine
    from reconet_bench.core.cluster import Cluster

    return RayEngine(Cluster(on))


def chosen_place(on: str | None) -> Place:
    """The place that ``--on`` names, for calls that do not need one another."""
    if on is None:
        from reconet_bench.core.place import Here

        return Here()
    from reconet_bench.core.cluster import Cluster

    return Cluster(on)


def _ray(text: str) -> str:
    match = re.fullmatch(r"ray(?:://([^/\s]+:\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}': give ray, or ray://HOST:PORT such as ray://head:10001")
    return match[1] or ""
