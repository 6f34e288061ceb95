"""One model in several runtimes: opened, dropped with a reason, and the reference that the others are compared with.

Comparison, sweep, roofline and the choice of the fastest runtime all work on such a pool, so a runtime that cannot run
a model, or breaks off, is treated in the same way everywhere:

- a runtime that cannot be loaded takes no further part;
- one that breaks off is closed, and is loaded again when it is asked for again;
- one that only refuses these frames (a fixed size, say) stays open for others;
- a reference that fails costs the parity, not the timings: rows say so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from reconet_bench.core.errors import ReconetBenchError, RuntimeUnavailable
from reconet_bench.metrics.measure import Absent
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import CANNOT_RUN, SessionHandle
from reconet_bench.runtimes.selection import REFERENCE_RUNTIME, Resources, reference_runtime
from reconet_bench.runtimes.worker import load_apart, open_all

T = TypeVar("T")

#: Told of a runtime that is left out, by name, and why.
OnDrop = Callable[[str, ReconetBenchError], None]


class RuntimePool:
    """A model in several runtimes. Use it in a ``with`` block, which closes them all.

    Args:
        model: what is run.
        resources: device and threads of every session.
        on_drop: told once of each runtime that cannot run the model or breaks off, and why.
        apart: each session in a process of its own, as timing wants it; else all in this process, which starts sooner.
    """

    def __init__(self, model: Model, resources: Resources, on_drop: OnDrop, apart: bool = True) -> None:
        self.model, self.resources = model, resources
        self._on_drop, self._apart = on_drop, apart
        self._stack = contextlib.ExitStack()
        self._sessions: dict[str, SessionHandle] = {}
        self._unloadable: set[str] = set()
        self._reference: SessionHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, names: Sequence[str]) -> dict[str, SessionHandle]:
        """Sessions of ``names`` by name, in that order; without those that cannot run the model."""
        new = [name for name in names if name not in self._sessions and name not in self._unloadable]
        self._sessions |= open_all(new, self.model.source, self.resources, self._stack, self.drop, self._apart)
        return {name: self._sessions[name] for name in dict.fromkeys(names) if name in self._sessions}

    def drop(self, name: str, error: ReconetBenchError) -> None:
        """Leave a runtime out because of ``error``, and tell why; see the module for what becomes of its session."""
        if name not in self._sessions:
            self._unloadable.add(name)
        elif isinstance(error, RuntimeUnavailable):
            self._sessions.pop(name).close()  # others need the memory that it still holds
        self._on_drop(name, error)

    def reference(self) -> SessionHandle:
        """The session that the others are compared with: the pool's own if it has it, else opened for the purpose.

        It is the model in PyTorch fp32. For an ONNX file exported from a network at hand it is that network; for any
        other ONNX file it is ONNX Runtime on the CPU.

        Raises:
            RuntimeUnavailable, ModelError: the reference itself does not run, which is no other runtime's fault.
        """
        name = self.reference_name
        if self.is_reference(name):
            return self._sessions[name]
        if self._reference is None:
            source = self.model.origin or self.model.source
            device = reference_runtime(source)[1] or self.resources.device
            resources = Resources(device, self.resources.threads)
            self._reference = self._stack.enter_context(load_apart(name, source, resources))
        return self._reference

    @property
    def reference_name(self) -> str:
        """The runtime of the :meth:`reference`."""
        return REFERENCE_RUNTIME if self.model.origin is not None else reference_runtime(self.model.source)[0]

    def is_reference(self, name: str) -> bool:
        """Whether the pool's own session of this name is the reference itself."""
        if self.model.origin is not None or name != self.reference_name or name not in self._sessions:
            return False
        device = reference_runtime(self.model.source)[1]
        return device is None or self._sessions[name].device == device

    def ask_reference(self, work: Callable[[SessionHandle], T]) -> T | Absent:
        """What ``work`` returns for the :meth:`reference`, or why the reference failed; a later call tries it anew."""
        try:
            return work(self.reference())
        except CANNOT_RUN as error:
            if isinstance(error, RuntimeUnavailable) and self._reference is not None:
                self._reference.close()
                self._reference = None
            return Absent(f"no parity, the reference failed: {error}")


@dataclass
class OpenedModel:
    """A model in every runtime that runs it; a runtime that no longer does is dropped."""

    pool: RuntimePool
    sessions: dict[str, SessionHandle] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.pool.model

    @property
    def name(self) -> str:
        """Of the model."""
        return self.pool.model.source.name

    def drop(self, runtime: str, error: ReconetBenchError) -> None:
        """Leave a runtime out because of ``error``, and tell why."""
        self.pool.drop(runtime, error)
        self.sessions.pop(runtime, None)
