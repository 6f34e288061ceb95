"""``reconet-bench stylize``: footage in, stylised footage out: sound, timing and size kept."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_onnx_options,
    at_least,
    between,
    err,
    onnx_hints,
    out,
    warn,
)
from reconet_bench.commands.engine_option import add_engine_option
from reconet_bench.commands.motion_options import add_motion_options, give_motion
from reconet_bench.commands.stylize_many import places, stylize_on_cluster

if TYPE_CHECKING:
    from rich.progress import TaskID

    from reconet_bench.models.loading import Model
    from reconet_bench.runtimes.handle import SessionHandle
    from reconet_bench.runtimes.light import LightSession
    from reconet_bench.video.stylize import Done, FootageInput, FootageOutput


def seconds(text: str) -> float:
    """``12.5``, ``1:30`` or ``1:02:03.5`` as seconds."""
    try:
        value = sum(float(part) * 60.0**place for place, part in enumerate(reversed(text.split(":"))))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"'{text}': give a time such as 12.5, 1:30 or 1:02:03")
    return value


def frame_rate(text: str) -> Fraction:
    """``25``, ``29.97`` or ``30000/1001`` frames per second."""
    try:
        value = Fraction(text).limit_denominator(1001)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}': give frames per second such as 25 or 30000/1001")
    return value


@COMMANDS.register("stylize")
class Stylize(Command):
    """``reconet-bench stylize``."""

    summary = "Stylise a video, a folder of frames, an image or a camera; keep sound, timing and size."
    example = "reconet-bench stylize holiday.mp4 -o painted.mp4 --model reconet-lite-wave"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "input",
            nargs="*",
            metavar="INPUT",
            help="video, folder of frames, pattern such as 'in/*.png', or image; several are written into a folder",
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            required=True,
            metavar="OUT",
            help=".mp4 .m4v .mov .mkv (H.264), .webm (VP9), .gif, an image, frame_%%04d.png, "
            "or a folder for PNG frames; of several inputs, or with --on, a folder where each keeps its name",
        )
        parser.add_argument(
            "--model",
            default="reconet-lite-starry_night",
            metavar="MODEL",
            help="a shipped model by name, a checkpoint, an ONNX file, or a description of one (MODEL.toml) "
            "(default: reconet-lite-starry_night)",
        )
        parser.add_argument(
            "--runtime",
            default="onnxruntime",
            metavar="NAME",
            help="see: reconet-bench list runtimes; auto = the fastest that passes the parity gate, measured once "
            "(default: onnxruntime)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="auto is CUDA where there is one (default: auto)",
        )
        parser.add_argument(
            "--threads", type=at_least(1), metavar="N", help="CPU threads of the network (default: all)"
        )
        parser.add_argument(
            "--camera", type=at_least(0), metavar="N", help="stylise camera N live instead of INPUT; Ctrl-C ends it"
        )
        parser.add_argument(
            "--codec", default="", metavar="h264|hevc|vp9|gif", help="override the codec implied by the file suffix"
        )
        parser.add_argument("--max-size", type=at_least(16), metavar="N", help="scale down to at most N pixels a side")
        parser.add_argument(
            "--strength",
            type=between(0, 1),
            default=1.0,
            metavar="X",
            help="0 is the content, 1 the style (default: 1)",
        )
        parser.add_argument(
            "--keep-colors",
            action="store_true",
            help="keep the colours of the content; take light and strokes from the style",
        )
        parser.add_argument("--side-by-side", action="store_true", help="content on the left, result on the right")
        parser.add_argument("--start", type=seconds, default=0.0, metavar="TIME", help="begin here, e.g. 12.5 or 1:30")
        parser.add_argument("--end", type=seconds, metavar="TIME", help="stop here")
        parser.add_argument("--fps", type=frame_rate, metavar="N", help="frames per second of images (default: 25)")
        add_engine_option(parser)
        add_motion_options(parser)
        add_onnx_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.video.stylize import FootageOutput, Look

        if (not any(options.input)) == (options.camera is None):
            raise DataError("give either an INPUT or --camera N")
        if options.on is not None and options.camera is not None:
            raise DataError("--on is for files: leave it out with --camera")
        look = Look(options.strength, options.keep_colors, options.side_by_side)
        output = FootageOutput(options.output, look, options.max_size, options.codec)
        targets = [options.output]
        if len(options.input) > 1 or options.on is not None:
            targets = places(options.input, options.output)
            for footage in _footage(options):
                footage.open().close()  # what is broken says so before the work
        if options.on is None:
            _stylize_here(options, targets, output)
            return
        with _workspace() as folder:
            stylize_on_cluster(
                options,
                _model(options, Path(folder)),
                _footage(options),
                targets,
                output,
                lambda target, one: _tell(target, one.done, one.seconds, f"{one.runtime} on {one.device}"),
            )


def _stylize_here(options: Any, targets: Sequence[Path], output: FootageOutput) -> None:
    """One after the other, with the model loaded once."""
    import time
    from dataclasses import replace

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from reconet_bench.video.stylize import stylize_file

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.1f} frames/s"),
        TimeRemainingColumn(),
    )
    with (
        _loaded(options) as session,
        Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        for footage, target in zip(_footage(options), targets, strict=True):
            task = progress.add_task(target.name if len(targets) > 1 else Path(options.model).stem, total=None, fps=0.0)
            began = time.perf_counter()

            def show(count: int, task: TaskID = task, began: float = began) -> None:
                progress.update(task, completed=count, fps=count / (time.perf_counter() - began))

            def begin(length: int, task: TaskID = task) -> None:
                progress.update(task, total=length or None)

            done = stylize_file(session, footage, replace(output, path=target), begin, show)
            progress.remove_task(task)
            _tell(target, done, time.perf_counter() - began, f"{session.runtime} on {session.device}")


def _tell(target: Path, done: Done, seconds: float, where: str) -> None:
    """Say what was written."""
    if done.remark:
        err.print(done.remark, style="yellow", markup=False)
    out.print(f"Written: {target} ({done.frames} frames, {done.frames / seconds:.1f} frames/s, {where})", markup=False)


def _workspace() -> contextlib.AbstractContextManager[str]:
    from reconet_bench.models.loading import workspace

    return workspace()


@contextlib.contextmanager
def _loaded(options: Any) -> Iterator[SessionHandle | LightSession]:
    """The model in the runtime asked for; where its export is at hand and the CPU runs it, without loading PyTorch."""
    if (light := _light(options)) is not None:
        yield light
        return
    from reconet_bench.runtimes import selection
    from reconet_bench.runtimes.base import RUNTIMES

    with _workspace() as folder:
        model = _model(options, Path(folder))
        runtime = _fastest(options, model) if options.runtime == selection.AUTO else options.runtime
        with RUNTIMES[runtime].load(model.source, options.device, options.threads) as session:
            yield session


def _model(options: Any, folder: Path) -> Model:
    """The model asked for, with its stabiliser."""
    from reconet_bench.models import loading

    model = loading.load_by_name(options.model, folder, onnx_hints(options), warn)
    if options.stabilise:
        (model,) = loading.stabilised([model], [options.stabilise], options.stabilise_strength)[1:]
    give_motion([model], options)
    if model.source.height or model.source.width:
        warn(f"{model.source.called} takes frames of one size only: others are resized to it, and back")
    return model


def _light(options: Any) -> LightSession | None:
    """A session without PyTorch, if the export of a checkpoint is in the cache and there is no GPU to run it on."""
    from reconet_bench.models.finding import find_checkpoint, is_description, is_onnx, known_export
    from reconet_bench.runtimes.light import light_session, may_have_cuda

    hinted = options.input_range or options.output_range or options.layout
    own = is_onnx(options.model) or is_description(options.model)
    plain = not hinted and not own and not options.stabilise
    always_cpu = options.runtime.startswith("openvino")
    on_cpu = options.device == "cpu" or (options.device == "auto" and (always_cpu or not may_have_cuda()))
    if not plain or not on_cpu:
        return None
    export = known_export(find_checkpoint(options.model))
    content = export.content() if export else None
    if export is None or content is None:
        return None
    return light_session(options.runtime, Path(options.model).stem, content, export.minimum, options.threads)


def _footage(options: Any) -> list[FootageInput]:
    """What is read: the inputs, or the camera."""
    from reconet_bench.video.stylize import FootageInput

    return [
        FootageInput(name, options.start, options.end, options.fps, options.camera) for name in options.input or [""]
    ]


def _fastest(options: Any, model: Model) -> str:
    """What ``auto`` stands for at the size of the first footage; says what was chosen and why."""
    from reconet_bench.benchmark.fastest_runtime import choose_runtime
    from reconet_bench.runtimes.selection import Resources
    from reconet_bench.video.stylize import fitted

    source = _footage(options)[0].open()
    size = fitted(source.size, options.max_size)
    source.close()
    resources = Resources(options.device, options.threads)
    choice = choose_runtime(model, size, resources, lambda text: err.print(text, style="dim", markup=False))
    err.print(f"auto: {choice.reason}", markup=False)
    return choice.name
