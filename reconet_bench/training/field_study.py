"""The equal-style study: every objective from one trunk, its temporal weight set so that the style is the baseline's.

Each point (a method with a factor of its temporal weights) is a training in a process and run folder of its own, as in
a fleet. What comes next follows from what was measured alone, so a study that was killed goes on by being run again.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from reconet_bench.core.errors import ReconetBenchError, TrainingError
from reconet_bench.training.field_objectives import BASELINE, Objective
from reconet_bench.training.field_plan import Trial, equal_style, next_factor
from reconet_bench.training.fleet import (
    EVERY,
    IN_USE,
    FleetModel,
    finished,
    progress_of,
    step_of,
    train_model,
    when_free,
)
from reconet_bench.training.processes import Processes, Runner, places
from reconet_bench.training.run_folder import STATE_FILE
from reconet_bench.training.signals import stopping

#: Seconds at the end of a time limit for tables and plot.
_CLOSING = 10.0
#: Share of a training after which its pace tells when it ends: before, most of its time is that of starting.
_TELLING = 0.2


@dataclass(frozen=True)
class Limits:
    """What a study may take.

    Attributes:
        points: trained points of each method at most.
        jobs: trainings at the same time.
        parallel: how many of these the machine runs as fast as one alone.
        threads: CPU threads of each; 0: its share.
        ends: when to end, as ``time.monotonic`` counts; 0: when all is done.
        costs: seconds that a point takes alone, by method, as far as it is known before.
    """

    points: int = 4
    jobs: int = 1
    parallel: int = 1
    threads: int = 0
    ends: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)


@dataclass
class Course:
    """How a method went.

    Attributes:
        points: style distance of each trained point by its factor, in the order of training.
        runs: run folder of each.
        ended: why no further point was trained; empty if all that were wanted are there.
        failed: whether that reason is a failure.
    """

    objective: Objective
    points: dict[float, float] = field(default_factory=dict)
    runs: dict[float, Path] = field(default_factory=dict)
    ended: str = ""
    failed: bool = False

    def trials(self, baseline: float) -> list[Trial]:
        """The points as trials, given the style distance of the baseline."""
        return [Trial(factor, style / baseline) for factor, style in self.points.items()]

    def chosen(self, baseline: float) -> Trial | None:
        """The point to report, see :func:`~reconet_bench.training.field_plan.equal_style`."""
        return equal_style(self.trials(baseline))


@dataclass(frozen=True)
class _Job:
    course: Course
    factor: float
    model: FleetModel
    began: float
    fresh: bool


def trained_model(run: Path) -> Path:
    """The checkpoint in the run folder of a finished training."""
    return next(path for path in sorted(run.glob("*.safetensors")) if path.name != STATE_FILE)


def run_field(
    objectives: Sequence[Objective],
    arguments: Sequence[str],
    folder: Path,
    judge: Callable[[Path], float],
    limits: Limits,
    report: Callable[[str], None] = lambda text: None,
    runner: Runner | None = None,
) -> list[Course]:
    """Train and measure the points of every method; returns how each went, also after an interruption.

    Args:
        objectives: the baseline first.
        arguments: words of ``reconet-bench train`` for all.
        folder: gets a run folder for each point; what is finished there is not trained again.
        judge: measures a finished run folder; returns its style distance.
        report: called with lines about the progress.

    Raises:
        TrainingError: the baseline failed, so that nothing can be compared.
        KeyboardInterrupt: with the courses in :attr:`Interrupted.courses`, on Ctrl-C or SIGTERM.
    """
    jobs = max(1, limits.jobs)
    threads = {"OMP_NUM_THREADS": str(limits.threads)} if limits.threads else {}
    running = runner or Processes([{**place, **threads} for place in places(jobs, arguments)])
    study = _Study([Course(one) for one in objectives], list(arguments), folder, limits, report, running)
    with stopping(running.signal) as stop, ThreadPoolExecutor(jobs) as pool:
        study.run(pool, judge, lambda: stop.asked)
    if stop.asked:
        raise Interrupted(study.courses)
    if study.courses[0].failed:
        raise TrainingError(f"{BASELINE}, which all are compared with, failed: {study.courses[0].ended}")
    return study.courses


class Interrupted(KeyboardInterrupt):
    """A study was asked to stop; what was measured by then."""

    def __init__(self, courses: Sequence[Course]) -> None:
        super().__init__("stopped: run the same study again to continue")
        self.courses = courses


class _Study:
    """A study at work."""

    def __init__(
        self,
        courses: list[Course],
        arguments: list[str],
        folder: Path,
        limits: Limits,
        report: Callable[[str], None],
        running: Runner,
    ) -> None:
        self.courses, self._arguments, self._folder, self._limits = courses, arguments, folder, limits
        self._report, self._running = report, running
        self._costs = dict(limits.costs)
        self._pace = max(1.0, limits.jobs / limits.parallel)  # jobs beside one another share the machine
        self._over = False
        self._said = time.monotonic()

    def run(self, pool: ThreadPoolExecutor, judge: Callable[[Path], float], asked: Callable[[], bool]) -> None:
        """Train until nothing is left, the time is over, or it is asked to stop."""
        futures: dict[Future[str], _Job] = {}
        while True:
            while not self._stopping(asked) and len(futures) < self._limits.jobs:
                job = self._next([job.course for job in futures.values()])
                if job is None:
                    break
                futures[pool.submit(self._train, job, asked)] = job
            if not futures:
                break
            done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
            if self._late(0.0) and not self._stopping(asked):
                self._stop("the time was over")
            for future in done:
                self._finish(futures.pop(future), future.result(), judge, self._stopping(asked))
            self._progress(list(futures.values()))
        for course in self.courses:
            if self._stopping(asked) and not course.ended and self._wanted(course) is not None:
                course.ended = "the time was over" if self._over else "interrupted"

    def _stopping(self, asked: Callable[[], bool]) -> bool:
        return self._over or asked()

    def _stop(self, why: str) -> None:
        self._report(f"{why}: trainings that are not finished save their state")
        self._over = True
        self._running.signal(signal.SIGTERM)

    def _wanted(self, course: Course) -> float | None:
        """The factor that a method is to be trained with next."""
        baseline = self.courses[0].points
        if not course.objective.terms or not course.points:
            return None if course.points else 1.0
        return next_factor(course.trials(next(iter(baseline.values()))), self._limits.points) if baseline else None

    def _next(self, busy: Sequence[Course]) -> _Job | None:
        """The next point: of the method with the fewest, so that all methods have some if the time ends early."""
        for course in sorted(self.courses, key=lambda course: len(course.points)):
            if course.ended or any(course is one for one in busy):
                continue
            factor = self._wanted(course)
            if factor is None:
                continue
            model = course.objective.at(factor)
            fresh = not finished(self._folder / model.name)
            if fresh and self._late(self._seconds(course)):
                course.ended = "the time was over"
                continue
            return _Job(course, factor, model, time.monotonic(), fresh)
        return None

    def _seconds(self, course: Course) -> float:
        """How long a point of a method will take, as far as it is known."""
        usual = sum(self._costs.values()) / max(1, len(self._costs))
        return self._pace * self._costs.get(course.objective.name, usual)

    def _late(self, seconds: float) -> bool:
        return bool(self._limits.ends) and time.monotonic() + seconds > self._limits.ends - _CLOSING

    def _train(self, job: _Job, asked: Callable[[], bool]) -> str:
        run = self._folder / job.model.name
        run.mkdir(parents=True, exist_ok=True)
        if not when_free(run, lambda: self._stopping(asked)):
            return IN_USE
        return train_model(job.model, self._arguments, self._folder, self._running)

    def _finish(self, job: _Job, reason: str, judge: Callable[[Path], float], stopping: bool) -> None:
        course, run, name = job.course, self._folder / job.model.name, job.model.name
        if finished(run):
            try:
                course.points[job.factor] = judge(run)
                course.runs[job.factor] = run
            except ReconetBenchError as error:
                reason = str(error)
            else:
                style, beside = course.points[job.factor], self._beside(course, job.factor)
                self._report(f"{name}: style distance {style:.4f}{beside}")
                self._learn(job)
                return
        elif stopping:
            return
        course.ended, course.failed = f"{name}: {reason or 'it wrote no model'}", True
        self._report(f"{course.ended}; {course.objective.name} ends here")
        if course is self.courses[0]:
            self._stop(f"{BASELINE} failed")

    def _beside(self, course: Course, factor: float) -> str:
        baseline = next(iter(self.courses[0].points.values()), None)
        if baseline is None or course is self.courses[0]:
            return ""
        trial = Trial(factor, course.points[factor] / baseline)
        return f", {100 * (trial.ratio - 1):+.1f} % to {BASELINE}{' (equal)' if trial.fits else ''}"

    def _learn(self, job: _Job) -> None:
        """What a point took in fact, beside what was expected, says what the next ones will take."""
        if job.fresh:
            taken, name = time.monotonic() - job.began, job.course.objective.name
            expected = self._costs.setdefault(name, taken / self._pace)
            self._pace += 0.5 * (taken / expected - self._pace)

    def _progress(self, jobs: Sequence[_Job]) -> None:
        if not jobs or time.monotonic() - self._said < EVERY:
            return
        self._said = time.monotonic()
        done = sum(len(course.points) for course in self.courses)
        open_ = [course for course in self.courses if not course.ended and self._open(course)]
        slower = sum(map(self._slower, jobs)) / len(jobs)
        left = slower * sum(self._seconds(course) * self._open(course) for course in open_)
        left -= sum(min(self._said - job.began, slower * self._seconds(job.course)) for job in jobs)
        total = done + sum(self._open(course) for course in open_)
        line = "   ".join(progress_of(self._folder, job.model) for job in jobs)
        about = f", about {max(1.0, left / 60 / self._limits.jobs):.0f} min left" if self._costs else ""
        self._report(f"{done} of at most {total} points{about}   {line}")

    def _slower(self, job: _Job) -> float:
        """How many times as long as expected a training takes, as far as it has come; at least 1."""
        share = step_of(self._folder, job.model) / job.model.recipe["steps"]
        whole = (self._said - job.began) / (share if share > _TELLING else 1.0)
        return max(1.0, whole / (self._seconds(job.course) or math.inf))

    def _open(self, course: Course) -> int:
        """How many points of a method may still come."""
        if not course.objective.terms:
            return 0 if course.points else 1
        return max(0, self._limits.points - len(course.points))
