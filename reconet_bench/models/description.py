"""A model described in a small file, ``MODEL.toml``: what its inputs are fed with, and what is carried on."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import ModelError, UnknownName
from reconet_bench.core.ops import RANGES, UNIT
from reconet_bench.core.provenance import checksum, model_checksum
from reconet_bench.core.size import Size
from reconet_bench.models.input_values import input_values
from reconet_bench.models.onnx_constants import described, free_inputs, with_constants
from reconet_bench.models.onnx_inspection import ANY_FORMAT, OnnxFormat, inspect_onnx, read_onnx
from reconet_bench.models.onnx_probe import NOTHING_SAID, FrameFacts
from reconet_bench.runtimes.model_source import ModelSource
from reconet_bench.runtimes.python_model import PythonModel
from reconet_bench.temporal.state import FIRSTS, FLOW, SOURCES, TRACEABLE, StateInput, check_shape

FRAME = "frame"
#: Known keys by table; "" is the top.
KEYS: dict[str, frozenset[str]] = {
    "": frozenset({"name", "onnx", "python", "arguments", "style", "inputs", "frame", "state"}),
    "frame": frozenset({"input_range", "output_range", "layout", "multiple", "size", "output"}),
    "state": frozenset({"from", "first", "warp", "shape", "range"}),
}


@dataclass(frozen=True)
class Description:
    """What a ``MODEL.toml`` says.

    Attributes:
        path: of the file itself; others are looked up beside it.
        name: of the model in tables.
        onnx: its ONNX file; ``None`` for a model in Python.
        python: its factory; ``None`` for an ONNX file.
        style: the painting; ``None`` if none is named.
        constants: what other inputs are fed with, as it is written.
        said: of value ranges and layout.
        facts: what else is said of the frame, and the inputs that are fed from the frame before.
    """

    path: Path
    name: str
    onnx: Path | None = None
    python: PythonModel | None = None
    style: Path | None = None
    constants: Mapping[str, object] = field(default_factory=dict)
    said: OnnxFormat = ANY_FORMAT
    facts: FrameFacts = NOTHING_SAID

    def source(self, folder: Path, report: Callable[[str], None], guess: bool) -> ModelSource:
        """The model as a runtime sees it; a file with constants for inputs is written to ``folder``.

        Raises:
            ModelError: an input is missing or unknown, a value does not fit, or the file is not image to image.
        """
        if self.python is not None:
            return self._python_source(self.python)
        file = self.file(folder)
        source = inspect_onnx(file, self.said, report, guess, self.facts)
        return replace(source, name=self.name, exported=bool(self.constants))

    def file(self, folder: Path) -> Path:
        """The ONNX file with its constants; where it has any, it is written to ``folder``.

        Raises:
            ModelError: an input is missing or unknown, a value does not fit, or it is a model in Python.
        """
        if self.onnx is None:
            raise ModelError(f"{self.path}: a model in Python has no ONNX file")
        graph = read_onnx(self.onnx).graph
        free = {value.name: value for value in free_inputs(graph)}
        self._check_inputs(free, self.onnx.name)
        self._check_outputs([value.name for value in graph.output], self.onnx.name)
        values = {
            name: input_values(value, free[name], self.path.parent, f"{self.path}: input '{name}'")
            for name, value in self.constants.items()
        }
        if not values:
            return self.onnx
        digest = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:12]
        return with_constants(self.onnx, values, folder / f"described-{digest}.onnx")

    def _python_source(self, python: PythonModel) -> ModelSource:
        python.check()
        facts, multiple = self.facts, self.facts.multiple or 1
        return ModelSource(
            self.name,
            None,
            _no_onnx(self.name),
            multiple=multiple,
            minimum=multiple // 2 + 1,
            input_range=RANGES[self.said.input_range or UNIT.name],
            output_range=RANGES[self.said.output_range or UNIT.name],
            height=facts.size.height if facts.size else None,
            width=facts.size.width if facts.size else None,
            exported=True,
            python=python,
        )

    def _check_inputs(self, free: Mapping[str, Any], file: str) -> None:
        """Every input is fed, and there is each one that something is said of."""
        given = [*filter(None, [self.facts.image]), *self.constants, *(one.name for one in self.facts.state)]
        listed = ", ".join(described(value) for value in free.values()) or "none"
        for name in given:
            if name not in free:
                raise ModelError(f"{self.path}: {file} has no input '{name}'; its inputs: {listed}")
        missing = [name for name in free if name not in given]
        if len(missing) > (0 if self.facts.image else 1):
            raise ModelError(
                f"{self.path}: nothing is said of input '{missing[0]}': name it under [inputs] or [state]; "
                f"the inputs of {file}: {listed}"
            )

    def _check_outputs(self, outputs: Sequence[str], file: str) -> None:
        """There is each output that something is said of."""
        for one in self.facts.state:
            if one.is_output and one.source not in outputs:
                raise ModelError(
                    f"{self.path}: state '{one.name}': from = '{one.source}' is neither {', '.join(SOURCES)} nor an "
                    f"output of {file}: {', '.join(outputs)}"
                )
        if self.facts.output and self.facts.output not in outputs:
            raise ModelError(f"{self.path}: {file} has no output '{self.facts.output}'; it has: {', '.join(outputs)}")

    @property
    def checksum(self) -> str:
        """SHA-256 of the description and of all files that it names."""
        parts = [checksum(self.path)]
        if self.onnx is not None:
            parts.append(model_checksum(self.onnx))
        if self.python is not None:
            parts.append(self.python.checksum)
        for value in self.constants.values():
            names = [value] if isinstance(value, str) else list(value.values()) if isinstance(value, dict) else []
            files = (self.path.parent / name for name in names if isinstance(name, str))
            parts += [checksum(file) for file in files if file.is_file()]
        return "sha256:" + hashlib.sha256("".join(parts).encode()).hexdigest()


def _no_onnx(name: str) -> Callable[[], Path]:
    def none() -> Path:
        raise ModelError(f"'{name}' is a model in Python and has no ONNX file: use the runtime torch")

    return none


def read_description(path: Path) -> Description:
    """Read a ``MODEL.toml``, and check all that can be known without its ONNX file.

    Raises:
        ModelError: missing, not TOML, unknown keys, or values of another kind. UnknownName: a range or layout.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not valid TOML: {error}") from None
    _known(path, "", facts, KEYS[""])
    if ("onnx" in facts) == ("python" in facts):
        raise ModelError(f'{path}: give either onnx = "FILE.onnx" or python = "FILE.py:FUNCTION"')
    name = _text(path, facts, "name") or path.stem
    inputs, state = _table(path, facts, "inputs"), _table(path, facts, "state")
    said, frame = _frame_facts(path, _table(path, facts, "frame"))
    style = _text(path, facts, "style")
    if style and not (path.parent / style).is_file():
        raise ModelError(f"{path}: style: file not found: {path.parent / style}")
    painting = path.parent / style if style else None
    if "python" in facts:
        if inputs or state:
            raise ModelError(f"{path}: a model in Python has no [inputs] or [state]: it keeps its own")
        if said.layout or frame.output:
            raise ModelError(f"{path}: [frame] layout and output are for ONNX files")
        python = _python(path, name, _text(path, facts, "python"), _table(path, facts, "arguments"))
        return Description(
            path, name, python=python, style=path.parent / style if style else None, said=said, facts=frame
        )
    if "arguments" in facts:
        raise ModelError(f"{path}: [arguments] is for models in Python")
    file = path.parent / _text(path, facts, "onnx")
    if not file.is_file():
        raise ModelError(f"{path}: onnx: file not found: {file}")
    images = [key for key, value in inputs.items() if value == FRAME]
    if len(images) > 1:
        raise ModelError(f'{path}: two inputs are "frame": {images[0]} and {images[1]}')
    if inputs and not images:
        raise ModelError(f'{path}: [inputs] does not say which input takes the frame: give INPUT = "frame"')
    return Description(
        path,
        name,
        onnx=file,
        style=painting,
        constants={key: value for key, value in inputs.items() if value != FRAME},
        said=said,
        facts=replace(
            frame,
            called=str(path),
            image=images[0] if images else "",
            state=tuple(_state(path, key, value) for key, value in state.items()),
        ),
    )


def _known(path: Path, table: str, facts: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in facts:
        if key not in known:
            raise UnknownName(f"key in {path}{f' [{table}]' if table else ''}", key, known)


def _text(path: Path, facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key, "")
    if not isinstance(value, str) or (key in facts and not value):
        raise ModelError(f"{path}: {key} must be a text, got {value!r}")
    return value


def _table(path: Path, facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = facts.get(key, {})
    if not isinstance(value, dict):
        raise ModelError(f"{path}: {key} must be a table, [{key}]")
    return value


def _frame_facts(path: Path, facts: dict[str, Any]) -> tuple[OnnxFormat, FrameFacts]:
    """What ``[frame]`` says."""
    _known(path, "frame", facts, KEYS["frame"])
    input_range, output_range, layout = (_text(path, facts, key) for key in ("input_range", "output_range", "layout"))
    said = OnnxFormat(input_range, output_range, layout.upper())
    multiple = facts.get("multiple")
    if multiple is not None and (not isinstance(multiple, int) or isinstance(multiple, bool) or multiple < 1):
        raise ModelError(f"{path}: [frame] multiple must be a whole number, at least 1, got {multiple!r}")
    size = facts.get("size")
    if size is not None:
        whole = isinstance(size, list) and len(size) == 2 and all(isinstance(one, int) and one > 0 for one in size)
        if not whole:
            raise ModelError(f"{path}: [frame] size must be [width, height] in pixels, got {size!r}")
        size = Size(size[1], size[0])
    return said, FrameFacts(multiple=multiple, size=size, output=_text(path, facts, "output"))


def _python(path: Path, name: str, place: str, arguments: dict[str, Any]) -> PythonModel:
    module, colon, factory = place.rpartition(":")
    if not colon or not factory.isidentifier():
        raise ModelError(f'{path}: python must be "FILE.py:FUNCTION" or "package.module:FUNCTION", got \'{place}\'')
    return PythonModel(name, str(path.parent / module) if module.endswith(".py") else module, factory, arguments)


def _state(path: Path, name: str, facts: object) -> StateInput:
    if not isinstance(facts, dict) or not isinstance(facts.get("from"), str):
        raise ModelError(f'{path}: state \'{name}\' must be a table such as {{ from = "stylized", first = "zeros" }}')
    _known(path, f"state.{name}", facts, KEYS["state"])
    source, first = facts["from"], facts.get("first", "zeros")
    if first not in FIRSTS:
        raise UnknownName(f"'first' of state '{name}' in {path}", str(first), FIRSTS)
    warp, shape, values = facts.get("warp", False), facts.get("shape", []), facts.get("range", "")
    if not isinstance(warp, bool) or not isinstance(shape, list):
        raise ModelError(f"{path}: state '{name}': warp is true or false, and shape is a list")
    if values and values not in RANGES:
        raise UnknownName(f"range of state '{name}' in {path}", str(values), RANGES)
    one = StateInput(name, source, first, warp, check_shape(f"{name}' in '{path}", shape), RANGES.get(values))
    if one.is_output and not shape:
        raise ModelError(f'{path}: state \'{name}\' needs its shape, such as [1, 64, "h/4", "w/4"]')
    if not one.is_output and shape:
        raise ModelError(f"{path}: state '{name}' is fed from '{source}', which has the frame's size: leave shape out")
    if not one.is_picture and (first != "zeros" or values):
        raise ModelError(f"{path}: state '{name}': first and range are for pictures; '{source}' begins with zeros")
    if warp and source in (TRACEABLE, FLOW):
        raise ModelError(f"{path}: state '{name}': '{source}' lies on the current frame already: leave warp out")
    return one
