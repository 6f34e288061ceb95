"""What an input of an ONNX file is fed with for all frames: a number, a list, a file, or what another network makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconet_bench.core.errors import ModelError
from reconet_bench.core.images import read_image
from reconet_bench.core.ops import RANGES, UNIT
from reconet_bench.models.onnx_constants import described, free_inputs, shape_of
from reconet_bench.models.onnx_probe import open_quietly
from reconet_bench.runtimes.onnx_errors import first_line

if TYPE_CHECKING:
    import onnx

#: Keys of the forms that are tables.
FORMS = {"one_hot": {"one_hot"}, "onnx": {"onnx", "image", "range", "output"}}
CHOICES = 'a number, a list, "vector.npy", { one_hot = 3 } or { onnx = "predict.onnx", image = "painting.jpg" }'


def input_values(value: object, wanted: onnx.ValueInfoProto, folder: Path, where: str) -> np.ndarray:
    """The numbers that a value of ``[inputs]`` stands for.

    Args:
        wanted: the input that they are for.
        folder: that files are looked up in.
        where: file and key, for messages.

    Raises:
        ModelError: it is nothing of that kind, or a file is missing or broken. DataError: no readable image.
    """
    if isinstance(value, bool) or value is None:
        raise ModelError(f"{where}: give {CHOICES}")
    if isinstance(value, (int, float)):
        return np.asarray(value, np.float64)
    if isinstance(value, list):
        try:
            return np.asarray(value, np.float64)
        except (ValueError, TypeError):
            raise ModelError(f"{where}: the list must hold numbers only, all its rows of one length") from None
    if isinstance(value, str):
        return _file(folder / value, where)
    if isinstance(value, dict):
        for key, make in _FORMS.items():
            if key in value:
                if unknown := set(value) - FORMS[key]:
                    raise ModelError(
                        f"{where}: unknown key '{sorted(unknown)[0]}'; known beside '{key}': "
                        f"{', '.join(sorted(FORMS[key] - {key})) or 'none'}"
                    )
                return make(value, wanted, folder, where)
    raise ModelError(f"{where}: give {CHOICES}")


def _file(path: Path, where: str) -> np.ndarray:
    if path.suffix.lower() != ".npy":
        raise ModelError(f"{where}: '{path.name}' is not a .npy file; give {CHOICES}")
    try:
        numbers = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ModelError(f"{where}: file not found: {path}") from None
    except (OSError, ValueError, EOFError):
        raise ModelError(f"{where}: {path} is not a readable .npy file of numbers") from None
    if not np.isfinite(numbers).all():
        raise ModelError(f"{where}: {path} contains NaN or infinity")
    found: np.ndarray = numbers
    return found


def _one_hot(value: dict[str, Any], wanted: onnx.ValueInfoProto, folder: Path, where: str) -> np.ndarray:
    index, sides = value["one_hot"], shape_of(wanted)
    if not sides or not all(isinstance(side, int) for side in sides):
        raise ModelError(f"{where}: one_hot needs an input of fixed shape, but it is {described(wanted)}")
    numbers = np.zeros([int(side) for side in sides])
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < numbers.size:
        raise ModelError(f"{where}: one_hot must be from 0 to {numbers.size - 1}, got {index!r}")
    numbers.reshape(-1)[index] = 1
    return numbers


def _predicted(value: dict[str, Any], wanted: onnx.ValueInfoProto, folder: Path, where: str) -> np.ndarray:
    """What another network makes of an image: its middle square, resized to the network's size."""
    import onnx
    from PIL import Image

    if not isinstance(value.get("image"), str):
        raise ModelError(f"{where}: 'onnx' needs 'image', the file that it is shown")
    path = folder / str(value["onnx"])
    if not path.is_file():
        raise ModelError(f"{where}: file not found: {path}")
    image = read_image(folder / value["image"])
    values = RANGES.get(str(value.get("range", UNIT.name)))
    if values is None:
        raise ModelError(f"{where}: unknown range '{value['range']}'; known: {', '.join(RANGES)}")
    try:
        inputs = free_inputs(onnx.load(str(path), load_external_data=False).graph)
    except Exception:  # protobuf's decoding errors have no public base
        raise ModelError(f"{where}: {path}: not an ONNX file, or truncated") from None
    session = open_quietly(path, f"{where}: {path}")
    sides = shape_of(inputs[0]) if len(inputs) == 1 else []
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise ModelError(f"{where}: {path} must have one input 1x3xHxW or 1xHxWx3")
    last = sides[1] != 3
    height, width = (side if isinstance(side, int) else 256 for side in (sides[1:3] if last else sides[2:4]))
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = Image.fromarray(image[top : top + side, left : left + side]).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    frame = np.asarray(square, np.float32)[None].transpose(0, 3, 1, 2) / np.float32(255)
    mean, std = (np.asarray(one, np.float32).reshape(1, 3, 1, 1) for one in (values.mean, values.std))
    frame = (frame - mean) / std
    frame = frame[:, ::-1] if values.bgr else frame
    frame = np.ascontiguousarray(frame.transpose(0, 2, 3, 1) if last else frame, np.float32)
    names = [one.name for one in session.get_outputs()]
    output = value.get("output", names[0])
    if output not in names:
        raise ModelError(f"{where}: {path} has no output '{output}'; it has: {', '.join(names)}")
    try:
        made: np.ndarray = session.run([output], {inputs[0].name: frame})[0]
    except Exception as error:
        raise ModelError(f"{where}: {path}: onnxruntime cannot run it: {first_line(error)}") from None
    return made


_FORMS: dict[str, Callable[[dict[str, Any], Any, Path, str], np.ndarray]] = {"one_hot": _one_hot, "onnx": _predicted}
