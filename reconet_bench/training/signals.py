"""Reasons why a training ends early, one line each: an interrupt, a full disk, no memory, a failing compiler."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import torch

from reconet_bench.core.errors import TrainingError, out_of_memory

#: Ctrl-C, and the signal that a batch system sends before it kills a process.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the run was asked to stop after the current step."""

    asked = False


@contextlib.contextmanager
def stopping(heard: Callable[[int], None] = lambda number: None) -> Iterator[Stop]:
    """Let Ctrl-C and SIGTERM finish the current step; a second one interrupts at once.

    Outside the main thread signals do what they always do.

    Args:
        heard: called with the number of each signal.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        again, stop.asked = stop.asked, True
        heard(number)
        if again:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def one_line(size: object, batch: int, compiled: bool, saved: Callable[[], str]) -> Iterator[None]:
    """Turn errors of a full disk or memory into a TrainingError that says what to do and what is saved."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise TrainingError(
            f"{error.strerror or error}{where}: {saved()}; fix this, then continue with --resume"
        ) from None
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise TrainingError(f"out of memory: lower --size ({size}) or --batch ({batch}); {saved()}") from None
        if compiled and isinstance(error, torch._dynamo.exc.TorchDynamoException):
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(
                f"torch.compile does not work here ({reason}): leave out --compile; {saved()}"
            ) from None
        if str(error).startswith("DataLoader worker"):
            raise TrainingError(
                "a process that loads data died, usually because memory or shared memory ran out: "
                f"use fewer --workers; {saved()}"
            ) from None
        raise
