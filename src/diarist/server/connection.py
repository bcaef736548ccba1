"""One web socket, from its first message to its close."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from diarist.server import messages
from diarist.server.access import Access
from diarist.server.hub import Hub
from diarist.server.limits import MOST_UNREAD
from diarist.server.messages import Ack, End, Refusal, Resume
from diarist.server.sessions import Session

_LONGEST_REASON = 120  # bytes that fit into a close frame


class _Gone(Exception):
    """The other end has closed the socket, or the line is dead."""


class Line(Protocol):
    """What is below a web socket: does not wait for a client who does not read."""

    def push(self, text: str) -> None:
        """Put a message behind what waits to be read."""
        ...

    def cut(self, code: int, reason: str) -> None:
        """Close, at once or, where something waits to be read, soon."""
        ...


class Connection:
    """The `Wire` of a session. `socket` is Starlette's, on a `line`; `diart` says whether diart's clients, without a
    hello, are welcome here."""

    def __init__(self, socket: Any, line: Line, hub: Hub, access: Access, *, diart: bool) -> None:
        self._socket, self._line, self._hub, self._access, self._diart = socket, line, hub, access, diart
        self._limits, self._metrics = hub.limits, hub.metrics
        self._said: deque[str] = deque()  # out of turn
        self._why: Refusal | None = None  # to close for
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._first: str | None = None  # sound that came as the first message
        self._plain = False  # a client of diart's, who knows no messages of ours

    # the wire of a session

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def warn(self, code: str, message: str, **facts: object) -> None:
        """Tell the client something before the next update."""
        self._metrics.warned.labels(code).inc()
        if self._plain:
            self._said.append(f";; {code}: {message}\n")
        elif code == "ready":
            self._said.append(messages.encode("ready", **facts))
        else:
            self._said.append(messages.encode("warning", code=code, message=message, **facts))
        self._wake.set()

    def close(self, why: Refusal) -> None:
        """Say why, and close; what waits is not sent any more."""
        self._why = self._why or why
        self._wake.set()

    # its life

    async def run(self) -> None:
        """Serve an accepted socket until it is closed."""
        try:
            await self._begin()
        except Refusal as why:
            await self._refuse(why)
            return
        except _Gone:
            return
        session = self._session
        assert session is not None
        reader, writer = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            self._hub.left(session, self)

    async def _begin(self) -> None:
        """The first message, and the session that it belongs to. Raises `Refusal`, `_Gone`."""
        try:
            data = await asyncio.wait_for(self._receive(), self._limits.hello_timeout)
        except asyncio.TimeoutError:
            raise Refusal("hello_timeout", f"no hello in {self._limits.hello_timeout:g} s") from None
        if isinstance(data, bytes):
            raise Refusal("unexpected_binary", "sound came before a hello: say what it is first")
        if self._diart and not data.lstrip().startswith("{"):
            self._plain = True
            self._admit(None)
            self._session = await self._hub.open(messages.DIART, self, resumable=False)
            self._first = data
            return
        first = messages.parse(data, messages.FIRST, first=True)
        self._admit(first.token)
        if isinstance(first, Resume):
            session = self._hub.resume(first, self)
        else:
            session = await self._hub.open(replace(first, token=None), self)
        self._session = session
        self._said.appendleft(self._welcome(session, resumed=isinstance(first, Resume)))

    def _admit(self, token: str | None) -> None:
        if not self._access.may(token, self._socket.headers.get("authorization")):
            raise Refusal(
                "unauthorized", "this server asks for a token: 'token' in the hello, or Authorization: Bearer"
            )

    def _welcome(self, session: Session, *, resumed: bool) -> str:
        config = session.engine.config
        return messages.welcome(
            session.name,
            session.secret,
            resumed=resumed,
            received=session.received,
            uri=session.hello.uri,
            step=config.step,
            latency=config.latency_seconds,
            grace=self._limits.grace,
            limits={
                "max_length": self._limits.max_length,
                "max_message": self._limits.max_message,
                "idle": self._limits.idle,
                "warn_buffered": self._limits.warn_buffered,
                "max_buffered": self._limits.max_buffered,
            },
        )

    async def _receive(self) -> str | bytes:
        """The next message. Raises `Refusal` for one that is too big, `_Gone` at the end."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise _Gone
        data: str | bytes | None = message.get("bytes")
        data = message["text"] if data is None else data
        self._metrics.received.inc(len(data))
        if len(data) > self._limits.max_message:
            raise Refusal("message_too_big", f"a message of {len(data)} bytes: {self._limits.max_message} are allowed")
        return data

    async def _read(self) -> None:
        session = self._session
        assert session is not None
        try:
            if self._first is not None:
                self._take(self._first)
            while True:
                self._take(await self._receive())
                if not session.drained.is_set():
                    await session.drained.wait()
        except _Gone:
            return
        except Refusal as why:
            self._hub.fail(session, why)
            await asyncio.Future()  # the writer says why, and closes

    def _take(self, data: str | bytes) -> None:
        """One message of a session. Raises `Refusal`."""
        session = self._session
        assert session is not None
        if session.wire is not self:
            return  # somebody goes on with it elsewhere
        if self._plain:
            data = messages.from_base64(data) if isinstance(data, str) else data
        if isinstance(data, bytes):
            self._hub.accept(session, data)
            return
        message = messages.parse(data, messages.LATER, first=False)
        session.touch()
        if isinstance(message, End):
            self._hub.end(session)
        elif isinstance(message, Ack):
            session.outbox.ack(message.updates)

    async def _write(self) -> None:
        """Send what there is, as it comes, and close at the end."""
        session = self._session
        assert session is not None
        with suppress(_Gone):
            while self._why is None:
                self._wake.clear()
                text = self._said.popleft() if self._said else session.outbox.take()
                if text is not None:
                    await self._send(text, session)
                elif session.over:
                    break
                else:
                    await self._wake.wait()
            await self._refuse(self._why or session.why)

    async def _send(self, text: str, session: Session) -> None:
        """Send one message; a client who does not read, or far too slowly, is told, then cut."""
        sending = asyncio.ensure_future(self._socket.send_text(text))
        sending.add_done_callback(_seen)
        told, cut = self._limits.warn_unread, self._limits.max_unread
        done, _ = await asyncio.wait((sending,), timeout=told)
        if not done:
            self.warn("slow_reader", "updates wait to be read")
            self._line.push(self._said.pop())
            done, _ = await asyncio.wait((sending,), timeout=cut - told)
        if not done or session.outbox.unread > MOST_UNREAD:
            sending.cancel()
            self._cut(Refusal("slow_reader", "updates were not read: go on with 'resume'"))
            raise _Gone
        if sending.exception() is not None:
            raise _Gone
        self._metrics.sent.inc(len(text))

    def _cut(self, why: Refusal) -> None:
        """Close without waiting for a client who does not read."""
        self._metrics.refused.labels(why.code).inc()
        if not self._plain:
            self._line.push(_error(why))
        self._line.cut(why.close_code, _reason(why))

    async def _refuse(self, why: Refusal | None) -> None:
        """Close, having said why unless all is well."""
        closing = asyncio.ensure_future(self._say(why))
        done, _ = await asyncio.wait((closing,), timeout=self._limits.warn_unread)
        if not done:
            closing.cancel()
            self._cut(why or Refusal("slow_reader", "the answer was not read: get it with 'resume'"))
        elif why is not None:
            self._metrics.refused.labels(why.code).inc()

    async def _say(self, why: Refusal | None) -> None:
        with suppress(Exception):  # the line is gone
            if why is not None and not self._plain:
                await self._socket.send_text(_error(why))
            await self._socket.close(1000 if why is None else why.close_code, _reason(why))


def _seen(task: asyncio.Task[Any]) -> None:
    """That the line is gone is seen where it is read; asyncio is not to complain of it."""
    if not task.cancelled():
        task.exception()


def _error(why: Refusal) -> str:
    return messages.encode("error", code=why.code, message=str(why))


def _reason(why: Refusal | None) -> str:
    """What fits into a close frame."""
    text = "complete" if why is None else f"{why.code}: {why}"
    return text.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")
