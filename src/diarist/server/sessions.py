"""One client's stream: the sound that has come, how much of it was looked at, and the updates that go back."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from diarist.core.types import Diarization, Update
from diarist.pipelines.streaming import LiveDiarizer
from diarist.server import messages
from diarist.server.limits import MOST_RAW, Limits
from diarist.server.messages import Hello, Refusal
from diarist.server.outbox import Outbox
from diarist.server.pcm import PcmDecoder

_MARK = 0.02  # seconds of sound between two notes of when it came


class Wire(Protocol):
    """The socket that a session is on at present."""

    def wake(self) -> None:
        """There is something to send."""
        ...

    def warn(self, code: str, message: str, **facts: object) -> None:
        """Tell the client something out of turn."""
        ...

    def close(self, why: Refusal) -> None:
        """Say why, and close."""
        ...


class Arrivals:
    """When which second of a stream came in, so that one can tell how late an answer is."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, float]] = deque()  # (seconds of sound, when)
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """The stream is `seconds` long now."""
        with self._lock:
            if len(self._marks) > 1 and seconds - self._marks[-2][0] < _MARK:
                self._marks.pop()
            self._marks.append((seconds, time.monotonic()))

    def lag(self, until: float) -> float:
        """Seconds since the sound before `until` was all there; what is asked for only grows."""
        with self._lock:
            while len(self._marks) > 1 and self._marks[0][0] < until - 1e-6:
                self._marks.popleft()
            return time.monotonic() - self._marks[0][1] if self._marks else 0.0


class Session:
    """What the event loop knows of a stream (`accept`, `end`, ...), and what workers do (`digest`, `advanced`, ...).

    One worker at a time has a session; only the event loop touches the outbox and the wire.
    """

    def __init__(self, hello: Hello, engine: LiveDiarizer, limits: Limits, *, resumable: bool = True) -> None:
        self.name = secrets.token_urlsafe(12)
        self.secret = secrets.token_urlsafe(24)
        self.hello, self.engine, self.limits, self.resumable = hello, engine, limits, resumable
        self.stream = engine.start(hello.uri)
        self.outbox = Outbox()
        self.received = 0  # samples of each channel
        self.heard = 0.0  # seconds that updates have spoken of
        self.wire: Wire | None = None
        self.last_seen = time.monotonic()  # a message, or the end of the socket
        self.ended = False  # no more sound is taken
        self.over = False  # the last update is in the outbox
        self.dropped = False  # nobody wants it any more
        self.why: Refusal | None = None  # it ended otherwise than by the client's wish
        self.counted = False  # among those that ended
        self.waits = False  # the writer was told to wait
        self.drained = asyncio.Event()  # there is room for sound as it comes
        self.drained.set()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._raw: deque[bytes] = deque()
        self._raw_bytes = 0
        self._part = b""  # of a sample, until its rest comes
        self._decoder = PcmDecoder(hello)
        self._flushed = False
        self._warned_loud = False
        self._seq = 0
        self.arrivals = Arrivals()

    # the event loop's side

    @property
    def going(self) -> bool:
        """There is work to do for it, now or later."""
        return not self.over and not self.dropped

    def knows(self, secret: str) -> bool:
        """Whether somebody may go on with this session; takes the same time whatever is wrong."""
        return hmac.compare_digest(secret.encode(), self.secret.encode())

    @property
    def seconds(self) -> float:
        """Sound that came in."""
        return self.received / self.hello.sample_rate

    @property
    def buffered(self) -> float:
        """Seconds of sound that no update has spoken of."""
        return max(0.0, self.seconds - self.heard) if self.going else 0.0

    def accept(self, data: bytes) -> None:
        """Sound from the client. Raises `Refusal` where it is none, or too much waits already."""
        self.last_seen = time.monotonic()
        if self.ended:
            if self.why is None:
                raise Refusal("bad_message", "sound came after 'end'")
            return  # it was on its way when the session ended
        size = self.hello.frame_size
        data = self._part + data
        whole = len(data) - len(data) % size
        data, self._part = data[:whole], data[whole:]
        room = int(self.limits.max_length * self.hello.sample_rate) - self.received
        data = data[: room * size]
        self.received += len(data) // size
        self.arrivals.add(self.seconds)
        if self.buffered > self.limits.max_buffered:
            raise Refusal("too_fast", f"{self.buffered:.0f} s of sound wait: send when told 'ready', or in real time")
        with self._lock:
            self._raw.append(data)
            self._raw_bytes += len(data)
            if self._raw_bytes > MOST_RAW:
                self.drained.clear()
        if self.buffered > self.limits.warn_buffered and not self.waits:
            self.waits = True
            self._warn("too_fast", "wait for 'ready' before you send more", buffered=round(self.buffered, 3))
        if len(data) // size == room:
            self.end(Refusal("too_long", f"a session may have {self.limits.max_length:g} s of sound"))

    def end(self, why: Refusal | None = None) -> None:
        """No more sound; the answer is wanted, for the reason given if it is not the client's wish."""
        if not self.ended:
            self.ended, self.why = True, why
        self.drained.set()

    def drop(self) -> None:
        """Forget all that waits."""
        self.ended = self.dropped = True
        with self._lock:
            self._raw.clear()
            self._raw_bytes = 0
        self.drained.set()

    def touch(self) -> None:
        """The client is there."""
        self.last_seen = time.monotonic()

    def attach(self, wire: Wire) -> None:
        """Go on over this socket; one that was there before is closed."""
        if self.wire is not None:
            self.wire.close(Refusal("replaced", "somebody goes on with this session over another socket"))
        self.wire = wire
        self._part = b""  # the client sends what follows `received`
        self.waits = False
        self.last_seen = time.monotonic()

    def detach(self, wire: Wire) -> bool:
        """The socket is gone; False where it was not this session's any more."""
        if self.wire is not wire:
            return False
        self.wire = None
        self.last_seen = time.monotonic()
        return True

    def fail(self, why: Refusal) -> None:
        """Nothing more can come of it."""
        self.drop()
        self.over, self.why = True, why
        if self.wire is not None:
            self.wire.close(why)

    def _warn(self, code: str, message: str, **facts: object) -> None:
        if self.wire is not None:
            self.wire.warn(code, message, **facts)

    def _put(self, texts: list[str], until: float, last: bool) -> None:
        for text in texts:
            self.outbox.put(text)
        self.heard = max(self.heard, until)
        if self.waits and not self.ended and self.buffered < self.limits.warn_buffered / 2:
            self.waits = False
            if self.wire is not None:
                self.wire.warn("ready", "send on", buffered=round(self.buffered, 3))
        self.over = self.over or last
        if self.wire is not None:
            self.wire.wake()

    # the workers' side

    def digest(self) -> bool:
        """Feed what has come to the stream; True once that was all there will ever be. Raises `Refusal`."""
        with self._lock:
            ended, data = self.ended, b"".join(self._raw)
            self._raw.clear()
            self._raw_bytes = 0
        if not self.drained.is_set():
            self._call(self.drained.set)
        last = ended and not self._flushed
        if data or last:
            self.stream.feed(self._decoder(data, last=last))
            self._flushed = last
        if self._decoder.too_loud and not self._warned_loud:
            self._warned_loud = True
            self._call(self._warn, "too_loud", self._decoder.too_loud)
        return ended

    def advanced(self, update: Update) -> float:
        """Have the loop send an update; how late it is, in seconds."""
        self._call(self._put, self._texts(update), update.until, False)
        return self.arrivals.lag(update.until)

    def finish(self) -> Diarization | None:
        """End the stream; its last update goes out. The session, clustered anew."""
        update = self.stream.finish()
        del self.stream  # what is kept for a client who lost the line is its answer
        self._call(self._put, self._texts(update), self.seconds, True)
        return update.session

    def failed(self, why: Refusal) -> None:
        """A worker found that nothing more can come of it."""
        self._call(self.fail, why)

    @property
    def idle(self) -> bool:
        """Nothing has come since it was digested."""
        return not self._raw_bytes and not (self.ended and not self._flushed)

    def _texts(self, update: Update) -> list[str]:
        if self.hello.output == "json":
            self._seq += 1
            return [messages.update(self.hello.uri, self._seq, update)]
        texts = [messages.rttm(self.hello.uri, update)]
        texts = [text for text in texts if text]
        self._seq += len(texts)
        if update.session is not None and self.hello is not messages.DIART:
            self._seq += 1
            texts.append(messages.session_rttm(self._seq, update.session))
        return texts

    def _call(self, what: Callable[..., object], *args: object) -> None:
        """On the event loop."""
        with suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(what, *args)
