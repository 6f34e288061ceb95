"""A server of static files on this machine alone, with the headers that threads in a browser need."""

from __future__ import annotations

import http.server
import mimetypes
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from reconet_bench.core.errors import DataError

#: Cross-origin isolation, without which there is no shared memory and no thread; and nothing from elsewhere.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}

#: What is served: a file, a folder, or content by path.
Served = Mapping[str, Path | bytes]


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD for what is served, and nothing else."""

    protocol_version = "HTTP/1.1"

    def __init__(self, served: Served, *arguments: Any) -> None:
        self._served = served
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        # Only from this machine by its own name: another site cannot read it through a name that leads here.
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in ("127.0.0.1", "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        found = self._find(unquote(urlsplit(self.path).path))
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        name, content = found
        self.send_response(HTTPStatus.OK)
        suffix = Path(name).suffix
        self.send_header("Content-Type", _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/html")
        self.send_header("Content-Length", str(len(content)))
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _find(self, path: str) -> tuple[str, bytes] | None:
        """Name and content of what is at a path; ``None`` if nothing is."""
        one = self._served.get(path)
        if isinstance(one, bytes):
            return path, one
        file = one
        for prefix, place in self._served.items():
            if isinstance(place, Path) and place.is_dir() and path.startswith(prefix):
                inside = (place / path.removeprefix(prefix)).resolve()
                file = inside if inside.is_relative_to(place.resolve()) else None
        return (file.name, file.read_bytes()) if file is not None and file.is_file() else None

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


class Server:
    """Serves on 127.0.0.1 in a thread of its own, in a ``with`` block.

    Args:
        served: by path; a path that ends in ``/`` is a folder.
        port: 0 is any that is free.

    Raises:
        DataError: the port is taken.
    """

    def __init__(self, served: Served, port: int = 0) -> None:
        try:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, served))
        except OSError as error:
            raise DataError(f"cannot serve on port {port}: {error.strerror or error}; give another --port") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
