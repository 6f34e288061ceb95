"""Training data by name, and mixtures of it by weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconet_bench.core.errors import DataError, TrainingError, UnknownName
from reconet_bench.core.ops import LUMINANCE_ANIMATION, LUMINANCE_CAMERA
from reconet_bench.data.sintel import SintelClip, find_sintel, training_sequences
from reconet_bench.training.crop_store import StoredCrops
from reconet_bench.training.crops import FITS, ClipCrops, Mixture, RandomScenes, TrainingCrops
from reconet_bench.training.footage_cache import footage_clips
from reconet_bench.training.settings import TrainingSettings

SOURCES = ("synthetic", "sintel", "footage")
#: Luminance coefficients of footage by name: camera footage, or drawn and rendered footage such as MPI-Sintel.
LUMINANCES = {"camera": LUMINANCE_CAMERA, "animation": LUMINANCE_ANIMATION}
#: Settings of a recipe that only some data uses: name, option, data.
_SETTINGS = (
    ("split", "--split", ("sintel",)),
    ("render_pass", "--pass", ("sintel",)),
    ("flow", "--flow", ("footage",)),
    ("luminance", "--set luminance", ("footage",)),
    ("fit", "--set fit", ("sintel", "footage")),
)


@dataclass(frozen=True)
class DataOptions:
    """Where training data is and how it is cut.

    Attributes:
        size: side of the training crops, pixels.
        textures: folder of photographs for rendered scenes; ``None`` uses those of scikit-image.
        sintel, render_pass, split: see :mod:`reconet_bench.data.sintel`.
        fit: how frames become square, see :class:`~reconet_bench.training.crops.ClipCrops`.
        footage: videos, folders of frames, or folders that contain any number of either.
        luminance: kind of footage, see :data:`LUMINANCES`.
        flow, raft: flow estimator for footage, and its weights.
        report: called with a line about slow work.
    """

    size: int
    seed: int = 0
    textures: Path | None = None
    sintel: Path | None = None
    render_pass: str = "clean"
    split: str = "train"
    fit: str = "crop"
    footage: tuple[Path, ...] = ()
    luminance: str = "camera"
    flow: str = "dis"
    raft: Path | None = None
    report: Callable[[str], None] = lambda text: None


def training_data(text: str, options: DataOptions) -> TrainingCrops:
    """Training data by name (see :data:`SOURCES`), or a mixture by weight such as ``synthetic:2 sintel:1 footage:1``.

    Raises:
        UnknownName: no such data, or fit.
        DataError: there is nothing to train on.
        TrainingError: the size is too small, or a weight is not a number above 0.
    """
    _check(options)
    weights = _weights(text)
    parts = {name: (_source(name, options), weight) for name, weight in weights.items()}
    return next(iter(parts.values()))[0] if len(parts) == 1 else Mixture(options.seed, parts)


def stored_or_made(text: str, options: DataOptions, store: Path | None) -> TrainingCrops:
    """The crops of ``store``, if there is one, else :func:`training_data`.

    Raises:
        DataError: the store is incomplete, or its crops have another size than ``options`` say.
    """
    if store is None:
        return training_data(text, options)
    crops = StoredCrops(store, options.seed)
    if crops.size != options.size:
        raise DataError(f"{store} holds crops of {crops.size} pixels a side: give --size {crops.size}")
    return crops


def _check(options: DataOptions) -> None:
    if options.size < 32:
        raise TrainingError(f"size must be at least 32 pixels, got {options.size}")
    for name, known in (("fit", tuple(FITS)), ("luminance", tuple(LUMINANCES))):
        if getattr(options, name) not in known:
            raise UnknownName(name, getattr(options, name), known)
    if options.textures and not options.textures.is_dir():
        raise DataError(f"no such folder: {options.textures}")


def check_used(text: str, options: DataOptions, named: Collection[str] = ()) -> None:
    """Check by name, before anything is read.

    Args:
        named: settings that the user named, as ``--set`` does.

    Raises:
        UnknownName: no such data.
        TrainingError: ``options`` or ``named`` belong to data that the mixture ``text`` does not use.
        DataError: no such folder.
    """
    weights = _weights(text)
    for name, option, sources in _SETTINGS:
        if name in named and not weights.keys() & set(sources):
            use = f"--data {' or '.join(sources)}, or a mixture with {sources[0]} in it"
            raise TrainingError(f"{option} has no effect with --data {text}: give {use}")
    for option, given, source in (
        ("footage", options.footage, "footage"),
        ("sintel", options.sintel, "sintel"),
        ("textures", options.textures, "synthetic"),
        ("raft", options.raft, "footage"),
    ):
        if given and source not in weights:
            raise TrainingError(
                f"--{option} has no effect with --data {text}: give --data {source}, or a mixture with {source} in it"
            )
    if options.raft and options.flow != "raft":
        raise TrainingError("--raft gives the weights for --flow raft: use both options")
    _check(options)


def _weights(text: str) -> dict[str, float]:
    """Weight by name; 1 if none is given."""
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
            raise TrainingError(f"data must be NAME or NAME:WEIGHT with a weight above zero, got '{word}'")
        if name in weights:
            raise TrainingError(f"data names '{name}' twice")
        weights[name] = weight
    if not weights:
        raise UnknownName("training data", text, SOURCES)
    return weights


def _source(name: str, options: DataOptions) -> TrainingCrops:
    if name == "synthetic":
        return RandomScenes(options.size, options.seed, options.textures)
    if name == "sintel":
        root = find_sintel(options.sintel)
        names = training_sequences(root, options.render_pass, options.split)
        return ClipCrops(
            options.size,
            options.seed,
            [SintelClip(root, sequence, options.render_pass) for sequence in names],
            options.fit,
        )
    if not options.footage:
        raise TrainingError(
            "footage to train on is given by --footage DIR|FILE …: videos, or folders of videos or frames"
        )
    clips = footage_clips(
        options.footage, options.size, options.flow, options.raft, options.report, LUMINANCES[options.luminance]
    )
    return ClipCrops(options.size, options.seed, clips, options.fit)


def steps_of(
    settings: TrainingSettings,
    data: TrainingCrops,
    epochs: int,
    processes: int = 1,
    milestone_epochs: Sequence[float] = (),
) -> TrainingSettings:
    """``settings`` with as many steps as ``epochs`` need; unchanged if ``epochs`` is 0.

    Args:
        processes: how many train together; each adds a batch to a step.
        milestone_epochs: epochs after which the schedule ``steps`` decays, instead of the settings' milestones; those
            beyond the end of the run are left out.

    Raises:
        TrainingError: the data is endless, so it has no epochs.
    """
    if not epochs:
        return settings
    windows = data.describe().get("windows")
    if epochs < 0 or not isinstance(windows, int):
        raise TrainingError(
            f"epochs must be a number of passes over finite data, got {epochs} of {data.describe()['name']}: "
            "give --steps instead"
        )
    # Rounded like the shares in presets, so that a run started with those can be resumed.
    shares = (
        tuple(round(epoch / epochs, 4) for epoch in milestone_epochs if epoch < epochs)
        if milestone_epochs
        else settings.milestones
    )
    return replace(settings, steps=epochs * -(-windows // (settings.batch * processes)), milestones=shares)
