"""Train ReCoNet, export it, and benchmark video style transfer: speed, stability and fidelity.

The names in ``__all__`` are the stable Python API; each is loaded when it is first used, so that
``import reconet_bench`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconet_bench.api import StyleModel, load_model, measure, stylize
    from reconet_bench.core.errors import (
        DataError,
        MetricUnavailable,
        ModelError,
        ReconetBenchError,
        RuntimeUnavailable,
        TrainingError,
        UnknownName,
    )
    from reconet_bench.core.version import __version__ as __version__

__all__ = [
    "DataError",
    "MetricUnavailable",
    "ModelError",
    "ReconetBenchError",
    "RuntimeUnavailable",
    "StyleModel",
    "TrainingError",
    "UnknownName",
    "load_model",
    "measure",
    "stylize",
]
_API = ("StyleModel", "load_model", "measure", "stylize")


def __getattr__(name: str) -> Any:
    import importlib

    if name not in (*__all__, "__version__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = "api" if name in _API else "core.version" if name == "__version__" else "core.errors"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
