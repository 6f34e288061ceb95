"""The examples in CONTRIBUTING are whole files that work as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TranslationClip, picture

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage
from reconet_bench.networks.base import Identity
from reconet_bench.runtimes.base import RUNTIMES, ModelSource

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```python\n# reconet_bench/(\S+)\n(.*?)```", TEXT, re.S))


def add(name: str, tmp_path: Path) -> None:
    """Run an example, which registers itself."""
    (tmp_path / "example.py").write_text(EXAMPLES[name], encoding="utf-8")
    runpy.run_path(str(tmp_path / "example.py"))


def test_the_metric_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        METRICS, "_plugins", {name: one for name, one in METRICS.items() if name != "brightness_change"}
    )
    add("metrics/brightness.py", tmp_path)
    clip = TranslationClip(length=4)
    frames = [torch.full((1, 3, *clip.size), 0.25 * index) for index in range(4)]
    samples = METRICS["brightness_change"].samples(Footage(clip, frames))
    assert samples == pytest.approx({0: 0.25, 1: 0.25, 2: 0.25})
    with pytest.raises(MetricUnavailable, match="no two consecutive frames"):
        METRICS["brightness_change"].samples(Footage(TranslationClip(length=1), frames[:1]))


@pytest.mark.parametrize(("name", "precision"), [("mirror", "fp32"), ("mirror:fp64", "fp64")])
def test_the_runtime_runs(name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNTIMES, "_plugins", {name: one for name, one in RUNTIMES.items() if name != "mirror"})
    add("runtimes/mirror.py", tmp_path)
    image = picture(0, (0.0, 0.0))
    with RUNTIMES[name].load(ModelSource("same", Identity().eval(), Path), "cpu", 1) as session:
        np.testing.assert_array_equal(session(image), image)
        assert (session.runtime, session.precision) == (name, precision)
        assert session.load_seconds > 0, "a runtime that does not time its loading has the time of opening"
