"""Words as comma separated values: `uri,start,end,word,speaker,confidence,score`, with a header line."""

from __future__ import annotations

import csv
import io

from diarist.core.types import Transcript, Word
from diarist.formats.csv import rows
from diarist.formats.fields import NO_NAME, Place, uri_of
from diarist.words.formats.fields import ordered, share_of, speaker_of, time_of
from diarist.words.utterances import group, in_order, spoken_words

COLUMNS = ("uri", "start", "end", "word", "speaker", "confidence", "score")
NAMES = {
    "word": ("word", "text", "token"),
    "start": ("start", "start_time", "begin", "start_s"),
    "end": ("end", "end_time", "stop", "end_s"),
    "speaker": ("speaker", "spk", "speaker_id"),
    "confidence": ("confidence", "speaker_confidence"),
    "score": ("score", "probability", "prob"),
    "uri": ("uri", "file", "session_id", "recording"),
}
"""What a column may be called."""


def dumps(transcript: Transcript) -> str:
    """One row a word; what is unknown is empty."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for utterance in in_order(transcript.utterances):
        for word in spoken_words(utterance):
            known = (_plain(word.start), _plain(word.end), word.text, word.speaker or "", _plain(word.confidence))
            writer.writerow((transcript.uri, *known, _plain(word.score)))
    return file.getvalue()


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """A transcript a recording, in order of appearance; one named after the file where there is no `uri`.

    Columns may come in any order, parted by comma, semicolon or tab; there must be one of words, others are passed
    over. Raises `FormatError` with `name:line`.
    """
    recordings: dict[str, list[Word]] = {}
    columns: dict[str, int] = {}
    for place, row in rows(text, name):
        if not columns:
            columns = _columns(place, row)
            continue
        values = {column: row[index].strip() for column, index in columns.items() if index < len(row)}
        recordings.setdefault(values.get("uri") or uri_of(name), []).append(_word(place, values))
    return [Transcript(group(words), uri) for uri, words in recordings.items()]


def _columns(place: Place, row: list[str]) -> dict[str, int]:
    given = {field.strip().lower(): index for index, field in enumerate(row)}
    columns = {column: given[known] for column, names in NAMES.items() for known in names[::-1] if known in given}
    if "word" not in columns:
        raise place.error("the header lacks the column 'word': it must have word, start and end")
    return columns


def _word(place: Place, values: dict[str, str]) -> Word:
    where = f"{place.name}:{place.line}: "
    start, end = ordered(*(time_of(values.get(key, "").replace(",", "."), where, key) for key in ("start", "end")))
    trust, score = share_of(values.get("confidence")), share_of(values.get("score"))
    return Word(values.get("word", ""), start, end, speaker_of(values.get("speaker")), trust, score)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
