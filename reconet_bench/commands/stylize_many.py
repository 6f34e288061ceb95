"""Several pieces of footage for ``stylize``: where each is written, and how they are stylised on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import writable
from reconet_bench.commands.engine_option import chosen_place
from reconet_bench.core.errors import DataError

if TYPE_CHECKING:
    from reconet_bench.models.loading import Model
    from reconet_bench.models.stylize_away import Stylised
    from reconet_bench.video.stylize import FootageInput, FootageOutput


def places(inputs: Sequence[str], folder: Path) -> list[Path]:
    """Where each of several inputs is written in a folder: under its own name; a video of a kind that is only read, as
    MP4.

    Raises:
        DataError: two would be one, one is an input or a folder with something in it, or ``folder`` cannot be written.
    """
    from reconet_bench.video.media import is_image
    from reconet_bench.video.writer import SUFFIXES

    if folder.suffix and not folder.is_dir():
        raise DataError(f"{folder} is a file: with several inputs, or --on, give a folder for the results")
    writable(folder)
    found: dict[str, str] = {}
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise DataError(f"no such file or folder: {name}")
        kept = path.is_dir() or is_image(path) or path.suffix.lower() in SUFFIXES
        own = path.resolve().name if kept else f"{path.stem}.mp4"
        if own in found:
            raise DataError(f"{found[own]} and {name} would both be {folder / own}: stylise one by itself")
        found[own] = name
    targets = [folder / own for own in found]
    for target in targets:
        if target.exists() and any(target.samefile(name) for name in inputs):
            raise DataError(f"{target} is an input: give another folder for the results")
        if target.is_dir() and any(target.iterdir()):
            raise DataError(f"{target} is not empty: choose a new or empty folder for the frames")
    return targets


def stylize_on_cluster(
    options: Any,
    model: Model,
    footage: Sequence[FootageInput],
    targets: Sequence[Path],
    output: FootageOutput,
    written: Callable[[Path, Stylised], None],
) -> None:
    """Stylise each piece of footage on some node, which has it under the same path.

    Args:
        output: how all are shown and written.
        written: told of each when it is there.
    """
    from functools import partial

    from reconet_bench.core.files import path_digests
    from reconet_bench.core.machine import pick_device, usable_cpus
    from reconet_bench.core.place import Call
    from reconet_bench.core.sent_files import write_folder
    from reconet_bench.models.sent_model import SentModel
    from reconet_bench.models.stylize_away import Away, stylize_away
    from reconet_bench.runtimes.selection import AUTO

    if options.runtime == AUTO:
        raise DataError("--on ray: --runtime auto measures speed to choose by it: name the runtime")
    device = pick_device(options.device).type
    threads = options.threads or usable_cpus()
    sent = [replace(one, name=Path(one.name).resolve()) for one in footage]
    with chosen_place(options.on) as place:
        place.check(partial(path_digests, [Path(one.name) for one in sent]), threads)
        how = place.put(Away(SentModel.of(model, [options.runtime]), options.runtime, device, threads, output))
        calls = [
            Call(str(target), target, stylize_away, (one, target.name, how), threads, device == "cuda")
            for one, target in zip(sent, targets, strict=True)
        ]
        for target, _, stylised in place.each(calls):
            write_folder(target.parent, stylised.files)
            written(target, stylised)
