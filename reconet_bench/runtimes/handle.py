"""A loaded model as others hold it, whichever process it is in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

import numpy as np

from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.runtimes.model_source import ModelSource

if TYPE_CHECKING:
    from reconet_bench.runtimes.session import Session

P = ParamSpec("P")
T = TypeVar("T")

#: What a runtime raises that cannot run a model here: it costs its own rows, and those of no other.
CANNOT_RUN = (RuntimeUnavailable, ModelError)


class SessionHandle(ABC):
    """A model loaded in a runtime on one device: a session here, or one in a worker process.

    It is also a function from frame to stylised frame. Whatever else one wants of the session goes by
    :meth:`ask`, so that the caller need not know which process it is in.

    Attributes:
        model: what is loaded.
        runtime: name of the runtime, with its options: ``"openvino:bf16"``.
        device: ``"cpu"`` or ``"cuda:0"``.
        precision: of the arithmetic: ``"fp32"``.
        threads: CPU threads that it computes with.
        load_seconds: from the model in a file or in memory to a session that takes frames; export not counted. Where a
            session does not say, what opening it took.
        load_memory: bytes held after loading: host memory on the CPU, device memory on CUDA; ``None`` if unknown.
        made_form: where its int8 form is kept, if loading had to make it first: the memory of making it cannot be told
            from the memory of loading.
        build_seconds: of compiling and building engines so far; the first frame of a size waits for it.
        placement: number of compute nodes by provider or device, as the runtime itself reports them; empty
            where there is one device and no fall-back, and until it is known.
    """

    model: ModelSource
    runtime: str
    device: str
    threads: int
    placement: dict[str, int]
    precision: str = "fp32"
    load_seconds: float = 0.0
    load_memory: int | None = 0
    made_form: Path | None = None
    build_seconds: float = 0.0

    @abstractmethod
    def ask(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **options: P.kwargs) -> T:
        """``work(session, …)`` where the session is, and what it returned; ``work`` is a function of a module."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Stylise a host frame ``(H, W, 3)`` uint8, or a batch ``(N, H, W, 3)``; the same comes out."""

    def restart(self) -> None:  # noqa: B027 - a session in this process cannot
        """Load the same model anew in a new process, where it has a process of its own; else do nothing.

        Raises:
            RuntimeUnavailable, ModelError: it does not load this time.
        """

    def close(self) -> None:  # noqa: B027 - most sessions hold nothing that the collector does not free
        """Give back what is held; it takes no more frames."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
