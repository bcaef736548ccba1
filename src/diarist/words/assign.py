"""Whose is a stretch of time: the speaker who talks most in it or, where nobody does, the one who talks nearest to it.

Nearest by edge: the silence between a word and a turn counts, not where the turn has its middle. Times are whole
microseconds, so that ties are ties; a tie goes to the speaker whose turn begins first.

A word that one speaker covers has that turn's confidence. Silence inside the word and other voices in it take their
share away; a word that nobody covers has `AT_THE_EDGE` of a turn that it touches, and half of it with each second from
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarist.core.types import Float64, Int64, Turn

PER_SECOND = 1_000_000  # ticks of the clock on which times are compared
LONGEST = 4e9  # seconds, seconds since 1970 among them; times further out are brought in, so that sums stay exact
MOST_PAIRS = 1_000_000  # of spans and turns in memory at once
AT_THE_EDGE = 0.7  # confidence in the nearest turn where it touches (measured: benchmarks/words_rules.py)
NOBODY = -1
FAR = np.iinfo(np.int64).max  # ticks to a turn that is not there


@dataclass(frozen=True)
class Choice:
    """For each span the index of its speaker in `labels`, `(num_spans,)`, -1 for nobody, and the confidence in it."""

    labels: tuple[str, ...]
    speakers: Int64
    confidence: Float64

    def name(self, index: int) -> str | None:
        """Whose the span is."""
        speaker = int(self.speakers[index])
        return None if speaker == NOBODY else self.labels[speaker]


def choose(starts: ArrayLike, ends: ArrayLike, turns: Sequence[Turn], nearest: float = math.inf) -> Choice:
    """The speaker of each span `[start, end]`, in seconds, `(num_spans,)` each; a span may have no length.

    Seconds of speech are added up over the turns of a speaker; the most wins. A span in which nobody talks goes to the
    nearest turn that is at most `nearest` seconds away. One without length belongs to a turn that it lies in, edges
    included. A span given backwards is turned round; one with NaN is nobody's.
    """
    first, last = np.asarray(starts, np.float64), np.asarray(ends, np.float64)
    known = ~(np.isnan(first) | np.isnan(last))
    spans = _Spans(_ticks(np.minimum(first, last)[known]), _ticks(np.maximum(first, last)[known]))
    ordered = sorted((t for t in turns if not (math.isnan(t.start) or math.isnan(t.end))), key=lambda t: t.start)
    labels = tuple(dict.fromkeys(turn.speaker for turn in ordered))
    speakers, confidence = np.full(len(first), NOBODY, np.int64), np.zeros(len(first))
    if ordered and len(spans.starts):
        speakers[known], confidence[known] = _Index(ordered, labels).choose(spans, nearest)
    return Choice(labels, speakers, confidence)


@dataclass(frozen=True)
class _Spans:
    starts: Int64
    ends: Int64

    def take(self, index: NDArray[np.intp] | slice) -> _Spans:
        return _Spans(self.starts[index], self.ends[index])


class _Index:
    """Turns in order of start, ready to be asked."""

    def __init__(self, turns: Sequence[Turn], labels: Sequence[str]) -> None:
        numbers = {label: number for number, label in enumerate(labels)}
        self.num_speakers = len(labels)
        self.speakers = np.array([numbers[turn.speaker] for turn in turns], np.int64)
        self.confidence = np.array([turn.confidence for turn in turns], np.float64)
        self.starts = _ticks(np.array([turn.start for turn in turns]))
        self.ends = np.maximum(self.starts, _ticks(np.array([turn.end for turn in turns])))
        self.ended = np.sort(self.ends)
        # the turn that reaches furthest among all up to each one; among equals the first
        reach = np.maximum.accumulate(self.ends)
        is_new = np.r_[True, self.ends[1:] > reach[:-1]]
        self.furthest = np.maximum.accumulate(np.where(is_new, np.arange(len(turns)), 0))

    def choose(self, spans: _Spans, nearest: float) -> tuple[Int64, Float64]:
        speakers, confidence = self._most(spans)
        alone = np.flatnonzero(speakers == NOBODY)
        if len(alone):
            lonely = spans.take(alone)
            turn, gap = self._nearest(lonely)
            reached = gap <= nearest * PER_SECOND
            inside = (gap == 0) & (lonely.starts == lonely.ends)
            reached |= inside
            num_there = np.searchsorted(self.starts, lonely.ends, "right") - np.searchsorted(self.ended, lonely.starts)
            closeness = np.where(inside, 1 / np.maximum(num_there, 1), AT_THE_EDGE * 2.0 ** (-gap / PER_SECOND))
            speakers[alone[reached]] = self.speakers[turn[reached]]
            confidence[alone[reached]] = (self.confidence[turn] * closeness)[reached]
        return speakers, np.clip(confidence, 0.0, 1.0)

    def _most(self, spans: _Spans) -> tuple[Int64, Float64]:
        """Who talks most in each span, -1 where nobody talks."""
        winner, confidence = np.full(len(spans.starts), NOBODY, np.int64), np.zeros(len(spans.starts))
        for block in self._blocks(spans):
            part = spans.take(block)
            span, turn = self._pairs(part)
            both = np.minimum(part.ends[span], self.ends[turn]) - np.maximum(part.starts[span], self.starts[turn])
            span, turn, both = span[both > 0], turn[both > 0], both[both > 0]
            # pairs come by span, then by start of the turn: the first of a group is its earliest turn
            who = span * self.num_speakers + self.speakers[turn]
            group, first, of = np.unique(who, return_index=True, return_inverse=True)
            seconds, trust = np.bincount(of, both), np.bincount(of, both * self.confidence[turn])
            order = np.lexsort((first, -seconds, group // self.num_speakers))
            spans_there, best = np.unique(group[order] // self.num_speakers, return_index=True)
            best = order[best]
            winner[block][spans_there] = group[best] % self.num_speakers
            said = np.bincount(span, both, minlength=len(part.starts))[spans_there]
            length = (part.ends - part.starts)[spans_there]
            confidence[block][spans_there] = trust[best] / np.maximum(said, length)
        return winner, confidence

    def _blocks(self, spans: _Spans) -> Iterator[slice]:
        """Stretches of spans that meet so many turns as fit into memory."""
        meetings = np.searchsorted(self.starts, spans.ends) - np.searchsorted(self.ended, spans.starts, "right")
        total = np.cumsum(np.maximum(meetings, 0))
        start = 0
        while start < len(total):
            before = total[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(total, before + MOST_PAIRS, "right")))
            yield slice(start, stop)
            start = stop

    def _pairs(self, spans: _Spans) -> tuple[Int64, Int64]:
        """Every span with every turn that it may meet, by span, then by start of the turn.

        Two stretches meet where one begins inside the other: turns that begin in a span stand side by side among the
        turns, spans that begin in a turn side by side among the spans.
        """
        low, high = np.searchsorted(self.starts, spans.starts, "right"), np.searchsorted(self.starts, spans.ends)
        span_a, turn_a = _ranges(low, high)
        order = np.argsort(spans.starts, kind="stable")
        sorted_starts = spans.starts[order]
        low, high = np.searchsorted(sorted_starts, self.starts), np.searchsorted(sorted_starts, self.ends)
        turn_b, place = _ranges(low, high)
        span, turn = np.r_[span_a, order[place]], np.r_[turn_a, turn_b]
        sequence = np.lexsort((turn, span))
        return span[sequence], turn[sequence]

    def _nearest(self, spans: _Spans) -> tuple[Int64, Int64]:
        """For spans that no turn overlaps: the turn at the smallest distance, and that distance in ticks.

        It is the one that ends last of those that begin before the span does, or the next one to begin.
        """
        after = np.searchsorted(self.starts, spans.starts, "right")
        before = self.furthest[np.maximum(after - 1, 0)]
        gap_before = np.where(after > 0, np.maximum(spans.starts - self.ends[before], 0), FAR)
        inside = (after > 0) & (gap_before == 0)
        before = np.where(inside, self._first_reaching(spans.starts, after), before)
        follows = np.minimum(after, len(self.starts) - 1)
        gap_after = np.where(after < len(self.starts), np.maximum(self.starts[follows] - spans.ends, 0), FAR)
        is_before = gap_before <= gap_after
        return np.where(is_before, before, follows), np.where(is_before, gap_before, gap_after)

    def _first_reaching(self, times: Int64, after: Int64) -> Int64:
        """The earliest turn that begins at or before each time and does not end before it."""
        reach = np.maximum.accumulate(self.ends)
        return np.minimum(np.searchsorted(reach, times), np.maximum(after - 1, 0))


def _ranges(low: Int64, high: Int64) -> tuple[Int64, Int64]:
    """`(index, value)` for every value in `[low[index], high[index])`."""
    count = np.maximum(high - low, 0)
    index = np.repeat(np.arange(len(low)), count)
    return index, np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)


def _ticks(seconds: Float64) -> Int64:
    return np.rint(np.clip(seconds, -LONGEST, LONGEST) * PER_SECOND).astype(np.int64)
