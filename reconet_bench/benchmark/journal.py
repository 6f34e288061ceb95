"""The journal of a comparison: a line for each finished task with all that came of it, so that a run can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from reconet_bench.benchmark.first_frame import FirstFrame
from reconet_bench.benchmark.task import Outcome, Task
from reconet_bench.core.errors import DataError
from reconet_bench.core.files import write_text
from reconet_bench.core.record import Record
from reconet_bench.core.samples import SampleKey, TimedFrame
from reconet_bench.core.size import Size
from reconet_bench.report.run_folder import JOURNAL

#: Version of its lines.
FORMAT = 1


@dataclass(frozen=True)
class Head:
    """The first line: which run it is, in whose name every row is written.

    Attributes:
        run, time: as every record of the run has them.
    """

    run: str
    time: str
    format: int = FORMAT


@dataclass
class Journal:
    """What is finished of a comparison; kept in a file where there is one.

    Attributes:
        head: which run it is; ``None`` where nothing is kept.
        path: of the file.
        done: what came of each finished task.
        on_add: told that one more is finished.
    """

    head: Head | None = None
    path: Path | None = None
    done: dict[Task, Outcome] = field(default_factory=dict)
    on_add: Callable[[], None] = lambda: None
    _unsaved: list[Outcome] = field(default_factory=list, repr=False)
    _begun: bool = field(default=False, repr=False)

    def add(self, outcome: Outcome) -> None:
        """Note that a task is finished; :meth:`save` writes it."""
        self.done[outcome.task] = outcome
        self._unsaved.append(outcome)
        self.on_add()

    def save(self) -> None:
        """Write what is new; the first time everything, in place of what the file held."""
        if self.path is None or self.head is None or not self._unsaved:
            return
        if self._begun:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(map(_line, self._unsaved))
        else:
            head = json.dumps(asdict(self.head)) + "\n"
            write_text(self.path, head + "".join(map(_line, self.done.values())))
            self._begun = True
        self._unsaved.clear()

    def runtimes(self, model: str) -> list[str] | None:
        """The runtimes that ran a model on every clip that it was measured on; ``None`` where it was on none."""
        ran = [outcome.runtimes for task, outcome in self.done.items() if task.model == model and task.clip]
        return [name for name in ran[0] if all(name in others for others in ran)] if ran else None

    def first_frames(self, model: str) -> dict[tuple[str, Size], FirstFrame]:
        """What the first frames of a model took, by runtime and size."""
        return {
            (runtime, Size(*outcome.records[0].size)): first
            for task, outcome in self.done.items()
            if task.model == model and outcome.records
            for runtime, first in outcome.first.items()
        }


def read_journal(folder: Path) -> Journal:
    """The journal of a run folder. A line that was cut off in the middle is no finished task.

    Raises:
        DataError: there is none, or it is not one of this version.
    """
    path = folder / JOURNAL
    if not (folder / "records.jsonl").is_file():
        raise DataError(f"--resume {folder}: not a run folder of compare")
    if not path.is_file():
        raise DataError(f"--resume {folder}: nothing to go on with: the run is complete, or of an older version")
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        head = msgspec.convert(json.loads(first), Head)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise DataError(f"--resume {folder}: {JOURNAL} cannot be read: {error}") from None
    if head.format != FORMAT:
        raise DataError(f"--resume {folder}: {JOURNAL} was written by another version of reconet-bench")
    journal = Journal(head, path)
    for line in lines:
        try:
            outcome = msgspec.convert(json.loads(line), _Line, str_keys=True).outcome()
        except (ValueError, msgspec.ValidationError):
            continue
        journal.done[outcome.task] = outcome
    return journal


@dataclass
class _Line:
    """An outcome as JSON has it."""

    task: Task
    records: list[Record]
    samples: list[tuple[SampleKey, dict[int, float]]]
    timings: list[TimedFrame]
    skipped: list[str]
    warnings: list[str]
    chosen: list[str]
    runtimes: list[str]
    first: dict[str, FirstFrame]
    pixels: str

    def outcome(self) -> Outcome:
        return Outcome(**{**vars(self), "samples": dict(self.samples)})


def line_bytes(outcome: Outcome) -> int:
    """Bytes that the line of an outcome takes."""
    return len(_line(outcome))


def _line(outcome: Outcome) -> str:
    samples: Sequence[tuple[Any, Mapping[int, float]]] = [(asdict(key), {**v}) for key, v in outcome.samples.items()]
    plain = {name: value for name, value in vars(outcome).items() if name != "samples"}
    return json.dumps({**asdict(Outcome(**plain)), "samples": samples}) + "\n"
