"""Audacity's label tracks as WhisperX writes them (`.aud`): `start TAB end TAB [[speaker]]text`, in seconds."""

from __future__ import annotations

import re

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import NO_NAME, lines, one_line, uri_of
from diarist.words.formats.fields import bare, ordered, speaker_of
from diarist.words.formats.timed import timed

_SPEAKER = re.compile(r"\[\[(.*?)\]\]")


def dumps(transcript: Transcript) -> str:
    """One label an utterance of one speaker, to the microsecond. Raises `UsageError` where no times are known."""
    return "".join(
        f"{u.start:.6f}\t{u.end:.6f}\t{'' if u.speaker is None else f'[[{bare(u.speaker)}]]'}{one_line(u.text)}\n"
        for u in timed(transcript, "aud")
    )


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file; lines of frequencies are passed over. Raises `FormatError`."""
    utterances: list[Utterance] = []
    for place, line in lines(text, name, comment="\\"):
        fields = line.split("\t", maxsplit=2)
        if len(fields) < 2:
            raise place.error("an Audacity label has a start, an end and a text, parted by tabs")
        start, end = place.number(fields[0], "start"), place.number(fields[1], "end")
        said = fields[2] if len(fields) == 3 else ""
        match = _SPEAKER.match(said)
        speaker = None if match is None else speaker_of(match[1])
        utterances.append(Utterance(said[match.end() if match else 0 :].strip(), *ordered(start, end), speaker))
    return [Transcript(tuple(utterances), uri_of(name))]
