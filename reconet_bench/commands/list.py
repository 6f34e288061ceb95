"""``reconet-bench list``: show methods, networks, models, runtimes (and why one is missing), metrics and data."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, err, out

if TYPE_CHECKING:
    from reconet_bench.metrics.base import Metric


@COMMANDS.register("list")
class List(Command):
    """``reconet-bench list``."""

    summary = "List methods, networks, models, runtimes, metrics and data, and why a runtime is missing."
    example = "reconet-bench list runtimes"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "what", nargs="*", metavar="KIND", help="methods, networks, models, runtimes, metrics, data (default: all)"
        )
        parser.add_argument("--sintel", type=Path, metavar="DIR", help="folder that holds Sintel's 'training'")
        parser.add_argument(
            "--sheet",
            type=Path,
            metavar="FILE",
            help="with 'models': also draw one frame of a built-in clip as each of them paints it",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import UnknownName
        from reconet_bench.report.terminal import listing

        if options.sheet:
            _draw(options.sheet, options.what)
        known = inventory(options.sintel)
        for kind in options.what or known.entries:
            if kind not in known.entries:
                raise UnknownName("kind", kind, known.entries)
            out.print(listing(kind, known.entries[kind], known.unusable))


def _draw(path: Path, kinds: list[str]) -> None:
    """Write the contact sheet of the shipped models."""
    from reconet_bench.core.errors import DataError
    from reconet_bench.core.images import IMAGE_SUFFIXES, write_image
    from reconet_bench.core.ops import to_uint8
    from reconet_bench.data.synthetic import synthetic_clip
    from reconet_bench.models.checkpoint import shipped_models
    from reconet_bench.models.contact_sheet import contact_sheet

    if kinds != ["models"]:
        raise DataError("--sheet draws the shipped models: reconet-bench list models --sheet FILE")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{path}: a picture ends in {', '.join(IMAGE_SUFFIXES)}")
    write_image(path, contact_sheet(to_uint8(synthetic_clip("carousel").frame(2))[0], shipped_models()))
    err.print(f"Written: {path}", markup=False)


@dataclass(frozen=True)
class Inventory:
    """Everything there is.

    Attributes:
        entries: by kind, as (name, what it is or why it is missing).
        unusable: names of those that are missing or cannot be used here.
    """

    entries: dict[str, list[tuple[str, str]]]
    unusable: frozenset[str]


def inventory(sintel: Path | None = None) -> Inventory:
    """Methods, models, runtimes, metrics and data; ``sintel`` is the folder of MPI-Sintel, if it is said."""
    from reconet_bench.core.errors import DataError
    from reconet_bench.data import davis, synthetic
    from reconet_bench.data.sintel import PASSES, find_sintel, sequences
    from reconet_bench.methods.base import METHODS
    from reconet_bench.metrics.base import METRICS
    from reconet_bench.models.checkpoint import shipped_models
    from reconet_bench.networks.base import NETWORKS
    from reconet_bench.runtimes.base import RUNTIMES

    runtimes = {name: RUNTIMES[name].status for name in RUNTIMES.names()}
    unusable = {name for name, status in runtimes.items() if not status.usable}
    data = list(synthetic.CLIPS.items())
    try:
        root = find_sintel(sintel)
        data += [(f"sintel {p}", ", ".join(names)) for p in PASSES if (names := sequences(root, p))]
    except DataError as error:
        data.append(("sintel", f"missing: {error}"))
        unusable.add("sintel")
    try:
        data.append(("davis", ", ".join(davis.sequences(davis.find_davis()))))
    except DataError as error:
        data.append(("davis", f"missing: {error}"))
        unusable.add("davis")
    entries = {
        "methods": [(name, method.summary) for name, method in METHODS.items()],
        "networks": [(name, kind.summary) for name, kind in NETWORKS.items()],
        "models": [(name, _model_line(path)) for name, path in shipped_models().items()],
        "runtimes": [(name, status.text) for name, status in runtimes.items()],
        "metrics": [(name, _metric_line(metric)) for name, metric in METRICS.items()],
        "data": data,
    }
    return Inventory(entries, frozenset(unusable))


def _metric_line(metric: Metric) -> str:
    on_request = "" if metric.default else " (on request: --metrics)"
    return f"{metric.summary}{on_request}. Blind to {metric.blind_to}"


def _model_line(path: Path) -> str:
    from reconet_bench.models.checkpoint import load_checkpoint

    info = load_checkpoint(path).info
    data = info.get("data") or {}
    trained_on = f"{data.get('name')} ({data.get('textures', data.get('windows', ''))})"
    return f"{info.get('steps')} steps at {info.get('size')}x{info.get('size')} on {trained_on}"
