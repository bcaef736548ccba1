"""Markdown for people, which turns into a Word document by `pandoc meeting.md -o meeting.docx`: a heading, and a
paragraph for what each speaker says until somebody else does.

    **SPEAKER_00** [00:00:01.200 - 00:00:07.480]

    What was said.
"""

from __future__ import annotations

import re

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import NO_NAME, clock, lines, one_line, uri_of
from diarist.words.formats.fields import ordered, speaker_of, time_of
from diarist.words.utterances import paragraphs

NOBODY = "(nobody)"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$^])")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]<>#|~$^+.)-])")
_LIST = re.compile(r"^(\d+|)([-+.)])(?=\s|$)")
_HEAD = re.compile(r"\*\*(.+?)\*\*(?:\s+\[([\d:.]+)(?: - ([\d:.]+))?\])?\s*")


def dumps(transcript: Transcript) -> str:
    """A heading with the recording's name, then for each paragraph its speaker, its time and its text."""
    blocks = [f"# {_escaped(one_line(transcript.uri))}\n"]
    for utterance in paragraphs(transcript).utterances:
        name = _escaped(one_line(NOBODY if utterance.speaker is None else utterance.speaker))
        said = _LIST.sub(r"\1\\\2", _escaped(one_line(utterance.text)))
        blocks.append(f"**{name}**{_times(utterance)}\n\n{said}\n")
    return "\n".join(blocks)


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named by its heading, else after the file. Raises `FormatError` with `name:line`."""
    uri = uri_of(name)
    utterances: list[Utterance] = []
    for place, line in lines(text, name, comment=""):
        head = _HEAD.fullmatch(line.strip())
        if head is not None:
            where = f"{place.name}:{place.line}: "
            times = ordered(*(time_of(head[group], where, "time") for group in (2, 3)))
            speaker = _unescaped(head[1])
            utterances.append(Utterance("", *times, None if speaker == NOBODY else speaker_of(speaker)))
        elif line.startswith("# ") and not utterances:
            uri = _unescaped(line[2:].strip())
        elif utterances:
            last = utterances.pop()
            said = f"{last.text} {_unescaped(line.strip())}".strip()
            utterances.append(Utterance(said, last.start, last.end, last.speaker))
        else:
            raise place.error("expected a speaker, as **SPEAKER_00** [00:00:01.200], before what was said")
    return [Transcript(tuple(utterances), uri)]


def _times(utterance: Utterance) -> str:
    times = [clock(time, ".") for time in (utterance.start, utterance.end) if time is not None]
    return f" [{' - '.join(times)}]" if times else ""


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
