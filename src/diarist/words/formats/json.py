"""Transcripts in JSON: WhisperX's, Whisper's and OpenAI's (`json`, `verbose_json`, `diarized_json`); WhisperX's is
written.

    {"segments": [{"start": 0.1, "end": 1.2, "text": "Hello.", "speaker": "SPEAKER_00",
                   "words": [{"word": "Hello.", "start": 0.1, "end": 0.6, "score": 0.98, "speaker": "SPEAKER_00"}]}],
     "word_segments": [...], "language": "en"}
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from diarist.core.types import Transcript, Utterance, Word
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, uri_of
from diarist.words.formats.fields import ordered, share_of, speaker_of, time_of
from diarist.words.utterances import group, utterance_of

CONFIDENCE = "speaker_confidence"


def dumps(transcript: Transcript) -> str:
    """One document in WhisperX's form, a segment a line; what is unknown is left out."""
    segments = ",\n".join(f"    {_compact(_segment(utterance))}" for utterance in transcript.utterances)
    words = ",\n".join(f"    {_compact(_word(word))}" for word in transcript.words)
    language = "" if transcript.language is None else f',\n  "language": {_compact(transcript.language)}'
    return f'{{\n  "segments": [{_block(segments)}],\n  "word_segments": [{_block(words)}]{language}\n}}\n'


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file. Words that stand beside the segments, as OpenAI has them, are put into the
    segment that they lie in, with its punctuation.

    Raises `FormatError` with `name:line` where it is no JSON, else with the place of the value that is wrong.
    """
    return [from_document(parsed(text, name), name)]


def from_document(document: Any, name: str = NO_NAME) -> Transcript:
    """As `loads`, of a document that is parsed already. Raises `FormatError`."""
    if isinstance(document, list):
        document = {"segments": document}
    if not isinstance(document, dict) or not {"segments", "words", "word_segments", "text"} & set(document):
        raise FormatError(f"{name}: no transcript: it has neither 'segments' nor 'words'{_perhaps(document)}")
    language = document.get("language")
    language = language if isinstance(language, str) and language else None
    segments = [_utterance(item, where, language) for item, where in _objects(document, "segments", f"{name}: ")]
    if not any(segment.words for segment in segments):
        kind = "words" if "words" in document else "word_segments"
        words = [_read_word(item, where) for item, where in _objects(document, kind, f"{name}: ")]
        segments = _housed(segments, words) if segments else list(group(words, language))
    if not segments and isinstance(document.get("text"), str) and document["text"].strip():
        end = time_of(document.get("duration"), f"{name}: ", "duration")
        segments = [Utterance(document["text"].strip(), None if end is None else 0.0, end)]
    return Transcript(tuple(segments), uri_of(name), language)


def parsed(text: str, name: str) -> Any:
    """The document; of JSON lines the list of them. Raises `FormatError` with `name:line`."""
    text = text.removeprefix("\ufeff")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        rows = _rows(text)
        if rows:
            return rows
        raise FormatError(f"{name}:{error.lineno}: not valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: not valid JSON: {error}") from error


def _rows(text: str) -> list[Any]:
    """What JSON lines hold, one value a line; nothing where they are none."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return []


def _segment(utterance: Utterance) -> dict[str, Any]:
    said = {
        "start": utterance.start,
        "end": utterance.end,
        "text": utterance.text,
        "speaker": utterance.speaker,
        CONFIDENCE: utterance.confidence,
        "words": [_word(word) for word in utterance.words] or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _word(word: Word) -> dict[str, Any]:
    said = {
        "word": word.text,
        "start": word.start,
        "end": word.end,
        "score": word.score,
        "speaker": word.speaker,
        CONFIDENCE: word.confidence,
    }
    return {key: value for key, value in said.items() if value is not None}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _block(lines: str) -> str:
    return f"\n{lines}\n  " if lines else ""


def _objects(document: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a list, each with its place."""
    items = document.get(key) or []
    if not isinstance(items, list):
        raise FormatError(f"{where}'{key}' must be a list, not {type(items).__name__}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise FormatError(f"{where}{key}[{index}] must be an object, not {type(item).__name__}")
        yield item, f"{where}{key}[{index}] "


def _utterance(item: dict[str, Any], where: str, language: str | None) -> Utterance:
    words = [_read_word(word, place) for word, place in _objects(item, "words", where)]
    start, end = ordered(*(time_of(item.get(key), where, key) for key in ("start", "end")))
    text = item.get("text")
    if text is not None and not isinstance(text, str):
        raise FormatError(f"{where}'text' must be a text, not {type(text).__name__}")
    whole = utterance_of(words, language)
    return replace(
        whole,
        text=whole.text if text is None else text.strip(),
        start=start,
        end=end,
        speaker=speaker_of(item.get("speaker")),
        confidence=share_of(item.get(CONFIDENCE)),
    )


def _read_word(item: dict[str, Any], where: str) -> Word:
    text = next((item[key] for key in ("word", "text") if isinstance(item.get(key), str)), None)
    if text is None:
        raise FormatError(f"{where}lacks 'word'")
    start, end = ordered(*(time_of(item.get(key), where, key) for key in ("start", "end")))
    score = next((item[key] for key in ("score", "probability", "confidence") if key in item), None)
    speaker, trust = speaker_of(item.get("speaker")), share_of(item.get(CONFIDENCE))
    return Word(text.strip(), start, end, speaker, trust, share_of(score))


def _housed(segments: list[Utterance], words: list[Word]) -> list[Utterance]:
    """Words in the segment in which their middle lies, else in the last one that begins before it."""
    order = sorted((s for s in segments if s.start is not None), key=lambda s: s.start or 0.0)
    starts = [segment.start or 0.0 for segment in order]
    homes: dict[int, list[Word]] = {}
    for word in words:
        times = [time for time in (word.start, word.end) if time is not None]
        if times and order:
            home = order[max(0, bisect_right(starts, sum(times) / len(times)) - 1)]
            homes.setdefault(id(home), []).append(word)
    return [replace(s, words=_punctuated(homes.get(id(s), []), s.text)) for s in segments]


def _punctuated(words: list[Word], text: str) -> tuple[Word, ...]:
    """Words as the text has them, where it has as many: OpenAI's words come without punctuation."""
    written = text.split()
    if len(written) != len(words) or any(w.text.lower() not in t.lower() for w, t in zip(words, written, strict=True)):
        return tuple(words)
    return tuple(replace(word, text=as_written) for word, as_written in zip(words, written, strict=True))


def _perhaps(document: Any) -> str:
    is_turns = isinstance(document, dict) and "turns" in document
    return "; it is a diarization: give it as --turns" if is_turns else ""
