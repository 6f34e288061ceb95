"""Which runtimes take part: names and variants that a user asks for, and the reference among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconet_bench.core.errors import RuntimeUnavailable
from reconet_bench.runtimes.base import RUNTIMES, ModelSource

#: What every runtime is compared with, see :func:`reference_runtime` for an ONNX file of the user's own.
REFERENCE_RUNTIME = "torch"


#: Names that stand for others: the fastest runtime whose frames are the reference's, and every runtime there is.
AUTO, ALL = "auto", "all"


@dataclass(frozen=True)
class Resources:
    """What a session computes with.

    Attributes:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads; ``None`` is all usable cores.
    """

    device: str = "auto"
    threads: int | None = None


def usable_runtimes(names: Sequence[str], report: Callable[[str], None] = lambda text: None) -> list[str]:
    """Runtimes to use, the reference first: those asked for, or the usual. Missing ones are reported and left out.

    Args:
        names: of runtimes and variants; ``all`` is every one, ``auto`` stays as it is (which one depends on the model).

    Raises:
        UnknownName: no such runtime. RuntimeUnavailable: none of them is usable.
    """

    def reference_first(found: list[str]) -> list[str]:
        return sorted(found, key=lambda name: (name != REFERENCE_RUNTIME, name))

    def meant(name: str) -> list[str]:
        if name == ALL:
            return reference_first(RUNTIMES.names())
        return [name if name == AUTO else RUNTIMES.canonical(name)]

    asked = [one for name in names for one in meant(name)]
    chosen = list(dict.fromkeys(asked)) or reference_first(RUNTIMES.names(default=True))
    missing = {name: reason for name in chosen if name != AUTO and (reason := RUNTIMES[name].missing())}
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        reasons.setdefault(reason, []).append(name)
    for reason, without in reasons.items():
        report(f"skipped {', '.join(without)}: {reason}")
    if len(missing) == len(chosen):
        raise RuntimeUnavailable(f"no usable runtime: {'; '.join(reasons)}")
    return [name for name in chosen if name not in missing]


def reference_runtime(model: ModelSource) -> tuple[str, str | None]:
    """What the frames of other runtimes are compared with: name and device; no device is that of the others.

    An ONNX file of the user's own has no network for PyTorch: ONNX Runtime on the CPU stands in.
    """
    in_torch = model.network is not None or model.python is not None
    return (REFERENCE_RUNTIME, None) if in_torch else ("onnxruntime", "cpu")
