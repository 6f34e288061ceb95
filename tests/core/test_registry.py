"""Plug-ins are found by being there, and a name that is not gets the nearest one that is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconet_bench.core.errors import ReconetBenchError, UnknownName
from reconet_bench.core.registry import Registry
from reconet_bench.methods.base import METHODS
from reconet_bench.metrics.base import METRICS
from reconet_bench.runtimes.base import RUNTIMES

BASE = "from reconet_bench.core.registry import Registry\nTOOLS = Registry('tool', 'a_house.tools')\n"
PLUGIN = "from a_house.tools.base import TOOLS\n\n@TOOLS.register('{name}')\nclass Tool:\n    where = __file__\n"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a folder of plug-ins, two of them; forgotten afterwards."""
    folder = tmp_path / "a_house" / "tools"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").write_text("")
    (folder / "base.py").write_text(BASE)
    (folder / "saw.py").write_text(PLUGIN.format(name="saw"))
    (folder / "hammer.py").write_text(PLUGIN.format(name="hammer"))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "a_house"]:
        del sys.modules[name]


def tools() -> Registry:
    from a_house.tools.base import TOOLS

    return TOOLS


def test_plug_ins_are_found_without_being_listed(house):
    assert list(tools()) == ["hammer", "saw"]
    assert [(name, type(tool).__name__) for name, tool in tools().items()] == [("hammer", "Tool"), ("saw", "Tool")]
    assert tools()["saw"].where == str(house / "saw.py")
    assert tools()["saw"] is tools()["saw"], "one instance, made once"


def test_a_new_plug_in_is_one_new_file(house):
    (house / "plane.py").write_text(PLUGIN.format(name="plane"))
    assert list(tools()) == ["hammer", "plane", "saw"]


def test_nothing_is_imported_before_it_is_asked_for(house):
    registry = tools()
    assert "a_house.tools.saw" not in sys.modules
    assert "saw" in registry
    assert "a_house.tools.saw" in sys.modules


def test_an_unknown_name_gets_the_nearest_known_one(house):
    with pytest.raises(UnknownName) as caught:
        tools()["hamer"]
    assert str(caught.value) == "unknown tool 'hamer': did you mean 'hammer'? known: hammer, saw"
    with pytest.raises(UnknownName) as caught:
        tools()["xyzzy"]
    assert str(caught.value) == "unknown tool 'xyzzy': known: hammer, saw"


def test_a_name_is_given_once(house):
    (house / "other_saw.py").write_text(PLUGIN.format(name="saw"))
    with pytest.raises(ValueError, match="two tools are called 'saw'"):
        list(tools())


@pytest.mark.parametrize(
    ("registry", "some"),
    [
        (METHODS, {"reconet", "johnson", "dougherty", "identity"}),
        (METRICS, {"temporal_error", "temporal_error_long", "warping_error", "ssim_adjacent", "style_distance"}),
        (RUNTIMES, {"torch", "torch-compile", "onnxruntime", "openvino"}),
    ],
)
def test_the_package_finds_its_own(registry, some):
    assert some <= set(registry)
    assert list(registry) == sorted(registry)
    for _, plugin in registry.items():
        assert isinstance(plugin.summary, str)
        assert plugin.summary
    with pytest.raises(UnknownName, match=f"unknown {registry.kind} 'nonsense'"):
        registry["nonsense"]


def test_nothing_known_is_said_so():
    error = UnknownName("model", "reconet", [])
    assert str(error) == "unknown model 'reconet': known: none"
    assert isinstance(error, ReconetBenchError)
