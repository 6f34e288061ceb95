"""What takes part in a comparison: models, runtimes, styles; and the inventory of everything there is."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from reconet_bench.core.errors import ModelError
from reconet_bench.core.provenance import checksum, model_checksum
from reconet_bench.core.record import CONTENT_METHOD, RENDERED, UNKNOWN_METHOD, UNTOLD
from reconet_bench.data.rendered import RenderedResult
from reconet_bench.methods.base import METHODS
from reconet_bench.models.checkpoint import (
    Checkpoint,
    find_checkpoint,
    is_onnx,
    load_checkpoint,
    model_name,
    shipped_folder,
    shipped_models,
)
from reconet_bench.models.description import read_description
from reconet_bench.models.export import checkpoint_model, weights_checksum
from reconet_bench.models.finding import is_description
from reconet_bench.models.onnx_inspection import ANY_FORMAT, OnnxFormat, inspect_onnx
from reconet_bench.runtimes.base import ModelSource
from reconet_bench.temporal.base import STABILISERS, Stabilisation

#: Methods that are compared if none are named.
USUAL_METHODS = ("reconet", "dougherty", "johnson")
#: Order of the rows: ours, then the baselines.
_ORDER = ("reconet", "dougherty", "johnson", "dougherty-published")


@dataclass
class Model:
    """A model under comparison, with what is known of its training.

    Attributes:
        trained_on: ``family:sequence`` of each clip it was trained on, e.g. ``sintel:alley_1``.
        checksum: of its file, and of the files beside it that hold weights of an ONNX file.
        curves: text of its loss curves, empty where they are not known.
        origin: the network that an ONNX file of ours was exported from, where it is among the models at hand.
        painting: of its style, where a description names one.
        rendered: frames that another tool rendered, which stand for a model that is not at hand.
    """

    source: ModelSource
    method: str
    style: str
    style_targets: dict[str, Tensor] = field(default_factory=dict)
    trained_on: frozenset[str] = frozenset()
    checksum: str = ""
    curves: str = ""
    origin: ModelSource | None = None
    painting: Path | None = None
    rendered: RenderedResult | None = None

    @property
    def is_content(self) -> bool:
        """Whether it is no model but the content itself, which shows the floor."""
        return self.method == CONTENT_METHOD

    @property
    def against(self) -> str:
        """What its frames are compared with, where that is not its own network in PyTorch fp32."""
        if self.origin is not None:
            return f"compared with {self.origin.name} in PyTorch fp32"
        if self.source.python is not None:
            return "compared with itself in PyTorch"
        return "" if self.source.network is not None else "compared with the same file in ONNX Runtime on the CPU"


def workspace() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for exports."""
    return tempfile.TemporaryDirectory(prefix="reconet-bench-")


def load_by_name(
    name: str,
    folder: Path,
    hints: OnnxFormat = ANY_FORMAT,
    report: Callable[[str], None] = lambda text: None,
    guess: bool = True,
) -> Model:
    """A model by name or path: a shipped one, a checkpoint, or any image-to-image ONNX file.

    Args:
        folder: where exports may be written.
        hints: what the user says of an ONNX file.
        report: told in one line if what an ONNX file takes is a doubtful guess.
        guess: whether that may be guessed; what measures must not.

    Raises:
        ModelError: no such model, not a readable one, or hints on a checkpoint, which needs none.
    """
    path = find_checkpoint(name)
    if is_description(path):
        if hints:
            raise ModelError(f"{path}: what --input-range, --output-range and --layout say belongs into its [frame]")
        described = read_description(path)
        source = described.source(folder, report, guess)
        style = described.style.stem if described.style else ""
        return Model(source, UNKNOWN_METHOD, style, checksum=described.checksum, painting=described.style)
    if is_onnx(path):
        return Model(inspect_onnx(path, hints, report, guess), UNKNOWN_METHOD, "", checksum=model_checksum(path))
    if hints:
        raise ModelError(
            f"'{name}' is a checkpoint and needs no --input-range, --output-range or --layout: "
            "these are for ONNX files of your own"
        )
    checkpoint = load_checkpoint(path)
    model = checkpoint_model(checkpoint, folder, path.stem, path)
    return Model(
        model,
        checkpoint.method,
        checkpoint.style,
        checkpoint.style_targets,
        trained_on(checkpoint.info),
        checksum(path),
        _curves(path),
    )


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


@dataclass(frozen=True)
class ShippedSet:
    """Which of the shipped models take part: those of one style on one network.

    Attributes:
        style: name of the style.
        network: name of the network.
    """

    style: str = "starry_night"
    network: str = "lite"

    def usual(self) -> list[str]:
        """Names of the models of :data:`USUAL_METHODS`, as far as there are any.

        Raises:
            ModelError: there is none.
        """
        names = [name for method in USUAL_METHODS for name in self._named(method)]
        if not names:
            raise ModelError(
                f"no shipped models of style '{self.style}' on network '{self.network}'; there are: "
                f"{', '.join(shipped_models()) or f'none in {shipped_folder()}'}"
            )
        return names

    def of(self, method: str) -> list[str]:
        """Names of the models of a method.

        Raises:
            UnknownName: no such method. ModelError: no shipped model of it in this style on this network.
        """
        names = self._named(method)
        if not names and METHODS[method].trainable:
            others = [name for name in shipped_models() if name.startswith(f"{method}-")]
            rest = f" (there are: {', '.join(others)}; give one by --models)" if others else ""
            raise ModelError(
                f"no shipped model of method '{method}' in style '{self.style}' on network '{self.network}'{rest}: "
                f"train one with 'reconet-bench train --method {method}' and give it by --models"
            )
        return names

    def _named(self, method: str) -> list[str]:
        METHODS[method]
        wanted = model_name(method, self.network, self.style)
        return [name for name in shipped_models() if name == wanted]


def load_all(
    asked: Sequence[str],
    methods: Sequence[str],
    folder: Path,
    hints: OnnxFormat = ANY_FORMAT,
    report: Callable[[str], None] = lambda text: None,
    shipped: ShippedSet = ShippedSet(),
) -> list[Model]:
    """Models asked for by name or path and shipped models of the methods asked for; by default :data:`USUAL_METHODS`.

    ``identity`` stands beside them unless methods are named without it. ``hints`` are for the ONNX files among them,
    whose value ranges are not guessed: they are measured.
    """
    names = list(asked)
    for method in methods:
        names += shipped.of(method)
    if not asked and not methods:
        names = shipped.usual()
    if hints and not any(is_onnx(name) for name in names):
        raise ModelError(
            "--input-range, --output-range and --layout are for ONNX files of your own: give one by --models"
        )
    models = [
        load_by_name(name, folder, hints if is_onnx(name) else ANY_FORMAT, report, guess=False)
        for name in dict.fromkeys(names)
    ]
    for model in models:
        model.origin = _origin(model, models, folder)
    models.sort(key=lambda model: _ORDER.index(model.method) if model.method in _ORDER else len(_ORDER))
    if not methods or CONTENT_METHOD in methods:
        checkpoint = Checkpoint(METHODS[CONTENT_METHOD].network(), CONTENT_METHOD, "")
        targets = next((model.style_targets for model in models if model.style_targets), {})
        models.append(Model(checkpoint_model(checkpoint, folder), CONTENT_METHOD, "", targets))
    check_names(models)
    return models


def with_rendered(models: Sequence[Model], rendered: Sequence[Model]) -> list[Model]:
    """Models and, after them, rendered results; the content stays last.

    Raises:
        ModelError: two have one name.
    """
    found = [model for model in models if not model.is_content]
    found += [*rendered, *(model for model in models if model.is_content)]
    check_names(found)
    return found


def check_names(models: Sequence[Model]) -> None:
    """Raise ModelError where two models have one name."""
    called = [model.source.name for model in models]
    if twice := [name for name in called if called.count(name) > 1]:
        raise ModelError(f"two models are called '{twice[0]}' and would share their rows: rename one of them")


def _origin(model: Model, models: Sequence[Model], folder: Path) -> ModelSource | None:
    """The network whose weights an ONNX file says that it was exported from: among ``models``, else a shipped one."""
    import onnx

    if model.source.network is not None or model.source.python is not None:
        return None
    facts = {
        entry.key: entry.value for entry in onnx.load(str(model.source.onnx()), load_external_data=False).metadata_props
    }
    if not facts.get("weights", "").startswith("sha256:"):
        return None
    shipped = (checkpoint_model(load_checkpoint(path), folder, name) for name, path in shipped_models().items())
    for source in itertools.chain((other.source for other in models), shipped):
        if source.network is not None and weights_checksum(source.network) == facts["weights"]:
            return source
    return None


def stabilised(models: Sequence[Model], names: Sequence[str], strength: float) -> list[Model]:
    """The same models, each followed by itself with each stabiliser, as ``johnson+blend``; the content stays alone.

    Raises:
        UnknownName: no such stabiliser.
    """
    ways = [Stabilisation(name, strength) for name in dict.fromkeys(names)]
    for way in ways:
        STABILISERS[way.name]
    found = []
    for model in models:
        found.append(model)
        found += [_with(model, way) for way in ways if not model.is_content and model.rendered is None]
    return found


def _with(model: Model, way: Stabilisation) -> Model:
    def source(of: ModelSource) -> ModelSource:
        return replace(of, name=f"{of.name}+{way.name}", stabiliser=way)

    origin = source(model.origin) if model.origin else None
    method = model.method if model.method in UNTOLD else f"{model.method}+{way.name}"
    return replace(model, source=source(model.source), method=method, curves="", origin=origin)


def rendered_model(result: RenderedResult) -> Model:
    """What stands in a comparison for frames that another tool rendered."""

    def nothing() -> Path:
        raise ModelError(f"'{result.name}' is rendered frames, and no model")

    return Model(ModelSource(result.name, None, nothing), RENDERED, "", rendered=result)
