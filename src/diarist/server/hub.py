"""All sessions of a server: beginning, going on with, watching over and ending them. Lives on the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from diarist import formats
from diarist.core.types import Diarization
from diarist.errors import DiaristError
from diarist.formats.writing import safe_name, write_text
from diarist.server.engines import Engines
from diarist.server.limits import MOST_WAITING, Limits
from diarist.server.messages import Hello, Refusal, Resume
from diarist.server.metrics import Metrics
from diarist.server.recordings import Recordings
from diarist.server.scheduler import Scheduler
from diarist.server.sessions import Session, Wire

_PATIENCE = 0.25  # seconds between two looks at all sessions
_log = logging.getLogger(__name__)


class Hub:
    """The sessions by name, and `recordings` that are posted whole. `output`: a folder that gets the RTTM of each
    session at its end."""

    def __init__(
        self,
        engines: Engines,
        limits: Limits,
        metrics: Metrics,
        *,
        num_workers: int = 1,
        output: Path | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        self.engines, self.limits, self.metrics, self.output = engines, limits, metrics, output
        self.sessions: dict[str, Session] = {}
        self.recordings = recordings
        self.draining = False
        self.scheduler = Scheduler(metrics, self._finished, num_workers=num_workers)
        metrics.watch(
            lambda: sum(s.going and s.wire is not None for s in self._all()),
            lambda: sum(s.going and s.wire is None for s in self._all()),
            self._buffered,
        )

    def _all(self) -> list[Session]:
        return list(self.sessions.values())

    def _buffered(self) -> float:
        """Seconds of sound that wait."""
        return sum(session.buffered for session in self._all())

    @property
    def num_going(self) -> int:
        """Sessions that there is work for."""
        return sum(session.going for session in self._all())

    async def open(self, hello: Hello, wire: Wire, *, resumable: bool = True) -> Session:
        """Begin a session. Raises `Refusal` where there is no room, or what is asked for cannot be."""
        if self.recordings is not None:
            self.recordings.check_live()
        engine = await asyncio.to_thread(self.engines.get, hello)
        if self.draining:
            raise Refusal("shutdown", "the server stops")
        if self.num_going >= self.limits.max_sessions:
            raise Refusal("too_many_sessions", f"all {self.limits.max_sessions} sessions are taken: try again later")
        session = Session(hello, engine, self.limits, resumable=resumable and self.limits.grace > 0)
        self.sessions[session.name] = session
        session.attach(wire)
        self.metrics.opened.inc()
        return session

    def resume(self, asked: Resume, wire: Wire) -> Session:
        """Go on with a session over another socket. Raises `Refusal` where there is none, or the secret is wrong."""
        session = self.sessions.get(asked.id)
        if session is None or not session.knows(asked.secret) or session.dropped or not session.resumable:
            raise Refusal("unknown_session", "no such session (any more), or a wrong secret: start a new one")
        session.outbox.rewind(asked.updates)
        session.attach(wire)
        self.metrics.resumed.inc()
        return session

    def accept(self, session: Session, data: bytes) -> None:
        """Sound from a client. Raises `Refusal`."""
        before = session.seconds
        session.accept(data)
        if session.waits and self._buffered() > MOST_WAITING:
            raise Refusal("too_fast", "too much sound waits at this server: send when told 'ready', or in real time")
        self.metrics.sound.inc(session.seconds - before)
        self.scheduler.submit(session)

    def end(self, session: Session, why: Refusal | None = None) -> None:
        """No more sound: the answer is wanted."""
        session.end(why)
        self.scheduler.submit(session)

    def fail(self, session: Session, why: Refusal) -> None:
        """A client broke the rules: its socket is closed, and what it sent before is worth a file at most."""
        session.resumable = False
        if self.output is None:
            session.fail(why)
            return
        self.end(session, why)
        if session.wire is not None:
            session.wire.close(why)

    def left(self, session: Session, wire: Wire) -> None:
        """A socket is gone: its session waits to be resumed, or ends. Even one that is over may have lost its end."""
        if not session.detach(wire):
            return
        if session.going:
            self.metrics.dropped.inc()
        else:
            self._count(session, "complete" if session.why is None else session.why.code)
        if not session.resumable:
            self._abandon(session)

    def _abandon(self, session: Session) -> None:
        """Nobody will come back for it; its answer is still written where answers are written."""
        if self.output is None or not session.going:
            self._forget(session)
            return
        session.resumable = False
        self.end(session, Refusal("unknown_session", "its client is gone"))

    def _forget(self, session: Session) -> None:
        del self.sessions[session.name]
        session.drop()
        self._count(session, "abandoned")

    def _count(self, session: Session, reason: str) -> None:
        if not session.counted:
            session.counted = True
            self.metrics.ended.labels(reason).inc()

    async def watch(self) -> None:
        """Look after all sessions, for ever: who is idle, who does not come back."""
        while True:
            await asyncio.sleep(min(_PATIENCE, self.limits.idle / 2))
            now = time.monotonic()
            for session in self._all():
                self._look_after(session, now - session.last_seen)

    def _look_after(self, session: Session, silent: float) -> None:
        if session.wire is not None:
            if not session.ended and not session.waits and silent > self.limits.idle:
                self.end(session, Refusal("idle", f"nothing came for {self.limits.idle:g} s"))
        elif not session.going and (silent > self.limits.grace or not session.resumable):
            self._forget(session)
        elif not session.ended and silent > self.limits.grace:
            self._abandon(session)

    async def drain(self, limit: float) -> None:
        """Let no session in any more, and have each of them get its answer, in at most `limit` seconds."""
        self.draining = True
        until = time.monotonic() + limit
        for session in self._all():
            if not session.ended:
                if session.wire is not None:
                    session.wire.warn("shutdown", "the server stops: the answer to what came so far follows")
                self.end(session, Refusal("shutdown", "the server stops"))
        while any(self._owed(session) for session in self._all()) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if self.recordings is not None:
            await self.recordings.drain(until)

    def _owed(self, session: Session) -> bool:
        """Whether something of a session has yet to be computed, written or sent."""
        return session.going or session.wire is not None

    def _finished(self, session: Session, answer: Diarization | None) -> None:
        """In a worker's thread: write the answer of a session that is over."""
        if self.output is None or answer is None:
            return
        name = safe_name(session.hello.uri)
        path = self.output / f"{name}.rttm"
        if path.exists():
            path = self.output / f"{name}-{session.name}.rttm"
        try:
            write_text(path, formats.dumps(answer, "rttm"))
        except DiaristError as error:
            _log.error("%s", error)
