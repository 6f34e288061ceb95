"""The tasks of a comparison on a Ray cluster: Ray places them, moves what they need, and tries them again."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from reconet_bench.benchmark import ray_node
from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.engine import Comparison, Engine, LocalEngine
from reconet_bench.benchmark.plan import Plan
from reconet_bench.benchmark.ray_node import NodeFacts, Returned, SentFile, SentModel, Shared
from reconet_bench.benchmark.task import Outcome, Task
from reconet_bench.core.errors import DataError, ReconetBenchError, RuntimeUnavailable
from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import pick_device, usable_cpus
from reconet_bench.networks.vgg import find_weights
from reconet_bench.runtimes.selection import AUTO, Resources

#: Seconds that a cluster has to answer, and that its nodes have to say what they are.
ANSWER, PROBE = 5.0, 180.0
#: How often a task is tried again when its worker or node was lost, or its disk was full.
RETRIES = 3


@dataclass
class Node:
    """A node of the cluster.

    Attributes:
        key: Ray's name of it.
        name: for people: its host name.
        cpus: that Ray may use.
    """

    key: str
    name: str
    cpus: float
    facts: NodeFacts


@dataclass
class RayEngine(Engine):
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
        self.ray: Any = ray
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is wrong is said once, by us
                self._join()
        except (OSError, RuntimeError, ValueError) as error:
            where = self.address or os.environ.get("RAY_ADDRESS") or "this machine"
            raise RuntimeUnavailable(f"--on ray: no Ray cluster answers at {where}: {_first_line(error)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    def _join(self) -> None:
        """Connect to the cluster, or start Ray here."""
        quietly = {"log_to_driver": False, "logging_level": "error"}
        if self.address:
            _knock(self.address)
            logging.getLogger("ray").setLevel(logging.ERROR)
            self.ray.init(f"ray://{self.address}", **quietly)
        elif os.environ.get("RAY_ADDRESS"):
            self.ray.init(**quietly)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self.ray.init("local", num_cpus=usable_cpus(), include_dashboard=False, **quietly)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "nodes": {
                node.name: {"cpu": node.facts.cpu, "gpu": node.facts.gpu, "cpus": node.cpus} for node in self.nodes
            }
        }

    def check(self, plan: Plan) -> None:
        """Look at every node: the same package, the same clips, and room for a task.

        Raises:
            DataError, RuntimeUnavailable: something is missing there, or cannot be done on a cluster.
        """
        if AUTO in plan.runtimes:
            raise DataError("--on ray: --runtimes auto measures speed to choose by it: name the runtimes")
        here = ray_node.node_facts(plan.addresses)
        self.nodes = self._nodes(plan)
        for node in self.nodes:
            _same(here, node)
        threads = plan.resources.threads or usable_cpus()
        if not any(node.cpus >= threads for node in self.nodes):
            most = max(node.cpus for node in self.nodes)
            raise DataError(f"--on ray: no node has {threads} cores for a task: give --threads {most:g} or fewer")

    def quality(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        models = {model.source.name: model for model in work.plan.models}
        read = [task for task in tasks if models[task.model].rendered is not None]
        yield from LocalEngine().quality(work, read) if read else ()  # they lie here
        sent = [task for task in tasks if task not in read]
        first = next((task.model for task in sent), "")
        run = self._remote(ray_node.run_quality, work.plan, work.plan.resources.threads or usable_cpus())
        shared, vgg, refs = self._put(work, {task.model for task in sent})
        pending = {
            run.remote(task, shared, refs[task.model], vgg, task.clip in work.drawn or task.model != first): task
            for task in sent
        }
        yield from self._taken(work, pending)
        self._draw_content(work)

    def speed(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        kind, _ = Counter(node.facts.kind for node in self.nodes).most_common(1)[0]
        nodes = [node for node in self.nodes if node.facts.kind == kind]
        by_model: dict[str, list[Task]] = {}
        for task in tasks:
            by_model.setdefault(task.model, []).append(task)
        shared, vgg, refs = self._put(work, by_model)
        pending = {}
        for number, (model, own) in enumerate(by_model.items()):
            node = nodes[number % len(nodes)]
            # All cores of the node: nothing else of Ray runs there meanwhile.
            place = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.key, soft=False)
            run = self._remote(ray_node.run_speed, work.plan, node.cpus).options(scheduling_strategy=place)
            done = [outcome for task, outcome in work.journal.done.items() if task.clip]
            needed = [outcome for outcome in done if outcome.task.model in _with_origin(work.plan, model)]
            pending[run.remote(own, shared, refs[model], vgg, needed, node.name)] = own[0]
        yield from self._taken(work, pending)

    def _nodes(self, plan: Plan) -> list[Node]:
        """All nodes, asked."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self.ray.remote(num_cpus=0, max_retries=0)(ray_node.node_facts)
        clips = self.ray.put([address.absolute() for address in plan.addresses])
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        asked = [
            ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(clips)
            for node in alive
        ]
        found = []
        for node, answer in zip(alive, asked, strict=True):
            name = node["NodeManagerHostname"]
            try:
                facts = self.ray.get(answer, timeout=PROBE)
            except Exception as error:  # whatever it is that is not there
                raise RuntimeUnavailable(
                    f"--on ray: node {name} does not run this version of reconet-bench: {_first_line(error)}"
                ) from None
            found.append(Node(node["NodeID"], name, node["Resources"].get("CPU", 0.0), facts))
        return found

    def _remote(self, function: Any, plan: Plan, cpus: float) -> Any:
        on_gpu = pick_device(plan.resources.device).type == "cuda"
        return self.ray.remote(num_cpus=cpus, num_gpus=int(on_gpu), max_retries=RETRIES, retry_exceptions=[OSError])(
            function
        )

    def _put(self, work: Comparison, names: Collection[str]) -> tuple[Any, Any, dict[str, Any]]:
        """What tasks need, in Ray's object store: a node fetches each thing once."""
        plan = work.plan
        device = str(pick_device(plan.resources.device))
        resources = Resources(device.partition(":")[0], plan.resources.threads or usable_cpus())
        common = dataclasses.replace(
            plan,
            models=[],
            clips=[],
            resources=resources,
            content=ContentFrames(),
            album_frames=plan.shown_frames,
            addresses=[address.absolute() for address in plan.addresses],
        )
        threads = plan.resources.threads or torch.get_num_threads()
        weights = find_weights(plan.vgg)
        vgg = SentFile.of(weights) if weights is not None and weights.is_file() else None
        models = {
            model.source.name: SentModel.of(model, plan.runtimes) for model in plan.models if model.source.name in names
        }
        put = self.ray.put
        return (
            put(Shared(common, threads, work.result.run, work.result.time)),
            put(vgg),
            {name: put(model) for name, model in models.items()},
        )

    def _taken(self, work: Comparison, pending: dict[Any, Task]) -> Iterator[Outcome]:
        """The outcomes as they come."""
        while pending:
            (ready, *_), _ = self.ray.wait(list(pending), num_returns=1)
            task = pending.pop(ready)
            returned = self._get(ready, task)
            _write(work.plan.frames_folder, returned.frames)
            _write(work.plan.pictures_folder, returned.pictures)
            for outcome in returned.outcomes:
                outcome.add_to(work.result)
                work.report(str(outcome.task))
                yield outcome

    def _get(self, ready: Any, task: Task) -> Returned:
        try:
            returned: Returned = self.ray.get(ready)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ReconetBenchError):
                raise error.cause from None
            if isinstance(error.cause, OSError):
                raise DataError(f"{task}: {error.cause.strerror or error.cause}") from None
            raise
        except self.ray.exceptions.RayError as error:
            raise RuntimeUnavailable(f"{task}: lost {RETRIES + 1} times: {_first_line(error)}") from None
        return returned

    def _draw_content(self, work: Comparison) -> None:
        """The content of clips whose first model failed."""
        album = work.album()
        if album is None:
            return
        for clip in work.plan.clips:
            if any(key.video == clip.title for key in work.result.samples) and not album.has_content(clip):
                album.add_content(clip, work.plan.content.of(clip))


def _knock(address: str) -> None:
    """Raise OSError where nothing answers at an address, or it is none: Ray itself tries for half a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise OSError("give HOST:PORT, such as ray://head:10001")
    socket.create_connection((host, int(port)), ANSWER).close()


def _same(here: NodeFacts, node: Node) -> None:
    """Raise where a node is not fit for the same numbers as here."""
    for package, version in here.versions.items():
        if (other := node.facts.versions.get(package, "none")) != version:
            raise RuntimeUnavailable(f"--on ray: node {node.name} has {package} {other}, and here is {version}")
    if node.facts.commit != here.commit:
        raise RuntimeUnavailable(f"--on ray: node {node.name} has another commit of reconet-bench")
    for title, expected in here.clips.items():
        if (found := node.facts.clips[title]) != expected:
            why = "another clip of that name is there" if found.startswith("sha256:") else found
            raise DataError(f"--on ray: node {node.name} does not have {title} as it is here: {why}")


def _with_origin(plan: Plan, name: str) -> set[str]:
    """A model, and the network that it was exported from."""
    model = next(model for model in plan.models if model.source.name == name)
    return {name, model.origin.name} if model.origin else {name}


def _write(folder: Path | None, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if folder is not None:
            with atomic_path(folder / name) as path:
                path.write_bytes(content)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
