"""Label files: `start end speaker`, one turn a line, in seconds."""

from __future__ import annotations

from diarist.core.types import Diarization, Turn
from diarist.formats.fields import NO_NAME, lines, one_line, uri_of


def dumps(diarization: Diarization) -> str:
    """One line a turn, to the millisecond."""
    return "".join(f"{t.start:.3f} {t.end:.3f} {one_line(t.speaker) or '_'}\n" for t in diarization)


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """One recording, named after the file. What follows the end is the speaker, blanks included.

    Raises `FormatError` with `name:line`.
    """
    turns: list[Turn] = []
    for place, line in lines(text, name):
        fields = line.split(maxsplit=2)
        if len(fields) < 3:
            raise place.error("a label line has a start, an end and a speaker")
        start, end = place.number(fields[0], "start"), place.number(fields[1], "end")
        turns.extend(place.turn(start, end, one_line(fields[2])))
    return [Diarization(tuple(turns), uri_of(name))]
