"""The tasks of a comparison on a Ray cluster."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from reconet_bench.benchmark import ray_node
from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.engine import Comparison, Engine, LocalEngine
from reconet_bench.benchmark.plan import Plan
from reconet_bench.benchmark.ray_node import Returned, Shared
from reconet_bench.benchmark.task import Outcome, Task
from reconet_bench.core.cluster import Cluster
from reconet_bench.core.errors import DataError
from reconet_bench.core.machine import pick_device, usable_cpus
from reconet_bench.core.place import Call
from reconet_bench.core.sent_files import write_folder
from reconet_bench.data.fingerprints import fingerprints
from reconet_bench.models.sent_model import SentModel, sent_loss_network
from reconet_bench.runtimes.selection import AUTO, Resources


@dataclass
class RayEngine(Engine):
    """A cluster as an engine. Use it in a ``with`` block, which leaves the cluster."""

    cluster: Cluster = field(default_factory=Cluster)

    def __enter__(self) -> Self:
        self.cluster.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.__exit__()

    @property
    def facts(self) -> dict[str, Any]:
        return self.cluster.facts

    def check(self, plan: Plan) -> None:
        """Look at every node: the same package, the same clips, and room for a task.

        Raises:
            DataError, RuntimeUnavailable: something is missing there, or cannot be done on a cluster.
        """
        if AUTO in plan.runtimes:
            raise DataError("--on ray: --runtimes auto measures speed to choose by it: name the runtimes")
        addresses = [address.absolute() for address in plan.addresses]
        self.cluster.check(functools.partial(fingerprints, addresses), _cores(plan))

    def quality(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        models = {model.source.name: model for model in work.plan.models}
        read = [task for task in tasks if models[task.model].rendered is not None]
        yield from LocalEngine().quality(work, read) if read else ()  # they lie here
        sent = [task for task in tasks if task not in read]
        first = next((task.model for task in sent), "")
        shared, vgg, refs = self._put(work, {task.model for task in sent})
        calls = [
            Call(
                str(task),
                "",
                ray_node.run_quality,
                (task, shared, refs[task.model], vgg, task.clip in work.drawn or task.model != first),
                _cores(work.plan),
                _on_gpu(work.plan),
            )
            for task in sent
        ]
        yield from self._taken(work, calls)
        self._draw_content(work)

    def speed(self, work: Comparison, tasks: Collection[Task]) -> Iterator[Outcome]:
        by_model: dict[str, list[Task]] = {}
        for task in tasks:
            by_model.setdefault(task.model, []).append(task)
        shared, vgg, refs = self._put(work, by_model)
        nodes = self.cluster.alike(_cores(work.plan))
        calls = []
        for model, own in by_model.items():
            done = [outcome for task, outcome in work.journal.done.items() if task.clip]
            needed = [outcome for outcome in done if outcome.task.model in _with_origin(work.plan, model)]
            arguments = (own, shared, refs[model], vgg, needed)
            # All cores of a node: nothing else of Ray runs there meanwhile.
            calls.append(Call(str(own[0]), "", ray_node.run_speed, arguments, nodes[0].cpus, _on_gpu(work.plan), nodes))
        yield from self._taken(work, calls, named=True)

    def _put(self, work: Comparison, names: Collection[str]) -> tuple[Any, Any, dict[str, Any]]:
        """What tasks need, in Ray's object store: a node fetches each thing once."""
        plan = work.plan
        device = str(pick_device(plan.resources.device))
        common = dataclasses.replace(
            plan,
            models=[],
            clips=[],
            resources=Resources(device.partition(":")[0], _cores(plan)),
            content=ContentFrames(),
            album_frames=plan.shown_frames,
            addresses=[address.absolute() for address in plan.addresses],
        )
        threads = plan.resources.threads or torch.get_num_threads()
        models = {
            model.source.name: SentModel.of(model, plan.runtimes) for model in plan.models if model.source.name in names
        }
        put = self.cluster.put
        return (
            put(Shared(common, threads, work.result.run, work.result.time)),
            put(sent_loss_network(plan.vgg)),
            {name: put(model) for name, model in models.items()},
        )

    def _taken(self, work: Comparison, calls: Iterable[Call[str]], named: bool = False) -> Iterator[Outcome]:
        """The outcomes as they come.

        Args:
            named: whether every row names the node that it comes from.
        """
        for _, node, value in self.cluster.each(calls):
            returned: Returned = value
            write_folder(work.plan.frames_folder, returned.frames)
            write_folder(work.plan.pictures_folder, returned.pictures)
            for outcome in returned.outcomes:
                if named:
                    outcome.records = [dataclasses.replace(record, node=node) for record in outcome.records]
                outcome.add_to(work.result)
                work.report(str(outcome.task))
                yield outcome

    def _draw_content(self, work: Comparison) -> None:
        """The content of clips whose first model failed."""
        album = work.album()
        if album is None:
            return
        for clip in work.plan.clips:
            if any(key.video == clip.title for key in work.result.samples) and not album.has_content(clip):
                album.add_content(clip, work.plan.content.of(clip))


def _cores(plan: Plan) -> int:
    """Cores that a task takes."""
    return plan.resources.threads or usable_cpus()


def _on_gpu(plan: Plan) -> bool:
    return pick_device(plan.resources.device).type == "cuda"


def _with_origin(plan: Plan, name: str) -> set[str]:
    """A model, and the network that it was exported from."""
    model = next(model for model in plan.models if model.source.name == name)
    return {name, model.origin.name} if model.origin else {name}
