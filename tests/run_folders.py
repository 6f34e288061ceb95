"""Records of a run as reports read them: two methods and the identity on two videos, and names that need escaping."""

from __future__ import annotations

from reconet_bench.core.record import Record
from reconet_bench.core.samples import Difference

SIZE = (436, 1024)

PROVENANCE = {
    "command": "reconet-bench compare --videos alley_2",
    "cpu": "A processor",
    "threads": 2,
    "gpu": None,
    "seed": 0,
    "metrics": {"style_distance": 2},
    "versions": {"torch": "2.9.1", "onnxruntime": "1.23"},
}

BETTER = {
    "temporal_error": "lower",
    "ssim_adjacent": "higher",
    "content_temporal_error": "reference",
    "style_distance": "lower",
}

#: Names and notes that a page, a table or a shell could take for something else.
NASTY = [
    "<script>alert(1)</script>",
    "a|b,c;d",
    "she said \"no\" & 'yes'",
    "夜の星 Ночь ليل",
    "x" * 300,
    "a_b%c$d#e{f}g~h^i\\j",
    "line\nbreak",
    "--><!--",
    "{{ 7*7 }}",
    "[win](http://example.org)",
    "![i](x) *y* `z` ~s~ _w_ a_b c\\*d",
    "=1+2",
    "@cmd",
]

MODELS = {"reconet": "reconet-wave", "johnson": "johnson-wave", "identity": "identity"}

DIFFERENCES = [
    Difference(
        metric="temporal_error",
        better="lower",
        video="all",
        first="reconet-wave",
        second="johnson-wave",
        difference=-0.004,
        ci_low=-0.005,
        ci_high=-0.003,
        n=98,
        verdict="reconet-wave is better",
    ),
]


def record(metric: str, value: float | None, **fields) -> Record:
    """A record of ReCoNet on alley_2 in torch, unless said otherwise."""
    defaults = {
        "run": "r",
        "time": "2026-01-01T00:00:00+00:00",
        "method": "reconet",
        "style": "wave",
        "video": "alley_2",
        "runtime": "torch",
        "precision": "fp32",
        "device": "cpu",
        "height": SIZE[0],
        "width": SIZE[1],
        "unit": "",
        "better": BETTER.get(metric, "lower"),
        "model": "reconet-wave",
        "source": "sintel-clean",
        "n": 49,
    }
    return Record(metric=metric, value=value, **{**defaults, **fields})


def speed(metric: str, value: float | None, **fields) -> Record:
    """A record of speed: of a model, runtime and size, and of no video."""
    return record(metric, value, **{"video": "", "source": "", "n": 30, "better": "higher", **fields})


def quality(videos=("alley_2", "stroll"), flow: str = "") -> list[Record]:
    """Two methods and the identity: reconet is stable, johnson is nearer to the style."""
    found = []
    for number, (method, model) in enumerate(MODELS.items(), 1):
        for step, video in enumerate(videos):
            row = {"method": method, "model": model, "video": video, "source": "synthetic", "flow": flow}
            value = (0.05, 0.1, 0.01)[number - 1] + step / 100
            found.append(record("temporal_error", value, ci_low=value - 0.003, ci_high=value + 0.004, **row))
            found.append(record("style_distance", (0.03, 0.02, 1.0)[number - 1], **row))
    return found
