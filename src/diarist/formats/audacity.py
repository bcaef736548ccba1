"""Audacity's label tracks: `start TAB end TAB speaker`, in seconds; File > Import > Labels reads them."""

from __future__ import annotations

from diarist.core.types import Diarization, Turn
from diarist.formats.fields import NO_NAME, lines, one_line, uri_of


def dumps(diarization: Diarization) -> str:
    """One label a turn, to the microsecond as Audacity has it."""
    return "".join(f"{t.start:.6f}\t{t.end:.6f}\t{one_line(t.speaker)}\n" for t in diarization)


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """One recording, named after the file. Point labels and lines of frequencies (`\\`) are passed over.

    Raises `FormatError` with `name:line`.
    """
    turns: list[Turn] = []
    for place, line in lines(text, name, comment="\\"):
        fields = line.split("\t", maxsplit=2)
        if len(fields) < 2:
            raise place.error("an Audacity label has a start, an end and a text, parted by tabs")
        start, end = place.number(fields[0], "start"), place.number(fields[1], "end")
        turns.extend(place.turn(start, end, one_line(fields[2]) if len(fields) == 3 else ""))
    return [Diarization(tuple(turns), uri_of(name).removesuffix(".audacity"))]
