"""Every error a user can cause, as one tree.

The command line turns any of these into one line on standard error and exit code 2; a library
user can catch :class:`ReconetBenchError` and be sure that nothing was left half-written.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReconetBenchError(Exception):
    """Base of all errors with a cause outside this package. The message says what, where, what to do."""


class DataError(ReconetBenchError):
    """A file or folder of frames, flow or masks is missing, broken or of the wrong size."""


class ModelError(ReconetBenchError):
    """A checkpoint or an ONNX file cannot be used as a style-transfer model."""


class RuntimeUnavailable(ReconetBenchError):
    """A runtime is not installed, has no device here, or did not run where it was asked to."""


class MetricUnavailable(ReconetBenchError):
    """A metric cannot be computed on this clip or model; the message is the reason."""


class TrainingError(ReconetBenchError):
    """Training cannot start or had to stop; the message names the step and what to do."""


class UnknownName(ReconetBenchError):
    """A name that is not among the known ones; suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        super().__init__(f"unknown {kind} '{name}': {hint}known: {', '.join(known) or 'none'}")
