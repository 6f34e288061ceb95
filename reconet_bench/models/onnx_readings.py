"""Readings of an ONNX file: what a photograph becomes in each pair of value ranges, and which pair is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import BYTE, CAFFE, IMAGENET, LUMINANCE_CAMERA, SIGNED, UNIT, ValueRange
from reconet_bench.models.onnx_probe import OnnxProbe

#: A picture has at least this standard deviation, and at most this share of its values at or beyond black and white.
FLAT, SATURATED = 0.02, 0.5
#: Mean difference from which on two pictures are not the same.
_DIFFERENT = 0.02
#: Of outputs up to 255: from this share of negative values on they may be less their mean, and from this on they are.
_SOME_NEGATIVE, _MANY_NEGATIVE = 0.05, 0.15
#: Two readings whose structure is as near to the photograph's as this are equally likely.
_AS_NEAR = 0.02
_NOT_FINITE = "as no number"


@dataclass(frozen=True)
class Reading:
    """A pair of ranges, and what a photograph becomes in them.

    Attributes:
        picture: ``(1, 3, H, W)`` in [0, 1].
        fault: why it is no picture; empty if it is one.
        likeness: correlation of the edges of the picture with those of the photograph.
    """

    input: ValueRange
    output: ValueRange
    picture: np.ndarray
    fault: str
    likeness: float

    @property
    def options(self) -> str:
        """The options that ask for it."""
        return f"--input-range {self.input.name} --output-range {self.output.name}"

    @property
    def keys(self) -> str:
        """The keys of ``[frame]`` that ask for it."""
        return f'input_range = "{self.input.name}", output_range = "{self.output.name}"'

    @property
    def ranges(self) -> str:
        """In words."""
        return f"input {self.input.name} and output {self.output.name}"

    def far(self, other: Reading) -> bool:
        """Whether the pictures of the two are not the same."""
        return float(np.abs(self.picture - other.picture).mean()) > _DIFFERENT


class Ranges(NamedTuple):
    """What is known of the ranges of a file; ``None`` where nothing is."""

    input: ValueRange | None
    output: ValueRange | None


@dataclass(frozen=True)
class Choice:
    """The reading that is taken.

    Attributes:
        best: the reading.
        rivals: others that give a picture too, and another one.
        others: of those that contradict what is known, the ones that give a picture.
    """

    best: Reading
    rivals: Sequence[Reading]
    others: Sequence[Reading]

    def settle(self, path: Path, report: Callable[[str], None], guess: bool, description: str = "") -> Reading:
        """The best reading; doubts are told.

        Args:
            guess: if there are rivals, report them; else refuse the file.
            description: file whose ``[frame]`` should say the ranges; empty where options do.

        Raises:
            ModelError: there are rivals, and nothing may be guessed.
        """
        best = self.best
        if description:
            return self._settle_described(description, report, guess)
        if best.fault:
            names = " or ".join(dict.fromkeys(reading.input.name for reading in self.others))
            advice = (
                f"give --input-range {names}"
                if names
                else "give the --input-range and --output-range that it was trained with"
            )
            report(f"{path.name}: read as {best.ranges}, a test photograph comes out {best.fault}: {advice}")
        elif self.rivals and guess:
            names = " or ".join(dict.fromkeys(reading.options for reading in self.rivals))
            report(
                f"{path.name}: does not say its value range; read as {best.ranges}; "
                f"if the pictures look wrong, give {names}"
            )
        elif self.rivals:
            choices = ", or ".join(reading.options for reading in (best, *self.rivals))
            raise ModelError(
                f"{path}: does not say its value range, and several readings give a picture: give {choices} "
                f"(reconet-bench inspect {path.name} shows them side by side)"
            )
        return best

    def _settle_described(self, description: str, report: Callable[[str], None], guess: bool) -> Reading:
        """The same for a file that a description names."""
        best, place = self.best, f"{description}, [frame]"
        if best.fault:
            report(
                f"{place}: read as {best.ranges}, a test photograph comes out {best.fault}: "
                "give the input_range and output_range that it was trained with"
            )
        elif self.rivals:
            listed = (best, *self.rivals)
            choices = ", or ".join(one.keys for one in listed)
            if not guess:
                raise ModelError(f"{place}: several value ranges give a picture: give {choices}")
            report(f"{place}: no value range is said; taken is the first of: {choices}")
        return best


def choose(path: Path, probe: OnnxProbe, known: Ranges) -> Choice:
    """The reading that agrees with what is known; of several the one whose structure is nearest to the photograph's.

    Raises:
        ModelError: no numbers come out.
    """
    found = readings(probe, known)
    if all(reading.fault == _NOT_FINITE for reading in found):
        raise ModelError(
            f"{path}: the network returned NaN or infinity for a test photograph in every value range tried"
        )
    possible = [reading for reading in found if known.input in (None, reading.input)]
    sane = [reading for reading in possible if not reading.fault] or possible
    near = max(reading.likeness for reading in sane) - _AS_NEAR
    likely = [reading for reading in sane if reading.likeness >= near]
    best = min(likely, key=lambda reading: reading.input != reading.output)  # networks mostly give what they take
    rivals = [reading for reading in possible if reading is not best and not reading.fault and reading.far(best)]
    others = [reading for reading in found if reading.input != best.input and not reading.fault]
    return Choice(best, [] if best.fault else rivals, others)


def readings(probe: OnnxProbe, known: Ranges, only_known: bool = False) -> list[Reading]:
    """What a photograph becomes in every pair of ranges that may be meant; the input that is known is among them.

    Args:
        only_known: try no other input than the one that is known.
    """
    found: list[Reading] = []
    inputs = [] if only_known else [UNIT, BYTE, SIGNED, IMAGENET]
    if known.input is not None and known.input not in inputs:
        inputs.append(known.input)
    for values in inputs:
        found += _read(probe, values, known.output)
    if CAFFE not in inputs and not only_known:
        # Blue first is not to be told from red first by a picture: it is meant where colours less their mean come out.
        found += [reading for reading in _read(probe, CAFFE, known.output) if reading.output == CAFFE]
    return found


def _read(probe: OnnxProbe, values: ValueRange, known: ValueRange | None) -> list[Reading]:
    raw = probe.show(values)
    if not np.isfinite(raw).all():
        return [Reading(values, known or UNIT, np.zeros_like(raw), _NOT_FINITE, -1.0)]
    return [_reading(probe, values, output, raw) for output in ([known] if known else _looks_like(raw))]


def _reading(probe: OnnxProbe, values: ValueRange, output: ValueRange, raw: np.ndarray) -> Reading:
    picture = output.decode(torch.from_numpy(np.ascontiguousarray(raw))).numpy()
    extreme = float(((picture <= 0.002) | (picture >= 0.998)).mean())
    picture = picture.clip(0, 1)
    fault = ""
    if extreme > SATURATED:
        fault = f"{100 * extreme:.0f} % black or white"
    elif float(picture.std(axis=(0, 2, 3)).max()) < FLAT:
        fault = "as one even colour"
    return Reading(values, output, picture, fault, _likeness(picture, probe.photograph))


def _looks_like(raw: np.ndarray) -> list[ValueRange]:
    """The ranges that outputs may lie in, a few strays aside, the likeliest first."""
    low, high = (float(value) for value in np.percentile(raw, (0.5, 99.5)))
    if low < -8 or high > 4:
        negative = float((raw < 0).mean())
        if negative < _SOME_NEGATIVE:
            return [BYTE]
        return [CAFFE] if negative > _MANY_NEGATIVE else [BYTE, CAFFE]
    if low < -1.2 and high > 1.2:
        return [IMAGENET]
    return [SIGNED if low < -0.15 else UNIT]


def _likeness(picture: np.ndarray, photograph: np.ndarray) -> float:
    """Correlation of the steps of luminance from pixel to pixel, of two frames ``(1, 3, H, W)``."""
    edges = []
    for frame in (picture, photograph):
        grey = np.tensordot(LUMINANCE_CAMERA, frame[0], 1)
        edges.append(np.concatenate([np.diff(grey, axis=axis).ravel() for axis in (0, 1)]))
    if min(float(one.std()) for one in edges) == 0:
        return -1.0
    return float(np.corrcoef(edges[0], edges[1])[0, 1])
