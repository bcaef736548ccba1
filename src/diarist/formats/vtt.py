"""WebVTT: a cue a turn, with a voice tag (`<v SPEAKER_00>`). Turns at the same time are cues of their own.

https://www.w3.org/TR/webvtt1/
"""

from __future__ import annotations

import html
import re

from diarist.core.types import Diarization, Turn
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, Place, clock, lines, one_line, shown, uri_of

_VOICE = re.compile(r"<v(?:\.[^\s>]*)?(?:[ \t]+([^>]*))?>")


def dumps(diarization: Diarization) -> str:
    """Cues in order of start."""
    cues = (
        f"\n{clock(t.start, '.')} --> {clock(t.end, '.')}\n<v {_escaped(t.speaker)}>{_escaped(t.speaker)}\n"
        for t in diarization
    )
    return "WEBVTT\n" + "".join(cues)


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """One recording, named after the file: a turn for each voice tag of each cue; cues without one are passed over.

    Raises `FormatError` with `name:line`.
    """
    turns: list[Turn] = []
    cue: tuple[Place, float, float] | None = None
    rows = lines(text, name, comment="")
    first = next(rows, None)
    if first is None or not re.match(r"WEBVTT(\s|$)", first[1]):
        raise FormatError(f"{name}:1: a WebVTT file begins with WEBVTT")
    for place, line in rows:
        if "-->" in line:
            cue = (place, *_times(place, line))
        elif cue is not None:
            for match in _VOICE.finditer(line):
                turns.extend(cue[0].turn(cue[1], cue[2], html.unescape(match[1] or "").strip()))
    return [Diarization(tuple(turns), uri_of(name))]


def _times(place: Place, line: str) -> tuple[float, float]:
    start, _, end = line.partition("-->")
    return _time(place, start.strip(), "start"), _time(place, "".join(end.split()[:1]), "end")


def _time(place: Place, text: str, field: str) -> float:
    match = re.fullmatch(r"(?:(\d+):)?(\d\d):(\d\d)\.(\d{3})", text)
    if match is None:
        raise place.error(f"the {field} of a cue must be a time as 00:00:05.222, not {shown(text)}")
    hours, minutes, seconds, thousandths = (int(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _escaped(name: str) -> str:
    return html.escape(one_line(name), quote=False)
