"""Memory stays flat over two thousand frames, in every runtime."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.core.memory import device_bytes, host_bytes
from reconet_bench.models.loading import Model, load_by_name
from reconet_bench.runtimes.base import RUNTIMES, Session
from reconet_bench.runtimes.worker import Worker

#: What takes part: the usual ones, and those that are asked for by name and run on any machine.
NAMES = list(
    dict.fromkeys(
        [*RUNTIMES.names(default=True), "torch-compile", "torch:bf16", "ncnn", "onnxruntime:int8", "openvino:int8"]
    )
)
FRAMES, SETTLED = 2000, 200
#: Of a frame, pixels: were each kept, at 8 bits, they would be 21 MiB by the end.
SIDE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_by_name("reconet-starry_night", tmp_path_factory.mktemp("exports"))


def resident(session: Session, count: int) -> int:
    """Bytes in use after so many more frames, each of its own pixels, end to end."""
    generator = np.random.default_rng(count)
    for _ in range(count):
        session(generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    gc.collect()
    found = device_bytes(session.device) if session.device.startswith("cuda") else host_bytes("VmRSS")
    if found is None:
        pytest.skip("memory in use is not known on this system")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_flat(benchmark: Any, model: Model, name: str) -> None:
    """Growth between frame 200, when pools and caches are filled, and frame 2,000: under 1 %."""
    if reason := RUNTIMES[name].missing():
        pytest.skip(reason)
    with Worker(name) as worker:
        try:
            worker.load(model.source)
        except RuntimeUnavailable as reason:
            pytest.skip(str(reason))
        before = worker.ask(resident, SETTLED)
        after = benchmark.pedantic(worker.ask, (resident, FRAMES - SETTLED), rounds=1)
    growth = after / before - 1
    benchmark.extra_info.update(frames=FRAMES, resident_mib=round(after / 2**20), growth=f"{100 * growth:+.2f} %")
    assert growth < 0.01
