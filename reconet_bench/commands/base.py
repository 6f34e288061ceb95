"""The command, and what commands share. Only commands and :mod:`reconet_bench.cli` print."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from rich.console import Console

from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.core.files import LOCK, claimed
from reconet_bench.core.registry import Registry
from reconet_bench.core.size import Size

if TYPE_CHECKING:
    from reconet_bench.data.selection import Selection
    from reconet_bench.models.onnx_inspection import OnnxFormat
    from reconet_bench.training.progress import TrainingProgress

out = Console(highlight=False)
if not out.is_terminal:
    # A pipe or a file has no width: use one at which no table wraps.
    out = Console(highlight=False, width=140)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Command(ABC):
    """One command of the command line. :meth:`run` imports what it needs, so that ``--help`` is fast.

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
        """Run the command; raises ReconetBenchError, OSError or KeyboardInterrupt with the line to show."""


class Parser(argparse.ArgumentParser):
    """A parser of options as the command line takes them; a mistake is a DataError."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What begins like a negative number is a value, a range such as -1..1 too.
        self._negative_number_matcher = re.compile(r"^-\d*\.?\d+(\.\.\d+)?$")

    def error(self, message: str) -> NoReturn:
        raise DataError(f"{self.prog}: {message}")


COMMANDS: Registry[Command] = Registry("command", "reconet_bench.commands")


def whole(text: str) -> int:
    """A whole number, which may be negative."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': give a whole number, such as 2 or -2") from None


def at_least(limit: int) -> Callable[[str], int]:
    """A parser of whole numbers that are ``limit`` or larger."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = limit - 1
        if value < limit:
            raise argparse.ArgumentTypeError(f"'{text}': give a whole number, at least {limit}")
        return value

    return number


def between(low: float, high: float, ends: bool = True) -> Callable[[str], float]:
    """A parser of numbers between two limits; ``ends`` says whether the limits themselves are allowed."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high if ends else low < value < high):
            allowed = f"from {low:g} to {high:g}" if ends else f"above {low:g} and below {high:g}"
            raise argparse.ArgumentTypeError(f"'{text}': give a number {allowed}")
        return value

    return number


def writable(folder: Path) -> Path:
    """Check, before any work is done, that ``folder`` can be written to; it need not exist. Raises DataError."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise DataError(f"cannot write to {folder}: {place} is not a writable folder")
    return folder


@contextlib.contextmanager
def own_folder(folder: Path, what: str, *marks: str) -> Iterator[Path]:
    """An output folder to write to, held against other processes: new, empty, or with an earlier result of the kind.

    Args:
        what: kind of result, for the message.
        marks: names of files or folders; an earlier result has at least one of them.

    Raises:
        DataError: it holds something else, cannot be written to, or another process is writing there.
    """
    found = {path.name for path in folder.iterdir()} if writable(folder).is_dir() else set()
    if found - {LOCK} and not found.intersection(marks):
        raise DataError(f"output folder {folder} is not empty and is not a previous {what}: choose another --output")
    with claimed(folder):
        yield folder


def stopped(failure: BaseException, target: Path, advice: str = "") -> BaseException:
    """The error for a measurement that ``failure`` stopped after its results were saved in ``target``.

    An error that is not the user's stays as it is.
    """
    if not isinstance(failure, (KeyboardInterrupt, ReconetBenchError)):
        return failure
    kind = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ReconetBenchError
    return kind(f"{str(failure) or 'stopped'}: the results so far are in {target}{advice}")


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


def add_metrics_option(parser: argparse.ArgumentParser, otherwise: str = "the usual ones") -> None:
    """Add ``--metrics``; ``otherwise`` says what is measured without it."""
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME",
        help="which metrics to measure; see 'reconet-bench list metrics'. all: every one. default: the usual ones, "
        f"to name others beside them (default: {otherwise})",
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos")
    group.add_argument(
        "--data",
        default="",
        metavar="synthetic|sintel|davis|DIR",
        help="where to look up video names; DIR is a copy of MPI-Sintel or DAVIS. Without --videos, every sequence of "
        "sintel, davis or DIR is used (default: built-in clips, then DAVIS in $RECONET_BENCH_DAVIS or ./data/DAVIS*, "
        "then MPI-Sintel)",
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
    group.add_argument("--frames", type=at_least(2), metavar="N", help="at most N frames of each video")
    group.add_argument(
        "--flow",
        default="",
        metavar="dis|raft|none",
        help="estimate motion with this; compare then shows it beside true flow. none turns estimation off "
        "(default: true flow if it is known, else dis)",
    )
    group.add_argument(
        "--raft",
        type=Path,
        metavar="FILE",
        help="weights for --flow raft, safetensors (default: $RECONET_BENCH_RAFT, else torchvision's cached file)",
    )
    group.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="random seed of the built-in clips: noise, and the objects in rush (default: 0)",
    )


def selection(options: Any) -> Selection:
    """The clips that the options of :func:`add_data_options` name; raises DataError if one would have no effect."""
    from reconet_bench.data.selection import Selection

    if options.raft and "raft" not in (options.flow, getattr(options, "state_flow", "")):
        raise DataError("--raft gives the weights for --flow raft: use both options")
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
    group = parser.add_argument_group("your own ONNX files, if the automatic detection is wrong")
    ranges = "0..1|0..255|-1..1|imagenet|caffe|bgr"
    group.add_argument(
        "--input-range",
        default="",
        metavar=ranges,
        help="value range of the input frames; bgr is 0..255 with blue first, and caffe is that less ImageNet's mean "
        "(default: detected from metadata and graph, or by trying; 'reconet-bench inspect' shows the choices)",
    )
    group.add_argument(
        "--output-range",
        default="",
        metavar=ranges,
        help="value range of the output frames (default: detected in the same way)",
    )
    group.add_argument(
        "--layout", default="", metavar="NCHW|NHWC", help="order of the axes (default: read from the file)"
    )


def onnx_hints(options: Any) -> OnnxFormat:
    """The values of :func:`add_onnx_options`."""
    from reconet_bench.models.onnx_inspection import OnnxFormat

    return OnnxFormat(options.input_range, options.output_range, options.layout.upper())


def warn(line: str) -> None:
    """Print a warning on standard error."""
    err.print(line, style="yellow", markup=False)


def add_vgg_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vgg",
        type=Path,
        metavar="FILE",
        help="VGG-16 weights, safetensors (default: $RECONET_BENCH_VGG, else torchvision's cached file)",
    )


def add_style_options(parser: argparse.ArgumentParser, painted: str) -> None:
    """The style image, for frames and models that do not carry one."""
    parser.add_argument(
        "--style", type=Path, metavar="FILE", help=f"style image, needed for style_distance of {painted}"
    )
    parser.add_argument(
        "--style-size",
        type=at_least(16),
        default=384,
        metavar="N",
        help="shorter side of the style image in pixels (default: 384, as in training)",
    )


@contextlib.contextmanager
def show_training(steps: int) -> Iterator[Callable[[TrainingProgress], None]]:
    """A progress bar with loss terms, steps per second and time left; plain lines if there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("loading", total=steps)

        def show(progress: TrainingProgress) -> None:
            terms = "  ".join(f"{name} {value:.3g}" for name, value in progress.terms.items())
            line = f"{terms}  {progress.steps_per_second:.2f} steps/s  {progress.waiting:.0%} waiting for data"
            bar.update(task, completed=progress.step, description=line)
            if not err.is_terminal:
                err.print(f"{progress.step}/{progress.steps}  {line}", markup=False)

        yield show
