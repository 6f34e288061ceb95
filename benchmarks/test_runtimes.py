"""A shipped model in every runtime at several sizes, each with its parity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconet_bench.data.synthetic import synthetic_clip
from reconet_bench.environment import commit
from reconet_bench.errors import RuntimeUnavailable
from reconet_bench.ops import to_uint8
from reconet_bench.runtimes.base import RUNTIMES, Session, session_parity
from reconet_bench.speed import GATE_PSNR
from reconet_bench.subjects import REFERENCE_RUNTIME, Subject, load_subject

MODEL = "reconet-starry_night"
SIZES = {"256x256": (256, 256), "448x256": (256, 448)}
#: Frames that are timed: enough for a 90th percentile; before them the frames that compile, tune and fill caches.
ROUNDS, WARM_UP = 30, 5


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return load_subject(MODEL, tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module", params=RUNTIMES.names(default=True))
def session(request: pytest.FixtureRequest, subject: Subject) -> Iterator[Session]:
    runtime = RUNTIMES[request.param]
    if reason := runtime.missing():
        pytest.skip(reason)
    try:
        loaded = runtime.load(subject.model)
    except RuntimeUnavailable as reason:
        pytest.skip(str(reason))
    with loaded:
        yield loaded


@pytest.mark.parametrize("size", SIZES)
def test_stylise(benchmark: Any, session: Session, subject: Subject, size: str, tmp_path: Path) -> None:
    """End to end: an 8-bit frame in host memory in, one out; a fresh frame each time."""
    clip = synthetic_clip("carousel", SIZES[size], 6)
    frames = [to_uint8(clip.frame(index))[0] for index in range(len(clip))]
    numbers = iter(range(10**9))

    def fresh() -> tuple[tuple[np.ndarray], dict[str, object]]:
        return (frames[next(numbers) % len(frames)],), {}

    result = benchmark.pedantic(session, setup=fresh, rounds=ROUNDS, warmup_rounds=WARM_UP)
    assert result.shape == frames[0].shape
    assert result.std() > 1, "a blank frame is not a stylised one"
    with RUNTIMES[REFERENCE_RUNTIME].load(subject.model, session.device) as reference:
        parity = session_parity(reference, session, frames[:2])
    assert parity.psnr >= GATE_PSNR
    percentiles = np.percentile(1000 * np.array(benchmark.stats.stats.data), (50, 90, 99))
    benchmark.extra_info.update(zip(("p50_ms", "p90_ms", "p99_ms"), percentiles.round(2).tolist(), strict=True))
    benchmark.extra_info.update(build_seconds=round(session.build_seconds, 2), psnr=round(parity.psnr, 1), max_abs=f"{parity.max_abs:.1e}", threads=session.threads)
    benchmark.extra_info.update(precision=session.precision, device=session.device, model=subject.checksum[:19], **commit())
    if session.placement:
        benchmark.extra_info["placement"] = str(session.placement)
