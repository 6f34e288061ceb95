"""``reconet-bench inspect``: what an ONNX file takes and gives, its readings as one picture, and a description."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, add_onnx_options, err, onnx_hints, out, writable

if TYPE_CHECKING:
    from reconet_bench.models.onnx_readings import Reading
    from reconet_bench.runtimes.base import ModelSource


@COMMANDS.register("inspect")
class Inspect(Command):
    """``reconet-bench inspect``."""

    summary = "Show what an ONNX file takes and gives, and write a description of it (MODEL.toml) to start from."
    example = "reconet-bench inspect mine.onnx"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "model", type=Path, metavar="FILE", help="an ONNX file, or a description of one (MODEL.toml)"
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="FILE.png",
            help="picture: a photograph, and what it becomes in each reading (default: FILE-readings.png)",
        )
        parser.add_argument(
            "--description",
            type=Path,
            metavar="FILE.toml",
            help="where to write the description; an existing one stays as it is (default: FILE.toml)",
        )
        add_onnx_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError, ModelError
        from reconet_bench.core.files import write_text
        from reconet_bench.core.images import IMAGE_SUFFIXES
        from reconet_bench.models.description import read_description
        from reconet_bench.models.description_draft import card, draft, ends
        from reconet_bench.models.finding import is_description
        from reconet_bench.models.loading import workspace
        from reconet_bench.models.onnx_inspection import candidates, inspect_onnx
        from reconet_bench.report.terminal import listing

        picture = options.output or Path(f"{options.model.stem}-readings.png")
        if picture.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{picture}: the picture must end in one of {', '.join(IMAGE_SUFFIXES)}")
        described = is_description(options.model)
        target = options.model if described else options.description or Path(f"{options.model.stem}.toml")
        if not is_description(target):
            raise DataError(f"{target}: the description must end in .toml")
        for place in (picture, target):
            writable(place.parent)
        hints = onnx_hints(options)
        if described and hints:
            raise ModelError(f"{target}: what --input-range, --output-range and --layout say belongs into its [frame]")
        file = options.model
        if described and (file := read_description(target).onnx) is None:
            raise ModelError(f"{target}: a model in Python; there is no ONNX file to inspect")
        inputs, outputs = ends(file)
        facts = {f"input {number}": text for number, text in enumerate(inputs, 1)}
        facts |= {f"output {number}": text for number, text in enumerate(outputs, 1)}
        out.print(listing(file.name, list((facts | card(file)).items())))
        if not target.exists():
            write_text(target, draft(file, target))
            out.print(f"Written: {target}, a description to start from", markup=False)
        elif not described:
            err.print(f"{target} is there already and stays as it is", markup=False)
        doubts: list[str] = []
        with workspace() as folder:
            if described or len(inputs) > 1:
                description = read_description(target)
                source = description.source(Path(folder), doubts.append, guess=True)
                photograph, found = candidates(description.file(Path(folder)), description.said, description.facts)
            else:
                source = inspect_onnx(file, hints, doubts.append)
                photograph, found = candidates(file, hints)
        self._show(source, found, described or len(inputs) > 1)
        for line in doubts:
            err.print(line, style="yellow", markup=False)
        self._draw(picture, photograph, found)

    def _show(self, source: ModelSource, found: list[Reading], described: bool) -> None:
        """What was found out, as a list; readings as options, or as a description says them."""
        from reconet_bench.report.terminal import listing

        sides = [str(side or "any") for side in (source.height, source.width)]
        facts = {
            "layout": source.layout,
            "height, width": f"{' x '.join(sides)}, multiples of {source.multiple}, at least {source.minimum}",
            "frames at once": "1, in order" if source.state else str(source.batch or "any"),
            "precision": source.precision,
            "input, output": f"'{source.input_name}', '{source.output_name}'",
            **{
                f"reading {number}": (one.keys if described else one.options)
                + (f" (comes out {one.fault})" if one.fault else "")
                for number, one in enumerate(found, 1)
            },
        }
        out.print(listing(source.name, list(facts.items())))

    def _draw(self, picture: Path, photograph: Any, found: list[Reading]) -> None:
        """The readings side by side."""
        from reconet_bench.core.images import side_by_side, write_image

        titles = ["photograph", *(f"{n}: {one.input.name} > {one.output.name}" for n, one in enumerate(found, 1))]
        write_image(picture, side_by_side([photograph, *(one.picture for one in found)], titles))
        out.print(f"Written: {picture}", markup=False)
