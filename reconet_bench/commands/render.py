"""``reconet-bench render``: write a built-in clip in MPI-Sintel's layout: frames, flow, occlusions, invalid."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, add_data_options, out, selection


@COMMANDS.register("render")
class Render(Command):
    """``reconet-bench render``."""

    summary = "Write a built-in clip in MPI-Sintel's layout: frames, flow, occlusions, invalid."
    example = "reconet-bench render carousel -o data/rendered"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("video", metavar="NAME", help="see: reconet-bench list data")
        parser.add_argument(
            "--output", "-o", type=Path, required=True, metavar="DIR", help="its 'training' folder is made in here"
        )
        add_data_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.data.sintel import write_sintel

        clip = selection(options).clip(options.video)
        folder = write_sintel(clip, options.output)
        out.print(
            f"Written: {folder} ({len(clip)} frames of {clip.size}, flow and masks beside it)",
            markup=False,
        )
