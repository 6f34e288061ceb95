"""Every error a user can cause, as one tree.

The command line turns any of these into one line on standard error and exit code 2; a library
user can catch :class:`ReconetBenchError` and be sure that nothing was left half-written.
"""

from __future__ import annotations

import contextlib
import difflib
import signal
from collections.abc import Iterable, Iterator


class ReconetBenchError(Exception):
    """Base of all errors with a cause outside this package. The message says what, where, what to do."""


class DataError(ReconetBenchError):
    """A file or folder of frames, flow or masks is missing, broken or of the wrong size."""


class ModelError(ReconetBenchError):
    """A checkpoint or an ONNX file cannot be used as a style-transfer model."""


class RuntimeUnavailable(ReconetBenchError):
    """A runtime is not installed, has no device here, or did not run where it was asked to."""


class MetricUnavailable(ReconetBenchError):
    """A metric cannot be computed on this clip or model; the message is the reason."""


class TrainingError(ReconetBenchError):
    """Training cannot start or had to stop; the message names the step and what to do."""


class UnknownName(ReconetBenchError):
    """A name that is not among the known ones; suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        super().__init__(f"unknown {kind} '{name}': {hint}known: {', '.join(known) or 'none'}")


#: What libraries say when they get no memory; few of them have a type of exception for it.
_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "failed to allocate",
    "cannot allocate",
    "can't allocate",
    "could not allocate",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of whatever library means that there was not enough memory."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


def ended_by(code: int | None, advice: str) -> str:
    """How a process ended, by its exit code.

    Args:
        advice: what to do if the system killed the process, as it does when memory runs out.
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    killed = f"killed by {signal.Signals(-code).name}"
    return killed + (
        f", as the system does when memory runs out: {advice}" if -code == getattr(signal, "SIGKILL", 0) else ""
    )


@contextlib.contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Turns an error for lack of memory into a DataError, ``not enough memory`` and then ``what``."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ReconetBenchError) or not out_of_memory(error):
            raise
        raise DataError(f"not enough memory {what}") from None
