"""Sentences, which mostly one person says: a vote of the words in each, so that a turn whose edge is a word off does
not tear one apart."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from diarist.core.types import Float64, Int64
from diarist.words.assign import LONGEST, NOBODY, Choice

PAUSE = 2.0  # seconds; who is silent so long has ended his sentence
MOST_WORDS = 60  # a longer stretch without a full stop is no sentence, and is left alone
SHORTEST = 0.05  # seconds that a word without length counts in the vote
ROUNDING = 1e-9  # by which a half may be more than a half
ENDS = frozenset(".?!…。？！．｡؟۔।॥։؛።")
"""What a sentence ends with, in the scripts that Whisper writes."""


def vote(
    texts: Sequence[str],
    starts: Float64,
    ends: Float64,
    owners: Int64,
    choice: Choice,
    max_change: float = math.inf,
) -> Choice:
    """Every word of a sentence to the speaker of more than half of its seconds; where nobody has so much, no change.

    Words of somebody else that last longer than `max_change` seconds without a break stay his: where full stops are
    missing, two people's sentences look like one.

    All arguments are of the same stretches: utterances, with the owner -1, each before its words, which have its index
    as their owner. The confidence becomes the mean over the sentence of the belief in the speaker who won. Then an
    utterance that has words is whose most of them are.
    """
    speakers, confidence = choice.speakers.copy(), choice.confidence.copy()
    words = np.flatnonzero(owners != NOBODY)
    starts, ends = np.clip(starts, -LONGEST, LONGEST), np.clip(ends, -LONGEST, LONGEST)
    weight = np.maximum(np.nan_to_num(np.abs(ends - starts)), SHORTEST)
    for sentence in sentences([texts[int(word)] for word in words], starts[words], ends[words]):
        part = words[sentence]
        winner = _majority(speakers[part], weight[part])
        pieces = np.split(part, np.flatnonzero(np.diff(speakers[part])) + 1)
        changed = [p for p in pieces if speakers[p[0]] != winner and weight[p].sum() <= max_change]
        if winner != NOBODY and changed:
            trust = np.sum(confidence[part] * weight[part] * (speakers[part] == winner)) / weight[part].sum()
            speakers[np.concatenate(changed)] = winner
            confidence[part[speakers[part] == winner]] = trust
    for part in np.split(words, np.flatnonzero(np.diff(owners[words])) + 1):
        winner = _majority(speakers[part], weight[part], least=0.0)
        if winner != NOBODY:
            his = part[speakers[part] == winner]
            speakers[owners[part[0]]], confidence[owners[part[0]]] = winner, confidence[his].mean()
    return replace(choice, speakers=speakers, confidence=confidence)


def _majority(speakers: Int64, weight: Float64, least: float = 0.5) -> int:
    """Who has the most, and more than `least` of all that somebody has; -1 where nobody does."""
    known = speakers != NOBODY
    if not known.any():
        return NOBODY
    share = np.bincount(speakers[known], weight[known]) / weight[known].sum()
    best = int(np.argmax(share))
    return best if share[best] > least + ROUNDING else NOBODY


def sentences(texts: Sequence[str], starts: Float64, ends: Float64) -> Iterator[slice]:
    """Stretches of words that end with a full stop, or with the last word before a pause of two seconds.

    Stretches that end with neither, or are longer than sixty words, are no sentences and are left out.
    """
    begin = 0
    for index, text in enumerate(texts):
        is_last = index + 1 == len(texts)
        pauses = not is_last and starts[index + 1] - ends[index] >= PAUSE
        if ends_sentence(text) or pauses:
            if index - begin < MOST_WORDS and ends_sentence(text):
                yield slice(begin, index + 1)
            begin = index + 1


def ends_sentence(text: str) -> bool:
    """Whether a word has a full stop, a question or an exclamation mark at its end, inside quotes and brackets or
    not."""
    while (text and unicodedata.category(text[-1]) in ("Pe", "Pf", "Pi")) or text.endswith(('"', "'")):
        text = text[:-1]
    return text[-1:] in ENDS and bool(text)
