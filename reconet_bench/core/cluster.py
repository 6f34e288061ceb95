"""A Ray cluster: Ray places calls on its nodes, moves what they need, and tries them again when something is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from reconet_bench.core.errors import DataError, ReconetBenchError, RuntimeUnavailable
from reconet_bench.core.machine import cpu_name, usable_cpus
from reconet_bench.core.place import FINGERPRINT, Call, Needs, Node, Place
from reconet_bench.core.provenance import commit, versions

T = TypeVar("T")

#: Seconds that a cluster has to answer, that its nodes have to say what they are, and between two looks at lost nodes.
ANSWER, PROBE, LOOK = 5.0, 180.0, 10.0
#: How often a call is tried again when its worker or node was lost.
RETRIES = 3


@dataclass(frozen=True)
class NodeFacts:
    """What a node is, and what it has of what is needed there."""

    versions: dict[str, str]
    commit: str
    cpu: str
    gpu: str
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    """What came of a call on a node: its value, or the fault of the node that it met, such as a full disk."""

    key: str
    host: str
    value: Any = None
    fault: str = ""


@dataclass
class Cluster(Place):
    """A cluster. Use it in a ``with`` block, which leaves it.

    Args:
        address: ``HOST:PORT`` of a Ray client server; if empty, the cluster that ``$RAY_ADDRESS`` names, else Ray is
            started on this machine.

    Raises:
        RuntimeUnavailable: Ray is not installed, or does not answer.
    """

    address: str = ""
    nodes: list[Node] = field(default_factory=list)

    def __enter__(self) -> Self:
        try:
            import ray
        except ImportError:
            raise RuntimeUnavailable('--on ray: Ray is not installed: pip install "reconet-bench[ray]"') from None
        self._ray: Any = ray
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is wrong is said once, by us
                self._join()
        except (OSError, RuntimeError, ValueError) as error:
            where = self.address or os.environ.get("RAY_ADDRESS") or "this machine"
            raise RuntimeUnavailable(f"--on ray: no Ray cluster answers at {where}: {_first_line(error)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _join(self) -> None:
        """Connect to the cluster, or start Ray here."""
        quietly = {"log_to_driver": False, "logging_level": "error"}
        if self.address:
            _knock(self.address)
            logging.getLogger("ray").setLevel(logging.CRITICAL)  # what goes wrong is an exception too
            self._ray.init(f"ray://{self.address}", **quietly)
        elif os.environ.get("RAY_ADDRESS"):
            self._ray.init(**quietly)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._ray.init("local", num_cpus=usable_cpus(), include_dashboard=False, **quietly)

    @property
    def facts(self) -> dict[str, Any]:
        return {"nodes": {node.name: dict(zip(("cpu", "gpu", "cpus"), node.kind, strict=True)) for node in self.nodes}}

    def alike(self, cpus: float) -> list[Node]:
        """The nodes of the most numerous kind that has so many cores."""
        kind, _ = Counter(node.kind for node in self.nodes if node.cpus >= cpus).most_common(1)[0]
        return [node for node in self.nodes if node.kind == kind]

    def check(self, needs: Needs, cpus: float) -> None:
        """Look at every node: the same package, all that is needed there, and room for a call.

        Raises:
            DataError, RuntimeUnavailable: something is missing, here or there.
        """
        here = node_facts(needs)
        for name, found in here.needs.items():
            if not found.startswith(FINGERPRINT):
                raise DataError(f"{name}: {found}")
        self.nodes = []
        for node, facts in self._asked(needs):
            check_same(here, node.name, facts)
            self.nodes.append(node)
        if not any(node.cpus >= cpus for node in self.nodes):
            most = max(node.cpus for node in self.nodes)
            raise DataError(f"--on ray: no node has {cpus:g} cores for a task: give --threads {most:g} or fewer")

    def put(self, value: Any) -> Any:
        """A value in Ray's object store: a node fetches it once."""
        return self._ray.put(value)

    def each(self, calls: Iterable[Call[T]]) -> Iterator[tuple[T, str, Any]]:
        """What comes of calls.

        A call that meets a fault of its node, such as a full disk, is tried on the others.

        Raises:
            ReconetBenchError: that of a call; or it met faults on all nodes, or was lost too often.
        """
        pending: dict[Any, tuple[Call[T], tuple[str, ...]]] = {self._begun(call, ()): (call, ()) for call in calls}
        while pending:
            ready, _ = self._ray.wait(list(pending), num_returns=1, timeout=LOOK)
            if not ready:
                self._look_for_places(pending.values())
                continue
            call, bad = pending.pop(ready[0])
            answer = self._answer(ready[0], call)
            if not answer.fault:
                yield call.key, answer.host, answer.value
                continue
            bad = (*bad, answer.key)
            if {node.key for node in call.nodes or self.nodes if node.cpus >= call.cpus} <= {*bad}:
                raise DataError(f"{call.what}: {answer.fault} (on node {answer.host})")
            pending[self._begun(call, bad)] = (call, bad)

    def _begun(self, call: Call[T], bad: Sequence[str]) -> Any:
        """Hand a call to Ray, for nodes that are not bad."""
        options: dict[str, Any] = {"num_cpus": call.cpus, "num_gpus": int(call.gpu), "max_retries": RETRIES}
        if call.nodes:
            good = [node.key for node in call.nodes if node.key not in bad]
            options["label_selector"] = {_NODE: f"in({','.join(good)})"}
        elif bad:
            options["label_selector"] = {_NODE: f"!in({','.join(bad)})"}
        run = self._ray.remote(name=call.function.__name__, **options)(_called)
        return run.remote(call.function, *call.arguments)

    def _answer(self, ready: Any, call: Call[T]) -> _Answer:
        try:
            answer: _Answer = self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ReconetBenchError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise RuntimeUnavailable(f"{call.what}: lost {RETRIES + 1} times: {_first_line(error)}") from None
        return answer

    def _look_for_places(self, pending: Iterable[tuple[Call[T], Sequence[str]]]) -> None:
        """Raise where a call waits for nodes that are all lost: Ray would wait for ever."""
        cpus = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in self._ray.nodes() if node["Alive"]}
        for call, bad in pending:
            allowed = {node.key for node in call.nodes} or cpus.keys()
            if not any(cpus.get(key, -1) >= call.cpus for key in allowed if key not in bad):
                raise RuntimeUnavailable(f"{call.what}: all nodes that it may run on are lost")

    def _said(self, answer: Any) -> NodeFacts | Exception:
        """What a node says, or what went wrong."""
        try:
            facts: NodeFacts = self._ray.get(answer, timeout=ANSWER)
        except Exception as error:
            return error
        return facts

    def _asked(self, needs: Needs) -> Iterator[tuple[Node, NodeFacts]]:
        """All nodes, and what each says of itself."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        with _this_version("the head"):  # behind a client server it is the first to load the package
            ask = self._ray.remote(num_cpus=0, max_retries=0)(node_facts)
            needed = self.put(needs)
            asked = [ask.options(label_selector={_NODE: node["NodeID"]}).remote(needed) for node in alive]
        self._ray.wait(asked, num_returns=len(asked), timeout=PROBE)
        answers = [
            self._said(answer) for answer in asked
        ]  # of all, before any is told: Ray tells what nobody asked for
        for node, facts in zip(alive, answers, strict=True):
            name = node["NodeManagerHostname"]
            with _this_version(f"node {name}"):
                if isinstance(facts, Exception):
                    raise facts
            cpus = node["Resources"].get("CPU", 0.0)
            yield Node(node["NodeID"], name, cpus, (facts.cpu, facts.gpu, cpus)), facts


@contextlib.contextmanager
def _this_version(who: str) -> Iterator[None]:
    """Whatever goes wrong when a node looks for the package, it is not there as it is here."""
    try:
        yield
    except Exception as error:
        raise RuntimeUnavailable(
            f"--on ray: {who} does not run this version of reconet-bench: {_first_line(error)}"
        ) from None


#: Ray's label of a node.
_NODE = "ray.io/node-id"


def _called(function: Callable[..., Any], *arguments: Any) -> _Answer:
    """Runs on a node."""
    import ray

    key, host = ray.get_runtime_context().get_node_id(), socket.gethostname()
    try:
        return _Answer(key, host, function(*arguments))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _Answer(key, host, fault=f"{error.strerror or error}{where}")


def node_facts(needs: Needs) -> NodeFacts:
    """What this machine is, and what it has of what is needed."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return NodeFacts(versions(), str(commit().get("commit", "")), cpu_name(), gpu, needs())


def check_same(here: NodeFacts, name: str, there: NodeFacts) -> None:
    """Raise where the node ``name`` is not fit for the same numbers as here."""
    for package, version in here.versions.items():
        if (other := there.versions.get(package, "none")) != version:
            raise RuntimeUnavailable(f"--on ray: node {name} has {package} {other}, and here is {version}")
    if there.commit != here.commit:
        raise RuntimeUnavailable(f"--on ray: node {name} has another commit of reconet-bench")
    for need, expected in here.needs.items():
        if (found := there.needs[need]) != expected:
            why = "something else of that name is there" if found.startswith(FINGERPRINT) else found
            raise DataError(f"--on ray: node {name} does not have {need} as it is here: {why}")


def _knock(address: str) -> None:
    """Raise OSError where nothing answers at an address, or it is none: Ray itself tries for half a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise OSError("give HOST:PORT, such as ray://head:10001")
    socket.create_connection((host, int(port)), ANSWER).close()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if "ray::" in lines[0] else lines[0]  # below the traceback of a node stands the reason
