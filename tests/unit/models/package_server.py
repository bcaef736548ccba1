"""A package index on 127.0.0.1 that can misbehave, and packages to serve from it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import ssl
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from diarist.models.catalog import Entry

WHEEL = "toy_voices-1.0-py3-none-any.whl"
SDIST = "toy-voices-1.0.tar.gz"
MEMBER = "toy_voices/data/voice.bin"
CONTENT = bytes(range(256)) * 2500 + os.urandom(300_000)  # half of it cannot be compressed
OFFLINE_ENV = {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}


def make_wheel(content: bytes = CONTENT, member: str = MEMBER) -> bytes:
    """A wheel with the member in the middle and 400 kB on each side, so that reading it in part shows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy_voices/__init__.py", "")
        archive.writestr("toy_voices/before.bin", os.urandom(400_000))
        archive.writestr(member, content)
        archive.writestr("toy_voices/after.bin", os.urandom(400_000))
        record = "toy_voices-1.0.dist-info"
        archive.writestr(f"{record}/METADATA", "Metadata-Version: 2.1\nName: toy-voices\nVersion: 1.0\n")
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", "")
    return buffer.getvalue()


def make_sdist(content: bytes = CONTENT, member: str = MEMBER) -> bytes:
    """An sdist whose one interesting file is the member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in (("PKG-INFO", b"Metadata-Version: 2.1\n"), (member, content)):
            info = tarfile.TarInfo(f"toy-voices-1.0/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def toy_entry(name: str = "toy", *, sdist: bool = False, content: bytes = CONTENT, **changes: Any) -> Entry:
    """The catalogue's entry for the member of `make_wheel` or `make_sdist`."""
    values: dict[str, Any] = {
        "name": name,
        "kind": "embedding",
        "package": "Toy.Voices",
        "version": "1.0",
        "archives": ("toy[-_]voices-1.0.tar.gz",) if sdist else ("toy_voices-1.0-*.whl",),
        "member": MEMBER,
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "licence": "MIT",
        "origin": "made for this test",
    }
    return Entry(**{**values, **changes})


class PackageServer:
    """Serves `files` (archive name to bytes) as the project `toy-voices`; what goes wrong is set on its attributes.

    `log` has `(path, Range header or None, status)` of each request that was answered.
    """

    def __init__(self, certificate: Path | None = None, **files: bytes) -> None:
        self.files: dict[str, bytes] = {WHEEL: make_wheel(), **files}
        self.json = False
        self.html: str | None = None  # the page to send in place of a made one
        self.ranges = True
        self.credentials: str | None = None
        self.truncate_at: int | None = None  # bytes of an answer with a file after which the connection drops
        self.truncate_times = 0
        self.statuses: list[int] = []  # sent in this order before anything is right
        self.delays: list[float] = []
        self.moved: dict[str, str] = {}
        self.log: list[tuple[str, str | None, int]] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if certificate is None else "https"
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def index(self) -> str:
        """The address of the simple index."""
        return f"{self._scheme}://{self.address}/simple"

    def sent(self, path_part: str) -> list[tuple[str, str | None, int]]:
        """The log's entries whose path holds `path_part`."""
        return [entry for entry in self.log if path_part in entry[0]]

    def __enter__(self) -> PackageServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: PackageServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def _answer(self) -> None:
        owner = self.owner
        with owner.lock:
            delay = owner.delays.pop(0) if owner.delays else 0.0
            status = owner.statuses.pop(0) if owner.statuses else None
        time.sleep(delay)
        path = "/" + self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path
        if status is not None:
            return self._send(status, b"")
        if owner.credentials is not None and not self._allowed(owner.credentials):
            return self._send(401, b"")
        if path in owner.moved:
            return self._send(302, b"", Location=owner.moved[path])
        if path == "/simple/toy-voices/":
            return self._page()
        name = path.rpartition("/")[2]
        if path.startswith("/files/") and name in owner.files:
            return self._file(owner.files[name])
        return self._send(404, b"")

    def _allowed(self, credentials: str) -> bool:
        return self.headers.get("Authorization") == "Basic " + base64.b64encode(credentials.encode()).decode()

    def _page(self) -> None:
        names = sorted(self.owner.files)
        if self.owner.json:
            files = [
                {"filename": n, "url": f"../../files/{n}", "hashes": {}, "size": len(self.owner.files[n])}
                for n in names
            ]
            body = json.dumps({"meta": {"api-version": "1.1"}, "name": "toy-voices", "files": files}).encode()
            return self._send(200, body, cut=True, **{"Content-Type": "application/vnd.pypi.simple.v1+json"})
        hashes = {n: hashlib.sha256(self.owner.files[n]).hexdigest() for n in names}
        links = "".join(f'<a href="../../files/{n}#sha256={hashes[n]}" data-yanked="">{n}</a><br/>\n' for n in names)
        text = self.owner.html if self.owner.html is not None else f"<!DOCTYPE html><html><body>{links}</body></html>"
        return self._send(200, text.encode(), cut=True, **{"Content-Type": "text/html"})

    def _file(self, body: bytes) -> None:
        span = self.headers.get("Range")
        if span is None or not self.owner.ranges:
            return self._send(200, body, cut=True)
        first, _, last = span.removeprefix("bytes=").partition("-")
        if not first:
            return self._send(501, b"")
        start, end = int(first), min(int(last), len(body) - 1) if last else len(body) - 1
        return self._send(206, body[start : end + 1], cut=True, **{"Content-Range": f"bytes {start}-{end}/{len(body)}"})

    def _send(self, status: int, body: bytes, cut: bool = False, **headers: str) -> None:
        owner = self.owner
        with owner.lock:
            owner.log.append((self.path, self.headers.get("Range"), status))
            limit = owner.truncate_at
            cut = cut and limit is not None and len(body) > limit and owner.truncate_times > 0
            owner.truncate_times -= cut
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:limit] if cut else body)
        self.close_connection = True
