"""``reconet-bench data``: list standard data sets, download a part of one, check it, and estimate motion."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, add_data_options, at_least, err, out
from reconet_bench.commands.data_flow import keep_flows
from reconet_bench.commands.engine_option import add_engine_option

#: Options of ``data flow`` alone.
FLOW_ONLY = ("threads", "on", "data", "sintel", "size", "frames", "flow", "raft", "seed")


@COMMANDS.register("data")
class Data(Command):
    """``reconet-bench data``."""

    summary = (
        "List, describe, fetch or verify standard data, estimate motion before it is needed, or show and clear the "
        "cache. Of an archive only the wanted part is downloaded, if the server supports range requests."
    )
    example = "reconet-bench data fetch sintel --videos alley_2 market_6"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "action",
            choices=("list", "info", "fetch", "verify", "flow", "cache"),
            metavar="list|info|fetch|verify|flow|cache",
            help="what to do; flow estimates the motion of clips, for the cache; cache shows what is kept of earlier "
            "work",
        )
        parser.add_argument(
            "name", nargs="?", metavar="NAME", help="sintel, davis or styles; fetch also takes onnxruntime-web"
        )
        parser.add_argument(
            "--videos",
            nargs="+",
            default=[],
            metavar="NAME",
            help="sequences or paintings to fetch, or 'all' (default: see info); with flow: clips, as in compare",
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="DIR",
            help="folder of the data (default: data/…, where the other commands look)",
        )
        parser.add_argument(
            "--url",
            default="",
            metavar="URL",
            help="address of a mirror of the archive (for styles: of a folder of NAME.jpg; for onnxruntime-web: of "
            "its npm archive, which may be a file here)",
        )

        parser.add_argument("--clear", action="store_true", help="with cache: remove everything that is kept")
        parser.add_argument(
            "--threads", type=at_least(1), metavar="N", help="with flow: CPU threads for a clip (default: all)"
        )
        add_engine_option(parser)
        add_data_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.data.download import DATASETS, dataset
        from reconet_bench.report.terminal import listing

        if options.clear and options.action != "cache":
            raise DataError("--clear is for 'data cache'")
        if options.action == "cache":
            self._cache(options.clear)
            return
        if options.action == "flow":
            keep_flows(options)
            return
        for name in FLOW_ONLY:
            if getattr(options, name) not in (None, "", 0):
                raise DataError(f"--{name} is for 'data flow'")
        if options.action == "list":
            rows = [
                (name, f"{known.summary} ({'here' if known.folder.is_dir() else 'not here'}: {known.folder})")
                for name, known in DATASETS.items()
            ]
            out.print(listing("data", rows))
            return
        if options.name is None:
            raise DataError(f"no data set given: choose one of {', '.join(DATASETS)}")
        if options.name == "onnxruntime-web" and options.action == "fetch":
            self._fetch_web(options)
            return
        known = dataset(options.name)
        folder = options.output or known.folder
        if options.action == "info":
            facts = {
                "what": known.summary,
                "licence": known.licence,
                "from": known.url,
                "goes to": str(folder),
                "by default": ", ".join(known.videos),
            }
            out.print(listing(options.name, list(facts.items())))
        elif options.action == "verify":
            self._verify(folder)
        else:
            self._fetch(options, folder)

    def _cache(self, clear: bool) -> None:
        """What is kept, by kind; or remove it."""
        from reconet_bench.core.cache import cache_limit, entries
        from reconet_bench.core.machine import cache_folder
        from reconet_bench.report.terminal import listing

        kept = entries()
        if clear:
            for entry in kept:
                entry.remove()
            size = sum(entry.size for entry in kept) - sum(entry.size for entry in entries())
            out.print(f"{cache_folder()}: {size / 2**20:.1f} MiB removed", markup=False)
            return
        kinds: dict[str, list[int]] = {}
        for entry in kept:
            kinds.setdefault(entry.kind, []).append(entry.size)
        rows = [(kind, f"{len(sizes)} kept, {sum(sizes) / 2**20:.1f} MiB") for kind, sizes in sorted(kinds.items())]
        total = sum(entry.size for entry in kept) / 2**20
        rows.append(("in all", f"{total:.1f} MiB of at most {cache_limit() / 2**20:.0f} MiB in {cache_folder()}"))
        out.print(listing("cache", rows))

    def _verify(self, folder: Path) -> None:
        from reconet_bench.core.errors import DataError
        from reconet_bench.data.download import verify

        found = verify(folder)
        for line in found.wrong[1:]:
            err.print(line, style="yellow", markup=False)
        if found.wrong:
            raise DataError(
                f"{len(found.wrong)} of {found.files} files are wrong, e.g. {found.wrong[0]}; "
                "run data fetch again to replace the files that it fetched"
            )
        alike = "all" if found.compared == found.files else found.compared
        out.print(
            f"{folder}: {found.files} files, all readable, "
            f"{alike or 'none'} compared with the checksums from the download",
            markup=False,
        )

    def _fetch(self, options: Any, folder: Path) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn

        from reconet_bench.data.download import fetch

        received = 0
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        ) as progress:
            task = progress.add_task("reading the archive's directory")

            def show(name: str, size: int) -> None:
                nonlocal received
                received += size
                progress.update(task, description=f"{name} ({received / 2**20:.1f} MiB so far)")

            target, count = fetch(options.name, folder, options.videos, options.render_pass, options.url, show)
        out.print(f"{target}: {count} files complete, {received / 2**20:.1f} MiB downloaded", markup=False)

    def _fetch_web(self, options: Any) -> None:
        """The files of ONNX Runtime Web, into the cache folder."""
        from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        from reconet_bench.web import ort

        columns = (TextColumn("onnxruntime-web"), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("", total=None)
            target = ort.fetch(options.url or "", lambda size: progress.advance(task, size))
        out.print(f"{target}: onnxruntime-web {ort.VERSION}", markup=False)
