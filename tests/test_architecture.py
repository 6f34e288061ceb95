"""The law of the house: imports point downward, every module has its floor, heavy libraries load when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import reconet_bench

PACKAGE = Path(reconet_bench.__file__).parent
#: Rooms from the ground up; each may import itself and the rooms on floors below.
FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "core",
        "networks video report web",
        "methods data",
        "temporal",
        "metrics runtimes",
        "models",
        "benchmark training",
        "checks",
        "commands",
        "api cli",
    )
)
#: The files at the root: everything else is in a room.
DOORS = {"__init__.py", "api.py", "cli.py"}
#: No module is longer than this.
LONGEST = 330
#: More values than this travel together, and belong into a type of their own.
MOST_PARAMETERS = 7
#: Its options are those of the command, by name, and stay as they are promised.
PROMISED = {"api.stylize", "api.load_model", "api.measure"}
#: What a floor alone does not forbid: reports read records only, and write files as everything does.
ONLY = {
    "report": {
        "report",
        *(
            f"core.{name}"
            for name in (
                "errors",
                "registry",
                "doubts",
                "record",
                "record_reading",
                "samples",
                "size",
                "files",
                "statistics",
            )
        ),
    }
}


def imports(path: Path, package: Path) -> list[tuple[int, str]]:
    """Every import of ``package``'s own modules in a file: line and dotted name below the package."""
    found = []
    inside = path.relative_to(package).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([package.name, *inside[: len(inside) - node.level], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(node.lineno, name.partition(".")[2]) for name in names if name.partition(".")[0] == package.name]
    return found


def type_checking_lines(path: Path) -> set[int]:
    """Lines of a file below ``if TYPE_CHECKING:``, which never run."""
    blocks = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.If)]
    guarded = [node for node in blocks if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"]
    return {
        line
        for node in guarded
        for part in node.body
        for line in range(part.lineno, (part.end_lineno or part.lineno) + 1)
    }


def floor(name: str) -> int | None:
    """The floor of a module by its first name, or ``None`` where it has none."""
    return next((level for level, names in enumerate(FLOORS) if name in names), None)


def violations(package: Path) -> list[str]:
    """What breaks the law, one line each."""
    broken = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        owner = relative.with_suffix("").parts[0]
        if owner != "__init__" and floor(owner) is None:
            broken.append(f"{relative}: '{owner}' has no floor")
            continue
        # The package names its API for type checkers; at run time each name is loaded when it is used.
        unseen = type_checking_lines(path) if owner == "__init__" else set()
        for line, name in imports(path, package):
            if line in unseen:
                continue
            target = name.split(".")[0]
            if not (package / target).is_dir() and not (package / f"{target}.py").is_file():
                continue  # a name of the package itself, e.g. its version
            if owner == "__init__":
                broken.append(f"{relative}:{line}: the package itself imports {target}")
            elif target != owner and (floor(target) is None or floor(target) >= floor(owner)):
                broken.append(f"{relative}:{line}: {owner} imports {target}, which is not below it")
            elif owner in ONLY and not any(
                name == allowed or name.startswith(f"{allowed}.") for allowed in ONLY[owner]
            ):
                broken.append(f"{relative}:{line}: {owner} may not import {name}")
    return broken


def test_imports_point_downward():
    assert violations(PACKAGE) == []


def test_the_root_holds_the_doors_and_the_rooms_alone():
    assert {path.name for path in PACKAGE.glob("*.py")} == DOORS
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == frozenset().union(*FLOORS) - {"api", "cli"}
    assert all((PACKAGE / room / "__init__.py").read_text().startswith('"""') for room in rooms)


def test_no_module_is_too_long():
    lengths = {
        path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of all parameters but the object itself."""
    of = function.args
    return [one.arg for one in (*of.posonlyargs, *of.args, *of.kwonlyargs) if one.arg not in ("self", "cls")]


def test_no_function_has_too_many_parameters():
    found = {
        f"{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}.{node.name}": len(parameters(node))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and len(parameters(node)) > MOST_PARAMETERS
    }
    assert found.keys() == PROMISED


def test_the_tests_mirror_the_rooms():
    rooms = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert rooms <= frozenset().union(*FLOORS)


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("core/ops.py", "from toy.data.clip import Clip", "ops.py:1: core imports data, which is not below it"),
        ("core/ops.py", "import toy.training", "core imports training"),
        ("core/ops.py", "from toy import cli", "core imports cli"),
        ("data/clip.py", "def f():\n    from toy.metrics.base import Metric", "clip.py:2: data imports metrics"),
        ("data/clip.py", "from ..metrics.base import Metric", "data imports metrics"),
        ("data/clip.py", "from .. import cli", "data imports cli"),
        ("data/clip.py", "from toy.methods.base import Method", "data imports methods"),
        ("runtimes/base.py", "from toy.models.export import to_onnx", "runtimes imports models"),
        (
            "methods/base.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.cli",
            "methods imports cli",
        ),
        ("report/page.py", "from toy.core.ops import warp", "report may not import core.ops"),
        ("helpers.py", "", "helpers.py: 'helpers' has no floor"),
        ("__init__.py", "from toy.cli import main", "the package itself imports cli"),
    ],
)
def test_an_import_that_points_upward_is_seen(tmp_path, file, code, message):
    package = tmp_path / "toy"
    for name in [
        "__init__",
        "cli",
        "core/ops",
        "models/export",
        "training/loop",
        "metrics/base",
        "data/clip",
        "runtimes/base",
        "methods/base",
        "report/page",
    ]:
        (package / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text("")
    assert violations(package) == []
    (package / file).write_text(code)
    found = violations(package)
    assert len(found) == 1
    assert message in found[0]


def test_imports_that_point_downward_are_let_pass(tmp_path):
    package = tmp_path / "toy"
    for name in ("core/ops", "core/errors", "core/files", "data/clip", "data/__init__", "report/page"):
        (package / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text("")
    (package / "__init__.py").write_text("__version__ = '1'")
    (package / "data" / "clip.py").write_text(
        "import os\nfrom toy.core.ops import warp\nfrom .sintel import read\n"
        "from toy.data import sintel\nfrom toy import __version__"
    )
    (package / "report" / "page.py").write_text(
        "from toy.core.files import write_text\nfrom toy.core.errors import DataError"
    )
    assert violations(package) == []


def test_the_command_line_loads_heavy_libraries_only_when_they_are_used():
    heavy = [
        "av",
        "matplotlib",
        "ncnn",
        "nncf",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "openvino",
        "pandas",
        "ray",
        "tensorrt",
    ]
    code = f"import sys, reconet_bench.cli; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def test_the_package_itself_loads_nothing_until_a_name_is_used():
    heavy = ("torch", "numpy", "av")
    code = (
        f"import sys, reconet_bench\nprint(*(m for m in sys.modules if m.startswith('reconet_bench.') or m in {heavy}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []
