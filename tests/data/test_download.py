"""Parts of a remote archive, from a real server: with ranges, without, one that hangs up, one that serves rubbish."""

from __future__ import annotations

import http.server
import io
import re
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_SEQUENCES, picture
from damaged import FEW, damage, harm
from hypothesis import given
from hypothesis import strategies as st

from reconet_bench import cli
from reconet_bench.core.errors import DataError, ReconetBenchError, UnknownName
from reconet_bench.core.images import write_image
from reconet_bench.data import zip_over_http
from reconet_bench.data.download import MANIFEST, PAINTINGS, Verified, fetch, verify
from reconet_bench.data.sintel import SintelClip
from reconet_bench.data.zip_over_http import fetch_members

NOISE = np.random.default_rng(1)


class Server:
    """Serves ``body`` at every path; ``ranges`` or not; hangs up once after ``budget`` bytes of content."""

    def __init__(self, body: bytes) -> None:
        self.body, self.ranges, self.sent, self.requests = body, True, 0, 0
        self.budget: int | None = None
        self.always_cut = False
        self.status = 0
        self.bodies: dict[str, bytes] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                body = outer.bodies.get(self.path, outer.body)
                if outer.status:
                    self.send_error(outer.status)
                    return
                match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if outer.ranges else None
                self.send_response(206 if match else 200)
                part = body
                if match:
                    start, end = int(match[1]), min(int(match[2]) + 1, len(body))
                    part = body[start:end]
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                if outer.budget is not None and len(part) > outer.budget:
                    part, outer.budget = part[: outer.budget], 0 if outer.always_cut else None
                    self.close_connection = True
                elif outer.budget is not None:
                    outer.budget -= len(part)
                outer.sent += len(part)
                self.wfile.write(part)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # a client that goes away is part of the tests
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/MPI-Sintel-complete.zip"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(zip_over_http, "PAUSE", 0.001)
    monkeypatch.setattr(zip_over_http, "TIMEOUT", 10.0)


@pytest.fixture
def archive(tiny_sintel) -> bytes:
    """A zip of the tiny Sintel, with test frames and noise that nobody asks for."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(tiny_sintel.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(tiny_sintel))
        for number in range(20):
            file.writestr(f"test/clean/ambush_1/frame_{number:04d}.png", NOISE.bytes(20_000))
        file.writestr("README.txt", "not wanted")
    return buffer.getvalue()


@pytest.fixture
def server(archive):
    one = Server(archive)
    yield one
    one.close()


def needed(archive: bytes, *sequences: str) -> int:
    """Compressed bytes of the members of these sequences in the clean pass, headers included."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        members = [
            m for m in file.infolist() if set(m.filename.split("/")) & set(sequences) and "/final/" not in m.filename
        ]
        return sum(m.compress_size + 30 + len(m.filename) for m in members)


def same(folder: Path, other: Path, sequence: str) -> None:
    for kind in ("clean", "flow", "occlusions", "invalid"):
        files = sorted((other / "training" / kind / sequence).iterdir())
        assert [p.name for p in files] == sorted(p.name for p in (folder / "training" / kind / sequence).iterdir())
        for path in files:
            assert (folder / "training" / kind / sequence / path.name).read_bytes() == path.read_bytes()


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


def test_only_what_is_needed_crosses_the_network(server, archive, tmp_path, tiny_sintel):
    folder, count = fetch("sintel", tmp_path / "out", ["alley_2", "bandage_1"], url=server.url)
    same(folder, tiny_sintel, "alley_2")
    same(folder, tiny_sintel, "bandage_1")
    assert not (folder / "training" / "clean" / "cave_2").exists()
    assert not (folder / "training" / "final").exists()
    assert count == 8 + 3 * 7 + 7 + 3 * 6
    directory = len(archive) - zipfile.ZipFile(io.BytesIO(archive)).start_dir
    # The directory is 1 MB of Sintel's 5 GB; in an archive as small as this one it weighs as much as the members.
    assert server.sent <= 1.1 * needed(archive, "alley_2", "bandage_1") + max(directory, 2**14) + 1
    assert SintelClip(folder, "alley_2").starts() == list(range(7))


def test_what_is_here_is_not_fetched_again(server, tmp_path):
    folder, _ = fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    before, (frame, *_) = server.sent, sorted((folder / "training" / "clean" / "alley_2").iterdir())
    reported: list[tuple[str, int]] = []
    fetch("sintel", folder, ["alley_2"], url=server.url, report=lambda name, size: reported.append((name, size)))
    assert {size for _, size in reported} == {0}
    assert server.sent - before < 2**14 + 20_000
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-1] + b"x")
    fetch("sintel", folder, ["alley_2"], url=server.url)
    assert frame.read_bytes() == whole, "a file that was changed is mended"


def test_a_server_without_ranges_sends_everything(server, tmp_path, tiny_sintel):
    server.ranges = False
    folder, _ = fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    same(folder, tiny_sintel, "alley_2")
    assert leftovers(folder) == []


@given(how=damage, ranges=st.booleans())
@FEW
def test_an_archive_that_is_damaged_anywhere_gives_whole_files_or_one_line(server, archive, tiny_sintel, how, ranges):
    server.body, server.ranges = harm(archive, how), ranges
    originals = {path.read_bytes() for path in tiny_sintel.rglob("*") if path.is_file()}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out"
        try:
            fetch("sintel", target, ["alley_2"], url=server.url)
        except ReconetBenchError as error:
            refused = str(error)
        else:
            refused = ""
        assert "\n" not in refused
        files = [path for path in target.rglob("*") if path.is_file() and path.name != MANIFEST]
        assert all(path.read_bytes() in originals for path in files if not path.name.startswith("."))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("share", [0, 0.1, 0.35, 0.5, 0.77, 0.99])
def test_a_connection_that_breaks_anywhere_ends_well(server, archive, tmp_path, tiny_sintel, ranges, share):
    """Cut once: the same run goes on. Cut for good: one line, no half file, and the next run goes on."""
    server.ranges, server.always_cut = ranges, True
    server.budget = int(share * (needed(archive, "alley_2") if ranges else len(archive)))
    with pytest.raises(DataError, match="run the command again to continue"):
        fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    assert leftovers(tmp_path / "out") == []
    for path in (tmp_path / "out" / "training").rglob("*.*"):
        assert path.read_bytes() == (tiny_sintel / path.relative_to(tmp_path / "out")).read_bytes()
    if (tmp_path / "out" / MANIFEST).exists():
        assert any("alley_2" in line for line in verify(tmp_path / "out").wrong), "what has not come is missed"
    server.always_cut, server.budget = False, 700
    folder, _ = fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    same(folder, tiny_sintel, "alley_2")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("rubbish", [b"", b"<html>sign in first</html>" * 99, NOISE.bytes(50_000)])
def test_rubbish_is_one_line(server, tmp_path, ranges, rubbish):
    server.body, server.ranges = rubbish, ranges
    with pytest.raises(DataError) as caught:
        fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_damage_inside_the_archive_is_seen(server, archive, tmp_path):
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        member = file.getinfo("training/clean/alley_2/frame_0003.png")
    middle = member.header_offset + 60 + member.compress_size // 2
    server.body = archive[:middle] + bytes([archive[middle] ^ 255]) + archive[middle + 1 :]
    with pytest.raises(DataError, match=r"frame_0003\.png: not a complete zip archive"):
        fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    assert not (tmp_path / "out" / "training" / "clean" / "alley_2" / "frame_0003.png").exists()
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "a\\..\\evil.png", "C:/evil.png"])
@pytest.mark.parametrize("ranges", [True, False])
def test_members_that_lead_out_of_the_target_are_refused(server, tmp_path, name, ranges):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("good.png", b"good")
        file.writestr(name, b"evil")
    server.body, server.ranges = buffer.getvalue(), ranges
    with pytest.raises(DataError, match="leads out of the target folder"):
        fetch_members(server.url, tmp_path / "deep" / "out", lambda member: member)
    assert [path for path in tmp_path.rglob("*.png") if "MPI-Sintel-tiny" not in str(path)] == []


@pytest.mark.parametrize(
    ("status", "message"), [(404, "the server answers 404"), (403, "answers 403"), (503, "the connection failed")]
)
def test_what_the_server_says_is_passed_on(server, tmp_path, status, message):
    server.status = status
    with pytest.raises(DataError, match=message):
        fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)


def test_names_that_are_not_there(server, tmp_path):
    with pytest.raises(UnknownName, match="'ally_2': did you mean 'alley_2'"):
        fetch("sintel", tmp_path / "out", ["ally_2"], url=server.url)
    with pytest.raises(UnknownName, match="unknown data set 'sintl': did you mean 'sintel'"):
        fetch("sintl")
    with pytest.raises(UnknownName, match="unknown pass"):
        fetch("sintel", tmp_path, render_pass="dirty", url=server.url)
    for url in ("file:///etc/passwd", "nonsense", "http://127.0.0.1:1/x.zip", "http://[x"):
        with pytest.raises(DataError):
            fetch("sintel", tmp_path, ["alley_2"], url=url)


def test_davis_comes_by_sequence(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("bear", "camel"):
            for number in range(3):
                write_image(tmp_path / "f.jpg", picture(number, (1, 0)))
                file.write(tmp_path / "f.jpg", f"DAVIS/JPEGImages/480p/{name}/{number:05d}.jpg")
                file.writestr(f"DAVIS/Annotations/480p/{name}/{number:05d}.png", b"no")
    server.body = buffer.getvalue()
    folder, count = fetch("davis", tmp_path / "DAVIS", ["camel"], url=server.url)
    assert count == 3
    assert sorted(p.name for p in (folder / "JPEGImages" / "480p" / "camel").iterdir()) == [
        "00000.jpg",
        "00001.jpg",
        "00002.jpg",
    ]
    assert verify(folder) == Verified(3, 3, [])


def test_paintings_come_with_title_and_licence(server, tmp_path):
    write_image(tmp_path / "p.jpg", picture(0, (1, 0)))
    server.body = (tmp_path / "p.jpg").read_bytes()
    folder, count = fetch("styles", tmp_path / "styles", url=server.url.rpartition("/")[0])
    assert count == len(PAINTINGS)
    assert "Vincent van Gogh" in (folder / "starry_night.txt").read_text()
    assert verify(folder) == Verified(len(PAINTINGS), len(PAINTINGS), [])
    server.body = b"<html>"
    with pytest.raises(DataError, match="gives no picture"):
        fetch("styles", tmp_path / "other", ["wave"], url=server.url.rpartition("/")[0])
    assert [path.name for path in (tmp_path / "other").iterdir()] == [MANIFEST]


def test_a_damaged_painting_is_fetched_again(server, tmp_path):
    """Neither one that cannot be read nor one that changed is taken for what was fetched."""
    write_image(tmp_path / "p.jpg", picture(0, (1, 0)))
    server.body = (tmp_path / "p.jpg").read_bytes()
    folder, _ = fetch("styles", tmp_path / "styles", ["wave"], url=server.url.rpartition("/")[0])
    painting = folder / "wave.jpg"
    write_image(tmp_path / "other.jpg", picture(3, (5, 5)))
    for harmed in (b"", server.body[:50], (tmp_path / "other.jpg").read_bytes()):
        painting.write_bytes(harmed)
        assert len(verify(folder).wrong) == 1
        fetch("styles", folder, ["wave"], url=server.url.rpartition("/")[0])
        assert painting.read_bytes() == server.body
        assert verify(folder) == Verified(1, 1, [])


def test_a_painting_of_ones_own_is_kept(server, tmp_path):
    write_image(tmp_path / "styles" / "wave.jpg", picture(3, (5, 5)))
    before = (tmp_path / "styles" / "wave.jpg").read_bytes()
    fetch("styles", tmp_path / "styles", ["wave"], url=server.url.rpartition("/")[0])
    assert (tmp_path / "styles" / "wave.jpg").read_bytes() == before
    assert server.requests == 0


def test_paintings_that_did_not_come_are_missed(server, tmp_path):
    server.body = b"<html>"
    with pytest.raises(DataError, match="gives no picture"):
        fetch("styles", tmp_path, ["wave"], url=server.url.rpartition("/")[0])
    (line,) = verify(tmp_path).wrong
    assert "wave.jpg" in line


def test_data_without_a_manifest_are_only_read(tiny_sintel, capsys):
    files = verify(tiny_sintel).files
    assert verify(tiny_sintel) == Verified(files, 0, [])
    cli.main(["data", "verify", "sintel", "--output", str(tiny_sintel)])
    assert f"{files} files, all readable, none compared with the checksums from the download" in " ".join(
        capsys.readouterr().out.split()
    )


def test_nothing_is_fetched_for_a_name_that_is_not_there(server, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'alley_2'"):
        fetch("sintel", tmp_path / "out", ["alley_1", "ally_2"], url=server.url)
    assert list((tmp_path / "out").iterdir()) == []


def test_verify_finds_what_is_wrong(server, tmp_path):
    folder, count = fetch("sintel", tmp_path / "out", ["alley_2"], url=server.url)
    assert verify(folder) == Verified(count, count, [])
    frame, flow = (
        folder / "training" / kind / "alley_2" / f"frame_0002.{suffix}"
        for kind, suffix in (("clean", "png"), ("flow", "flo"))
    )
    frame.write_bytes(frame.read_bytes()[:100])
    flow.unlink()
    (folder / "training" / "invalid" / "alley_2" / "frame_0004.png").unlink()
    wrong = verify(folder).wrong
    assert len(wrong) == 4
    assert any("frame_0004.png: missing beside its flow" in line for line in wrong)
    with pytest.raises(DataError, match="no data in"):
        verify(tmp_path / "nowhere")


def test_the_command(server, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["data", "list"])
    assert "sintel" in capsys.readouterr().out
    cli.main(["data", "info", "sintel"])
    assert "CC BY 3.0" in capsys.readouterr().out
    cli.main(["data", "fetch", "sintel", "--videos", "alley_1", "--url", server.url])
    assert "data/MPI-Sintel: 5 files complete" in capsys.readouterr().out
    assert (tmp_path / "data" / "MPI-Sintel" / MANIFEST).is_file()
    cli.main(["data", "verify", "sintel"])
    assert "5 files, all readable, all compared" in capsys.readouterr().out
    (tmp_path / "data" / "MPI-Sintel" / "training" / "flow" / "alley_1" / "frame_0002.flo").write_bytes(b"")
    for words, message in (
        (["verify", "sintel"], "1 of 5 files are wrong"),
        (["fetch"], "no data set given: choose one of sintel, davis, styles"),
        (["info", "davs"], "did you mean 'davis'"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(["data", *words])
        assert caught.value.code == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1


def test_all_sequences_of_the_tiny_sintel(server, tmp_path):
    folder, _ = fetch("sintel", tmp_path / "out", ["all"], render_pass="final", url=server.url)
    assert sorted(p.name for p in (folder / "training" / "final").iterdir()) == sorted(TINY_SEQUENCES)
    assert not (folder / "training" / "clean").exists()
