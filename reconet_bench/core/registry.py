"""Plug-ins that are found by being there: a registry scans its own package for modules.

A new method, metric or runtime is one new file; no list anywhere names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from reconet_bench.core.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Named plug-ins of one kind, imported from every module of ``package`` on first use.

    Args:
        kind: what a plug-in is called in messages, e.g. ``"method"``.
        package: dotted name of the package whose modules hold the plug-ins.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._plugins: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Class decorator: registers an instance of the class (made without arguments) as ``name``."""

        def add(factory: Callable[[], T]) -> Callable[[], T]:
            if name in self._plugins:
                raise ValueError(f"two {self.kind}s are called '{name}'")
            self._plugins[name] = factory()
            return factory

        return add

    def _scan(self) -> None:
        if not self._scanned:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._scanned = True

    def __getitem__(self, name: str) -> T:
        self._scan()
        if name not in self._plugins:
            raise UnknownName(self.kind, name, self._plugins)
        return self._plugins[name]

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._plugins))

    def items(self) -> list[tuple[str, T]]:
        """All plug-ins with their names, sorted by name."""
        return [(name, self[name]) for name in self]
