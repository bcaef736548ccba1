"""A client of the server: sends a stream's sound, gives its updates, and goes on where it was if the line drops."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from diarist.core.types import Diarization, Float32, Turn, Update
from diarist.errors import DiaristError, ExtraError
from diarist.formats import json as json_format
from diarist.server.messages import VERSION, encode
from diarist.server.supply import Supply

ACK_EVERY = 16
"""Updates after which the server is told that it need not keep them."""
_SHARE = 0.75  # of the sound that may wait at the server before it tells us to wait
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0  # seconds between two attempts to open the line again


class ServerError(DiaristError):
    """The server cannot be reached, or says no. `code` is the server's, empty where it said nothing."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LiveClient:
    """One session on a server at `url` (`ws://host:7007/v1/stream`).

    `options` go into the hello (`preset`, `kind`, `latency`, ...). A line that drops is opened again for `patience`
    seconds: what the server has not got is sent again, what we have not got comes again. `warned(message)` is told
    what is odd. Raises `ExtraError` without websockets.
    """

    def __init__(
        self,
        url: str,
        *,
        uri: str = "stream",
        sample_rate: int = 16_000,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        options: Mapping[str, Any] | None = None,
        patience: float = 60.0,
        warned: Callable[[str], None] = lambda message: None,
    ) -> None:
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import ConnectionClosed, InvalidHandshake
        except ImportError as error:
            raise ExtraError("websockets", "serve", "the client") from error
        self._connect, self._closed, self._refused = connect, ConnectionClosed, InvalidHandshake
        self._url, self._rate, self._token, self._tls = url, sample_rate, token, tls
        self._hello = {**(options or {}), "uri": uri, "sample_rate": sample_rate, "encoding": "f32le"}
        self._patience, self._warned = patience, warned
        self._supply: Supply | None = None
        self._session: tuple[str, str] | None = None  # name and secret
        self._updates = 0  # seq of the last one
        self.answer: Diarization | None = None
        """The session at its end; known before the error where the server ended it on its own account."""
        self._heard = 0  # samples that the last update has spoken of
        self._window = 0  # samples that may be sent beyond
        self._news = asyncio.Event()  # one of both has changed

    def run(self, blocks: Iterable[Float32], said: Callable[[Update], None], *, live: bool = False) -> Diarization:
        """Send mono float32 `blocks` `(num_samples,)` and hand each update to `said`; the session at its end.

        Blocks that are not `live` are read no faster than the server takes them. Raises `ServerError`, and what the
        blocks raise, after the answer to what came before.
        """
        return asyncio.run(self.stream(blocks, said, live=live))

    def stop(self) -> None:
        """Send no more, and ask for the answer. From any thread, or a signal's handler."""
        if self._supply is not None:
            self._supply.stop()

    async def stream(
        self, blocks: Iterable[Float32], said: Callable[[Update], None], *, live: bool = False
    ) -> Diarization:
        """As `run()`, within an event loop; blocks are read in a thread."""
        supply = self._supply = Supply(blocks, self._rate, live=live)
        try:
            while self.answer is None:
                await self._over_a_line(supply, said)
        finally:
            supply.stop()
        if supply.failure is not None:
            raise supply.failure
        return self.answer

    async def _over_a_line(self, supply: Supply, said: Callable[[Update], None]) -> None:
        """Open a line, and use it until the answer has come or it drops."""
        async with await self._opened() as line:
            try:
                sample = await self._greet(line)
                sending = asyncio.ensure_future(self._send(line, supply, sample))
                try:
                    await self._receive(line, supply, said)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
            except self._closed as closed:
                if self._session is None:
                    raise ServerError(f"{self._url} closed the line: {_reason(closed)}") from closed
                self._warned(f"the line dropped ({_reason(closed)}): opening it again")

    async def _opened(self) -> Any:
        """A line; once there is a session, the server is given some time to come back."""
        until, wait = time.monotonic() + self._patience, _FIRST_WAIT
        while True:
            try:
                proxy = None if _is_here(self._url) else True
                return await self._connect(
                    self._url, ssl=self._tls, max_size=None, compression=None, open_timeout=10, proxy=proxy
                )
            except (OSError, self._refused, asyncio.TimeoutError) as error:
                if self._session is None or time.monotonic() + wait > until:
                    raise ServerError(f"cannot connect to {self._url}: {_why(error)}") from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _greet(self, line: Any) -> int:
        """Say hello, or who we are; the first sample that the server has not got."""
        token = {} if self._token is None else {"token": self._token}
        if self._session is None:
            await line.send(encode("hello", version=VERSION, **self._hello, **token))
        else:
            name, secret = self._session
            await line.send(encode("resume", version=VERSION, id=name, secret=secret, updates=self._updates, **token))
        welcome = self._parsed(await line.recv())
        if welcome.get("type") != "welcome":
            raise ServerError(f"{self._url} does not speak our protocol: {str(welcome)[:80]}")
        self._session = (welcome["id"], welcome["secret"])
        self._window = max(1, int(welcome["limits"]["warn_buffered"] * _SHARE * self._rate))
        return int(welcome["received"])

    async def _send(self, line: Any, supply: Supply, sample: int) -> None:
        """Sound from `sample` on, no faster than the server looks at it, then the end. That the line has dropped is
        seen where updates are received."""
        while (data := await supply.after(sample)) is not None:
            data = data[: 4 * self._window]
            while sample + len(data) // 4 > self._heard + self._window:
                self._news.clear()
                await self._news.wait()
            await line.send(data)
            sample += len(data) // 4
        await line.send(encode("end"))

    async def _receive(self, line: Any, supply: Supply, said: Callable[[Update], None]) -> None:
        while self.answer is None:
            message = self._parsed(await line.recv())
            kind = message.get("type")
            if kind == "update" and message["seq"] > self._updates:
                self._updates = message["seq"]
                update = read_update(message)
                self._heard = int(update.until * self._rate)
                self._news.set()
                supply.forget(self._heard - 1)
                said(update)
                self.answer = update.session
                if self._updates % ACK_EVERY == 0:
                    with suppress(self._closed):  # what came before the end is still to be read
                        await line.send(encode("ack", updates=self._updates))
            elif kind == "warning":
                self._warned(f"the server says: {message.get('message')}")
        with suppress(self._closed):
            self._parsed(await line.recv())  # why, if the answer came before we asked for it

    def _parsed(self, text: str | bytes) -> dict[str, Any]:
        """A message. Raises `ServerError` for one that says why the socket will be closed."""
        try:
            message = json.loads(text)
        except ValueError as error:
            raise ServerError(f"{self._url} does not speak our protocol: {str(text)[:80]!r}") from error
        if not isinstance(message, dict):
            raise ServerError(f"{self._url} does not speak our protocol: {str(text)[:80]!r}")
        if message.get("type") == "error":
            raise ServerError(f"the server ended the session: {message.get('message')}", str(message.get("code")))
        return message


def read_update(message: Mapping[str, Any]) -> Update:
    """An update of the server's as the stream gave it."""
    session = message["session"]
    return Update(
        final=_turns(message["final"]),
        tentative=_turns(message["tentative"]),
        until=message["until"],
        settled=message["settled"],
        renamed=message["renamed"],
        session=None if session is None else json_format.loads(json.dumps(session), name="the server's answer")[0],
    )


def _turns(turns: Iterable[Mapping[str, Any]]) -> tuple[Turn, ...]:
    return tuple(Turn(turn["start"], turn["end"], turn["speaker"], turn["confidence"]) for turn in turns)


def _is_here(url: str) -> bool:
    """Whether a url is this machine's: no proxy leads there."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(closed: Any) -> str:
    """Why a line was closed, in words."""
    frame = closed.rcvd or closed.sent
    return "without a word" if frame is None else f"{frame.code} {frame.reason}".strip()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it does not answer"
    number = None if isinstance(error, ssl.SSLError) else getattr(error, "errno", None)
    return os.strerror(number) if number is not None and number > 0 else str(error)
