"""Chromium without a window, driven by Playwright."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.core.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

#: Says which browser to take.
ENVIRONMENT_VARIABLE = "RECONET_BENCH_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: It asks for nothing by itself.
_QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: WebGPU where there is no GPU: computed in software.
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")


def chromium() -> str | None:
    """The path of a Chromium on this machine; ``None`` where none is found."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


def missing() -> str | None:
    """Why no browser can be driven, with the remedy; ``None`` where one can."""
    if importlib.util.find_spec("playwright") is None:
        return 'playwright is not installed: pip install "reconet-bench[web]"'
    if chromium() is None:
        return f"no Chromium is found: install one (apt-get install chromium), or set {ENVIRONMENT_VARIABLE}"
    return None


class _Driver:
    """Playwright, started once for all browsers of this process: a second one beside it would not start."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._users = 0

    def take(self) -> Playwright:
        """It, for a browser; give it back."""
        from playwright.sync_api import sync_playwright

        self._playwright = self._playwright or sync_playwright().start()
        self._users += 1
        return self._playwright

    def give_back(self) -> None:
        """The last one ends it."""
        self._users -= 1
        if not self._users and self._playwright is not None:
            ended, self._playwright = self._playwright, None
            with contextlib.suppress(Exception):  # it may be gone already, and its errors have no common base
                ended.stop()


_DRIVER = _Driver()


class Driven:
    """A browser that was started; close it.

    Args:
        arguments: for Chromium, beside the usual ones.

    Raises:
        RuntimeUnavailable: it cannot be started.
    """

    def __init__(self, *arguments: str) -> None:
        if reason := missing():
            raise RuntimeUnavailable(reason)
        from playwright.sync_api import Error

        self._open = True
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        try:
            self.browser: Browser = _DRIVER.take().chromium.launch(
                executable_path=chromium(), args=[*_QUIET, *(["--no-sandbox"] if root else []), *arguments]
            )
        except Error as error:
            _DRIVER.give_back()
            raise RuntimeUnavailable(f"Chromium does not start: {str(error).strip().splitlines()[0]}") from None

    def page(self) -> Any:
        """A new page."""
        return self.browser.new_page()

    def close(self) -> None:
        """End the browser."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(Exception):  # it may be gone already, and its errors have no common base
            self.browser.close()
        _DRIVER.give_back()


def renderer_peak() -> int | None:
    """Bytes resident at the peak in the pages of browsers that this process started; ``None`` if not known."""
    if sys.platform != "linux":
        return None
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    waiting, total = [os.getpid()], 0
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            with contextlib.suppress(OSError, StopIteration, ValueError):
                if b"--type=renderer" in Path(f"/proc/{child}/cmdline").read_bytes():
                    lines = Path(f"/proc/{child}/status").read_text().splitlines()
                    total += 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return total or None
