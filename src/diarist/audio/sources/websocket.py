"""Sound over a web socket: a server that is called, or a client that calls. Needs the extra `serve`."""

from __future__ import annotations

import base64
import binascii
import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

from diarist.audio.decode import HIGHEST_RATE, LOWEST_RATE
from diarist.audio.pcm import Stretch
from diarist.audio.sources.pcm import Samples, dtype_of
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.audio.sources.urls import without_password
from diarist.core.time import SAMPLE_RATE
from diarist.errors import AudioError, ExtraError, UsageError

LARGEST = 1 << 24  # bytes of a message
_MOST_WAITING = 64  # messages: a client that sends faster than they are used has to wait
_PATIENCE = 0.1
_BUSY = 1013  # "try again later", RFC 6455's registry of close codes


class _Messages(BlockSource):
    """Messages of sound. A binary one holds samples as `encoding` says; a text one is diart's: base64 of float32,
    little-endian. An empty message does nothing; the sound ends where the other side closes."""

    def __init__(self, uri: str, sample_rate: int, encoding: str, num_channels: int, block: float) -> None:
        super().__init__(uri, block)
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise UsageError(f"a sample rate lies between {LOWEST_RATE} and {HIGHEST_RATE} Hz, not {sample_rate}")
        dtype_of(encoding)
        self._rate, self._encoding, self._num_channels = sample_rate, encoding, num_channels
        self._closed = threading.Event()

    def close(self) -> None:
        """Take no more."""
        self._closed.set()

    def _samples(self, connection: Any) -> Iterator[Stretch]:
        """Of one connection, until it closes. Raises `AudioError` where it breaks, or sends what is no sound."""
        from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

        binary, text = Samples(self._encoding, self._num_channels), Samples("f32le")
        while not self._closed.is_set():
            try:
                message = connection.recv(timeout=_PATIENCE)
            except TimeoutError:
                continue
            except ConnectionClosedOK:
                break
            except ConnectionClosedError as error:
                raise AudioError(f"{self.uri}: the connection broke ({error})") from error
            if isinstance(message, bytes):
                yield self._rate, binary(message)
                continue
            try:
                yield self._rate, text(base64.b64decode(message, validate=True))
            except (binascii.Error, ValueError) as error:
                raise AudioError(f"{self.uri}: a text message must be base64 of float32 samples") from error
        if binary.num_left:
            self.warnings.append(f"cut off within a sample: the last {binary.num_left} bytes were dropped")


class WebSocketSource(_Messages):
    """Calls a `ws://` or `wss://` server and takes the sound that it sends.

    Raises `ExtraError` without websockets, `AudioError` where the server cannot be reached or the connection breaks.
    """

    def __init__(
        self,
        url: str,
        sample_rate: int = SAMPLE_RATE,
        encoding: str = "s16le",
        num_channels: int = 1,
        *,
        block: float = BLOCK,
        uri: str = "websocket",
    ) -> None:
        super().__init__(uri, sample_rate, encoding, num_channels, block)
        _package()
        self._url = url
        self._connection: Any = None

    def stretches(self) -> Iterator[Stretch]:
        """The samples of each message."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        shown = without_password(self._url)
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(connect(self._url, max_size=LARGEST, open_timeout=10))
            except (OSError, TimeoutError, WebSocketException, ValueError) as error:
                raise AudioError(f"'{shown}' cannot be reached: {error}") from error
            self._connection = connection
            yield from self._samples(connection)

    def send(self, text: str) -> None:
        """Answer to the server. Does nothing while there is no connection."""
        _send(self._connection, text)


class WebSocketServerSource(_Messages):
    """Listens on `host:port` for one client at a time; its sound is the stream, which ends when it closes.

    Further clients are turned away (close code 1013) until then. `port` 0 takes a free one: see `port`. With a
    `certificate` and its `key` (PEM files) it is TLS. Raises `ExtraError` without websockets, `AudioError` where it
    cannot listen.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 7007,
        sample_rate: int = SAMPLE_RATE,
        encoding: str = "s16le",
        num_channels: int = 1,
        *,
        certificate: str | None = None,
        key: str | None = None,
        block: float = BLOCK,
        uri: str = "websocket",
    ) -> None:
        super().__init__(uri, sample_rate, encoding, num_channels, block)
        _package()
        self._tls = _tls(certificate, key)
        self._queue: queue.Queue[Stretch | BaseException | None] = queue.Queue(_MOST_WAITING)
        self._taken = threading.Lock()
        self._connection: Any = None
        try:
            self._socket = socket.create_server((host, port))
        except (OSError, OverflowError) as error:
            raise AudioError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from error
        self.host, self.port = host, int(self._socket.getsockname()[1])

    def stretches(self) -> Iterator[Stretch]:
        """The samples of each message of the client, once there is one."""
        from websockets.sync.server import serve

        with serve(self._serve, sock=self._socket, max_size=LARGEST, ssl=self._tls) as server:
            threading.Thread(target=server.serve_forever, name="diarist-websocket", daemon=True).start()
            try:
                yield from self._received()
            finally:
                self._closed.set()

    def close(self) -> None:
        """Take no more."""
        super().close()
        self._socket.close()

    def _received(self) -> Iterator[Stretch]:
        while not (self._closed.is_set() and self._queue.empty()):
            try:
                item = self._queue.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def send(self, text: str) -> None:
        """Answer to the client, as diart does with RTTM. Does nothing while there is none."""
        _send(self._connection, text)

    def _serve(self, connection: Any) -> None:
        """One connection, in a thread of its own."""
        if not self._taken.acquire(blocking=False):  # and never given back: the stream has its client
            connection.close(_BUSY, "another client is connected")
            return
        self._connection = connection
        end: BaseException | None = None
        try:
            for stretch in self._samples(connection):
                self._put(stretch)
        except AudioError as error:
            end = error
        self._connection = None
        self._put(end)

    def _put(self, item: Stretch | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue


def _send(connection: Any, text: str) -> None:
    from websockets.exceptions import ConnectionClosed

    if connection is None:
        return
    try:
        connection.send(text)
    except ConnectionClosed:  # whoever asked has gone: the source ends by itself
        return


def _tls(certificate: str | None, key: str | None) -> Any:
    if certificate is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"'{certificate}' is no certificate that can be used with its key: {error}") from error
    return context


def _package() -> None:
    try:
        import websockets.sync.server  # noqa: F401
    except ImportError as error:
        raise ExtraError("websockets", "serve", "a web socket") from error
