"""What takes part in a comparison: models, runtimes, styles; and the inventory of everything there is."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from reconet_bench.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, shipped_folder, shipped_models
from reconet_bench.data import davis, synthetic
from reconet_bench.data.sintel import PASSES, find_sintel, sequences
from reconet_bench.environment import checksum, model_checksum
from reconet_bench.errors import DataError, MetricUnavailable, ModelError, RuntimeUnavailable
from reconet_bench.export import checkpoint_model, weights_checksum
from reconet_bench.foreign import NO_HINTS, Hints, inspect_onnx
from reconet_bench.methods.base import METHODS
from reconet_bench.metrics.base import METRICS, Style
from reconet_bench.perceptual import load_loss_network, read_style, style_targets
from reconet_bench.runtimes.base import RUNTIMES, Model

#: What every runtime is compared with, see :func:`reference_runtime` for an ONNX file of the user's own.
REFERENCE_RUNTIME = "torch"
#: Names that stand for others: the fastest runtime whose frames are the reference's, and every runtime there is.
AUTO, ALL = "auto", "all"
#: Order of the rows: ours, then the baselines.
_ORDER = ("reconet", "dougherty", "johnson", "dougherty-published")


@dataclass
class Subject:
    """A model under comparison, with what is known of its training.

    Attributes:
        trained_on: ``family:sequence`` of each clip it was trained on, e.g. ``sintel:alley_1``.
        checksum: of its file, and of the files beside it that hold weights of an ONNX file.
        curves: text of its loss curves, empty where they are not known.
        origin: the network that an ONNX file of ours was exported from, where it is among the models at hand.
    """

    model: Model
    method: str
    style: str
    style_targets: dict[str, Tensor] = field(default_factory=dict)
    trained_on: frozenset[str] = frozenset()
    checksum: str = ""
    curves: str = ""
    origin: Model | None = None

    @property
    def against(self) -> str:
        """What its frames are compared with, where that is not its own network in PyTorch fp32."""
        if self.origin is not None:
            return f"fidelity is that to {self.origin.name} in PyTorch fp32"
        return "" if self.model.network is not None else "fidelity is that to the same file in ONNX Runtime on the CPU"


def workspace() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for exports."""
    return tempfile.TemporaryDirectory(prefix="reconet-bench-")


def load_subject(name: str, folder: Path, hints: Hints = NO_HINTS, report: Callable[[str], None] = lambda text: None) -> Subject:
    """A model by name or path: a shipped one, a checkpoint, or any image-to-image ONNX file.

    Args:
        folder: where exports may be written.
        hints: what the user says of an ONNX file.
        report: told in one line if what an ONNX file takes is a doubtful guess.

    Raises:
        ModelError: no such model, not a readable one, or hints on a checkpoint, which needs none.
    """
    path = find_checkpoint(name)
    if path.suffix == ".onnx":
        return Subject(inspect_onnx(path, hints, report), path.stem, "", checksum=model_checksum(path))
    if hints:
        raise ModelError(f"'{name}' says itself what it takes: value ranges and layout are for ONNX files of your own")
    checkpoint = load_checkpoint(path)
    model = checkpoint_model(checkpoint, folder, path.stem)
    return Subject(model, checkpoint.method, checkpoint.style, checkpoint.style_targets, trained_on(checkpoint.info), checksum(path), _curves(path))


def trained_on(info: Mapping[str, Any]) -> frozenset[str]:
    """``family:sequence`` of each clip in a checkpoint's training facts: its own data, its parts, and its trunk's."""
    own = _sequences(info.get("data") or {})
    return own | trained_on(info["trunk"]) if info.get("trunk") else own


def _sequences(data: Mapping[str, Any]) -> frozenset[str]:
    family = str(data.get("name", "")).split("-")[0]
    own = {name if ":" in name else f"{family}:{name}" for name in data.get("sequences", ())}
    return frozenset(own).union(*(_sequences(part) for part in data.get("parts", ())))


def _curves(path: Path) -> str:
    """Loss curves of a checkpoint: beside it by its name, or as training leaves them."""
    for beside in (path.with_suffix(".csv"), path.with_name("curves.csv")):
        if beside.is_file():
            return beside.read_text(encoding="utf-8", errors="replace")
    return ""


def load_subjects(
    models: Sequence[str], methods: Sequence[str], folder: Path, hints: Hints = NO_HINTS, report: Callable[[str], None] = lambda text: None
) -> list[Subject]:
    """Models asked for by name or path and shipped models of the methods asked for; by default all shipped.

    ``identity`` stands beside them unless methods are named without it. ``hints`` are for the ONNX files among them.
    """
    names = list(models)
    for method in methods:
        METHODS[method]
        found = [name for name in shipped_models() if load_checkpoint(shipped_models()[name]).method == method]
        if not found and METHODS[method].trainable:
            raise ModelError(f"no shipped model of method '{method}': train one (reconet-bench train --method {method}) and give it by --models")
        names += found
    if not models and not methods:
        names = list(shipped_models())
        if not names:
            raise ModelError(f"no models in {shipped_folder()}: give some by --models")
    if hints and not any(name.endswith(".onnx") for name in names):
        raise ModelError("value ranges and layout are for ONNX files of your own: give some by --models")
    subjects = [load_subject(name, folder, hints if name.endswith(".onnx") else NO_HINTS, report) for name in dict.fromkeys(names)]
    for subject in subjects:
        subject.origin = _origin(subject, subjects, folder)
    subjects.sort(key=lambda subject: _ORDER.index(subject.method) if subject.method in _ORDER else len(_ORDER))
    if not methods or "identity" in methods:
        checkpoint = Checkpoint(METHODS["identity"].network(), "identity", "")
        targets = next((subject.style_targets for subject in subjects if subject.style_targets), {})
        subjects.append(Subject(checkpoint_model(checkpoint, folder), "identity", "", targets))
    called = [subject.model.name for subject in subjects]
    if twice := [name for name in called if called.count(name) > 1]:
        raise ModelError(f"two models are called '{twice[0]}' and would share their rows: rename one of the files")
    return subjects


def _origin(subject: Subject, subjects: Sequence[Subject], folder: Path) -> Model | None:
    """The network whose weights an ONNX file says that it was exported from: among ``subjects``, else a shipped one."""
    import onnx

    if subject.model.network is not None:
        return None
    facts = {entry.key: entry.value for entry in onnx.load(str(subject.model.onnx()), load_external_data=False).metadata_props}
    if not facts.get("weights", "").startswith("sha256:"):
        return None
    shipped = (checkpoint_model(load_checkpoint(path), folder, name) for name, path in shipped_models().items())
    for model in itertools.chain((other.model for other in subjects), shipped):
        if model.network is not None and weights_checksum(model.network) == facts["weights"]:
            return model
    return None


def usable_runtimes(names: Sequence[str], report: Callable[[str], None] = lambda text: None) -> list[str]:
    """Runtimes to use, the reference first: those asked for, or the usual; one that is not here is reported and left out.

    Args:
        names: of runtimes and variants; ``all`` is every one, ``auto`` stays as it is (which one depends on the model).

    Raises:
        UnknownName: no such runtime. RuntimeUnavailable: none of them is usable.
    """

    def reference_first(found: list[str]) -> list[str]:
        return sorted(found, key=lambda name: (name != REFERENCE_RUNTIME, name))

    def meant(name: str) -> list[str]:
        if name == ALL:
            return reference_first(RUNTIMES.names())
        return [name if name == AUTO else RUNTIMES.canonical(name)]

    asked = [one for name in names for one in meant(name)]
    chosen = list(dict.fromkeys(asked)) or reference_first(RUNTIMES.names(default=True))
    missing = {name: reason for name in chosen if name != AUTO and (reason := RUNTIMES[name].missing())}
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        reasons.setdefault(reason, []).append(name)
    for reason, without in reasons.items():
        report(f"skipped {', '.join(without)}: {reason}")
    if len(missing) == len(chosen):
        raise RuntimeUnavailable(f"no usable runtime: {'; '.join(reasons)}")
    return [name for name in chosen if name not in missing]


def reference_runtime(model: Model) -> tuple[str, str | None]:
    """What the frames of other runtimes are compared with: name and device; no device is that of the others.

    An ONNX file of the user's own has no network for PyTorch: ONNX Runtime on the CPU stands in.
    """
    return (REFERENCE_RUNTIME, None) if model.network is not None else ("onnxruntime", "cpu")


def painting_style(path: Path, size: int, vgg: Path | None) -> Style:
    """The style of a painting, for frames without a checkpoint."""
    painting = read_style(path)
    try:
        network = load_loss_network(vgg)
    except MetricUnavailable as error:
        return Style({"": painting}, None, str(error))
    return Style(style_targets(network, painting, size), network)


def give_style(subjects: Sequence[Subject], painting: Path, size: int, vgg: Path | None) -> None:
    """The painting's style to those that bring none: ONNX files of others, and the content beside them.

    Raises:
        ModelError: each brings its own.
        DataError: no such painting.
    """
    targets = painting_style(painting, size, vgg).targets
    others = [subject for subject in subjects if not subject.style_targets]
    if not others:
        raise ModelError("--style is for ONNX files of your own, and every model here brings its style: leave it out")
    for subject in others:
        subject.style_targets = targets
        subject.style = painting.stem if subject.method != "identity" else ""


def model_style(subject: Subject, vgg: Path | None) -> Style:
    """The style that a model was trained on, with the loss network or the reason why there is none."""
    try:
        return Style(subject.style_targets, load_loss_network(vgg))
    except MetricUnavailable as error:
        return Style(subject.style_targets, None, str(error))


def inventory(sintel: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Everything there is, by kind, as (name, what it is or why it is missing)."""
    try:
        root = find_sintel(sintel)
        found = [(f"sintel {p}", ", ".join(names)) for p in PASSES if (names := sequences(root, p))]
    except DataError as error:
        found = [("sintel", f"missing: {error}")]
    try:
        found.append(("davis", ", ".join(davis.sequences(davis.find_davis()))))
    except DataError as error:
        found.append(("davis", f"missing: {error}"))
    return {
        "methods": [(name, method.summary) for name, method in METHODS.items()],
        "models": [(name, _model_line(path)) for name, path in shipped_models().items()],
        "runtimes": [(name, RUNTIMES[name].status) for name in RUNTIMES.names()],
        "metrics": [(name, metric.summary) for name, metric in METRICS.items()],
        "data": [*synthetic.CLIPS.items(), *found],
    }


def _model_line(path: Path) -> str:
    info = load_checkpoint(path).info
    data = info.get("data") or {}
    return f"{info.get('steps')} steps at {info.get('size')}x{info.get('size')} on {data.get('name')} ({data.get('textures', data.get('windows', ''))})"
