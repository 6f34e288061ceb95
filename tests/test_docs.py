"""README and documentation: what they tell people to type works, what they link to is there, nothing is missing."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip, scene

import reconet_bench
from reconet_bench import cli
from reconet_bench.commands.base import COMMANDS
from reconet_bench.methods.base import METHODS
from reconet_bench.metrics.base import METRICS
from reconet_bench.runtimes.base import RUNTIMES
from reconet_bench.training.presets import preset_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
#: A README is read to its end if it is short.
LONGEST_README = 150


def blocks(page: Path, language: str = r"\w*") -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> list[str]:
    """Every command line of the program in a page's code blocks."""
    lines = [part.strip() for block in blocks(page) for line in block.splitlines() for part in line.split("&&")]
    lines = [line.removeprefix("- run: ") for line in lines]
    return [line for line in lines if line.startswith("reconet-bench ")]


LINES = list(dict.fromkeys(line for page in PAGES for line in commands(page)))


@pytest.mark.parametrize("line", LINES)
def test_every_command_in_the_pages_is_understood(line):
    words = shlex.split(line.replace("METHOD", "johnson"), comments=True)[1:]
    assert callable(cli.parse(words).run)


def test_the_pages_show_every_command():
    shown = {line.split()[1] for line in LINES}
    assert shown >= set(COMMANDS) - {"curves", "list"}
    assert len(LINES) > 40


def test_the_readme_is_short_and_has_both_commands_above_the_fold():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README
    fold = "\n".join(lines[:25])
    assert "pip install . && reconet-bench compare" in fold
    assert "pip install tox && tox" in fold
    assert "docs/assets/comparison.jpg" in fold


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}" in navigation


def test_the_reference_names_everything_there_is():
    reference = ROOT / "docs" / "reference"
    metrics = (reference / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"\n## {name}\n" not in metrics] == [], "no such heading in metrics.md"
    plain = " ".join(metrics.replace("`", "").split())
    assert [name for name, metric in METRICS.items() if f"Blind to: {metric.blind_to}." not in plain] == []
    runtimes = (reference / "runtimes.md").read_text(encoding="utf-8")
    parts = {part for name in RUNTIMES.names() for part in name.split(":")}
    assert [part for part in parts if f"`{part}`" not in runtimes] == [], "not in the table of runtimes.md"
    methods = (reference / "methods-and-presets.md").read_text(encoding="utf-8")
    assert [name for name in [*METHODS, *preset_names()] if f"`{name}`" not in methods] == [], "not in its page"
    formats = (reference / "file-formats.md").read_text(encoding="utf-8")
    from reconet_bench.core.record import COLUMNS
    from reconet_bench.report.run_folder import FILES

    assert [name for name in FILES if f"`{name}`" not in formats] == [], "not in file-formats.md"
    assert ", ".join(COLUMNS) in " ".join(formats.split())


def test_the_site_shows_the_help_of_every_command():
    import runpy

    hook = runpy.run_path(str(ROOT / "tools" / "docs_hook.py"))
    page = hook["on_page_markdown"]((ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8"))
    for name, command in COMMANDS.items():
        assert f"\n## {name}\n" in page
        assert command.example in " ".join(page.split())


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_in_the_pages_uses_names_that_are_there(page):
    for block in blocks(page, "python"):
        used = {
            node.attr
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rb"
        }
        assert used <= set(reconet_bench.__all__)


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "holiday.mp4")
    (code,) = blocks(ROOT / "README.md", "python")
    names = {"frame": scene(0)}
    exec(compile(code.replace("frames=50", 'frames=3, flow="none"'), "README.md", "exec"), names)
    assert np.asarray(names["painted"]).shape == scene(0).shape
    assert (tmp_path / "painted.mp4").is_file()


def test_the_tutorial_on_your_own_method_works_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in commands(ROOT / "docs" / "tutorials" / "measure-your-method.md")[:2]:
        cli.main(shlex.split(line)[1:])
    assert "content_similarity" in capsys.readouterr().out


@pytest.mark.process
def test_the_first_comparison_works_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in commands(ROOT / "docs" / "tutorials" / "first-comparison.md"):
        cli.main(shlex.split(line)[1:])
    assert (tmp_path / "reports" / "first" / "report.html").is_file()
    assert "reports/first" in capsys.readouterr().out
