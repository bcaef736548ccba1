"""WhisperX's transcripts, which are dictionaries: a speaker for each segment and each word.

    result = assign_word_speakers(diarization, result)

Dictionaries in, dictionaries out; what is given is not touched. `strict` gives what WhisperX gives, faults and all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diarist.core.types import Float64, Int64, Turn
from diarist.errors import UsageError
from diarist.words.assign import NOBODY, choose
from diarist.words.sentences import vote
from diarist.words.spans import Times, word_spans
from diarist.words.strict import RULES, whisperx_speakers
from diarist.words.turns import turns_of

CONFIDENCE = "speaker_confidence"
"""The key of our belief in a speaker; `score` is the aligner's in the word."""


def assign_word_speakers(
    diarize_df: Any,
    transcript_result: Mapping[str, Any],
    speaker_embeddings: Mapping[str, Any] | None = None,
    fill_nearest: bool = False,
    *,
    strict: bool | str = False,
    sentences: bool = False,
    max_change: float = math.inf,
    exclusive: bool | None = None,
) -> dict[str, Any]:
    """A copy of a transcript with `speaker` in each segment and word, and how sure that is in `speaker_confidence`.

    `diarize_df` is anything `diarist.words.turns.turns_of` reads: a pandas frame with `start, end, speaker`, a
    `Diarization`, pyannote's annotation, turns. A stretch in which nobody talks has no speaker, or with `fill_nearest`
    that of the nearest turn, measured from edge to edge. A word with one time only is that moment; one without times
    lies between its neighbours. `sentences` keeps sentences whole, but for pieces longer
    than `max_change` seconds (`diarist.words.sentences`). `exclusive` asks for at
    most one speaker at a time before all else; without it pyannote's own exclusive turns are taken where it has them.

    `strict=True` follows the rules of WhisperX 3.8 instead, `strict="3.7"` those of 3.7 and of the NeMo branch (see
    `diarist.words.strict`), and adds no confidence. Raises `UsageError` for a transcript that is none, turns without
    times, and where those rules would end in an exception.
    """
    if strict and (sentences or max_change != math.inf):
        raise UsageError("strict does as WhisperX does, which knows no sentences and no max_change: leave one out")
    if speaker_embeddings is not None and not isinstance(speaker_embeddings, Mapping):
        raise UsageError(f"speaker_embeddings has voices by speaker, and is no {type(speaker_embeddings).__name__}")
    result = _copied(transcript_result)
    turns = turns_of(diarize_df, exclusive=bool(exclusive) if strict else exclusive)
    if strict:
        return _strictly(result, turns, speaker_embeddings, fill_nearest, RULES[0] if strict is True else strict)
    if speaker_embeddings is not None:
        result["speaker_embeddings"] = dict(speaker_embeddings)
    items, spans, owners = _items(result)
    choice = choose(spans[:, 0], spans[:, 1], turns, nearest=math.inf if fill_nearest else -1.0)
    if sentences:
        texts = [str(item.get("word", item.get("text", ""))).strip() for item in items]
        choice = vote(texts, spans[:, 0], spans[:, 1], owners, choice, max_change)
    for index, item in enumerate(items):
        name = choice.name(index)
        item.pop("speaker", None)
        item.pop(CONFIDENCE, None)
        if name is not None:
            item["speaker"], item[CONFIDENCE] = name, round(float(choice.confidence[index]), 4)
    return result


def _items(result: dict[str, Any]) -> tuple[list[dict[str, Any]], Float64, Int64]:
    """Segments and words, each once, when they are, `(num_items, 2)`, and the place of a word's segment, else -1."""
    owners: list[int] = []
    items: list[dict[str, Any]] = []
    spans: list[tuple[float, float]] = []
    for segment in result["segments"]:
        words = segment.get("words") or []
        times = [times_of(word) for word in words]
        known = [time for pair in times for time in pair if time is not None]
        own = times_of(segment)
        if own == (None, None) and known:
            own = (min(known), max(known))
        owners += [NOBODY, *([len(items)] * len(words))]
        items += [segment, *words]
        spans += [*word_spans([own]), *word_spans(times, own)]
    seen = {id(item) for item in items}
    loose = [word for word in result.get("word_segments") or [] if id(word) not in seen]
    items += loose
    owners += [NOBODY] * len(loose)
    spans += word_spans([times_of(word) for word in loose])
    return items, np.array(spans, np.float64).reshape(-1, 2), np.array(owners, np.int64)


def _strictly(
    result: dict[str, Any], turns: list[Turn], embeddings: Mapping[str, Any] | None, fill_nearest: bool, rules: str
) -> dict[str, Any]:
    if rules not in RULES:
        raise UsageError(f"strict={rules!r}: the rules of WhisperX known here are {', '.join(RULES)}")
    if rules == "3.8" and not (turns and result["segments"]):
        return result
    items: list[dict[str, Any]] = []
    spans: list[tuple[float, float]] = []
    for segment in result["segments"]:
        words = [word for word in segment.get("words") or [] if "start" in word]
        items += [segment, *words]
        if rules == "3.8":
            spans.append(_numbers(segment, segment.get("start", 0.0), segment.get("end", 0.0)))
            spans += [_numbers(word, word["start"], word.get("end", word["start"])) for word in words]
        else:
            spans += [_numbers(item, item.get("start"), item.get("end")) for item in (segment, *words)]
    times = np.array(spans, np.float64).reshape(-1, 2)
    names = whisperx_speakers(times[:, 0], times[:, 1], turns, fill_nearest=fill_nearest, rules=rules)
    for item, name in zip(items, names, strict=True):
        if name is not None:
            item["speaker"] = name
    if embeddings is not None:
        result["speaker_embeddings"] = dict(embeddings)
    return result


def _numbers(item: Mapping[str, Any], start: Any, end: Any) -> tuple[float, float]:
    try:
        if all(isinstance(time, (int, float, np.number)) for time in (start, end)):
            return float(start), float(end)
    except OverflowError:
        pass
    text = str(item.get("word", item.get("text", "")))[:40]
    raise UsageError(
        f"{text!r} goes from {start!s:.20} to {end!s:.20}: WhisperX's rules need numbers; leave out strict"
    )


def times_of(item: Mapping[str, Any]) -> Times:
    """`start` and `end` of a segment or word; None where they are missing, or no number."""
    start, end = (_time(item.get(key)) for key in ("start", "end"))
    return start, end


def _time(value: Any) -> float | None:
    try:
        time = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(time) else time


def _copied(transcript: Any) -> dict[str, Any]:
    """A transcript that can be written to, with its segments a list of dictionaries."""
    if not isinstance(transcript, Mapping):
        raise UsageError(f"a transcript is a dictionary with 'segments', not {type(transcript).__name__}")
    result: dict[str, Any] = _copy(transcript if isinstance(transcript, dict) else dict(transcript), {})
    result["segments"] = result.get("segments") or []
    for what, items in _lists(result):
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UsageError(f"a transcript's '{what}' must be a list of dictionaries")
    return result


def _lists(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "segments", result["segments"]
    for segment in result["segments"]:
        yield "words", segment.get("words") or []
    yield "word_segments", result.get("word_segments") or []


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    """Dictionaries and lists anew; what stood in two places (WhisperX's `word_segments` are the words) still does."""
    if not isinstance(value, (dict, list)):
        return value
    if id(value) not in copies:
        new: Any = {} if isinstance(value, dict) else []
        copies[id(value)] = new  # at once: it may hold itself
        if isinstance(value, dict):
            new.update((key, _copy(item, copies)) for key, item in value.items())
        else:
            new.extend(_copy(item, copies) for item in value)
    return copies[id(value)]
