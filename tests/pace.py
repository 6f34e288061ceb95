"""What keeps the default test run short: slow tests are marked, and an unmarked test that takes long fails.

A pytest plugin, loaded by ``conftest.py``. The processor is asked, not the clock: a busy machine makes a test wait,
and does not make it work more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import process_time

import pytest

#: Markers that say why a test is slow: each adds ``slow``, which the default run leaves out.
REASONS = {
    "process": "starts Python, a command or torchrun anew, which imports PyTorch each time",
    "compiler": "compiles a network",
    "quantisation": "calibrates an 8-bit model",
    "clock": "measures real time, so it must run alone",
    "browser": "opens a browser",
}
#: Seconds of processor time that a test without ``slow`` may take on a machine that does nothing else; 0 for no limit.
LIMIT = float(os.environ.get("RECONET_BENCH_TEST_SECONDS") or 5)
#: Load of each core up to which a machine is taken to do nothing else: two test processes and what they start.
CALM = 1.5


def processor_seconds() -> float:
    """Processor time of this process and of the processes that it waited for."""
    times = os.times()
    return process_time() + times.children_user + times.children_system


def allowed() -> float:
    """:data:`LIMIT`, and more on a busy machine, where caches and cores are shared: the same work takes more time."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
    return LIMIT * max(1.0, load / CALM)


def pytest_configure(config: pytest.Config) -> None:
    for name, reason in REASONS.items():
        config.addinivalue_line("markers", f"{name}: {reason}; implies slow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what has a reason to be, before pytest selects by ``-m``."""
    for item in items:
        if any(item.get_closest_marker(name) for name in REASONS):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that has taken longer than an unmarked one may."""
    before = processor_seconds()
    yield
    taken = processor_seconds() - before
    if LIMIT and taken > allowed() and not any(item.get_closest_marker(name) for name in ("slow", "gpu")):
        pytest.fail(
            f"took {taken:.1f} s of processor time, but a default test may take {LIMIT:g} s: make it smaller, or mark "
            "it "
            f"{', '.join(REASONS)} or slow (RECONET_BENCH_TEST_SECONDS sets the limit on a slow machine, 0 for none)",
            pytrace=False,
        )
