"""The last seconds of a stream, for those who draw them, in bounded memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from diarist.audio.sinks.pieces import Joiner, kept_names
from diarist.core.types import Turn, Update


@dataclass(frozen=True)
class Picture:
    """What is to be drawn: turns that are final and tentative ones, the speakers in order of appearance with their
    seconds of talk so far, and the times up to which it is settled and heard."""

    final: tuple[Turn, ...]
    tentative: tuple[Turn, ...]
    talk: dict[str, float]
    settled: float
    until: float


class Recent:
    """Keeps the turns of the last `window` seconds (None: all of them) and everybody's talk time. One thread may
    write while another looks."""

    def __init__(self, window: float | None) -> None:
        self._window = window
        self._joiner = Joiner()
        self._turns: list[Turn] = []
        self._talk: dict[str, float] = {}
        self._lock = threading.Lock()
        self._picture = Picture((), (), {}, 0.0, 0.0)

    def write(self, update: Update) -> None:
        """Take one update."""
        for gone, kept in update.renamed.items():
            self._talk[kept] = self._talk.get(kept, 0.0) + self._talk.pop(gone, 0.0)
            self._turns = [replace(t, speaker=kept) if t.speaker == gone else t for t in self._turns]
        for piece in kept_names(update):
            self._talk[piece.speaker] = self._talk.get(piece.speaker, 0.0) + piece.duration
        self._turns += self._joiner.take(update)
        if self._window is not None:
            begin = update.until - self._window
            self._turns = [turn for turn in self._turns if turn.end > begin]
        talk = dict(self._talk)
        for turn in update.tentative:
            talk.setdefault(turn.speaker, 0.0)
        final = (*self._turns, *self._joiner.growing)
        with self._lock:
            self._picture = Picture(final, update.tentative, talk, update.settled, update.until)

    @property
    def picture(self) -> Picture:
        """What is to be drawn now."""
        with self._lock:
            return self._picture
