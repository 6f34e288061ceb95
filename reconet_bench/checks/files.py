"""Places to write to, shipped models, weights and data."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from reconet_bench.checks.base import CHECKS, Check, Finding, absent, failed, ok, warning
from reconet_bench.core.errors import ReconetBenchError

#: Free space below which a long run may not end, bytes.
_ENOUGH = 2 * 2**30


@CHECKS.register("files")
class Files(Check):
    """Whether there is room to write, and what is there to read."""

    title: ClassVar[str] = "files"
    order: ClassVar[int] = 20

    def findings(self, full: bool) -> Iterator[Finding]:
        from reconet_bench.core.machine import cache_folder

        yield _writable("cache folder", cache_folder(), "set RECONET_BENCH_CACHE to a folder that can be written to")
        yield _writable("reports", Path("reports"), "run in a folder that can be written to, or give --output")
        yield from _models()
        yield from _weights()
        yield from _data()
        yield _browser()


def _writable(what: str, folder: Path, remedy: str) -> Finding:
    place = next((one for one in (folder, *folder.absolute().parents) if one.exists()), Path("/"))
    try:
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise PermissionError("not a writable folder")
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0" * 4096)
    except OSError as error:
        return failed(what, f"{folder}: {error.strerror or error}", remedy)
    free = shutil.disk_usage(place).free
    if free < _ENOUGH:
        return warning(what, f"{folder}: {free / 2**30:.1f} GiB free", "make room: reconet-bench data cache --clear")
    return ok(what, f"{folder}: writable, {free / 2**30:.0f} GiB free")


def _models() -> Iterator[Finding]:
    from reconet_bench.models.checkpoint import load_checkpoint, shipped_folder, shipped_models

    found = shipped_models()
    if not found:
        yield warning("shipped models", f"none in {shipped_folder()}", "install the package again")
        return
    broken = 0
    for name, path in found.items():
        try:
            load_checkpoint(path)
        except ReconetBenchError as error:
            broken += 1
            yield failed(f"model {name}", str(error), "install the package again, or restore the file")
    if not broken:
        yield ok("shipped models", f"{len(found)}, all readable")


def _weights() -> Iterator[Finding]:
    from reconet_bench.data.flow.base import ESTIMATORS
    from reconet_bench.networks.vgg import find_weights, load_loss_network

    path = find_weights()
    if path is None:
        yield absent(
            "loss network", "no VGG-16 weights: no style_distance, no training", "reconet-bench train --download-vgg"
        )
    else:
        try:
            load_loss_network()
            yield ok("loss network", "VGG-16 weights are readable")
        except ReconetBenchError as error:
            yield failed("loss network", str(error), "set RECONET_BENCH_VGG to a good file")
    try:
        ESTIMATORS["raft"].load()
        yield ok("RAFT", "weights are readable")
    except (ReconetBenchError, ImportError) as error:
        yield absent("RAFT", str(error).partition(":")[0], "not needed: DIS estimates motion without weights")


def _data() -> Iterator[Finding]:
    from reconet_bench.data.download import DATASETS

    for name, known in DATASETS.items():
        if known.folder.is_dir():
            yield ok(name, str(known.folder))
        else:
            yield absent(name, f"not in {known.folder}", f"reconet-bench data fetch {name}")


def _browser() -> Finding:
    from reconet_bench.web import browser, ort

    reason = browser.missing() or ort.missing()
    if reason:
        return absent("browser", reason.rpartition(": ")[0] or reason, reason.rpartition(": ")[2])
    return ok("browser", f"Chromium, onnxruntime-web {ort.VERSION}")
