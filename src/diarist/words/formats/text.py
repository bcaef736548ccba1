"""Plain text: `[SPEAKER_00]: what was said`, a line an utterance, without times."""

from __future__ import annotations

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import NO_NAME, lines, uri_of
from diarist.words.formats.fields import prefixed, unprefixed
from diarist.words.utterances import by_speaker


def dumps(transcript: Transcript) -> str:
    """One line an utterance of one speaker, in order of start."""
    return "".join(f"{prefixed(u.speaker, u.text)}\n" for u in by_speaker(transcript).utterances)


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file; a line without a speaker in brackets is nobody's."""
    said = (unprefixed(line) for _, line in lines(text, name, comment=""))
    return [Transcript(tuple(Utterance(text, speaker=speaker) for speaker, text in said), uri_of(name))]
