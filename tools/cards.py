"""Rewrite the cards of the shipped models with the measurements of a run folder: ``python tools/cards.py RUN``."""

from __future__ import annotations

import sys
from pathlib import Path

from reconet_bench.core.files import write_text
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import SUFFIX, load_checkpoint
from reconet_bench.report.model_card import measured_section, model_card
from reconet_bench.report.run import Run, load_run

ROOT = Path(__file__).resolve().parents[1]


def card(path: Path, run: Run) -> str:
    """The card of a checkpoint whose loss curves stand beside it."""
    checkpoint, curves = load_checkpoint(path), path.with_suffix(".csv").read_text(encoding="utf-8")
    summary, measured = METHODS[checkpoint.method].summary, measured_section(run, path.stem)
    return model_card(path.stem, summary, checkpoint.info, curves, checkpoint.licence, measured)


def main(arguments: list[str]) -> None:
    """Rewrite the cards."""
    run = load_run(Path(arguments[0]) if arguments else ROOT / "reports" / "sample")
    for path in sorted((ROOT / "models").glob(f"*{SUFFIX}")):
        write_text(path.with_suffix(".md"), card(path, run))
        print(f"Written: {path.with_suffix('.md')}")


if __name__ == "__main__":
    main(sys.argv[1:])
