"""Options of results that another tool rendered."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.core.errors import DataError, UnknownName

if TYPE_CHECKING:
    from reconet_bench.data.clip import Clip
    from reconet_bench.models.loading import Model


def add_result_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results that another tool rendered")
    group.add_argument(
        "--results",
        nargs="+",
        default=[],
        type=_named_path,
        metavar="NAME=PATH",
        help="rows of rendered frames: PATH is a video, a folder of frames, or a folder with one of either for each "
        "clip, named after it. A single one belongs to the clip of its name, or that its frames show. Shipped models "
        "then take part only if --models or --methods name them",
    )
    group.add_argument(
        "--results-root",
        type=Path,
        metavar="DIR",
        help="the same for many methods: DIR/METHOD/VIDEO or DIR/METHOD/STYLE_stylized_VIDEO",
    )
    group.add_argument(
        "--offset",
        nargs="+",
        default=[],
        type=_offset,
        metavar="[NAME=]N",
        help="the rendered frames of NAME, or of all, are N frames behind the content, or ahead of it if N is "
        "negative; a warning says which offset fits better",
    )
    group.add_argument(
        "--resize-results",
        action="store_true",
        help="resize rendered frames of another size to the clip's; their rows say so",
    )


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path):
        raise argparse.ArgumentTypeError(f"'{text}': give NAME=PATH, such as ours=renders/ours")
    if Path(name).name != name:
        raise argparse.ArgumentTypeError(f"'{text}': NAME is a name in tables and folders: leave out its slashes")
    return name.strip(), Path(path)


def _offset(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    try:
        return name.strip(), int(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': give a whole number, or NAME=N, such as ours=1") from None


def any_results(options: Any) -> bool:
    """Whether rendered results are given."""
    return bool(options.results) or options.results_root is not None


def rendered_models(options: Any, clips: Sequence[Clip], warn: Callable[[str], None]) -> list[Model]:
    """What stands for the results in a comparison; what no clip can be measured of is told, and left out.

    Raises:
        DataError: results are missing or unclear, an option has no effect, or nothing is left.
    """
    from reconet_bench.data.rendered import find_result, find_results
    from reconet_bench.models.loading import rendered_model

    if not any_results(options):
        if options.offset or options.resize_results:
            raise DataError("--offset and --resize-results are for rendered results: give --results NAME=PATH")
        return []
    results = [find_result(name, path, clips) for name, path in options.results]
    if options.results_root is not None:
        results += find_results(options.results_root, clips)
    names = [result.name for result in results]
    for name, _ in options.offset:
        if name and name not in names:
            raise UnknownName("rendered result", name, names)
    offsets: dict[str, int] = dict(options.offset)
    models = []
    for result in results:
        offset = offsets.get(result.name, offsets.get("", 0))
        if (shortest := min(map(len, clips))) - abs(offset) < 2:
            raise DataError(f"--offset {offset} leaves fewer than two of {shortest} frames: give a smaller one")
        result = replace(result, offset=offset, resize=options.resize_results, most=options.frames)
        if result.recognised:
            warn(f"{result.name}: {result.path} is taken for {', '.join(result.places)}, which its frames show")
        if missing := result.missing(clips):
            warn(f"{result.name}: no result of {', '.join(missing)} in {result.path}: these rows are left out")
        broken = {}
        for clip in clips:
            if clip.name in result.places and clip.name not in broken:
                try:
                    result.check(clip)
                except DataError as error:
                    broken[clip.name] = str(error)
                    warn(f"{result.name} on {clip.name} is left out: {error}")
        places = {name: place for name, place in result.places.items() if name not in broken}
        if places:
            models.append(rendered_model(replace(result, places=places)))
    if not models:
        raise DataError("no rendered result can be measured: see the lines above")
    return models
