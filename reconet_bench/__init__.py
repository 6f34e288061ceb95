"""Train ReCoNet, export it, and benchmark video style transfer: speed, stability and fidelity.

The names in ``__all__`` are the stable Python API; each is loaded when it is first used, so that
``import reconet_bench`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

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

    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = "api" if name in _API else "core.errors"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
