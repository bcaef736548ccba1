"""HTTP as package installers do it: proxies, certificates, credentials, retries, and files read in part.

What goes wrong on the way is a `SourceError`: this source will not do, another may.
"""

from __future__ import annotations

import base64
import http.client
import io
import netrc
import os
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from diarist.models.index_settings import IndexSettings

TAIL = 128 * 1024
PAUSE = 0.25  # seconds before the second attempt; doubles with each
RETRIED = (408, 429, 500, 502, 503, 504)


class SourceError(Exception):
    """This source cannot give the file; says why in a few words."""


class RangeIgnoredError(SourceError):
    """The server sends whole files only."""


class Transport:
    """Opens addresses with the machine's proxy, certificates and credentials. Shared by no two threads."""

    def __init__(self, settings: IndexSettings) -> None:
        self.settings = settings
        self._credentials = Credentials()
        proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), TrustingHandler(settings), self._credentials
        )

    def open(self, url: str, **headers: str) -> HTTPResponse:
        """The answer to a GET, its body not read yet. Raises `SourceError`; tries again what may pass."""
        try:
            clean = self._credentials.take(url)
        except ValueError as error:
            raise SourceError(f"'{url.rpartition('@')[2]}' is no address: {error}") from error
        request = urllib.request.Request(clean, headers={"User-Agent": "diarist", **headers})
        for attempt in range(self.settings.retries + 1):
            try:
                response: HTTPResponse = self._opener.open(request, timeout=self.settings.timeout)
                return response
            except (OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                if attempt == self.settings.retries or not _may_pass(error):
                    raise SourceError(f"{without_secrets(clean)}: {_reason(error)}") from error
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError("unreachable")


class TrustingHandler(urllib.request.HTTPSHandler):
    """HTTPS with the certificate authorities of the settings; hosts that they trust are not checked."""

    def __init__(self, settings: IndexSettings) -> None:
        super().__init__()
        self._settings = settings

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Called by urllib for each request, redirected ones too."""
        try:
            context = self._trust(req.host)
        except OSError as error:
            named = self._settings.client_cert or self._settings.cert
            raise SourceError(f"the certificates '{named}' cannot be read: {error.strerror or error}") from error
        return self.do_open(http.client.HTTPSConnection, req, context=context)

    def _trust(self, host: str) -> ssl.SSLContext:
        cert = self._settings.cert
        folder = cert is not None and Path(cert).is_dir()
        context = ssl.create_default_context(cafile=None if folder else cert, capath=cert if folder else None)
        if self._settings.client_cert:
            context.load_cert_chain(self._settings.client_cert)
        if {host, host.partition(":")[0]} & set(self._settings.trusted_hosts):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Credentials(urllib.request.BaseHandler):
    """Adds `Authorization` from the addresses seen (`https://user:password@host/`) or from netrc, per host and port."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def take(self, url: str) -> str:
        """The address without its user and password, which are kept for its host."""
        parts = urlsplit(url)
        userinfo, at, host = parts.netloc.rpartition("@")
        if not at:
            return url
        user, _, password = userinfo.partition(":")
        self._known[host] = _basic(unquote(user), unquote(password))
        return urlunsplit(parts._replace(netloc=host))

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Called by urllib for each request, redirected ones too."""
        host = urlsplit(request.full_url).netloc
        known = self._known.get(host) or _from_netrc(host.partition(":")[0])
        if known and not request.has_header("Authorization"):
            request.add_unredirected_header("Authorization", known)
        return request

    https_request = http_request


class RemoteFile(io.BufferedIOBase):
    """A file on a server, read in part: its last 128 kB at once, the rest by one request for each stretch.

    A stretch that breaks off goes on where it stopped. `bound` is where the stretch that comes next ends.
    Raises `RangeIgnoredError` where the server cannot do that.
    """

    def __init__(self, transport: Transport, url: str, size: int | None = None) -> None:
        self._response: HTTPResponse | None = None
        self._transport, self._url = transport, url
        self._size = size if size is not None else self._ask_size()
        self._position = 0
        self._at = -1  # where the open response stands
        self._failures = 0
        self._tail, self._tail_start = b"", self._size
        self.bound = self._size

    def read_tail(self, num_bytes: int = TAIL) -> None:
        """Fetch the end of the file, to be read from memory from now on."""
        start = max(0, self._size - num_bytes)
        self.seek(start)
        self._tail, self._tail_start = self.read(), start
        self._drop()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is fetched."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, fewer only at the end of the file."""
        rest = max(0, self._size - self._position)
        wanted = rest if size is None or size < 0 else min(size, rest)
        pieces = []
        while wanted:
            piece = self._piece(wanted)
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Drop the connection."""
        self._drop()
        super().close()

    def _piece(self, wanted: int) -> bytes:
        if self._position >= self._tail_start:
            start = self._position - self._tail_start
            return self._tail[start : start + wanted]
        wanted = min(wanted, self._tail_start - self._position)
        while True:
            fresh = self._response is None or self._at != self._position
            if self._response is None or self._at != self._position:
                self._drop()
                self._response = self._stretch(self._position)
                self._at = self._position
            try:
                piece = self._response.read(wanted)
            except (OSError, http.client.HTTPException):
                piece = b""
            self._at += len(piece)
            if piece:
                return piece
            self._drop()
            if fresh or self._position < self.bound:  # else a stretch has come to its end
                self._failures += 1
            if self._failures > self._transport.settings.retries:
                raise SourceError(f"{without_secrets(self._url)}: the transfer broke off at byte {self._position}")

    def _stretch(self, start: int) -> HTTPResponse:
        end = self.bound if start < self.bound else self._size
        return self._ranged(f"bytes={start}-{end - 1}")

    def _ask_size(self) -> int:
        with self._ranged("bytes=0-0") as response:
            total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
        if not total.isdigit():
            raise RangeIgnoredError(f"{without_secrets(self._url)}: the server does not say how long the file is")
        return int(total)

    def _ranged(self, span: str) -> HTTPResponse:
        response = self._transport.open(self._url, **{"Range": span, "Accept-Encoding": "identity"})
        first = span.partition("=")[2].partition("-")[0]
        if response.status != 206 or not (response.headers.get("Content-Range") or "").startswith(f"bytes {first}-"):
            response.close()
            raise RangeIgnoredError(f"{without_secrets(self._url)}: the server sends whole files only")
        return response

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def without_secrets(url: str) -> str:
    """An address that can be shown: no user, no password, no query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _from_netrc(host: str) -> str | None:
    """Credentials of a host in `$NETRC` or `~/.netrc`; a file that is not there or does not parse says nothing."""
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return _basic(found[0] or "", found[2] or "") if found else None


def _may_pass(error: Exception) -> bool:
    """Whether the same request could succeed a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in RETRIED
    cause: Any = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(cause, (TimeoutError, ConnectionResetError, ConnectionAbortedError, http.client.HTTPException))


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        hint = {401: " (credentials are needed)", 403: " (not allowed)", 407: " (the proxy wants credentials)"}
        return f"HTTP {error.code}{hint.get(error.code, '')}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate not trusted ({cause.verify_message}): set PIP_CERT or SSL_CERT_FILE"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
