"""``reconet-bench live``: a page that paints a camera or a video in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, at_least, err, out, own_folder

if TYPE_CHECKING:
    from reconet_bench.web.live import LiveModel

#: Models on the page unless others are named: those of the light network and the small one.
_USUAL = ("reconet-lite-", "johnson-lite-", "reconet-small-")


@COMMANDS.register("live")
class Live(Command):
    """``reconet-bench live``."""

    summary = "Serve a page that paints a camera or a video in the browser; frames stay on the machine."
    example = "reconet-bench live --models reconet-lite-wave mine.onnx"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--models",
            nargs="+",
            default=[],
            metavar="MODEL",
            help="models to choose from: shipped ones by name, checkpoints, ONNX files or descriptions with one image "
            "input "
            "(default: the light shipped models)",
        )
        parser.add_argument(
            "--port", type=at_least(0), default=8765, metavar="N", help="port on 127.0.0.1; 0 is any (default: 8765)"
        )
        parser.add_argument(
            "--export",
            type=Path,
            metavar="DIR",
            help="write the page as files instead, for any web server; with the headers that threads need in _headers",
        )
        parser.add_argument("--no-browser", action="store_true", help="do not open the page in the default browser")

    def run(self, options: Any) -> None:
        from reconet_bench.models.loading import workspace
        from reconet_bench.web import live, ort

        ort.need()
        with workspace() as folder:
            models = _models(options.models, Path(folder))
            found = live.pieces(models, _clip(Path(folder)))
            if options.export:
                with own_folder(options.export, "page", "live.json") as target:
                    size = live.export(found, target)
                facts = f"{len(found) + 1} files, {size / 2**20:.0f} MiB"
                out.print(
                    f"Written: {options.export} ({facts}). Serve it over https with the headers in its file _headers, "
                    "without which the network runs on one thread.",
                    markup=False,
                )
                return
            self._serve(live.served(found), options)

    def _serve(self, served: Any, options: Any) -> None:
        """Until Ctrl-C."""
        import threading
        import webbrowser

        from reconet_bench.web.server import Server

        with Server(served, options.port) as server:
            out.print(f"{server.address}  (Ctrl-C ends it)", markup=False)
            if not options.no_browser:
                webbrowser.open(server.address)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                err.print("stopped")


def _models(names: list[str], folder: Path) -> list[LiveModel]:
    """What the page offers.

    Raises:
        ModelError: no such model, or one that a page cannot run.
    """
    from reconet_bench.commands.base import warn
    from reconet_bench.core.errors import ModelError
    from reconet_bench.models.checkpoint import shipped_models
    from reconet_bench.models.loading import load_by_name
    from reconet_bench.runtimes.page_facts import page_facts
    from reconet_bench.web.live import LiveModel

    chosen = names or [name for start in _USUAL for name in shipped_models() if name.startswith(start)]
    if not chosen:
        raise ModelError("no shipped models are here: give some by --models")
    found = []
    for name in dict.fromkeys(chosen):
        source = load_by_name(name, folder, report=warn).source
        found.append(LiveModel(source.name, source.name.replace("_", " "), source.onnx(), page_facts(source)))
    return found


def _clip(folder: Path) -> Path:
    """The built-in clip as a video that every browser plays."""
    from reconet_bench.core.images import write_image
    from reconet_bench.core.ops import to_uint8
    from reconet_bench.core.size import Size
    from reconet_bench.data.synthetic import synthetic_clip
    from reconet_bench.video.stylize import FootageInput, FootageOutput, stylize_file

    clip = synthetic_clip("stroll", Size(360, 640), 24)
    frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
    for number, frame in enumerate([*frames, *frames[-2:0:-1]]):  # there and back, so that it can be repeated
        write_image(folder / "clip" / f"{number:04d}.png", frame)
    stylize_file(lambda frame: frame, FootageInput(folder / "clip"), FootageOutput(folder / "clip.webm"))
    return folder / "clip.webm"
