"""Commands on a Ray cluster give what they give here, to the last bit; without one, Ray is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import make_clip
from conftest import picture
from ray_nodes import Nodes, begun, said

from reconet_bench import cli
from reconet_bench.core.cluster import Cluster
from reconet_bench.core.errors import DataError
from reconet_bench.core.images import write_image
from reconet_bench.core.place import Call, Here, Node


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """A folder with two videos and a folder of frames."""
    folder = tmp_path_factory.mktemp("footage")
    make_clip(folder / "a.mp4")
    make_clip(folder / "b.mp4")
    for number in range(1, 6):
        write_image(folder / "frames" / f"{number:02d}.png", picture(number, (1, 0)))
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes("") as nodes:
        yield nodes


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.process
def test_footage_is_stylised_the_same(footage, cluster, tmp_path):
    words = ["stylize", *(str(footage / name) for name in ("a.mp4", "b.mp4", "frames")), "--threads", "1"]
    said(begun(tmp_path, *words, "-o", "here"))
    said(begun(tmp_path, *words, "-o", "there", "--on", "ray", address=cluster.address))
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert {name.split("/")[0] for name in files(tmp_path / "there")} == {"a.mp4", "b.mp4", "frames"}


@pytest.mark.process
def test_motion_is_estimated_the_same_and_comes_back(footage, cluster, tmp_path, monkeypatch):
    words = ["data", "flow", "--videos", str(footage / "a.mp4"), str(footage / "frames"), "--threads", "1"]
    for place, more in (("here", []), ("there", ["--on", "ray"])):
        monkeypatch.setenv("RECONET_BENCH_CACHE", str(tmp_path / place))  # not that of the node, which has begun
        said(begun(tmp_path, *words, *more, address=cluster.address if more else ""))
    assert files(tmp_path / "there") == files(tmp_path / "here") != {}


@pytest.mark.process
def test_results_are_measured_the_same(footage, cluster, tmp_path):
    (tmp_path / "again").symlink_to(footage / "frames")
    words = ["evaluate", "--stylized", str(footage / "frames"), "again", "--video", str(footage / "frames")]
    words += ["--threads", "1", "--json"]
    printed = []
    for more in ([], ["--on", "ray"]):
        process = begun(tmp_path, *words, *more, address=cluster.address if more else "", out=subprocess.PIPE)
        printed.append(process.communicate()[0])
        assert process.returncode == 0
    assert printed[0] == printed[1]
    assert set(json.loads(printed[0])) == {str(footage / "frames"), "again"}


@pytest.mark.process
def test_a_sweep_names_its_nodes(cluster, tmp_path):
    words = "sweep reconet-lite-starry_night --sizes 64 96 --runtimes torch onnxruntime --rounds 1 --threads 1 -o swept"
    said(begun(tmp_path, *words.split(), "--on", "ray", address=cluster.address))
    header, *rows = (line.split(",") for line in (tmp_path / "swept" / "sweep.csv").read_text().splitlines())
    facts = json.loads((tmp_path / "swept" / "provenance.json").read_text())
    assert {row[header.index("node")] for row in rows} <= set(facts["nodes"])
    assert [(row[header.index("width")], row[header.index("runtime")]) for row in rows] == [
        ("64", "torch"),
        ("64", "onnxruntime"),
        ("96", "torch"),
        ("96", "onnxruntime"),
    ]


_SWEEP = "sweep reconet-lite-starry_night --sizes 64 --runtimes torch --rounds 1 -o swept"
_COMPARE = "compare --methods identity --videos stroll --size 64x48 --frames 3 --rounds 0 --runtimes torch -o run"


@pytest.mark.process
def test_without_a_cluster_ray_is_not_loaded(footage, tmp_path):
    frames = footage / "frames"
    commands = [
        ["evaluate", "--stylized", str(frames), "--video", str(frames), "--json"],
        ["stylize", str(footage / "a.mp4"), str(frames), "-o", "out"],
        ["data", "flow", "--videos", str(frames)],
        _SWEEP.split(),
        _COMPARE.split(),
    ]
    code = f"import sys\nfrom reconet_bench import cli\nfor words in {commands}: cli.main(words)\n"
    code += "assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stylize", "a.mp4", "b.mp4", "-o", "out.mp4"], "out.mp4 is a file: with several inputs, or --on, give a"),
        (["stylize", "a.mp4", "none.mp4", "-o", "out"], "no such file or folder: none.mp4"),
        (["stylize", "a.mp4", "b.mp4", "-o", "."], "a.mp4 is an input: give another folder for the results"),
        (["stylize", "a.mp4", "a.mp4", "-o", "out"], "a.mp4 and a.mp4 would both be out/a.mp4"),
        (["stylize", "--camera", "0", "--on", "ray", "-o", "out"], "--on is for files: leave it out with --camera"),
        (
            ["stylize", "a.mp4", "--on", "ray", "--runtime", "auto", "-o", "out"],
            "--on ray: --runtime auto measures speed to choose by it: name the runtime",
        ),
        (
            ["evaluate", "--stylized", "frames", "a.mp4", "b.mp4", "--video", "frames", "a.mp4"],
            "3 stylised results and 2 videos: give one video for each, or one for all",
        ),
        (["evaluate", "--stylized", "frames", "frames", "--video", "frames"], "--stylized names frames twice"),
        (
            ["data", "flow", "--videos", "stroll"],
            "no clip with motion to estimate: name footage with --videos",
        ),
        (
            ["data", "flow", "--videos", "frames", "--flow", "none"],
            "--flow none turns estimation off: give dis",
        ),
        (["data", "list", "--size", "64"], "--size is for 'data flow'"),
        *(
            ([*words, "--on", "ray://127.0.0.1:9"], "no Ray cluster answers at 127.0.0.1:9: ")
            for words in (
                ["stylize", "a.mp4", "-o", "out"],
                ["evaluate", "--stylized", "frames", "--video", "frames"],
                ["data", "flow", "--videos", "frames"],
                ["sweep", "reconet-lite-starry_night", "-o", "out"],
            )
        ),
    ],
)
def test_a_mistake_is_one_line(footage, monkeypatch, capsys, words, says):
    pytest.importorskip("ray")
    monkeypatch.chdir(footage)
    before = files(footage)
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert files(footage) == before


def test_here_calls_follow_one_another():
    calls = [Call("one", 1, pow, (2, 3)), Call("two", 2, pow, (3, 2))]
    assert list(Here().each(calls)) == [(1, "", 8), (2, "", 9)]


def test_speeds_are_compared_on_the_most_numerous_kind_that_is_large_enough():
    nodes = [Node("1", "a", 2, ("x",)), Node("2", "b", 2, ("x",)), Node("3", "c", 8, ("y",))]
    cluster = Cluster(nodes=nodes)
    assert [node.name for node in cluster.alike(2)] == ["a", "b"]
    assert [node.name for node in cluster.alike(4)] == ["c"]


@pytest.mark.process
def test_a_client_server_of_another_version_is_one_line(footage, tmp_path):
    other = tmp_path / "other" / "reconet_bench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    with Nodes("", client=10131, path=other.parent):
        words = ["stylize", str(footage / "a.mp4"), "-o", "out", "--on", "ray://127.0.0.1:10131"]
        text = begun(tmp_path, *words).communicate(timeout=300)[1]
    assert text.count("\n") == 1, text
    assert "does not run this version of reconet-bench" in text


@pytest.mark.process
def test_a_client_server_is_a_cluster_too(footage, tmp_path):
    words = ["stylize", str(footage / "a.mp4"), str(footage / "frames"), "--threads", "1"]
    with Nodes("", client=10132):
        said(begun(tmp_path, *words, "-o", "there", "--on", "ray://127.0.0.1:10132"))
    said(begun(tmp_path, *words, "-o", "here"))
    assert files(tmp_path / "there") == files(tmp_path / "here")


def test_what_is_missing_here_is_told_before_any_node_is_asked():
    with pytest.raises(DataError, match="film: no such file or folder"):
        Cluster().check(lambda: {"film": "no such file or folder"}, 1)
