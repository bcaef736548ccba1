"""Who may come in: bearer tokens, and the origins of web pages."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from diarist.errors import UsageError


class Access:
    """`token`: what a client must show, None for nobody need; `origins`: web pages that may connect, `*` for all.

    Without `origins`, a page may connect if it came from this server's own address. Clients that are no web browsers
    send no origin, and are not asked for one. Raises `UsageError` for an origin that cannot be one.
    """

    def __init__(self, token: str | None = None, origins: Sequence[str] = ()) -> None:
        if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
            raise UsageError("a token is one or more printable ASCII characters without blanks")
        self._token = token
        self._any = "*" in origins
        self._origins = {_checked(origin) for origin in origins if origin != "*"}

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def may(self, token: str | None, authorization: str | None = None) -> bool:
        """Whether this token, or that of an `Authorization: Bearer` header, is the one; takes the same time if not."""
        if self._token is None:
            return True
        scheme, _, shown = (authorization or "").partition(" ")
        header = shown.strip() if scheme.lower() == "bearer" else ""
        given = [text.encode("utf-8", "replace") for text in (token or "", header)]
        return any([hmac.compare_digest(text, self._token.encode()) for text in given])

    def admits(self, origin: str | None, host: str | None) -> bool:
        """Whether a web page of this `origin` may talk to the server that it calls `host`."""
        if origin is None or self._any:
            return True
        if origin.lower() in self._origins:
            return True
        return not self._origins and host is not None and urlsplit(origin).netloc.lower() == host.lower()


def _checked(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise UsageError(f"an origin is like https://example.org or http://localhost:8080, not '{origin}'")
    return f"{parts.scheme}://{parts.netloc}".lower()
