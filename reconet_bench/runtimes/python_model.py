"""Models of the user's own in Python: a PyTorch module, or a function of 8-bit frames with a state of its own."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from reconet_bench.core.errors import ModelError, out_of_memory
from reconet_bench.core.provenance import checksum
from reconet_bench.core.size import Size
from reconet_bench.runtimes.model_source import ModelSource
from reconet_bench.runtimes.session import Resident, Session


@dataclass(frozen=True)
class PythonModel:
    """Where a Python model comes from. It is made in the process that runs it.

    Attributes:
        name: for messages.
        place: a module by its dotted name, or the path of a ``.py`` file.
        factory: name of the function that makes the model.
        arguments: for the factory.
    """

    name: str
    place: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """The file, where it is given as one."""
        return Path(self.place) if self.place.endswith(".py") else None

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, or of the module's file."""
        path = self.path
        if path is None:
            spec = importlib.util.find_spec(self.place)
            path = Path(spec.origin) if spec is not None and spec.origin and Path(spec.origin).is_file() else None
        return checksum(path) if path else "sha256:" + hashlib.sha256(self.place.encode()).hexdigest()

    def check(self) -> None:
        """See that it can be there, without running any of it.

        Raises:
            ModelError: no such file or module, not Python, or no such function in the file.
        """
        if self.path is None:
            try:
                found = importlib.util.find_spec(self.place)
            except (ImportError, ValueError):
                found = None
            if found is None:
                raise ModelError(
                    f"'{self.name}': there is no Python module '{self.place}': install it, or set PYTHONPATH"
                )
            return
        if not self.path.is_file():
            raise ModelError(f"'{self.name}': Python file not found: {self.path}")
        try:
            tree = ast.parse(self.path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise ModelError(f"'{self.name}': {self.path}{line}: not valid Python") from None
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in tree.body if isinstance(node, kinds)]
        names += [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
                  if isinstance(target, ast.Name)]  # fmt: skip
        imports = any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in tree.body)
        if self.factory not in names and not imports:
            raise ModelError(
                f"'{self.name}': {self.path} has no '{self.factory}'; it has: {', '.join(names) or 'no functions'}"
            )

    def create(self) -> Any:
        """What the factory returns.

        Raises:
            ModelError: it cannot be imported, or the factory fails.
        """
        with self.blamed():
            module = self._module()
            if not hasattr(module, self.factory):
                raise ModelError(f"'{self.name}': {self.place} has no '{self.factory}'")
            return getattr(module, self.factory)(**self.arguments)

    def _module(self) -> ModuleType:
        if self.path is None:
            return importlib.import_module(self.place)
        name = f"reconet_bench_model_{hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:12]}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, self.path)
        if spec is None or spec.loader is None:
            raise ModelError(f"'{self.name}': {self.path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        folder = str(self.path.resolve().parent)
        if folder not in sys.path:  # its neighbours are its own, as when it is run
            sys.path.append(folder)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """What is printed in the meantime goes to standard error with the model's name; what is raised is a ModelError.

        Lack of memory stays as it is: the session tells it.
        """
        try:
            with contextlib.redirect_stdout(_Named(self.name, sys.stderr)):
                yield
        except ModelError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if self.path is not None and Path(frame.filename) == self.path]
            where = own[-1] if own else frames[-1]
            said = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"'{self.name}': {type(error).__name__}{f': {said}' if said else ''} "
                f"({Path(where.filename).name}, line {where.lineno})"
            ) from None


class _Named:
    """A text stream that puts a name before each line."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream, self._begins = name, stream, True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            self._stream.write(f"{self._name}: {line}" if self._begins else line)
            self._begins = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class FunctionSession(Session):
    """A function, or a generator, from 8-bit frame to 8-bit frame; both boundaries of the clock are the host's.

    A generator gets frames by ``send`` and is made anew where a sequence begins; an object with ``reset()`` is reset.
    """

    runtime = "torch"

    def __init__(self, model: ModelSource, function: Any, device: torch.device, threads: int) -> None:
        super().__init__(model, device, threads)
        self._made: Any = function
        self._function = self._callable(function)

    def _callable(self, made: Any) -> Callable[[np.ndarray], Any]:
        if not inspect.isgenerator(made):
            function: Callable[[np.ndarray], Any] = made
            return function
        frames: Generator[Any, Any, Any] = made
        with self._blamed():
            next(frames)  # up to its first yield
        return frames.send

    def _blamed(self) -> contextlib.AbstractContextManager[None]:
        assert self.model.python is not None
        return self.model.python.blamed()

    def _reset(self) -> None:
        if inspect.isgenerator(self._made):
            assert self.model.python is not None
            self._made.close()
            self._made = self.model.python.create()
            self._function = self._callable(self._made)
        elif callable(getattr(self._made, "reset", None)):
            with self._blamed():
                self._made.reset()

    def upload(self, image: np.ndarray) -> Resident:
        self.model.check_frame(image)
        frame = image[0] if image.ndim == 4 else image
        if self.history is not None:
            self.history.begin(frame)
        size = Size(*frame.shape[:2])
        return Resident(torch.from_numpy(np.ascontiguousarray(frame)), *size, 1, size)

    def infer(self, x: Tensor) -> Tensor:
        frame = x.numpy()
        with self._blamed():
            y = self._function(frame.copy())
        y = np.asarray(y)
        if y.shape != frame.shape or y.dtype != np.uint8:
            raise ModelError(
                f"'{self.model.name}': a frame {frame.shape} uint8 went in, and {y.shape} {y.dtype} came out: "
                "return a frame of the same size, uint8"
            )
        return torch.from_numpy(np.ascontiguousarray(y))

    def _restored(self, y: Tensor, x: Resident) -> Tensor:
        return y

    def _frame(self, y: Tensor) -> Tensor:
        return y.permute(2, 0, 1)[None].float().div(255)

    def download(self, y: Tensor) -> np.ndarray:
        frame: np.ndarray = y.numpy()
        return frame

    def close(self) -> None:
        self._made = None


def module_of(model: ModelSource, made: Any) -> nn.Module | None:
    """What a factory made as a module in evaluation mode; ``None`` if it is a function or a generator.

    Raises:
        ModelError: it is none of these.
    """
    if isinstance(made, nn.Module):
        return made.eval()
    if inspect.isgenerator(made) or callable(made):
        return None
    raise ModelError(
        f"'{model.name}': the factory made a {type(made).__name__}: it must return a torch.nn.Module, a function of "
        "uint8 frames, or a generator"
    )
