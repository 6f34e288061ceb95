"""How much each rewrite of the deploy form gains: ``python tools/rewrites_table.py MODEL RUNTIME...`` prints tables.

Every rewrite alone and all of them, at 1024x436 or ``--size``, against the plain export in the same runtime and in the
same rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx

from reconet_bench.benchmark.speed_ratio import SpeedRatio, speed_ratio
from reconet_bench.benchmark.timing import TimingOptions, measure
from reconet_bench.core.ops import to_uint8
from reconet_bench.core.size import Size
from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.models.checkpoint import find_checkpoint, load_checkpoint
from reconet_bench.models.export import cached_export
from reconet_bench.models.onnx_inspection import inspect_onnx
from reconet_bench.models.rewrites.base import REWRITES, EditableGraph
from reconet_bench.report.markdown import markdown
from reconet_bench.runtimes.base import RUNTIMES

PLAIN, ALL = "plain", "all of them"
OPTIONS = TimingOptions(rounds=8, seconds=0.1, boundaries=("device",), warmup_seconds=1, reference=PLAIN)


def variants(model: str, folder: Path) -> dict[str, Path]:
    """The plain export, one with each rewrite that fits it, and one with all."""
    plain = cached_export(load_checkpoint(find_checkpoint(model)), folder / "plain.onnx")
    made = {PLAIN: plain}
    for label, names in {**{name: [name] for name in REWRITES}, ALL: list(REWRITES)}.items():
        file = onnx.load(plain)
        graph = EditableGraph(file)
        if sum(REWRITES[name].apply(graph) for name in names):
            graph.finish()
            made[label] = folder / f"{len(made)}.onnx"
            onnx.save(file, made[label])
    if len(made) == len((PLAIN, "one rewrite", ALL)):
        del made[ALL]  # it is the one that fits
    return made


def gains(runtime: str, files: dict[str, Path], frames: list[np.ndarray]) -> dict[str, tuple[SpeedRatio, int]]:
    """By variant: its speed over the plain one's, and the largest difference of their 8-bit frames."""
    with ExitStack() as opened:
        sessions = {
            name: opened.enter_context(RUNTIMES[runtime].load(inspect_onnx(file), "cpu"))
            for name, file in files.items()
        }
        seen = {name: [session(frame).astype(int) for frame in frames] for name, session in sessions.items()}
        timings = measure(sessions, frames, OPTIONS)
    turns = {name: timing.samples["device"].rounds for name, timing in timings.items()}
    return {
        name: (
            speed_ratio(turns[name], turns[PLAIN]),
            max(int(np.abs(a - b).max()) for a, b in zip(seen[name], seen[PLAIN], strict=True)),
        )
        for name in files
        if name != PLAIN
    }


def cells(ratio: SpeedRatio, levels: int) -> list[str]:
    """A ratio, its interval, and how far 8-bit frames are from the plain ones."""
    return [f"{ratio.value:.2f}", f"{ratio.low or 0:.2f} to {ratio.high or 0:.2f}", str(levels)]


def main() -> None:
    """Print a table for each runtime."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("runtimes", nargs="+")
    parser.add_argument("--size", type=Size.parse, default=Size(436, 1024), metavar="WxH")
    options = parser.parse_args()
    clip = synthetic_clip("rush", options.size, 2)
    frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
    with tempfile.TemporaryDirectory() as folder:
        files = variants(options.model, Path(folder))
        for runtime in options.runtimes:
            rows = [[name, *cells(*found)] for name, found in gains(runtime, files, frames).items()]
            header = [f"{options.model}, {runtime}, {options.size}", "times as fast", "95 % interval", "levels of 255"]
            print(markdown(header, rows), flush=True)


if __name__ == "__main__":
    main()
