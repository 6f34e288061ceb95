"""What keeps the default test run short: slow tests are marked, and unmarked tests that take long are told.

A pytest plugin, loaded by ``conftest.py``. The processor is asked, not the clock: a busy machine makes a test wait.
It makes it work more too, for caches are shared, so a test that takes longer than it should is a line at the end of the
run, and one that takes several times as long fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import process_time

import pytest
from _pytest.terminal import TerminalReporter

#: Markers that say why a test is slow: each adds ``slow``, which the default run leaves out.
REASONS = {
    "process": "starts Python, a command or torchrun anew, which imports PyTorch each time",
    "compiler": "compiles a network",
    "quantisation": "calibrates an 8-bit model",
    "clock": "measures real time, so it must run alone",
    "browser": "opens a browser",
}
#: Seconds of processor time that a test without ``slow`` should take at most; 0 for no limit.
LIMIT = float(os.environ.get("RECONET_BENCH_TEST_SECONDS") or 5)
#: A test that takes so many times the limit fails: no machine is slower than another by that.
FAILS = 5
#: Where a test's report says how long it took too long.
_PROPERTY = "processor seconds over the limit"

_REMEDY = (
    f"a default test should take {LIMIT:g} s of processor time at most: make it smaller, or mark it "
    f"{', '.join(REASONS)} or slow (RECONET_BENCH_TEST_SECONDS sets the limit on a slow machine, 0 for none)"
)


def processor_seconds() -> float:
    """Processor time of this process and of the processes that it waited for."""
    times = os.times()
    return process_time() + times.children_user + times.children_system


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
    """Note a test that has taken longer than an unmarked one should, and fail one that has taken far longer."""
    before = processor_seconds()
    yield
    taken = processor_seconds() - before
    if not LIMIT or taken <= LIMIT or any(item.get_closest_marker(name) for name in ("slow", "gpu")):
        return
    item.user_properties.append((_PROPERTY, taken))
    if taken > FAILS * LIMIT:
        pytest.fail(f"took {taken:.1f} s of processor time: {_REMEDY}", pytrace=False)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """List the tests that took too long."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = {report.nodeid: taken for report in reports for name, taken in report.user_properties if name == _PROPERTY}
    if found:
        terminalreporter.section(f"too slow for the default run: {_REMEDY}")
        for test, taken in sorted(found.items(), key=lambda one: -one[1]):
            terminalreporter.line(f"{taken:5.1f} s  {test}")
