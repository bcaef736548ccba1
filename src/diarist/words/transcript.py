"""A transcript and turns: who said which word.

named = assign(transcript, diarization, sentences=True)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diarist.core.types import Float64, Int64, Transcript, Utterance, Word
from diarist.words.assign import NOBODY, choose
from diarist.words.sentences import vote
from diarist.words.spans import word_spans
from diarist.words.turns import turns_of
from diarist.words.whisperx_dicts import assign_word_speakers


def assign(
    transcript: Transcript,
    turns: Any,
    *,
    nearest: float = math.inf,
    sentences: bool = False,
    max_change: float = math.inf,
    exclusive: bool | None = None,
) -> Transcript:
    """The same transcript with a speaker, and how sure that is, for each word and each utterance.

    `turns` is anything `diarist.words.turns.turns_of` reads. A word in which nobody talks goes to the nearest turn that
    is at most `nearest` seconds away. `sentences` keeps sentences whole, but for pieces longer
    than `max_change` seconds (`diarist.words.sentences`), `exclusive` has at most one speaker at a time before all
    else. Speakers that the transcript had before are forgotten.

    Raises `UsageError` for turns that are none.
    """
    texts = [text for u in transcript.utterances for text in (u.text, *(word.text for word in u.words))]
    starts, ends, owners = _laid_out(transcript)
    choice = choose(starts, ends, turns_of(turns, exclusive=exclusive), nearest)
    if sentences:
        choice = vote(texts, starts, ends, owners, choice, max_change)
    trust = [float(value) for value in np.round(choice.confidence, 4)]
    chosen = [choice.name(index) for index in range(len(texts))]
    return _named(transcript, [(name, trust[i] if name is not None else None) for i, name in enumerate(chosen)])


def assign_strictly(
    transcript: Transcript, turns: Any, rules: str, *, fill_nearest: bool = False, exclusive: bool = False
) -> Transcript:
    """As WhisperX would: by the `rules` of one of its versions (`diarist.words.strict`), without a confidence.

    Raises `UsageError` where those rules would end in an exception, and for turns that are none.
    """
    segments = [{**_plain(u), "words": [_plain(word) for word in u.words]} for u in transcript.utterances]
    document = {"segments": segments}
    result = assign_word_speakers(turns, document, fill_nearest=fill_nearest, strict=rules, exclusive=exclusive)
    items = (item for segment in result["segments"] for item in (segment, *segment["words"]))
    return _named(transcript, [(item.get("speaker"), None) for item in items])


def _plain(item: Utterance | Word) -> dict[str, Any]:
    """What WhisperX reads of a segment or word; what is unknown is not there."""
    known = {"start": item.start, "end": item.end, "text": item.text}
    return {key: value for key, value in known.items() if value is not None}


def _laid_out(transcript: Transcript) -> tuple[Float64, Float64, Int64]:
    """Starts and ends of all utterances, each followed by its words, and the place of a word's utterance, else -1."""
    spans: list[tuple[float, float]] = []
    owners: list[int] = []
    for utterance in transcript.utterances:
        times = [(word.start, word.end) for word in utterance.words]
        own = (utterance.start, utterance.end)
        known = [time for pair in times for time in pair if time is not None]
        if own == (None, None) and known:
            own = (min(known), max(known))
        owners += [NOBODY, *([len(owners)] * len(times))]
        spans += [*word_spans([own]), *word_spans(times, own)]
    starts, ends = np.array(spans, np.float64).reshape(-1, 2).T
    return starts, ends, np.array(owners, np.int64)


def _named(transcript: Transcript, names: Sequence[tuple[str | None, float | None]]) -> Transcript:
    """The transcript with a speaker and a confidence for each utterance and, after it, each of its words."""
    coming = iter(names)
    utterances: list[Utterance] = []
    for utterance in transcript.utterances:
        speaker, confidence = next(coming)
        words: list[Word] = []
        for word in utterance.words:
            whose, trust = next(coming)
            words.append(Word(word.text, word.start, word.end, whose, trust, word.score))
        utterances.append(replace(utterance, speaker=speaker, confidence=confidence, words=tuple(words)))
    return replace(transcript, utterances=tuple(utterances))
