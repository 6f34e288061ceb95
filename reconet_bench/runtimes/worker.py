"""A runtime in a process of its own, so that none slows, starves or brings down the next.

Runtimes in one process share its memory, its allocator and its pools of threads. In a worker each
has its own: what is measured there (time, peak memory) is the runtime's alone, idle workers wait
for a message with their pools asleep, and one that the system kills for want of memory costs its
row and not the run. The clock runs inside the worker: passing frames between processes is not timed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch

from reconet_bench.core.errors import ReconetBenchError, RuntimeUnavailable, UnknownName, ended_by
from reconet_bench.runtimes.base import CANNOT_RUN, RUNTIMES, ModelSource, Runtime, Session, SessionHandle
from reconet_bench.runtimes.selection import Resources

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that a worker has to end by itself.
_PATIENCE = 5


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a worker: an error of ours, or ``None`` and the traceback of any other."""

    kind: type[ReconetBenchError] | None
    text: str


class Worker(SessionHandle):
    """A process that holds one session. It starts at once; :meth:`load` gives it the model.

    Args:
        name: of the runtime, with its options.

    Raises:
        RuntimeUnavailable: from any method, if the process died.
    """

    def __init__(self, name: str) -> None:
        self.runtime, self.placement = name, {}
        self._name, self._resources = name, Resources()
        self._begin(name)

    def _begin(self, name: str) -> None:
        """Start the process, and do not wait for it."""
        context = _context()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, dict(os.environ)), name=f"reconet-bench {name}", daemon=True
        )
        # Nothing is said to OpenMP: its threads sleep within milliseconds by themselves, and told to sleep at once
        # (OMP_WAIT_POLICY=PASSIVE) they make PyTorch eager, the reference of every ratio, a third slower.
        with _no_interrupts():
            self._process.start()
        theirs.close()
        self._up = False

    def start(self) -> None:
        """Wait until the process is there."""
        if not self._up:
            self._receive()
            self._up = True

    def load(self, model: ModelSource, device: str = "auto", threads: int | None = None) -> Worker:
        """Load ``model`` as :meth:`Runtime.load` does; returns itself.

        A process that had to make the form that it runs first holds its maker's memory: a new one loads what was kept.

        Raises:
            RuntimeUnavailable, ModelError: as that does.
        """
        self.model, self._resources, name = model, Resources(device, threads), self.runtime
        runtime = RUNTIMES[name]
        runtime.check(device, threads)
        self.start()
        message = (runtime, _portable(model, runtime), device, threads)
        self._call(*message)
        if self.made_form is not None and self.made_form.is_file():
            self.close()
            self._begin(name)
            self.start()
            self._call(*message)
        return self

    def restart(self) -> None:
        self.close()
        self._begin(self._name)
        self.runtime = self._name
        self.load(self.model, self._resources.device, self._resources.threads)

    def ask(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **options: P.kwargs) -> T:
        answer: T = self._call(work, args, options)
        return answer

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.ask(Session.__call__, image)

    def _call(self, *message: object) -> Any:
        """Send, and wait for the answer."""
        try:
            self._pipe.send(message)
        except OSError:
            raise self._died() from None
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(answer, _Failure):
            if answer.kind is None:
                raise RuntimeError(f"in the worker of {self.runtime}:\n{answer.text}")
            raise answer.kind(answer.text)
        done, facts = answer
        vars(self).update(facts)
        return done

    def _died(self) -> RuntimeUnavailable:
        """The error of a worker that is gone, with what is known of the cause."""
        self._process.join(_PATIENCE)
        cause = ended_by(self._process.exitcode, "use a smaller size, or fewer runtimes at once")
        return RuntimeUnavailable(f"worker process died ({cause})")

    def close(self) -> None:
        """End the process; one that is still at work is killed."""
        self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _context() -> SpawnContext | ForkServerContext:
    """How processes start. On Linux they are copies of a server that has imported PyTorch, which takes seconds."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def prepare_workers() -> None:
    """Begin what all workers are copies of, which takes seconds, and do not wait for it."""
    _context()
    if sys.platform == "linux":
        from multiprocessing import forkserver

        with _no_interrupts():
            forkserver.ensure_running()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes that start in the meantime never see Ctrl-C: it is the parent's to handle, and it ends its workers."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone may do this
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _portable(model: ModelSource, runtime: Runtime) -> ModelSource:
    """The model as it can be sent: with the one form that the runtime takes, exported here if need be."""
    if runtime.from_network:
        return replace(model, onnx=Path)
    return replace(model, network=None, onnx=functools.partial(Path, str(model.onnx())))


def _serve(pipe: Connection, environ: dict[str, str]) -> None:
    """What runs in the process: load one session, then do what is asked until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # That of the parent now: what the process is a copy of has it as it was before the first worker.
    os.environ.clear()
    os.environ.update(environ)
    # What was imported stays: the collections before each measurement need not go through it.
    gc.freeze()
    session: Session | None = None
    with contextlib.suppress(EOFError, OSError):
        pipe.send((None, {}))
        while session is None:
            session = _load(pipe, *pipe.recv())
        while True:
            work, args, options = pipe.recv()
            with _told(pipe):
                pipe.send((work(session, *args, **options), _facts(session)))
            del work, args, options  # frames of one question must not stay beside those of the next
    if session is not None:
        session.close()


def _load(pipe: Connection, runtime: Runtime, model: ModelSource, device: str, threads: int | None) -> Session | None:
    """A session, whose facts are sent; ``None`` if it could not be loaded, and why is sent."""
    session: Session | None = None
    with _told(pipe):
        session = runtime.load(model, device, threads)
        torch.set_num_threads(session.threads)  # conversion to and from 8 bits is PyTorch's in every runtime
        pipe.send((None, _facts(session)))
    return session


@contextlib.contextmanager
def _told(pipe: Connection) -> Iterator[None]:
    """Sends what goes wrong in the meantime."""
    try:
        yield
    except ReconetBenchError as error:
        kind = ReconetBenchError if isinstance(error, UnknownName) else type(error)
        pipe.send(_Failure(kind, str(error)))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        pipe.send(_Failure(RuntimeUnavailable, f"{error.strerror or error}{where}"))
    except Exception:
        pipe.send(_Failure(None, traceback.format_exc()))


def _facts(session: Session) -> dict[str, Any]:
    """What is known of a session by now: some of it only after the first frame of a size."""
    names = (
        "runtime",
        "device",
        "precision",
        "threads",
        "load_seconds",
        "load_memory",
        "made_form",
        "build_seconds",
        "placement",
    )
    return {name: getattr(session, name) for name in names}


def load_apart(name: str, model: ModelSource, resources: Resources) -> SessionHandle:
    """The model in a runtime by name, in a worker of its own, which is closed with it.

    Raises:
        RuntimeUnavailable, ModelError: as :meth:`Runtime.load` does.
    """
    RUNTIMES[name].check(resources.device, resources.threads)  # before a process starts for nothing
    worker = Worker(name)
    try:
        return worker.load(model, resources.device, resources.threads)
    except BaseException:
        worker.close()
        raise


def open_all(
    names: Sequence[str],
    model: ModelSource,
    resources: Resources,
    stack: contextlib.ExitStack,
    on_failure: Callable[[str, ReconetBenchError], None],
    apart: bool = True,
) -> dict[str, SessionHandle]:
    """The model in each runtime, by name; ``stack`` closes them.

    Args:
        on_failure: told of each runtime that cannot run the model, and why.
        apart: each in a worker: they start together, and load one after the other, so that each has the
            machine for itself while it loads. Otherwise all are in this process, which starts sooner.
    """
    usable = []
    for name in dict.fromkeys(names):
        try:
            RUNTIMES[name].check(resources.device, resources.threads)  # before a process starts for nothing
            usable.append(name)
        except RuntimeUnavailable as error:
            on_failure(name, error)
    workers = {name: stack.enter_context(Worker(name)) for name in usable} if apart else {}
    for worker in workers.values():
        with contextlib.suppress(RuntimeUnavailable):  # loading says it again
            worker.start()
    loaded: dict[str, SessionHandle] = {}
    for name in usable:
        try:
            if apart:
                loaded[name] = workers[name].load(model, resources.device, resources.threads)
            else:
                loaded[name] = stack.enter_context(RUNTIMES[name].load(model, resources.device, resources.threads))
        except CANNOT_RUN as error:
            if apart:
                workers[name].close()
            on_failure(name, error)
    return loaded
