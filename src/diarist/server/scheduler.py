"""Workers that look at the sound of all sessions: steps of different sessions go through the networks together.

A session waits in one queue and goes to its end after each step, so that nobody waits for somebody with much sound.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from diarist.core.types import Diarization, Update
from diarist.pipelines.streaming import LiveDiarizer
from diarist.server.messages import Refusal
from diarist.server.metrics import Metrics
from diarist.server.sessions import Session

MOST_TOGETHER = 8
"""Steps in one pass: more make it no cheaper on a core, and everybody waits for the whole pass."""
GATHER = 0.01
"""Seconds that new sound waits for that of others."""

_log = logging.getLogger(__name__)


class Scheduler:
    """Threads that `digest` and advance sessions; `finished(session, answer)` is called, in a thread, at their end."""

    def __init__(
        self,
        metrics: Metrics,
        finished: Callable[[Session, Diarization | None], None],
        *,
        num_workers: int = 1,
        most_together: int = MOST_TOGETHER,
    ) -> None:
        self._metrics, self._finished, self._most = metrics, finished, most_together
        self._turn = threading.Condition()
        self._queue: deque[tuple[float, Session]] = deque()  # (not before, session)
        self._inside: set[Session] = set()  # in the queue, with a worker, or at its end
        self._free = 0  # workers that wait
        self._stopped = False
        self._ends = ThreadPoolExecutor(1, thread_name_prefix="diarist-finish")
        self._workers = [
            threading.Thread(target=self._work, name=f"diarist-step-{i}", daemon=True) for i in range(num_workers)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, session: Session) -> None:
        """There is something new in a session."""
        with self._turn:
            if session not in self._inside:
                self._inside.add(session)
                self._queue.append((time.monotonic() + GATHER, session))
                self._turn.notify()

    def stop(self) -> None:
        """Finish what is in hand, and no more."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        for worker in self._workers:
            worker.join()
        self._ends.shutdown(wait=True, cancel_futures=True)

    def _work(self) -> None:
        while batch := self._take():
            digested = {session: self._digest(session) for session in batch}
            self._advance_all(
                [session for session in batch if digested[session] is not None and session.stream.waiting]
            )
            self._put_back(batch, {session: done for session, done in digested.items() if done is not None})

    def _take(self) -> list[Session]:
        """The sessions whose turn it is, this worker's share; none at the end."""
        with self._turn:
            self._free += 1
            while not self._stopped:
                wait = self._queue[0][0] - time.monotonic() if self._queue else None
                if wait is not None and wait <= 0:
                    break
                self._turn.wait(wait)
            self._free -= 1
            if self._stopped:
                return []
            share = min(self._most, -(-len(self._queue) // (self._free + 1)))
            batch = [self._queue.popleft()[1] for _ in range(share)]
            if self._queue and self._free:
                self._turn.notify()
            return batch

    def _digest(self, session: Session) -> bool | None:
        """Whether all that the session will ever have has been fed; None where nothing can come of it."""
        try:
            complete = not session.dropped and session.digest()
        except Refusal as why:
            session.failed(why)
            return None
        except Exception:  # a worker must not die of what one session has
            _log.exception("sound was not taken")
            session.failed(Refusal("internal", "the server failed at this session"))
            return None
        return None if session.dropped else complete

    def _put_back(self, batch: Sequence[Session], complete: Mapping[Session, bool]) -> None:
        """Sessions with more to do go to the end of the queue, complete ones to their end, the others out of it."""
        ends = [session for session in batch if complete.get(session) and not session.stream.waiting]
        again = [session for session in batch if session in complete and session.stream.waiting]
        with self._turn:
            self._queue.extend((0.0, session) for session in again)
            self._inside.difference_update(set(batch) - set(ends) - set(again))
            self._turn.notify()
        for session in ends:  # stays inside: it is ended once
            self._ends.submit(self._end, session)
        for session in set(batch) - set(ends) - set(again):
            if not session.idle and not session.dropped:  # sound came while a worker had it
                self.submit(session)

    def _advance_all(self, ready: Sequence[Session]) -> None:
        """One step of each session, all of a configuration in one pass."""
        engines: dict[LiveDiarizer, list[Session]] = defaultdict(list)
        for session in ready:
            engines[session.engine].append(session)
        for engine, sessions in engines.items():
            self._advance(engine, sessions)

    def _advance(self, engine: LiveDiarizer, sessions: Sequence[Session]) -> None:
        begun = time.monotonic()
        updates = self._updates(engine, sessions)
        self._metrics.pass_seconds.observe(time.monotonic() - begun)
        self._metrics.batch.observe(len(sessions))
        for session, update in zip(sessions, updates, strict=True):
            if update is not None:
                self._metrics.steps.inc()
                self._metrics.lag.observe(session.advanced(update))

    def _updates(self, engine: LiveDiarizer, sessions: Sequence[Session]) -> Sequence[Update | None]:
        """Together, and where that fails one by one, so that only who is at fault suffers."""
        streams = [session.stream for session in sessions]
        try:
            return engine.advance(streams)
        except Exception:
            _log.exception("a step failed")
        updates: list[Update | None] = []
        for session in sessions:
            try:
                updates += engine.advance([session.stream]) if session.stream.waiting else [None]
            except Exception:
                session.failed(Refusal("internal", "the server failed at this session"))
                updates.append(None)
        return updates

    def _end(self, session: Session) -> None:
        begun = time.monotonic()
        if session.dropped:
            return
        try:
            self._finished(session, session.finish())
        except Exception:
            _log.exception("a session failed at its end")
            session.failed(Refusal("internal", "the server failed at the end of this session"))
        finally:
            self._metrics.finish_seconds.observe(time.monotonic() - begun)
