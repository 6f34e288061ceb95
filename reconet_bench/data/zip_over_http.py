"""Members of a remote zip archive by HTTP range requests: only the members that are needed are downloaded.

Each member is checked against its CRC-32 in the archive and written under a temporary name. Files that
are already there and correct are not downloaded again, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import lzma
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.provenance import versions

#: Timeout in seconds, number of tries of a request, and seconds before the second try (doubled for each further one).
TIMEOUT, TRIES, PAUSE = 60.0, 4, 0.2
#: Bytes from the end of an archive that are read first: they say where the directory is, and often contain it.
_TAIL = 2**14
_CHUNK = 2**20
#: From the name of a member to its path below the target, or ``None`` if it is not wanted.
Choice = Callable[[str], str | None]
#: Called for each file with its path below the target and the bytes downloaded for it (0 = it was there).
Report = Callable[[str, int], None]
#: Called before the first download with the CRC-32 of all chosen files by path below the target.
Begin = Callable[[dict[str, int]], None]

_FAILURES = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class RangesNotServed(Exception):
    """The server does not support range requests."""


class RangedFile(io.RawIOBase):
    """A remote file, of which only the bytes that are read are downloaded.

    Args:
        url: ``http`` or ``https``.

    Attributes:
        size: of the whole file, bytes.
        received: bytes of content downloaded so far.

    Raises:
        RangesNotServed: the server answers a range request with the whole file.
        DataError: no such file or server, or the connection fails in every try.
    """

    def __init__(self, url: str) -> None:
        self.url, self._position, self._start, self._held = url, 0, 0, b""
        self.received, self._tag = 0, ""
        with _open(url, "bytes=0-0") as answer:
            match = re.fullmatch(r"bytes 0-0/(\d+)", answer.headers.get("Content-Range", ""))
            if answer.status != 206 or match is None:
                raise RangesNotServed
            self.size = int(match[1])
            self._tag = answer.headers.get("ETag", "")

    def hold(self, start: int, end: int) -> None:
        """Download ``[start, end)`` in one request; later reads inside it need no request."""
        start, end = max(0, start), min(end, self.size)
        self._start, self._held = start, _again(lambda: self._range(start, end)) if end > start else b""

    def _range(self, start: int, end: int) -> bytes:
        with _open(self.url, f"bytes={start}-{end - 1}") as answer:
            if answer.status != 206 or answer.headers.get("ETag", "") != self._tag:
                raise DataError(f"{self.url} changed while it was read: run the command again")
            data = bytes(answer.read())
        self.received += len(data)
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} of {end - start} bytes")
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the beginning")  # as for a local file; zipfile relies on it
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size - self._position)
        if wanted <= 0:
            return 0
        if not self._start <= self._position < self._position + wanted <= self._start + len(self._held):
            # zipfile searches for the directory backwards from the end, so the end is downloaded in one piece.
            self.hold(
                min(self._position, max(0, self.size - _TAIL))
                if self._position + _TAIL >= self.size
                else self._position,
                self._position + wanted,
            )
        offset = self._position - self._start
        buffer[:wanted] = self._held[offset : offset + wanted]
        self._position += wanted
        return wanted


def fetch_members(
    url: str, target: Path, choose: Choice, begin: Begin = lambda sums: None, report: Report = lambda name, size: None
) -> int:
    """Download the chosen members of a zip archive to ``target``.

    If the server lacks range requests, the whole archive is downloaded and deleted afterwards.

    Returns:
        The number of chosen members.

    Raises:
        DataError: no connection, no archive, a damaged member, or a member outside ``target``.
    """
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    try:
        remote = _again(lambda: RangedFile(url))
    except RangesNotServed:
        with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as folder:
            archive = Path(folder) / "archive.zip"
            download(url, archive)
            with archive.open("rb") as file:
                return _extract(file, url, target, choose, begin, report)
    return _extract(remote, url, target, choose, begin, report)


def _extract(file: Any, url: str, target: Path, choose: Choice, begin: Begin, report: Report) -> int:
    remote = file if isinstance(file, RangedFile) else None
    with _damaged(url):
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
    ends = dict(
        zip(offsets := sorted(m.header_offset for m in members), [*offsets[1:], archive.start_dir], strict=True)
    )
    chosen: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        if not member.is_dir() and (name := choose(member.filename)) is not None:
            chosen[inside(member.filename, name, url)] = member
    begin({name: member.CRC for name, member in chosen.items()})
    for name, member in chosen.items():
        path = target / name
        if path.is_file() and path.stat().st_size == member.file_size and crc32(path) == member.CRC:
            report(name, 0)
            continue
        with _damaged(f"{url}: {member.filename}"):
            if remote is not None:
                remote.hold(member.header_offset, ends[member.header_offset])
            with atomic_path(path) as temporary, archive.open(member) as source, temporary.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK)  # checks the CRC at its end
        report(name, member.compress_size)
    return len(chosen)


def inside(member: str, name: str, url: str) -> str:
    """Check that neither ``name`` nor the name of the member is outside the target; returns ``name``.

    Raises:
        DataError: the name is absolute, or has a drive, a backslash or ``..``.
    """
    for text in (member, name):
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or not path.parts:
            raise DataError(f"{url}: the member '{text}' leads out of the target folder: do not trust this archive")
    return name


def download(url: str, path: Path) -> None:
    """Download a whole file and write it atomically; raises DataError."""

    def whole() -> None:
        with _open(url) as answer, atomic_path(path) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
            expected = answer.headers.get("Content-Length")
            if expected and file.tell() != int(expected):
                raise ConnectionError(f"{file.tell()} of {expected} bytes")

    _again(whole, url)


def crc32(path: Path) -> int:
    """CRC-32 of a file, as in zip archives."""
    value = 0
    with Path(path).open("rb") as file:
        while block := file.read(_CHUNK):
            value = zlib.crc32(block, value)
    return value


@contextlib.contextmanager
def _open(url: str, ranges: str = "") -> Iterator[Any]:
    if not url.startswith(("http://", "https://")):
        raise DataError(f"'{url}' is not an address: give http://… or https://…")
    headers = {"User-Agent": f"reconet-bench/{versions().get('reconet-bench', '')}"} | (
        {"Range": ranges} if ranges else {}
    )
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (429, 500, 502, 503, 504):
            raise ConnectionError(f"HTTP {error.code}") from None
        raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (ValueError, http.client.InvalidURL):
        raise DataError(f"'{url}' is not a valid address") from None


def _again(action: Callable[[], Any], url: str = "") -> Any:
    """``action()``, tried up to :data:`TRIES` times if the network fails."""
    for attempt in range(TRIES):
        try:
            return action()
        except _FAILURES as error:
            if attempt == TRIES - 1:
                reason = getattr(error, "reason", None) or error
                where = f"{url}: " if url else ""
                raise DataError(
                    f"{where}the connection failed ({' '.join(str(reason).split()) or type(reason).__name__}): "
                    "run the command again to continue"
                ) from None
            time.sleep(PAUSE * 2**attempt)


@contextlib.contextmanager
def _damaged(what: str) -> Iterator[None]:
    try:
        yield
    # An encrypted member is a RuntimeError; damage found by bzip2 is an OSError without a number.
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        UnicodeDecodeError,
        ValueError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{what}: not a complete zip archive ({' '.join(str(error).split())})") from None
