"""What ONNX Runtime and its kin say when something is wrong, in one line."""

from __future__ import annotations

import re

#: What ONNX Runtime says of a file that is newer than itself, and what helps beside updating it.
_NEWER = {
    "opset": (
        re.compile(r"Opset (\d+) is under development.*domain ai\.onnx is till opset (\d+)"),
        "export it with opset 18",
    ),
    "IR version": (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        "save it with an earlier onnx",
    ),
}
#: What it puts before what is wrong: its code and the file, and a place in its own source with the function there.
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?")
_SOURCE = re.compile(r"\S*/onnxruntime/\S+:\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? ?")


def first_line(error: Exception) -> str:
    """The first line of an error of ONNX Runtime and its kin, without its code and its place in their source.

    A file that is newer than the runtime is said so, with what the runtime reads: in its own words.
    """
    line = _CODE.sub("", str(error).strip().partition("\n")[0])
    for what, (words, remedy) in _NEWER.items():
        if newer := words.search(line):
            import onnxruntime

            found, known = newer.groups()
            newest = f"onnxruntime {onnxruntime.__version__} reads up to {known}"
            return f"{what} {found}, but {newest}: {remedy}, or update onnxruntime"
    return _SOURCE.sub("", line)
