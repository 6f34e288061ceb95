"""What a check is: it looks at one part of the installation, and says what is wrong and what to do."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from reconet_bench.core.registry import Registry

CHECKS: Registry[Check] = Registry("check", "reconet_bench.checks")


class Outcome(StrEnum):
    """How something stands."""

    OK = "ok"
    ABSENT = "not here"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        what: that was looked at.
        found: what was seen.
        remedy: what to do; empty where there is nothing to do.
        seconds: that it took.
    """

    what: str
    outcome: Outcome
    found: str
    remedy: str = ""
    seconds: float = 0.0


class Check(ABC):
    """Looks at one part of the installation.

    Attributes:
        title: of its lines, for people.
        order: where it stands among the others.
    """

    title: ClassVar[str]
    order: ClassVar[int] = 50

    @abstractmethod
    def findings(self, full: bool) -> Iterator[Finding]:
        """What it finds, as it goes; ``full`` looks at more and takes longer."""


def ok(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what, Outcome.OK, found)


def warning(what: str, found: str, remedy: str) -> Finding:
    """It works, but not all of it or not well."""
    return Finding(what, Outcome.WARNING, found, remedy)


def failed(what: str, found: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(what, Outcome.FAILED, found, remedy)


def absent(what: str, found: str, remedy: str = "") -> Finding:
    """It is not here, and need not be."""
    return Finding(what, Outcome.ABSENT, found, remedy)


def timed(check: Check, full: bool) -> Iterator[Finding]:
    """The findings of a check with their seconds; one that breaks is a finding too."""
    findings = check.findings(full)
    while True:
        start = time.perf_counter()
        try:
            found = next(findings, None)
        except Exception as error:  # whatever it is: the others go on
            said = str(error).strip().partition("\n")[0]
            found = failed(check.title, f"{type(error).__name__}: {said}", "report it with the block of --report")
            yield Finding(found.what, found.outcome, found.found, found.remedy, time.perf_counter() - start)
            return
        if found is None:
            return
        yield Finding(found.what, found.outcome, found.found, found.remedy, time.perf_counter() - start)
