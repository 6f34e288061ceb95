"""What runs on the nodes of a Ray cluster: a task of a comparison, by the very code that runs it here."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.engine import Comparison, LocalEngine
from reconet_bench.benchmark.journal import Journal
from reconet_bench.benchmark.plan import ComparisonResult, Plan
from reconet_bench.benchmark.task import Outcome, Task
from reconet_bench.core.machine import cpu_threads
from reconet_bench.core.sent_files import SentFile, read_folder
from reconet_bench.data.clip import Clip
from reconet_bench.data.selection import ClipAddress
from reconet_bench.models.sent_model import SentModel


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
        return Returned(outcomes, read_folder(work.plan.frames_folder), read_folder(work.plan.pictures_folder))


def run_speed(
    tasks: Collection[Task], shared: Shared, sent: SentModel, vgg: SentFile | None, done: Sequence[Outcome]
) -> Returned:
    """The speed of a model at all frame sizes.

    Args:
        done: outcomes of its quality, and of the network that it was exported from.
    """
    with tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
        titles = [address.title for address in shared.plan.addresses]
        work = _work(shared, sent, vgg, titles, Path(folder))
        for outcome in done:
            work.journal.done[outcome.task] = outcome
            work.result.samples |= outcome.samples
        return Returned(list(LocalEngine().speed(work, tasks)))


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
