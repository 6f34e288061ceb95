"""``reconet-bench roofline``: how near each runtime is to what this machine can do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, at_least, err, out, size, warn, writable

if TYPE_CHECKING:
    from reconet_bench.benchmark.reference_check import Fidelity
    from reconet_bench.benchmark.roofline import RooflineResult
    from reconet_bench.core.size import Size
    from reconet_bench.metrics.measure import Absent
    from reconet_bench.models.loading import Model

#: Columns of the CSV: a row of them says by itself what was measured, on what, and beside which ceilings.
COLUMNS = (
    "model",
    "runtime",
    "precision",
    "device",
    "threads",
    "width",
    "height",
    "device_ms",
    "tflops",
    "limit_ms",
    "bound",
    "share",
    "gmacs",
    "million_values",
    "ceiling_tflops",
    "ceiling_by",
    "ceiling_gb_per_s",
    "max_abs",
    "psnr",
    "temporal_error_change",
    "note",
)


@COMMANDS.register("roofline")
class Roofline(Command):
    """``reconet-bench roofline``."""

    summary = "Compare each runtime's speed with the limits of this machine (roofline model)."
    example = "reconet-bench roofline reconet-starry_night --size 1024x436 --runtimes torch openvino:bf16"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "model",
            nargs="?",
            default="reconet-starry_night",
            metavar="MODEL",
            help="a shipped model by name, or a checkpoint (default: reconet-starry_night)",
        )
        parser.add_argument("--size", type=size, default=(256, 256), metavar="WxH", help="frame size (default: 256)")
        parser.add_argument(
            "--runtimes",
            nargs="+",
            default=[],
            metavar="NAME",
            help="runtimes and variants, see: reconet-bench list runtimes (default: the usual ones that are installed)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="auto is CUDA where there is one (default: auto)",
        )
        parser.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads (default: all)")
        parser.add_argument(
            "--rounds", type=at_least(1), default=5, metavar="N", help="rounds of interleaved timing (default: 5)"
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="FILE.csv",
            help="also write the table as CSV, with FILE.provenance.json beside it",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.benchmark.roofline import measure_runtimes
        from reconet_bench.models import loading
        from reconet_bench.report import numbers
        from reconet_bench.report.terminal import plain_table
        from reconet_bench.runtimes import selection

        if options.output:
            writable(options.output.parent)

        def say(line: str) -> None:
            err.print(line, markup=False)

        names = selection.usable_runtimes(options.runtimes, warn)
        resources = selection.Resources(options.device, options.threads)
        with loading.workspace() as folder:
            model = loading.load_by_name(options.model, Path(folder))
            found = measure_runtimes(model, options.size, names, resources, options.rounds, say, warn)
        cost = found.cost
        out.print(
            f"{model.source.name} at {options.size}: {cost.macs / 1e9:.1f} GMAC and "
            f"{cost.values / 1e6:.1f} million numbers moved per frame",
            markup=False,
        )
        for (place, threads, precision), ceiling in found.ceilings.items():
            where = f"{threads} threads" if place == "cpu" else place
            out.print(
                f"measured ceilings, {precision} on {where}: {ceiling.flops / 1e12:.2f} TFLOP/s ({ceiling.source}), "
                f"{ceiling.bandwidth / 1e9:.1f} GB/s (copy)",
                markup=False,
                highlight=False,
            )
        header = (
            "runtime",
            "precision",
            "ms a frame",
            "TFLOP/s",
            "limit ms",
            "bound by",
            "share of the limit",
            *numbers.PARITY_HEADER,
            "note",
        )
        shown = [
            (
                row.runtime,
                row.precision,
                f"{1000 * row.seconds:.2f}",
                f"{row.flops / 1e12:.3f}",
                "–" if row.limit is None else f"{1000 * row.limit:.2f}",
                row.bound or "–",
                "–" if row.share is None else f"{100 * row.share:.1f} %",
                *_parity(row.fidelity),
                row.note,
            )
            for row in found.rows
        ]
        out.print(plain_table(header, shown, left=(0, 1, 5, 9)))
        if options.output:
            _write(options.output, model, options.size, found, options.rounds)


def _parity(fidelity: Fidelity | Absent) -> list[str]:
    from reconet_bench.benchmark.reference_check import Fidelity
    from reconet_bench.report.numbers import parity_cells

    known = fidelity if isinstance(fidelity, Fidelity) else None
    return parity_cells(known.parity.psnr if known else None, known.change if known else None)


def _write(path: Path, model: Model, size: Size, found: RooflineResult, rounds: int) -> None:
    """The rows as CSV, and beside it where they are from; a ``provenance.json`` there is that of a run, and stays."""
    from reconet_bench.benchmark.reference_check import Fidelity
    from reconet_bench.core.files import write_text
    from reconet_bench.core.provenance import describe
    from reconet_bench.core.record import to_csv
    from reconet_bench.report import numbers

    rows = []
    for row in found.rows:
        ceiling = found.ceilings.get(row.place)
        limits = (ceiling.flops / 1e12, ceiling.source, ceiling.bandwidth / 1e9) if ceiling else (None, None, None)
        known = row.fidelity if isinstance(row.fidelity, Fidelity) else None
        rows.append(
            (
                model.source.name,
                row.runtime,
                row.precision,
                row.device,
                row.threads,
                size.width,
                size.height,
                1000 * row.seconds,
                row.flops / 1e12,
                None if row.limit is None else 1000 * row.limit,
                row.bound,
                row.share,
                found.cost.macs / 1e9,
                found.cost.values / 1e6,
                *limits,
                known.parity.max_abs if known else None,
                numbers.exact(known.parity.psnr if known else None),
                known.change if known else None,
                row.note,
            )
        )
    facts = {
        **describe(),
        "threads": sorted({row.threads for row in found.rows}),
        "models": {model.source.name: model.checksum},
        "rounds": rounds,
        "chosen": [found.chosen] if found.chosen else [],
        "skipped": found.skipped,
    }
    beside = path.with_suffix(".provenance.json")
    write_text(path, to_csv(rows, COLUMNS))
    write_text(beside, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    out.print(f"Written: {path}, {beside.name}", markup=False)
