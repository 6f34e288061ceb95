"""What a command is, and what commands share. Commands and :mod:`reconet_bench.cli` are the only places that print."""

from __future__ import annotations

import argparse
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console

from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.core.registry import Registry
from reconet_bench.core.size import Size

if TYPE_CHECKING:
    from reconet_bench.data.selection import Selection
    from reconet_bench.models.onnx_inspection import OnnxFormat
    from reconet_bench.training.progress import Progress

out = Console(highlight=False)
if not out.is_terminal:
    # A pipe or a file has no width of its own: wide enough that no table folds.
    out = Console(highlight=False, width=140)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Command(ABC):
    """One command of the command line. Imports of what it needs stay inside :meth:`run`, so that ``--help`` is quick.

    Attributes:
        summary: one sentence, shown in ``reconet-bench --help`` and above the command's own options.
        example: a whole command line that works.
    """

    summary: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    @abstractmethod
    def run(self, options: Any) -> None:
        """Do it; raises ReconetBenchError, OSError or KeyboardInterrupt with the line to show."""


COMMANDS: Registry[Command] = Registry("command", "reconet_bench.commands")


def at_least(limit: int) -> Callable[[str], int]:
    """A whole number from ``limit`` on."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = limit - 1
        if value < limit:
            raise argparse.ArgumentTypeError(f"'{text}': give a whole number, at least {limit}")
        return value

    return number


def writable(folder: Path) -> Path:
    """``folder``, checked before the work is done and not after; it need not be there yet."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise DataError(f"cannot write to {folder}: {place} is no folder that can be written to")
    return folder


def own_folder(folder: Path, what: str, *marks: str) -> Path:
    """``folder``, checked as :func:`writable` does: a new or empty one, or one that is made again; what is another's stays.

    Args:
        what: is written there, for the message.
        marks: names of files or folders of which such a folder has one at least.
    """
    if writable(folder).is_dir() and any(folder.iterdir()) and not any((folder / mark).exists() for mark in marks):
        raise DataError(f"{folder} holds files and no {what}: nothing there is overwritten; choose another --output")
    return folder


def stopped(failure: BaseException, target: Path) -> BaseException:
    """What to raise for a measurement that ``failure`` stopped, once its numbers lie in ``target``; an unforeseen one stays as it is."""
    if not isinstance(failure, (KeyboardInterrupt, ReconetBenchError)):
        return failure
    kind = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ReconetBenchError
    return kind(f"{str(failure) or 'stopped'}: {target} holds what was measured until then")


def size(text: str) -> Size:
    """``1024x436`` (width x height) or ``256`` (square), at least 16 pixels a side."""
    try:
        found = Size.parse(text.lower())
    except ValueError:
        found = Size(0, 0)
    if min(found) < 16:
        raise argparse.ArgumentTypeError(
            f"'{text}': give WIDTHxHEIGHT such as 1024x436, or one number for a square, at least 16"
        )
    return found


def add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos")
    group.add_argument(
        "--data",
        default="",
        metavar="synthetic|sintel|davis|DIR",
        help="where names are looked up, DIR being a copy of MPI-Sintel or DAVIS; without --videos all of sintel, davis or DIR is taken (default: built-in clips, then DAVIS in $RECONET_BENCH_DAVIS or ./data/DAVIS*, then MPI-Sintel)",
    )
    group.add_argument(
        "--sintel",
        type=Path,
        metavar="DIR",
        help="folder that holds Sintel's 'training' (else $RECONET_BENCH_SINTEL, else ./data/MPI-Sintel*)",
    )
    group.add_argument(
        "--pass",
        dest="render_pass",
        default="clean",
        metavar="clean|final|albedo",
        help="Sintel's rendering pass (default: clean)",
    )
    group.add_argument("--size", type=size, metavar="WxH", help="resize frames and flow, e.g. 512x256")
    group.add_argument("--frames", type=int, metavar="N", help="at most N frames of each video")
    group.add_argument(
        "--flow",
        default="",
        metavar="dis|raft|none",
        help="estimate motion by this, in compare beside true flow; none estimates nothing (default: true flow, dis where there is none)",
    )
    group.add_argument(
        "--raft",
        type=Path,
        metavar="FILE",
        help="weights for --flow raft, safetensors (else $RECONET_BENCH_RAFT, else torchvision's where cached)",
    )
    group.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="of the built-in clips' noise and of what flies in rush (default: 0)",
    )


def selection(options: Any) -> Selection:
    """The clips that the options of :func:`add_data_options` name; raises DataError where one would be passed over."""
    from reconet_bench.data.selection import Selection

    if options.raft and options.flow != "raft":
        raise DataError("--raft names weights for --flow raft: give both")
    return Selection(
        options.data,
        options.sintel,
        options.render_pass,
        options.size,
        options.frames,
        options.seed,
        options.flow,
        options.raft,
    )


def add_onnx_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "ONNX files of your own, where a file does not say it itself and the guess is wrong"
    )
    ranges = "0..1|0..255|-1..1|imagenet"
    group.add_argument(
        "--input-range",
        default="",
        metavar=ranges,
        help="values of the frames that they take (default: found from metadata, graph, and trying)",
    )
    group.add_argument(
        "--output-range",
        default="",
        metavar=ranges,
        help="values of the frames that they give (default: found likewise)",
    )
    group.add_argument(
        "--layout", default="", metavar="NCHW|NHWC", help="order of their axes (default: read from the file)"
    )


def onnx_hints(options: Any) -> OnnxFormat:
    """What the options of :func:`add_onnx_options` say."""
    from reconet_bench.models.onnx_inspection import OnnxFormat

    return OnnxFormat(options.input_range, options.output_range, options.layout.upper())


def warn(line: str) -> None:
    """A line that the user should see, on standard error."""
    err.print(line, style="yellow", markup=False)


def add_vgg_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vgg",
        type=Path,
        metavar="FILE",
        help="VGG-16 weights, safetensors (else $RECONET_BENCH_VGG, else torchvision's where cached)",
    )


def add_style_options(parser: argparse.ArgumentParser, painted: str) -> None:
    """The painting, for what brings no style of its own."""
    parser.add_argument("--style", type=Path, metavar="FILE", help=f"the painting, for style_distance of {painted}")
    parser.add_argument(
        "--style-size",
        type=at_least(16),
        default=384,
        metavar="N",
        help="its shorter side in pixels (default: 384, as our models are trained)",
    )


@contextlib.contextmanager
def show_training(steps: int) -> Iterator[Callable[[Progress], None]]:
    """A bar with every loss term, steps per second and time left; plain lines where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("loading", total=steps)

        def show(progress: Progress) -> None:
            terms = "  ".join(f"{name} {value:.3g}" for name, value in progress.terms.items())
            line = f"{terms}  {progress.steps_per_second:.2f} steps/s  {progress.waiting:.0%} waiting for data"
            bar.update(task, completed=progress.step, description=line)
            if not err.is_terminal:
                err.print(f"{progress.step}/{progress.steps}  {line}", markup=False)

        yield show
