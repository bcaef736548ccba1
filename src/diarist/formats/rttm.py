"""NIST RTTM (Rich Transcription Time Marked): `SPEAKER uri channel start duration <NA> <NA> speaker confidence <NA>`.

The format is that of NIST's Rich Transcription evaluations (RT-09 plan, appendix A).
"""

from __future__ import annotations

from diarist.core.types import Diarization, Turn
from diarist.formats.fields import NO_NAME, Place, lines, shown

OTHER_TYPES = frozenset(
    "SEGMENT NOSCORE NO_RT_METADATA LEXEME NON-LEX NON-SPEECH FILLER EDIT IP SU CB A/P SPKR-INFO".split()
)
"""Types of lines that say nothing of who spoke when."""


def dumps(diarization: Diarization) -> str:
    """One line a turn, to the millisecond. See `Diarization.to_rttm`."""
    return diarization.to_rttm()


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """The recordings of an RTTM, in order of appearance.

    Fields may be parted by any white space and those after the speaker may be missing; blank lines, comments (`;;`)
    and lines of other types are passed over; turns of no length are dropped. A confidence in [0, 1] is read.
    Raises `FormatError` with `name:line`.
    """
    recordings: dict[str, list[Turn]] = {}
    for place, line in lines(text, name):
        fields = line.split()
        kind = fields[0].upper()
        if kind == "SPEAKER":
            recordings.setdefault(_uri(place, fields), []).extend(_turn(place, fields))
        elif kind not in OTHER_TYPES:
            raise place.error(f"an RTTM line begins with SPEAKER, not {shown(fields[0])}")
    return [Diarization(tuple(turns), uri) for uri, turns in recordings.items()]


def _turn(place: Place, fields: list[str]) -> list[Turn]:
    start = place.number(fields[3], "start")
    duration = place.number(fields[4], "duration")
    if duration < 0:
        raise place.error(f"the duration must not be negative, but is {fields[4]}")
    if fields[7] == "<NA>":
        raise place.error("the eighth field, the speaker's name, is <NA> (names must not hold blanks)")
    return list(place.turn(start, start + duration, fields[7], _confidence(fields)))


def _uri(place: Place, fields: list[str]) -> str:
    if len(fields) < 8:
        raise place.error(f"a SPEAKER line has at least 8 fields, up to the speaker's name, not {len(fields)}")
    if len(fields) > 10:
        raise place.error(f"a SPEAKER line has at most 10 fields, not {len(fields)} (names must not hold blanks)")
    return fields[1]


def _confidence(fields: list[str]) -> float:
    try:
        confidence = float(fields[8])
    except (IndexError, ValueError):
        return 1.0
    return confidence if 0 <= confidence <= 1 else 1.0
