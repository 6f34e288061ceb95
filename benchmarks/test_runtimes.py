"""A shipped model in every runtime at several sizes, each with its parity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reconet_bench.benchmark.reference_check import Probe, probe_clip
from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.models.loading import Model, load_by_name
from reconet_bench.runtimes.base import RUNTIMES, Session
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME

MODEL = "reconet-starry_night"
#: Frames that are timed: enough for a 90th percentile; before them the frames that compile, tune and fill caches.
ROUNDS, WARM_UP = 30, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_by_name(MODEL, tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def session(runtime: str, model: Model) -> Iterator[Session]:
    if reason := RUNTIMES[runtime].missing():
        pytest.skip(reason)
    try:
        loaded = RUNTIMES[runtime].load(model.source)
    except RuntimeUnavailable as reason:
        pytest.skip(str(reason))
    with loaded:
        yield loaded


def test_stylise(benchmark: Any, session: Session, model: Model, size: tuple[int, int]) -> None:
    """End to end: an 8-bit frame in host memory in, one out; a fresh frame each time."""
    probe = Probe(probe_clip(size))
    frames = probe.images
    numbers = iter(range(10**9))

    def fresh() -> tuple[tuple[np.ndarray], dict[str, object]]:
        return (frames[next(numbers) % len(frames)],), {}

    result = benchmark.pedantic(session, setup=fresh, rounds=ROUNDS, warmup_rounds=WARM_UP)
    assert result.shape == frames[0].shape
    assert result.std() > 1, "a blank frame is not a stylised one"
    with RUNTIMES[REFERENCE_RUNTIME].load(model.source, session.device) as reference:
        fidelity = probe.compare(probe.expect(reference), session)
    assert not fidelity.failed, f"{fidelity.failed}: {fidelity}"
    benchmark.extra_info.update(
        psnr=round(fidelity.parity.psnr, 1),
        max_abs=f"{fidelity.parity.max_abs:.1e}",
        change_percent=fidelity.change and round(fidelity.change, 3),
    )
    benchmark.extra_info.update(
        build_seconds=round(session.build_seconds, 2), threads=session.threads, precision=session.precision
    )
    benchmark.extra_info.update(device=session.device, model=model.checksum[:19])
    if session.placement:
        benchmark.extra_info["placement"] = str(session.placement)
