"""The local server: what it serves, with which headers, and what it refuses; and the files of ONNX Runtime Web."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconet_bench import cli
from reconet_bench.core.errors import DataError, ModelError, RuntimeUnavailable
from reconet_bench.models.loading import load_by_name, workspace
from reconet_bench.runtimes.base import RUNTIMES, ModelSource
from reconet_bench.runtimes.onnxruntime_web import placed_nodes
from reconet_bench.runtimes.page_facts import page_facts
from reconet_bench.temporal.state import StateInput
from reconet_bench.web import ort
from reconet_bench.web.live import LiveModel, export, pieces
from reconet_bench.web.server import Server


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mjs").write_text("export {};")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


@pytest.fixture
def server(files: Path) -> Iterator[Server]:
    with Server({"/": b"<p>page</p>", "/in/": files / "in", "/b.wasm": b"\0asm"}) as running:
        yield running


def get(url: str, **headers: str) -> urllib.request.addinfourl:
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)


def test_what_is_served_has_the_headers_that_threads_need(server: Server) -> None:
    for path, kind in {"/": "text/html", "/in/a.mjs": "text/javascript", "/b.wasm": "application/wasm"}.items():
        with get(server.address + path) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    with get(server.address + "/b.wasm") as answer:
        assert answer.read() == b"\0asm"


@pytest.mark.parametrize("path", ["/in/../secret.txt", "/in/%2e%2e/secret.txt", "/secret.txt", "/in/", "/gone"])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(server.address + path)


def test_a_name_that_leads_here_from_elsewhere_is_refused(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(server.address, Host="evil.example")


def test_a_port_that_is_taken_is_one_line(server: Server) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(DataError, match=f"cannot serve on port {port}: .*; give another --port"):
        Server({}, port)


def package(path: Path) -> Path:
    """An archive that has everything but the right checksum."""
    with tarfile.open(path, "w:gz") as archive:
        for name in (name for names in ort.FILES.values() for name in names):
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"code"))
    return path


def test_another_package_than_the_one_meant_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(tmp_path / "kept"))
    url = package(tmp_path / "package.tgz").as_uri()
    with pytest.raises(SystemExit) as end:
        cli.main(["data", "fetch", "onnxruntime-web", "--url", url])
    assert end.value.code == 2
    assert "with another checksum than onnxruntime-web" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
    with pytest.raises(DataError, match="cannot download"):
        ort.fetch((tmp_path / "gone.tgz").as_uri())


def npm_of(folder: Path, script: str) -> Path:
    """A folder with an ``npm`` that does what the script says."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "npm is not installed: install Node.js, or download the archive of onnxruntime-web@"),
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", "failed: npm error code ENOTFOUND; with an archive at hand"),
        ("exit 0", "failed: it ended with 0"),
    ],
)
def test_without_a_working_npm_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, said: str
) -> None:
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setenv("PATH", str(npm_of(tmp_path / "bin", script) if script else tmp_path))
    with pytest.raises(DataError, match=re.escape(said)):
        ort.fetch()
    assert not (tmp_path / "kept").exists()


def test_npm_packs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = package(tmp_path / "package.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(ort, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(tmp_path / "kept"))
    # Words: pack PACKAGE --silent --pack-destination FOLDER
    script = f'test "$1 $2" = "pack {ort.PACKAGE}" && /bin/cp {archive} "$5"/onnxruntime-web.tgz'
    monkeypatch.setenv("PATH", str(npm_of(tmp_path / "bin", script)))
    assert ort.fetch() == tmp_path / "kept"
    assert ort.missing() is None


def test_the_package_meant_is_kept_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(tmp_path / "kept"))
    archive = package(tmp_path / "package.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(ort, "INTEGRITY", f"sha512-{digest}")
    assert "reconet-bench data fetch onnxruntime-web" in (ort.missing() or "")
    with pytest.raises(RuntimeUnavailable, match="the files of onnxruntime-web are not in"):
        ort.need()
    assert ort.fetch(str(archive)) == ort.fetch(archive.as_uri()) == tmp_path / "kept"
    assert ort.missing() is None


def test_names_of_the_runtime() -> None:
    assert RUNTIMES.canonical("onnxruntime-web") == "onnxruntime-web:wasm"
    assert RUNTIMES.canonical("onnxruntime-web:webgpu") == "onnxruntime-web:webgpu"
    assert [name for name in RUNTIMES.names() if name.startswith("onnxruntime-web")] == [
        "onnxruntime-web:wasm",
        "onnxruntime-web:webgpu",
    ]


def test_placement_is_read_from_the_log() -> None:
    log = [
        "[V:onnxruntime:, session_state.cc:1377 Verify] Node placements",
        "[V:onnxruntime:, session_state.cc:1383]  Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 2",
        "[V:onnxruntime:, session_state.cc:1385 Verify]   Conv (node_conv2d)",
        "[V:onnxruntime:, session_state.cc:1385 Verify]   Relu (node_relu)",
        "[V:onnxruntime:, session_state.cc:1383]  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 1",
        "[V:onnxruntime:, session_state.cc:1385 Verify]   Shape (node_shape)",
    ]
    gpu, cpu = "WebGpuExecutionProvider", "CPUExecutionProvider"
    assert placed_nodes(log) == [("Conv", gpu), ("Relu", gpu), ("Shape", cpu)]
    one = ["[V:onnxruntime:, x] All nodes placed on [CPUExecutionProvider]. Number of nodes: 3"]
    assert placed_nodes(one) == [("any", cpu)] * 3
    assert placed_nodes(["nothing"]) == []


def test_the_page_can_be_written_for_any_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: Path
) -> None:
    folder = tmp_path / "ort"
    folder.mkdir()
    for name in (name for names in ort.FILES.values() for name in names):
        (folder / name).write_text("code")
    monkeypatch.setenv(ort.ENVIRONMENT_VARIABLE, str(folder))
    (tmp_path / "clip.webm").write_bytes(b"film")
    with workspace() as place:
        facts = page_facts(load_by_name(str(exported), Path(place)).source)
    found = pieces([LiveModel("mine", "mine", exported, facts)], tmp_path / "clip.webm")
    size = export(found, tmp_path / "site")
    written = {
        path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*") if path.is_file()
    }
    assert written == {*found, "_headers"}
    assert "Cross-Origin-Embedder-Policy: require-corp" in (tmp_path / "site" / "_headers").read_text()
    assert size == sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file())


def test_models_that_a_page_cannot_run_are_refused() -> None:
    plain = ModelSource("mine", None, Path)
    assert page_facts(plain)["mean"] == (0.0, 0.0, 0.0)
    for source, said in {
        "state": (replace(plain, state=(StateInput("a", "stylized"),)), "carry its state"),
        "size": (replace(plain, height=64), "one size only"),
        "batch": (replace(plain, batch=4), "several frames at once"),
    }.values():
        with pytest.raises(ModelError, match=said):
            page_facts(source)
