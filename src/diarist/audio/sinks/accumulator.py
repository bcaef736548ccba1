"""The answer so far, as a `Diarization`."""

from __future__ import annotations

from dataclasses import replace

from diarist.audio.sinks.pieces import GAP, Joiner
from diarist.core.types import Diarization, Turn, Update


class Accumulator:
    """Keeps what a stream has said: pieces joined, speakers under the names they are known by now.

    `live` is what was final when it was said; `diarization` is the same until the stream ends, then the session
    clustered anew.
    """

    def __init__(self, uri: str = "stream", gap: float = GAP) -> None:
        self.uri = uri
        self.until = 0.0
        self._joiner = Joiner(gap)
        self._turns: list[Turn] = []
        self._session: Diarization | None = None

    def write(self, update: Update) -> None:
        """Take one update."""
        if update.renamed:
            names = update.renamed
            self._turns = [replace(turn, speaker=names.get(turn.speaker, turn.speaker)) for turn in self._turns]
        self._turns += self._joiner.take(update)
        self.until = update.until
        self._session = update.session or self._session

    def close(self) -> None:
        """Nothing to do."""

    @property
    def live(self) -> Diarization:
        """What was said while the stream ran."""
        return Diarization((*self._turns, *self._joiner.growing), self.uri, duration=self.until)

    @property
    def diarization(self) -> Diarization:
        """The best answer there is."""
        return self._session or self.live
