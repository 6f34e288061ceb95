"""``reconet-bench inspect``: what an ONNX file takes and gives, and its readings side by side as one picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, add_onnx_options, err, onnx_hints, out, writable


@COMMANDS.register("inspect")
class Inspect(Command):
    """``reconet-bench inspect``."""

    summary = "Show what your own ONNX file takes and gives: layout, size, and the value ranges that give a picture."
    example = "reconet-bench inspect mine.onnx"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", type=Path, metavar="FILE.onnx", help="an image-to-image ONNX file")
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="FILE.png",
            help="picture: a photograph, and what it becomes in each reading (default: FILE-readings.png)",
        )
        add_onnx_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.core.images import IMAGE_SUFFIXES, side_by_side, write_image
        from reconet_bench.models.onnx_inspection import candidates, inspect_onnx
        from reconet_bench.report.terminal import listing

        target = options.output or Path(f"{options.model.stem}-readings.png")
        if target.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{target}: the picture must end in one of {', '.join(IMAGE_SUFFIXES)}")
        writable(target.parent)
        hints = onnx_hints(options)
        doubts: list[str] = []
        source = inspect_onnx(options.model, hints, doubts.append)
        photograph, found = candidates(options.model, hints)
        sides = [str(side or "any") for side in (source.height, source.width)]
        facts = {
            "layout": source.layout,
            "height, width": f"{' x '.join(sides)}, multiples of {source.multiple}, at least {source.minimum}",
            "frames at once": str(source.batch or "any"),
            "precision": source.precision,
            "input, output": f"'{source.input_name}', '{source.output_name}'",
            **{
                f"reading {number}": f"{one.options}{f' (comes out {one.fault})' if one.fault else ''}"
                for number, one in enumerate(found, 1)
            },
        }
        out.print(listing(options.model.name, list(facts.items())))
        for line in doubts:
            err.print(line, style="yellow", markup=False)
        titles = ["photograph", *(f"{n}: {one.input.name} > {one.output.name}" for n, one in enumerate(found, 1))]
        write_image(target, side_by_side([photograph, *(one.picture for one in found)], titles))
        out.print(f"Written: {target}", markup=False)
