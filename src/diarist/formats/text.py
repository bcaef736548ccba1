"""Turns for people to read: `[5.222 -- 17.744] --> SPEAKER_03`."""

from __future__ import annotations

import re

from diarist.core.types import Diarization, Turn
from diarist.formats.fields import NO_NAME, lines, one_line, shown, uri_of

_LINE = re.compile(r"\s*\[\s*(\S+)\s*-->?\s*(\S+?)\s*\]\s*(?:-->)?\s*(.*)")


def dumps(diarization: Diarization) -> str:
    """One line a turn, in order of start."""
    return "".join(f"[{t.start:.3f} -- {t.end:.3f}] --> {one_line(t.speaker)}\n" for t in diarization)


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """One recording, named after the file. Raises `FormatError` with `name:line`."""
    turns: list[Turn] = []
    for place, line in lines(text, name):
        match = _LINE.fullmatch(line)
        if match is None:
            raise place.error(f"expected '[start -- end] --> speaker', not {shown(line)}")
        start, end = place.number(match[1], "start"), place.number(match[2], "end")
        turns.extend(place.turn(start, end, one_line(match[3])))
    return [Diarization(tuple(turns), uri_of(name))]
