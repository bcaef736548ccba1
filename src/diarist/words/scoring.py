"""How right are the words and whose they are: WDER, cpWER and tcpWER of a transcript against a reference.

WDER, the word diarization error rate (Shafey, Soltau, Shafran: Joint Speech Recognition and Speaker Diarization via
Sequence Transduction, Interspeech 2019, eq. 2), is the share of wrong speakers among the words that were recognised,
rightly or as another word: `(S_IS + C_IS) / (S + C)`. Insertions and deletions do not count: they have no speaker to
compare. The paper aligns the words by Levenshtein's distance and its speakers are roles; here the alignment may match
words at most `collar` seconds apart, where both sides have times, and speakers are matched one to one so that most
words agree. A word without a speaker is wrong.

cpWER (Watanabe et al., CHiME-6, 2020) is the word error rate of each speaker's words strung together, speakers matched
one to one so that it is lowest; tcpWER (von Neumann et al., MeetEval, 2023) lets words match only within `collar`
seconds. Both are computed by MeetEval, as is the alignment.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Transcript
from diarist.errors import ExtraError, InputError
from diarist.words.utterances import in_order, timed_words

MOST_SPEAKERS = 20  # of one side, which is as far as MeetEval goes
COLLAR = 5.0  # seconds, MeetEval's and CHiME-8's
NOBODY = "(nobody)"
MOST_UNTIMED = 20_000  # words; aligning n words without times takes memory for n * n


@dataclass(frozen=True)
class Errors:
    """Errors of words among `length` words of the reference."""

    length: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors by words of the reference; NaN where it has none."""
        return self.errors / self.length if self.length else float("nan")

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.length + other.length,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True)
class WordScore:
    """One recording, or several added up: `aligned` words have a counterpart (right or another word), `misattributed`
    of them have the wrong speaker; `tcp` is None where times are missing."""

    aligned: int = 0
    misattributed: int = 0
    cp: Errors = field(default_factory=Errors)
    tcp: Errors | None = field(default_factory=Errors)

    @property
    def wder(self) -> float:
        """The word diarization error rate; NaN where no word was recognised."""
        return self.misattributed / self.aligned if self.aligned else float("nan")

    def __add__(self, other: WordScore) -> WordScore:
        tcp = None if self.tcp is None or other.tcp is None else self.tcp + other.tcp
        return WordScore(
            self.aligned + other.aligned, self.misattributed + other.misattributed, self.cp + other.cp, tcp
        )


def score_words(
    reference: Transcript, hypothesis: Transcript, *, collar: float = COLLAR, exact: bool = False
) -> WordScore:
    """Compare one recording's transcripts; `exact` compares words as written, else without case and punctuation.

    Raises `ExtraError` without MeetEval, and `InputError` for more than 20 speakers, or too many words without times.
    """
    try:
        from meeteval.io import SegLST
        from meeteval.wer import cpwer, tcpwer
    except ImportError as error:
        raise ExtraError("meeteval", "words", "scoring words") from error
    spoken, heard = _entries(reference, exact), _entries(hypothesis, exact)
    for side in (spoken, heard):
        if len({entry["speaker"] for entry in side}) > MOST_SPEAKERS:
            raise InputError(f"more than {MOST_SPEAKERS} speakers in '{reference.uri}' are more than MeetEval scores")
    timed = all(entry["start_time"] is not None for entry in (*spoken, *heard))
    pairs = _aligned(spoken, heard, collar if timed else None)
    segments = [SegLST(_for_meeteval(side, timed)) for side in (spoken, heard)]
    with _quiet():
        cp = _errors(cpwer(*segments))
        tcp = _errors(tcpwer(*segments, collar=collar)) if timed else None
    return WordScore(len(pairs), _misattributed(pairs), cp, tcp)


def plain(text: str) -> str:
    """A word without case, punctuation and symbols; an apostrophe or a hyphen inside it stays."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(sign for sign in text if sign in "'-" or unicodedata.category(sign)[0] not in "PS")
    return kept.strip("'-")


def _entries(transcript: Transcript, exact: bool) -> list[dict[str, Any]]:
    """Words as MeetEval's segments of one word each, in order of start."""
    entries: list[dict[str, Any]] = []
    for utterance in in_order(transcript.utterances):
        for word in timed_words(utterance):
            for text in (word.text if exact else plain(word.text)).split():
                entries.append(_entry(text, word.speaker or NOBODY, word.start, word.end))
    if all(entry["start_time"] is not None for entry in entries):
        entries.sort(key=lambda entry: float(entry["start_time"]))
    return entries


def _entry(words: str, speaker: str, start: float | None, end: float | None) -> dict[str, Any]:
    end = start if end is None or start is None else max(start, end)
    return {"session_id": "-", "speaker": speaker, "words": words, "start_time": start, "end_time": end}


def _for_meeteval(entries: list[dict[str, Any]], timed: bool) -> list[dict[str, Any]]:
    """MeetEval takes no side without segments, for which one without words stands, and no times that are unknown."""
    entries = entries or [_entry("", NOBODY, 0.0, 0.0)]
    return entries if timed else [{key: e[key] for key in ("session_id", "speaker", "words")} for e in entries]


def _aligned(
    reference: Sequence[dict[str, Any]], hypothesis: Sequence[dict[str, Any]], collar: float | None
) -> list[tuple[str, str]]:
    """The speakers of each pair of words that Levenshtein's alignment puts together."""
    if not reference or not hypothesis:
        return []
    if collar is not None:
        from meeteval.io import SegLST
        from meeteval.wer.wer.time_constrained import align

        sides = SegLST(list(reference)), SegLST(list(hypothesis))
        with _quiet():
            found = align(*sides, collar=collar, style="index", reference_sort=False, hypothesis_sort=False)
    else:
        found = _untimed([entry["words"] for entry in reference], [entry["words"] for entry in hypothesis])
    return [(reference[a]["speaker"], hypothesis[b]["speaker"]) for a, b in found if a is not None and b is not None]


def _untimed(reference: list[str], hypothesis: list[str]) -> Iterator[tuple[int | None, int | None]]:
    """Levenshtein's alignment as pairs of places, None for an insertion or a deletion."""
    from kaldialign import align

    if max(len(reference), len(hypothesis)) > MOST_UNTIMED:
        raise InputError(f"more than {MOST_UNTIMED} words cannot be aligned without times: give transcripts with times")
    nothing = "\0"  # which no word is
    places = [0, 0]
    for pair in align(reference, hypothesis, nothing):
        spoken, heard = (word != nothing for word in pair)
        yield places[0] if spoken else None, places[1] if heard else None
        places = [places[0] + spoken, places[1] + heard]


def _misattributed(pairs: Sequence[tuple[str, str]]) -> int:
    """Pairs whose speakers are not matched, in the best matching of speakers one to one."""
    named = [pair for pair in pairs if NOBODY not in pair]
    rows, columns = (list(dict.fromkeys(pair[side] for pair in named)) for side in (0, 1))
    together = np.zeros((len(rows), len(columns)), np.int64)
    for one, other in named:
        together[rows.index(one), columns.index(other)] += 1
    best = linear_sum_assignment(together, maximize=True)
    return len(pairs) - int(together[best].sum())


def _errors(scores: dict[str, Any]) -> Errors:
    (rate,) = scores.values()
    return Errors(rate.length, rate.substitutions, rate.deletions, rate.insertions)


@contextmanager
def _quiet() -> Iterator[None]:
    """MeetEval logs that speakers overlap themselves, which words of an aligner do by milliseconds."""
    loggers = [logging.getLogger(name) for name in ("error_rate", "time_constrained", "preprocess")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
