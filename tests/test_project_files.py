"""The files around the code tell the truth, and the wheel holds what the program needs and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import reconet_bench
from reconet_bench.core.provenance import versions

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: What only some runtimes, plots or tests need: a plain installation runs `compare` without it.
EXTRAS = ("matplotlib", "ncnn", "nncf", "openvino", "playwright", "pnnx", "pytest", "tensorboard", "tensorrt")


def pythons() -> list[str]:
    """The Python versions that the classifiers name."""
    found = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one) for one in PROJECT["project"]["classifiers"]
    ]
    return [match[1] for match in found if match]


def test_the_version_is_said_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "reconet_bench/core/version.py"
    assert versions()["reconet-bench"] == reconet_bench.__version__
    assert f"\nversion: {reconet_bench.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_workflow_tests_the_python_versions_that_are_promised():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    assert re.findall(r"3\.\d+", matrix) == pythons()
    assert PROJECT["project"]["requires-python"] == f">={pythons()[0]}"
    environments = re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"tox -e (\w+)", workflow)) <= set(environments)


def test_an_issue_asks_for_the_inventory():
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        if form.name != "config.yml":
            assert "reconet-bench list" in form.read_text(encoding="utf-8")


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built by the build backend that pyproject.toml names, without a network."""
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install hatchling")
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_the_models_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "reconet_bench",
        f"reconet_bench-{reconet_bench.__version__}.dist-info",
    }
    inside = {name.removeprefix("reconet_bench/") for name in names if name.startswith("reconet_bench/")}
    package = ROOT / "reconet_bench"
    ours = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix in (".py", ".toml", ".css", ".js", ".mjs", ".html", ".j2", ".typed")
    }
    assert ours <= inside
    shipped = {f"models/shipped/{path.name}" for path in (ROOT / "models").iterdir() if path.is_file()}
    assert inside == ours | shipped
    assert wheel.stat().st_size < 40e6


@pytest.mark.process
def test_the_wheel_alone_compares(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has what the package depends on, and none of the extras."""
    home = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(home)
    block = "\n".join(
        [
            "import sys",
            f"sys.path.insert(0, {str(home)!r})",
            f"blocked = {EXTRAS}",
            "from importlib.machinery import PathFinder",
            "class WithoutExtras(PathFinder):",
            "    @classmethod",
            "    def find_spec(cls, name, path=None, target=None):",
            "        return None if name.partition('.')[0] in blocked else super().find_spec(name, path, target)",
            "sys.meta_path[:] = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]",
            "import reconet_bench",
            f"assert reconet_bench.__file__.startswith({str(home)!r}), reconet_bench.__file__",
            "from reconet_bench.cli import main",
            "main(sys.argv[1:])",
        ]
    )
    words = [
        "compare",
        "--videos",
        "stroll",
        "--size",
        "64x48",
        "--frames",
        "3",
        "--runtimes",
        "torch",
        "onnxruntime",
        "--rounds",
        "0",
        "--output",
        "run",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for arguments in (["list", "models"], words):
        done = subprocess.run(
            [sys.executable, "-c", block, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert (
        "reconet-starry_night" in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
        or (tmp_path / "run" / "report.html").is_file()
    )
