"""After a run, a CSV and a markdown table of what was timed lie in reports/benchmarks."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconet_bench.commands.base import size
from reconet_bench.core import machine, provenance
from reconet_bench.core.errors import UnknownName
from reconet_bench.core.files import write_text
from reconet_bench.core.record import to_csv
from reconet_bench.report.markdown import markdown
from reconet_bench.report.numbers import significant
from reconet_bench.runtimes.base import RUNTIMES

FOLDER = Path(__file__).resolve().parents[1] / "reports" / "benchmarks"
HEADER = ("benchmark", "median_ms", "p90_ms", "iqr_ms", "fps", "rounds", "details")
#: Height and width of the frames unless asked otherwise.
SIZES = ((256, 256), (256, 448))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reconet-bench")
    group.addoption(
        "--runtimes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="runtimes of the suites, or all (default: the usual ones)",
    )
    group.addoption(
        "--sizes",
        nargs="+",
        type=size,
        default=SIZES,
        metavar="WxH",
        help="of frames, such as 512 1024x436 (default: 256 448x256)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A suite that has a ``runtime`` or a ``size`` runs for each of those asked for."""
    if "runtime" in metafunc.fixturenames:
        asked = metafunc.config.getoption("runtimes")
        known = RUNTIMES.names()
        if unknown := [name for name in asked if name not in (*known, "all")]:
            raise pytest.UsageError(str(UnknownName("runtime", unknown[0], (*known, "all"))))
        names = known if "all" in asked else asked or RUNTIMES.names(default=True)
        metafunc.parametrize("runtime", list(dict.fromkeys(names)), scope="module")
    if "size" in metafunc.fixturenames:
        metafunc.parametrize("size", metafunc.config.getoption("sizes"), ids=lambda size: f"{size[1]}x{size[0]}")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Provenance beside each stored run, for ``--benchmark-compare``."""
    machine_info["reconet_bench"] = provenance.describe()


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_compare_machine_info(
    benchmarksession: Any, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> Generator[None, Any, Any]:
    """One line on what differs from the stored run; the plugin's own line comes every time, for the clock differs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = yield
    now, then = (
        _of_speed(info.get("reconet_bench", {})) for info in (machine_info, compared_benchmark.get("machine_info", {}))
    )
    if changed := [
        f"{fact} {then.get(fact, 'unknown')} → {now.get(fact, 'unknown')}"
        for fact in sorted(now.keys() | then.keys())
        if now.get(fact) != then.get(fact)
    ]:
        benchmarksession.logger.info(f"The stored run is not like this one: {', '.join(changed)}")
    return told


def _of_speed(facts: dict[str, Any]) -> dict[str, Any]:
    """What of the provenance a speed depends on, but for the code itself."""
    lasting = ("platform", "cpu", "cpus", "threads", "gpu")
    return {**{name: value for name, value in facts.items() if name in lasting}, **facts.get("versions", {})}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Percentiles and the code that was timed, beside what a benchmark says of itself."""
    result = yield
    benchmark: Any = pyfuncitem.funcargs.get("benchmark")
    if benchmark is not None and benchmark.stats is not None:
        percentiles = np.percentile(1000 * np.array(benchmark.stats.stats.data), (50, 90, 99)).round(3).tolist()
        benchmark.extra_info.update(
            zip(("p50_ms", "p90_ms", "p99_ms"), percentiles, strict=True), **provenance.commit()
        )
    return result


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    timed = getattr(session.config, "_benchmarksession", None)
    rows = [_row(benchmark) for benchmark in (timed.benchmarks if timed else []) if benchmark]
    if not rows:
        return
    write_text(FOLDER / "benchmarks.csv", to_csv(rows, HEADER))
    shown = [[significant(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    known = provenance.versions()
    versions = ", ".join(
        f"{name} {known[name]}" for name in ("torch", "onnxruntime", "onnxruntime-gpu", "openvino") if name in known
    )
    measured_on = (
        f"{machine.cpu_name()}, {machine.usable_cpus()} cores; {versions}; "
        "milliseconds of one machine, compare within this table."
    )
    write_text(FOLDER / "benchmarks.md", f"# Benchmarks\n\n{measured_on}\n\n{markdown(HEADER, shown)}")
    print(f"\nWritten: {FOLDER / 'benchmarks.csv'}, {FOLDER / 'benchmarks.md'}")


def _row(benchmark: Any) -> tuple[object, ...]:
    stats = benchmark.stats
    p90 = float(np.percentile(stats.data, 90))
    details = "; ".join(f"{key} {value}" for key, value in benchmark.extra_info.items())
    return (benchmark.name, 1e3 * stats.median, 1e3 * p90, 1e3 * stats.iqr, 1 / stats.median, stats.rounds, details)
