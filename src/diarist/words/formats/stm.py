"""STM, NIST's segment time marks: `uri channel speaker start end <label> text`, the label optional."""

from __future__ import annotations

import re

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import NO_NAME, lines, one_line
from diarist.words.formats.fields import NO_ONE, one_word, ordered, speaker_of
from diarist.words.formats.timed import timed

_LABEL = re.compile(r"<[^<>\s]+(?:,[^<>\s]+)*>\s*")


def dumps(transcript: Transcript) -> str:
    """One line an utterance of one speaker, to the millisecond; white space in names becomes `_`.

    Raises `UsageError` where nothing is known of the times.
    """
    return "".join(
        f"{one_word(transcript.uri)} 1 {one_word(u.speaker or NO_ONE)} {u.start:.3f} {u.end:.3f} {_said(u.text)}\n"
        for u in timed(transcript, "stm")
    )


def _said(text: str) -> str:
    """A text, behind an empty label where its own beginning would be taken for one."""
    text = one_line(text)
    return f"<o> {text}" if text.startswith("<") else text


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """A transcript a recording, in order of appearance; its channels are mixed. Stretches that are left out of scoring
    (`IGNORE_TIME_SEGMENT_IN_SCORING`) are left out here. Raises `FormatError` with `name:line`."""
    recordings: dict[str, list[Utterance]] = {}
    for place, line in lines(text, name):
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            raise place.error(f"an STM line has at least 5 fields, up to the end, not {len(fields)}")
        start, end = ordered(place.number(fields[3], "start"), place.number(fields[4], "end"))
        said = (
            _LABEL.sub("", fields[5], count=1) if len(fields) > 5 and fields[5].startswith("<") else "".join(fields[5:])
        )
        said = said.strip()
        utterances = recordings.setdefault(fields[0], [])
        if said.lower() != "ignore_time_segment_in_scoring":
            utterances.append(Utterance(said, start, end, speaker_of(fields[2])))
    return [Transcript(tuple(utterances), uri) for uri, utterances in recordings.items()]
