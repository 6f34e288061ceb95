"""``reconet-bench export``: write a model as ONNX: any size in, the same size out; or one fixed size."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, out, size
from reconet_bench.core.size import Size


@COMMANDS.register("export")
class Export(Command):
    """``reconet-bench export``."""

    summary = "Export a model to ONNX, for any frame size or one fixed size."
    example = "reconet-bench export reconet-starry_night -o reconet.onnx"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", metavar="MODEL", help="a shipped model by name, or a checkpoint")
        parser.add_argument("--output", "-o", type=Path, required=True, metavar="FILE.onnx", help="where to write it")
        parser.add_argument(
            "--all",
            action="store_true",
            help="also write FILE-fp16, FILE-int8 (calibrated on the built-in clips), "
            "and FILE-uint8 and FILE-uint8-fp16 (8-bit frames in and out)",
        )
        parser.add_argument(
            "--form",
            choices=("plain", "deploy"),
            default="plain",
            help="'deploy' rewrites the network into one that gives the same frames in less time (default: plain)",
        )
        parser.add_argument(
            "--size",
            type=size,
            metavar="WxH",
            help="export for one frame of this size only, as some devices need (default: any size and batch)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.benchmark.speed_records import gate
        from reconet_bench.core.errors import ModelError
        from reconet_bench.models.checkpoint import find_checkpoint, is_onnx, load_checkpoint
        from reconet_bench.models.export import OPSET
        from reconet_bench.models.export_formats import Form, export_all, export_form

        if is_onnx(options.model):
            raise ModelError(
                f"{options.model} is an ONNX file already: "
                "give a checkpoint (.safetensors) or the name of a shipped model"
            )
        fixed: Size | None = options.size
        taken = f"one frame of {fixed}" if fixed else "dynamic batch, height and width"
        rewritten = "deploy form, " if options.form == "deploy" else ""
        checkpoint = load_checkpoint(find_checkpoint(options.model))

        def say(form: Form) -> None:
            failed = gate(form.parity, None)
            out.print(
                f"Written: {form.path} ({rewritten}{form.name}, opset {OPSET}, {taken}; "
                f"{form.path.stat().st_size / 2**20:.1f} MiB)\n"
                f"ONNX Runtime (CPU) against PyTorch fp32: "
                f"max abs {form.parity.max_abs:.2e}, PSNR {form.parity.psnr:.1f} dB"
                + (f"; {failed}" if failed else ""),
                markup=False,
                soft_wrap=True,
            )

        if options.all:
            for form in export_all(checkpoint, options.output, fixed, options.form):
                say(form)
        else:
            say(export_form(checkpoint, options.output, fixed, options.form))
