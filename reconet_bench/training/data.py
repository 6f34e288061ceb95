"""Training data by name, and mixtures of it by weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reconet_bench.data.sintel import SintelClip, find_sintel, training_sequences
from reconet_bench.data.spool import footage_clips
from reconet_bench.data.windows import FITS, ClipWindows, Mixture, RandomScenes, Windows
from reconet_bench.errors import TrainingError, UnknownName
from reconet_bench.training.settings import TrainingSettings

SOURCES = ("synthetic", "sintel", "footage")


@dataclass(frozen=True)
class DataOptions:
    """Where training data is and how it is cut.

    Attributes:
        size: side of the training crops, pixels.
        textures: folder of photographs to render scenes from; ``None`` uses those in scikit-image's wheel.
        sintel, render_pass, split: see :mod:`reconet_bench.data.sintel`.
        fit: how frames of clips become square, see :class:`ClipWindows`.
        footage: videos, folders of frames, or folders that hold any number of either.
        flow, raft: estimator of the footage's motion, and its weights.
        report: told what takes its time.
    """

    size: int
    seed: int = 0
    textures: Path | None = None
    sintel: Path | None = None
    render_pass: str = "clean"
    split: str = "train"
    fit: str = "crop"
    footage: tuple[Path, ...] = ()
    flow: str = "dis"
    raft: Path | None = None
    report: Callable[[str], None] = lambda text: None


def training_data(text: str, options: DataOptions) -> Windows:
    """Training data by name (see :data:`SOURCES`), or a mixture by weight such as ``synthetic:2 sintel:1 footage:1``.

    Raises:
        UnknownName: no such data, or fit. DataError: nothing there to train on. TrainingError: the size is too small, or a
            weight is none.
    """
    if options.size < 32:
        raise TrainingError(f"size must be at least 32 pixels, got {options.size}")
    if options.fit not in FITS:
        raise UnknownName("fit", options.fit, FITS)
    weights = _weights(text)
    parts = {name: (_source(name, options), weight) for name, weight in weights.items()}
    return next(iter(parts.values()))[0] if len(parts) == 1 else Mixture(options.seed, parts)


def check_used(text: str, options: DataOptions) -> None:
    """Raises TrainingError where ``options`` name data that the mixture ``text`` does not train on."""
    weights = _weights(text)
    for option, given, source in (("footage", options.footage, "footage"), ("sintel", options.sintel, "sintel"),
                                  ("textures", options.textures, "synthetic"), ("raft", options.raft, "footage")):  # fmt: skip
        if given and source not in weights:
            raise TrainingError(f"--{option} has no use with --data {text}: give --data {source}, or a mixture with {source} in it")
    if options.raft and options.flow != "raft":
        raise TrainingError("--raft names weights for --flow raft: give both")


def _weights(text: str) -> dict[str, float]:
    """Weight by name; 1 where none is given."""
    weights: dict[str, float] = {}
    for word in text.split():
        name, colon, number = word.partition(":")
        if name not in SOURCES:
            raise UnknownName("training data", name, SOURCES)
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise TrainingError(f"data is NAME or NAME:WEIGHT with a weight above zero, got '{word}'")
        if name in weights:
            raise TrainingError(f"data names '{name}' twice")
        weights[name] = weight
    if not weights:
        raise UnknownName("training data", text, SOURCES)
    return weights


def _source(name: str, options: DataOptions) -> Windows:
    if name == "synthetic":
        return RandomScenes(options.size, options.seed, options.textures)
    if name == "sintel":
        root = find_sintel(options.sintel)
        names = training_sequences(root, options.render_pass, options.split)
        return ClipWindows(options.size, options.seed, [SintelClip(root, sequence, options.render_pass) for sequence in names], options.fit)
    if not options.footage:
        raise TrainingError("footage to train on is named by --footage DIR|FILE …: videos, or folders of videos or frames")
    clips = footage_clips(options.footage, options.size, options.flow, options.raft, options.report)
    return ClipWindows(options.size, options.seed, clips, options.fit)


def steps_of(settings: TrainingSettings, data: Windows, epochs: int, processes: int = 1) -> TrainingSettings:
    """``settings`` with the steps of so many epochs; as they are where ``epochs`` is 0.

    Args:
        processes: that train together: a step takes a batch of each.

    Raises:
        TrainingError: an epoch of data without end has no meaning.
    """
    if not epochs:
        return settings
    windows = data.describe().get("windows")
    if epochs < 0 or not isinstance(windows, int):
        raise TrainingError(f"epochs must be a number of passes over finite data, got {epochs} of {data.describe()['name']}: give --steps and --epochs 0")
    return replace(settings, steps=epochs * -(-windows // (settings.batch * processes)))
