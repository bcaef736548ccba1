"""Subtitles: what SubRip and WebVTT share, which differ in a comma."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import Place, clock, shown
from diarist.words.formats.fields import ordered, prefixed, speaker_of, time_of, unprefixed
from diarist.words.formats.timed import timed
from diarist.words.utterances import shortened

LINE = 42  # characters; two lines are shown at once
_ASIDE = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")  # blocks of WebVTT that are no cues
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?(?:[ \t]+([^>]*))?>")
_TAGS = {"vtt": re.compile(r"</?[^<>]*>"), "srt": re.compile(r"</?(?:b|i|u|s|font)(?:\s[^<>]*)?>|\{\\an?\d\}")}


def written(transcript: Transcript, format: str, point: str) -> Iterator[tuple[str, str]]:
    """`start --> end` and the lines of each cue, the speaker before what was said. A cue has at most two lines' worth
    of text, where the words have times, and is cut where the speaker changes."""
    for utterance in shortened(
        Transcript(timed(transcript, format), language=transcript.language), 2 * LINE
    ).utterances:
        said = re.sub("-{2,}>", "->", prefixed(utterance.speaker, utterance.text))  # a cue holds no arrow of a cue
        wrapped = textwrap.wrap(said, LINE + 12, break_long_words=False, break_on_hyphens=False) or ["_"]
        start = utterance.start or 0.0
        end = start if utterance.end is None else utterance.end
        yield f"{clock(start, point)} --> {clock(end, point)}", "\n".join(wrapped)


def read(text: str, name: str, format: str) -> Iterator[Utterance]:
    """An utterance a cue, without the tags that dress a text. Raises `FormatError` with `name:line`."""
    cue: list[str] | None = None
    aside = False
    blocks: list[tuple[Place, str, list[str]]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip():
            cue, aside = None, False
        elif aside or (format == "vtt" and cue is None and _ASIDE.match(line)):
            aside = True
        elif "-->" in line:
            cue = []
            blocks.append((Place(name, number), line, cue))
        elif cue is not None:
            cue.append(line.strip())
    yield from (_utterance(place, times, " ".join(said), format) for place, times, said in blocks)


def _utterance(place: Place, times: str, said: str, format: str) -> Utterance:
    first, _, rest = times.partition("-->")
    where = f"{place.name}:{place.line}: "
    start = time_of(first.strip(), where, "start of the cue")
    end = time_of("".join(rest.split()[:1]), where, "end of the cue")
    if start is None or end is None:
        raise place.error(f"a cue has a start and an end, not {shown(times)}")
    voice = _VOICE.search(said)
    said = _TAGS[format].sub("", said)
    speaker, said = unprefixed(html.unescape(said) if format == "vtt" else said)
    if voice is not None and speaker is None:
        speaker = speaker_of(html.unescape(voice[1] or ""))
    return Utterance("" if said == "_" else said, *ordered(start, end), speaker)
