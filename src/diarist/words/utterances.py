"""Words to utterances and back: grouped by pause, cut where the speaker changes, short enough to read on a screen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from diarist.core.types import Transcript, Utterance, Word
from diarist.words.spans import word_spans

PAUSE = 1.0  # seconds of silence that end an utterance
UNSPACED = frozenset("zh ja th lo my km yue chinese japanese thai lao myanmar burmese khmer cantonese".split())
"""Languages written without blanks between words, by code and by Whisper's names."""


def group(words: Iterable[Word], language: str | None = None) -> tuple[Utterance, ...]:
    """Words in order as utterances, which end at a pause and where the speaker changes."""
    groups: list[list[Word]] = []
    heard = -math.inf
    for word in words:
        paused = word.start is not None and word.start - heard >= PAUSE
        if not groups or paused or word.speaker != groups[-1][-1].speaker:
            groups.append([])
        groups[-1].append(word)
        heard = max((time for time in (word.start, word.end, heard) if time is not None), default=heard)
    return tuple(utterance_of(words, language) for words in groups)


def utterance_of(words: Sequence[Word], language: str | None = None, text: str | None = None) -> Utterance:
    """An utterance out of words of one speaker; its text is theirs unless given."""
    starts = [word.start for word in words if word.start is not None]
    ends = [time for word in words for time in (word.end, word.start) if time is not None]
    trust = [word.confidence for word in words if word.confidence is not None]
    return Utterance(
        text=joined(words, language) if text is None else text,
        start=min(starts, default=None),
        end=max(ends, default=None),
        speaker=next((word.speaker for word in words if word.speaker is not None), None),
        confidence=sum(trust) / len(trust) if trust else None,
        words=tuple(words),
    )


def joined(words: Iterable[Word], language: str | None = None) -> str:
    """Words as a text, with blanks between them where the language has them."""
    return ("" if (language or "").lower() in UNSPACED else " ").join(word.text for word in words)


def by_speaker(transcript: Transcript) -> Transcript:
    """Utterances of one speaker each: cut where the speaker of the words changes. A word without speaker stays with the
    words before it. Utterances come in order of start; one that is not cut keeps its text and times."""

    def breaks(words: Sequence[Word]) -> Iterator[int]:
        speaker: str | None = None
        for index, word in enumerate(words):
            if word.speaker is not None and speaker is not None and word.speaker != speaker:
                yield index
            speaker = speaker if word.speaker is None else word.speaker

    pieces = (piece for utterance in transcript.utterances for piece in _cut(utterance, breaks, transcript.language))
    return replace(transcript, utterances=tuple(in_order(pieces)))


def shortened(transcript: Transcript, most: int) -> Transcript:
    """Utterances of at most `most` characters where their words have times, to be shown one after the other."""

    def breaks(words: Sequence[Word]) -> Iterator[int]:
        length = 0
        for index, word in enumerate(words):
            if length and length + 1 + len(word.text) > most and word.start is not None:
                yield index
                length = 0
            length += len(word.text) + bool(length)

    pieces = (
        piece
        for utterance in transcript.utterances
        for piece in (_cut(utterance, breaks, transcript.language) if len(utterance.text) > most else (utterance,))
    )
    return replace(transcript, utterances=tuple(pieces))


def paragraphs(transcript: Transcript) -> Transcript:
    """What each speaker says until somebody else does, as one utterance."""
    merged: list[Utterance] = []
    for piece in by_speaker(transcript).utterances:
        if merged and merged[-1].speaker == piece.speaker:
            merged[-1] = _merged(merged[-1], piece, transcript.language)
        else:
            merged.append(piece)
    return replace(transcript, utterances=tuple(merged))


def in_order(utterances: Iterable[Utterance]) -> list[Utterance]:
    """By start; one whose start is unknown stays behind the one before it."""
    started: list[tuple[float, Utterance]] = []
    since = -math.inf
    for utterance in utterances:
        since = since if utterance.start is None else utterance.start
        started.append((since, utterance))
    return [utterance for _, utterance in sorted(started, key=lambda pair: pair[0])]


def spoken_words(utterance: Utterance) -> tuple[Word, ...]:
    """Words with their speakers: where none of them has one, the utterance's; without words, those of its text, with
    times as in `timed_words`."""
    if not utterance.words:
        return timed_words(utterance)
    if utterance.speaker is None or any(word.speaker is not None for word in utterance.words):
        return utterance.words
    return tuple(replace(word, speaker=utterance.speaker, confidence=utterance.confidence) for word in utterance.words)


def timed_words(utterance: Utterance) -> tuple[Word, ...]:
    """Words that have times, as far as anything is known: a word without lies between its neighbours; an utterance
    without words is spread over its length by the number of letters."""
    within = (utterance.start, utterance.end)
    if utterance.words:
        spans = word_spans([(word.start, word.end) for word in utterance.words], within)
        return tuple(
            replace(word, start=_known(start), end=_known(end))
            for word, (start, end) in zip(spoken_words(utterance), spans, strict=True)
        )
    texts = utterance.text.split()
    start, end = word_spans([within])[0]
    letters = [0]
    for text in texts:
        letters.append(letters[-1] + len(text))
    edges = [start + (end - start) * count / max(1, letters[-1]) for count in letters]
    return tuple(
        Word(text, _known(since), _known(until), utterance.speaker, utterance.confidence)
        for text, since, until in zip(texts, edges, edges[1:], strict=False)
    )


def _cut(
    utterance: Utterance, breaks: Callable[[Sequence[Word]], Iterator[int]], language: str | None
) -> Iterator[Utterance]:
    words = utterance.words
    if not words:
        yield utterance
        return
    edges = [0, *breaks(words), len(words)]
    if len(edges) == 2:
        whole = utterance_of(words, language)
        named = whole.speaker is not None
        yield replace(
            utterance,
            start=whole.start if utterance.start is None else utterance.start,
            end=whole.end if utterance.end is None else utterance.end,
            speaker=whole.speaker if named else utterance.speaker,
            confidence=whole.confidence if named else utterance.confidence,
        )
        return
    texts = _texts(utterance, edges)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        piece = utterance_of(words[start:end], language, texts[number] if texts else None)
        if not start and words[0].start is None and utterance.start is not None:
            piece = replace(piece, start=utterance.start)
        if end == len(words) and words[-1].end is None and utterance.end is not None:
            piece = replace(piece, end=utterance.end)
        yield piece if piece.speaker is not None else replace(piece, speaker=utterance.speaker)


def _texts(utterance: Utterance, edges: Sequence[int]) -> list[str] | None:
    """The text of an utterance in pieces, as it is written; None where its words do not stand in it."""
    places: list[int] = []
    at = 0
    for word in utterance.words:
        at = utterance.text.find(word.text, at)
        if at < 0:
            return None
        places.append(at)
        at += len(word.text)
    cuts = [0, *(places[edge] for edge in edges[1:-1]), len(utterance.text)]
    return [utterance.text[start:end].strip() for start, end in itertools.pairwise(cuts)]


def _merged(one: Utterance, other: Utterance, language: str | None) -> Utterance:
    blank = "" if (language or "").lower() in UNSPACED else " "
    ends = [time for time in (one.end, other.end) if time is not None]
    return replace(
        one,
        text=f"{one.text}{blank}{other.text}".strip(),
        start=other.start if one.start is None else one.start,
        end=max(ends, default=None),
        confidence=_lower(one.confidence, other.confidence),
        words=one.words + other.words if one.words and other.words else (),
    )


def _lower(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _known(time: float) -> float | None:
    return None if math.isnan(time) else time
