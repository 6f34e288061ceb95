"""Where calls run that do not need one another: here, one after the other; or on a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")

#: What calls need where they run: a fingerprint of each thing by its name, or why it is not there.
Needs = Callable[[], Mapping[str, str]]
#: How a fingerprint begins.
FINGERPRINT = "sha256:"


@dataclass
class Node:
    """A machine that calls run on.

    Attributes:
        key: the cluster's name of it.
        name: for people: its host name.
        cpus: cores for calls.
        kind: nodes of one kind are equally fast.
    """

    key: str
    name: str
    cpus: float
    kind: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Call(Generic[T]):
    """A function with its arguments; it may be called more than once.

    Attributes:
        what: in a few words, for errors.
        key: whatever tells the caller which one it is.
        function: of a module, so that other machines find it.
        arguments: values, or what :meth:`Place.put` gave in their place.
        cpus: cores that it takes.
        gpu: whether it takes a GPU.
        nodes: those that it may run on; if empty, any.
    """

    what: str
    key: T
    function: Callable[..., Any]
    arguments: Sequence[Any]
    cpus: float = 1
    gpu: bool = False
    nodes: Sequence[Node] = ()


class Place(ABC):
    """Runs calls. Use it in a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027 - here there is nothing to leave
        """Leave it."""

    @property
    def facts(self) -> dict[str, Any]:
        """Provenance: the nodes, if calls do not run here."""
        return {}

    def alike(self, cpus: float) -> Sequence[Node]:
        """Nodes of one kind, whose speeds can be compared, with at least so many cores; none here."""
        return ()

    def check(self, needs: Needs, cpus: float) -> None:  # noqa: B027 - here a call says itself what is missing
        """Raise a ReconetBenchError where calls cannot run, before any is begun.

        Args:
            needs: what calls need.
            cpus: cores that a call takes.
        """

    def put(self, value: Any) -> Any:
        """What can be an argument in place of a value that many calls have in common."""
        return value

    @abstractmethod
    def each(self, calls: Iterable[Call[T]]) -> Iterator[tuple[T, str, Any]]:
        """What comes of calls, as it comes: the key of the call, the name of the node, and the value.

        Raises:
            ReconetBenchError: that of a call.
        """


class Here(Place):
    """This process."""

    def each(self, calls: Iterable[Call[T]]) -> Iterator[tuple[T, str, Any]]:
        for call in calls:
            yield call.key, "", call.function(*call.arguments)
