"""What runs on the nodes of a Ray cluster: a task of a comparison, by the very code that runs it here."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.engine import Comparison, LocalEngine
from reconet_bench.benchmark.journal import Journal
from reconet_bench.benchmark.plan import ComparisonResult, Plan
from reconet_bench.benchmark.task import Outcome, Task
from reconet_bench.core.errors import DataError, ReconetBenchError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.machine import cache_folder, cpu_name, cpu_threads
from reconet_bench.core.ops import to_uint8
from reconet_bench.core.provenance import commit, external_files, versions
from reconet_bench.data.clip import Clip
from reconet_bench.data.selection import ClipAddress
from reconet_bench.models.loading import Model
from reconet_bench.runtimes.base import RUNTIMES


@dataclass(frozen=True)
class SentFile:
    """A file by its checksum, with what is in it."""

    checksum: str
    suffix: str
    content: bytes

    @classmethod
    def of(cls, path: Path) -> SentFile:
        """A file of this machine."""
        content = path.read_bytes()
        return cls(hashlib.sha256(content).hexdigest(), path.suffix, content)

    def received(self) -> Path:
        """Where it is kept on this machine: written once, in the cache folder."""
        path = cache_folder() / "received" / f"{self.checksum}{self.suffix}"
        if not path.is_file() or path.stat().st_size != len(self.content):
            with atomic_path(path) as temporary:
                temporary.write_bytes(self.content)
        return path


@dataclass(frozen=True)
class SentModel:
    """A model as it travels: with its network, and the ONNX file where a runtime takes it."""

    model: Model
    onnx: SentFile | None = None

    @classmethod
    def of(cls, model: Model, runtimes: Sequence[str]) -> SentModel:
        """A model of this machine.

        Raises:
            DataError: it does not consist of one file.
        """
        source, name = model.source, model.source.name
        if source.python is not None:
            raise DataError(f"'{name}' is a model in Python, which runs on this machine alone: leave out --on")
        file = None
        if source.network is None or not all(RUNTIMES[runtime].from_network for runtime in runtimes):
            import onnx

            if external_files(onnx.load(str(source.onnx()), load_external_data=False)):
                raise DataError(f"'{name}' has its weights in files beside it, and is not sent: leave out --on")
            file = SentFile.of(source.onnx())
        origin = model.origin and dataclasses.replace(model.origin, onnx=Path)
        bare = dataclasses.replace(model, source=dataclasses.replace(source, onnx=Path), origin=origin, curves="")
        return cls(bare, file)

    def received(self) -> Model:
        """The model on this machine."""
        if self.onnx is None:
            return self.model
        source = dataclasses.replace(self.model.source, onnx=functools.partial(Path, str(self.onnx.received())))
        return dataclasses.replace(self.model, source=source)


@dataclass
class Shared:
    """What all tasks of a comparison have in common.

    Attributes:
        plan: without models, and with addresses instead of clips; its folders say only whether frames and pictures are
            wanted.
        threads: of the metrics, whose last bits depend on it.
        run, time: as every record has them.
    """

    plan: Plan
    threads: int
    run: str
    time: str


@dataclass(frozen=True)
class Returned:
    """What comes back: outcomes, and files by their place below the folder of frames or of pictures."""

    outcomes: list[Outcome]
    frames: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeFacts:
    """What a node is.

    Attributes:
        clips: fingerprint of each clip by title, or why there is none.
    """

    versions: dict[str, str]
    commit: str
    cpu: str
    gpu: str
    clips: dict[str, str]

    @property
    def kind(self) -> tuple[str, str]:
        """Nodes of one kind are equally fast."""
        return self.cpu, self.gpu


def node_facts(addresses: Sequence[ClipAddress]) -> NodeFacts:
    """What this machine is, and whether it has the clips."""
    import torch

    found = {}
    for address in addresses:
        try:
            found[address.title] = fingerprint(address.clip())
        except (ReconetBenchError, OSError) as error:
            found[address.title] = str(error)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return NodeFacts(versions(), str(commit().get("commit", "")), cpu_name(), gpu, found)


def fingerprint(clip: Clip) -> str:
    """A checksum that tells clips apart by what is quickly read: number and size of the frames, and the first one."""
    clip.check(range(len(clip)))
    digest = hashlib.sha256(repr((len(clip), *clip.size, clip.flow, clip.digest)).encode())
    digest.update(to_uint8(clip.frame(0))[0].tobytes())
    return f"sha256:{digest.hexdigest()}"


@dataclass
class _Kept:
    """What a process keeps between tasks: the clips of the last comparison that it worked for, and their frames."""

    run: str = ""
    clips: dict[ClipAddress, Clip] = field(default_factory=dict)
    content: ContentFrames = field(default_factory=ContentFrames)

    def clip(self, shared: Shared, address: ClipAddress) -> Clip:
        """A clip, looked up once."""
        if shared.run != self.run:
            self.run, self.clips, self.content = shared.run, {}, ContentFrames()
        if address not in self.clips:
            self.clips[address] = address.clip()
        return self.clips[address]


_kept = _Kept()


def run_quality(task: Task, shared: Shared, sent: SentModel, vgg: SentFile | None, drawn: bool) -> Returned:
    """The quality of a model on a clip.

    Args:
        drawn: whether another task draws the content of the clip.
    """
    with tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
        work = _work(shared, sent, vgg, [task.clip], Path(folder))
        work.plan = dataclasses.replace(work.plan, rounds=0)
        work.drawn = {task.clip} if drawn else set()
        with cpu_threads(shared.threads):
            outcomes = list(LocalEngine().quality(work, [task]))
        return Returned(outcomes, _files(work.plan.frames_folder), _files(work.plan.pictures_folder))


def run_speed(
    tasks: Collection[Task], shared: Shared, sent: SentModel, vgg: SentFile | None, done: Sequence[Outcome], node: str
) -> Returned:
    """The speed of a model at all frame sizes; every row names the node.

    Args:
        done: outcomes of its quality, and of the network that it was exported from.
    """
    with tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
        titles = [address.title for address in shared.plan.addresses]
        work = _work(shared, sent, vgg, titles, Path(folder))
        for outcome in done:
            work.journal.done[outcome.task] = outcome
            work.result.samples |= outcome.samples
        outcomes = list(LocalEngine().speed(work, tasks))
    for outcome in outcomes:
        outcome.records = [dataclasses.replace(record, node=node) for record in outcome.records]
    return Returned(outcomes)


def _work(shared: Shared, sent: SentModel, vgg: SentFile | None, titles: Sequence[str], folder: Path) -> Comparison:
    """The part of a comparison that a task is."""
    clips = [_kept.clip(shared, address) for address in shared.plan.addresses if address.title in titles]
    part = dataclasses.replace(
        shared.plan,
        models=[sent.received()],
        clips=clips,
        content=_kept.content,
        vgg=vgg.received() if vgg else None,
        frames_folder=shared.plan.frames_folder and folder / "frames",
        pictures_folder=shared.plan.pictures_folder and folder / "pictures",
    )
    return Comparison(part, ComparisonResult(shared.run, shared.time), Journal())


def _files(folder: Path | None) -> dict[str, bytes]:
    """Everything in a folder."""
    if folder is None or not folder.is_dir():
        return {}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
