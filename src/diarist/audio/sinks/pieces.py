"""Pieces of final turns to whole turns, as they come."""

from __future__ import annotations

from dataclasses import replace

from diarist.core.types import Turn, Update

GAP = 0.05
"""Seconds between two pieces of one speaker that are no pause: diart's `patch_collar`."""


def kept_names(update: Update) -> list[Turn]:
    """The final turns of an update in order, under the names that are kept: where one update says what came of many
    steps, some were said before a speaker was renamed."""
    names = update.renamed
    return sorted(replace(turn, speaker=names.get(turn.speaker, turn.speaker)) for turn in update.final)


class Joiner:
    """Joins the pieces into which updates cut turns. `growing` are the turns that may still go on, by start."""

    def __init__(self, gap: float = GAP) -> None:
        self._gap = gap + 1e-6  # times are rounded to the microsecond
        self._open: dict[str, Turn] = {}

    @property
    def growing(self) -> tuple[Turn, ...]:
        """What is final of turns that may go on."""
        return tuple(sorted(self._open.values()))

    def take(self, update: Update) -> tuple[Turn, ...]:
        """The turns that will not change any more since this update, in order of start."""
        whole: list[Turn] = []
        for gone, kept in update.renamed.items():
            if gone in self._open:
                self._add(replace(self._open.pop(gone), speaker=kept), whole)
        for piece in kept_names(update):
            self._add(piece, whole)
        for speaker, turn in list(self._open.items()):
            if update.settled - turn.end > self._gap:
                whole.append(self._open.pop(speaker))
        return tuple(sorted(whole))

    def rest(self) -> tuple[Turn, ...]:
        """All that was growing: nothing follows."""
        turns, self._open = self.growing, {}
        return turns

    def _add(self, piece: Turn, whole: list[Turn]) -> None:
        old = self._open.get(piece.speaker)
        if old is not None and max(old.start, piece.start) - min(old.end, piece.end) <= self._gap:
            seconds = max(old.duration + piece.duration, 1e-9)
            sure = (old.confidence * old.duration + piece.confidence * piece.duration) / seconds
            piece = replace(piece, start=min(old.start, piece.start), end=max(old.end, piece.end), confidence=sure)
        elif old is not None:
            whole.append(old)
        self._open[piece.speaker] = piece
