"""CTM, NIST's time-marked words: `uri channel start duration word confidence type speaker`, the last three optional.

The type is `lex` for words; lines of other types (`non-lex`, `fp`, ...) are read as words too. RT-09 evaluation plan.
"""

from __future__ import annotations

from diarist.core.types import Transcript, Word
from diarist.formats.fields import NO_NAME, Place, lines
from diarist.words.formats.fields import NO_ONE, one_word, share_of, speaker_of
from diarist.words.formats.timed import timed
from diarist.words.utterances import group, in_order, timed_words


def dumps(transcript: Transcript) -> str:
    """One line a word, in order of start, to the millisecond; white space in names and words becomes `_`.

    Raises `UsageError` where nothing is known of the times.
    """
    rows: list[tuple[float, str]] = []
    for utterance in in_order(timed(transcript, "ctm")):
        for word in timed_words(utterance):
            start = max(0.0, word.start or 0.0)
            length = max(0.0, (start if word.end is None else word.end) - start)
            score = "NA" if word.score is None else f"{word.score:.4f}"
            speaker = one_word(word.speaker or NO_ONE)
            row = f"{one_word(transcript.uri)} 1 {start:.3f} {length:.3f} {one_word(word.text)} {score} lex {speaker}\n"
            rows.append((start, row))
    return "".join(row for _, row in sorted(rows, key=lambda pair: pair[0]))


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """A transcript a recording and channel, in order of appearance; one that has several channels has them in its name.

    Raises `FormatError` with `name:line`.
    """
    recordings: dict[str, dict[str, list[Word]]] = {}
    for place, line in lines(text, name):
        fields = line.split()
        if len(fields) < 5:
            raise place.error(f"a CTM line has at least 5 fields, up to the word, not {len(fields)}")
        recordings.setdefault(fields[0], {}).setdefault(fields[1], []).append(_word(place, fields))
    return [
        Transcript(
            group(sorted(words, key=lambda word: word.start or 0.0)), uri if len(channels) == 1 else f"{uri}_{channel}"
        )
        for uri, channels in recordings.items()
        for channel, words in channels.items()
    ]


def _word(place: Place, fields: list[str]) -> Word:
    start, duration = place.number(fields[2], "start"), place.number(fields[3], "duration")
    if duration < 0:
        raise place.error(f"the duration must not be negative, but is {fields[3]}")
    speaker = speaker_of(fields[7]) if len(fields) > 7 else None
    score = share_of(fields[5]) if len(fields) > 5 else None
    return Word(fields[4], start, round(start + duration, 6), speaker, score=score)
