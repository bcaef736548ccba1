"""The server as a process: listening, TLS, and an end in which every session gets its answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diarist.errors import DiaristError, UsageError
from diarist.server.access import Access
from diarist.server.app import build
from diarist.server.extra import require
from diarist.server.hub import Hub

RECEIVE_BUFFER = 1 << 18
"""Bytes of sound on their way that the system takes: what a client sends before it can know that it is too fast."""
LINGER = 10.0
"""Seconds in which a client who was cut may still read why."""
SEND_BUFFER = 1 << 17
"""Bytes that the system keeps for a client who does not read: with megabytes, as by default, nobody would notice."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host, on one port. Raises `DiaristError` where that cannot be."""
    listening: list[socket.socket] = []
    absent: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, *_, address in found):
            port = listening[0].getsockname()[1] if listening else port
            try:
                listening.append(_listening(family, (address[0], port, *address[2:])))
            except OSError as error:  # a name may have an IPv6 address on a machine that has none
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                absent = error
        if not listening and absent is not None:
            raise absent
    except (OSError, OverflowError, UnicodeError) as error:
        for one in listening:
            one.close()
        why = getattr(error, "strerror", None) or error
        raise DiaristError(f"cannot listen on {host} port {port}: {why}") from error
    return listening


def _listening(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # accepted sockets have it too
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(512)
    except BaseException:
        listening.close()
        raise
    return listening


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Raises `UsageError` for a certificate or key that cannot be used."""
    if certificate is None:
        if key is not None:
            raise UsageError("--tls-key needs --tls-cert")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"cannot use the certificate '{certificate}': {error.strerror or error}") from error


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn takes a handshake that was answered with an HTTP error for a mistake of ours."""
    return "without completing handshake" not in record.getMessage()


class Server:
    """A `Hub` behind uvicorn; `check_tls` first. Raises `ExtraError` without the extra `serve`."""

    def __init__(
        self, hub: Hub, access: Access, *, certificate: Path | None = None, key: Path | None = None, drain: float
    ) -> None:
        require()
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        import uvicorn
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

        class Protocol(WebSocketsSansIOProtocol):  # type: ignore[misc, no-any-unimported, unused-ignore]
            """A web socket that is its application's `Line`."""

            close_sent: bool

            def handle_connect(self, event: Any) -> None:
                super().handle_connect(event)
                if hasattr(self, "scope"):
                    self.scope["diarist.line"] = self

            def push(self, text: str) -> None:
                if not self.close_sent and not self.transport.is_closing():
                    self.conn.send_text(text.encode())
                    self.transport.write(b"".join(self.conn.data_to_send()))

            def cut(self, code: int, reason: str) -> None:
                if not self.close_sent and not self.transport.is_closing():
                    self.conn.send_close(code, reason)
                    self.transport.write(b"".join(self.conn.data_to_send()))
                    self.close_sent = True
                self.transport.close()  # once everything is read
                self.loop.call_later(LINGER, self.transport.abort)

        class Draining(uvicorn.Server):  # type: ignore[misc, no-any-unimported, unused-ignore]
            """Before sockets are closed, sessions get their answers; a second signal ends that."""

            async def shutdown(self, sockets: Any = None) -> None:
                draining = asyncio.ensure_future(hub.drain(drain))
                while not draining.done() and not self.force_exit:
                    await asyncio.wait((draining,), timeout=0.1)
                draining.cancel()
                await super().shutdown(sockets)

        self._hub = hub
        self._server: Any = Draining(
            uvicorn.Config(
                build(hub, access),
                ws=Protocol,
                ws_max_size=2 * hub.limits.max_message,  # up to here the client is told in our words
                ws_per_message_deflate=False,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                log_config=None,  # the logging of whoever starts a server is left as it is
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            )
        )

    def run(self, listening: Sequence[socket.socket], started: Callable[[], None] | None = None) -> None:
        """Serve until a SIGTERM or SIGINT, or `stop()`; then every session gets its answer."""
        with _signals_are_for_uvicorn():
            asyncio.run(self._serve(listening, started))
        self._hub.scheduler.stop()
        if self._hub.recordings is not None:
            self._hub.recordings.stop()

    def stop(self) -> None:
        """As a SIGTERM; from any thread."""
        self._server.should_exit = True

    async def _serve(self, listening: Sequence[socket.socket], started: Callable[[], None] | None) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=list(listening)))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        if started is not None and not serving.done():
            started()
        watching = asyncio.ensure_future(self._hub.watch())
        try:
            await serving
        finally:
            watching.cancel()


@contextlib.contextmanager
def _signals_are_for_uvicorn() -> Any:
    """uvicorn raises a signal anew once it has heeded it; that second one is not to kill us."""
    try:
        before = {number: signal.signal(number, _heeded) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread has signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded(number: int, frame: Any) -> None:
    """The server has stopped on this signal."""
