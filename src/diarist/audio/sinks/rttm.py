"""RTTM as a stream goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TextIO

from diarist.audio.sinks.linefile import LineFile
from diarist.audio.sinks.pieces import GAP, Joiner
from diarist.core.types import Diarization, Turn, Update
from diarist.formats.writing import write_text

Final = Literal["session", "live"]


class RttmWriter:
    """A file of RTTM that is valid after every update, whatever ends the process.

    Turns that are settled stay; behind them stand, anew with each update, the turns that still grow. Pieces at most
    `gap` seconds apart are one turn. At the end the file is replaced, whole, by the session clustered anew or, with
    `final="live"`, stays as it was said, with a comment (`;; renamed speaker3 speaker1`) where two speakers turned out
    to be one. Raises `DiaristError` where it cannot be written.
    """

    def __init__(self, uri: str, path: str | Path, gap: float = GAP, final: Final = "session") -> None:
        self.uri, self.path, self.final = uri, Path(path), final
        self._joiner = Joiner(gap)
        self._file = LineFile(path)
        self._session: Diarization | None = None

    def write(self, update: Update) -> None:
        """Write what has become final."""
        settled = _lines(self.uri, self._joiner.take(update))
        self._file.put(settled + _renamed(update), _lines(self.uri, self._joiner.growing))
        self._session = update.session or self._session

    def close(self) -> None:
        """Write what was growing; replace the file by the session, where there is one and it is wanted."""
        try:
            self._file.put(_lines(self.uri, self._joiner.rest()))
        finally:
            self._file.close()
        if self._session is not None and self.final == "session" and self._file.plain:
            write_text(self.path, _lines(self.uri, self._session))


class RttmLines:
    """RTTM lines into a text stream, each turn once it is settled; with `final="session"` all of the session at the
    end, and nothing before."""

    def __init__(self, uri: str, file: TextIO, gap: float = GAP, final: Final = "live") -> None:
        self.uri, self.file, self.final = uri, file, final
        self._joiner = Joiner(gap)
        self._session: Diarization | None = None

    def write(self, update: Update) -> None:
        """Write what is settled. Raises `BrokenPipeError` where nobody reads any more."""
        text = _lines(self.uri, self._joiner.take(update)) + _renamed(update)
        self._session = update.session or self._session
        if self.final == "live":
            self._put(text)

    def close(self) -> None:
        """Write the rest."""
        rest = self._joiner.rest()
        self._put(_lines(self.uri, rest if self.final == "live" or self._session is None else self._session))

    def _put(self, text: str) -> None:
        if text:
            self.file.write(text)
            self.file.flush()


def _lines(uri: str, turns: Iterable[Turn]) -> str:
    return Diarization(tuple(turns), uri).to_rttm()


def _renamed(update: Update) -> str:
    return "".join(f";; renamed {gone} {kept}\n" for gone, kept in update.renamed.items())
