"""WhisperX's own rules for whose a word is, with their faults, for those who need the same answer.

Two are published (BSD-2, m-bain/whisperX, `diarize.py`; read, not copied):

`3.8` (3.8.0 and later; 3.8.6 was compared): seconds of overlap are added up by speaker in order of the turns' start;
the most wins, the first of equals. Without overlap, `fill_nearest` takes the turn with the nearest middle. A segment
without times is at 0; a word without end is a moment, which overlaps nothing; one without start is passed over. Without
turns or segments the transcript stays as it is, and embeddings are not added.

`3.7` (3.3 to 3.7, and the NeMo branch): the sums run in the order given, compensated as pandas does; equals as pandas
sorts them, mostly by name.
`fill_nearest` adds the distances to all turns, which are negative overlaps, to the sums, so that it takes whoever has
few turns, not who is near. A segment or word must have an end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Turn

RULES = ("3.8", "3.7")
"""Versions of WhisperX whose rules are known, the newest first."""


def whisperx_speakers(
    starts: Float64, ends: Float64, turns: Sequence[Turn], *, fill_nearest: bool, rules: str = RULES[0]
) -> list[str | None]:
    """The speaker of each span `(num_spans,)` under `rules`, None where WhisperX leaves it out."""
    if not turns or not len(starts):
        return [None] * len(starts)
    if rules == "3.7":
        return _summed_by_name(starts, ends, turns, fill_nearest)
    return _first_most(starts, ends, sorted(turns, key=lambda turn: turn.start), fill_nearest)


class _Near:
    """Which spans a turn can overlap, without looking at all: a stretch of `order`, in which they begin one after the
    other and those that end furthest are known."""

    def __init__(self, starts: Float64, ends: Float64) -> None:
        self.order = np.argsort(starts, kind="stable")
        self._starts = starts[self.order]
        self._reach = np.fmax.accumulate(ends[self.order])

    def __call__(self, turn: Turn) -> NDArray[np.intp]:
        return self.order[np.searchsorted(self._reach, turn.start, "right") : np.searchsorted(self._starts, turn.end)]


def _first_most(starts: Float64, ends: Float64, turns: Sequence[Turn], fill_nearest: bool) -> list[str | None]:
    names = list(dict.fromkeys(turn.speaker for turn in turns))
    total = np.zeros((len(names), len(starts)))
    first = np.full((len(names), len(starts)), len(turns))
    near = _Near(starts, ends)
    for index, turn in enumerate(turns):
        number, there = names.index(turn.speaker), near(turn)
        both = np.minimum(turn.end, ends[there]) - np.maximum(turn.start, starts[there])
        meets = (turn.start < ends[there]) & (turn.end > starts[there]) & (both > 0)
        there, both = there[meets], both[meets]
        total[number, there] += both
        first[number, there] = np.minimum(first[number, there], index)
    best = np.lexsort((first, -total), axis=0)[0]
    found = total.max(axis=0) > 0
    middles = (np.array([t.start for t in turns]) + np.array([t.end for t in turns])) / 2
    answers: list[str | None] = []
    for index in range(len(starts)):
        if found[index]:
            answers.append(names[best[index]])
        elif fill_nearest:
            nearest = int(np.argmin(np.abs(middles - (starts[index] + ends[index]) / 2)))
            answers.append(turns[nearest].speaker or None)
        else:
            answers.append(None)
    return answers


def _summed_by_name(starts: Float64, ends: Float64, turns: Sequence[Turn], every_turn: bool) -> list[str | None]:
    names: list[str] = sorted({turn.speaker for turn in turns})
    total, lost = np.zeros((len(names), len(starts))), np.zeros((len(names), len(starts)))
    counted = np.zeros((len(names), len(starts)), bool)
    near = _Near(starts, ends)
    for turn in turns:
        number = names.index(turn.speaker)
        there: NDArray[np.intp] | slice = slice(None) if every_turn else near(turn)
        both = np.minimum(turn.end, ends[there]) - np.maximum(turn.start, starts[there])
        if not isinstance(there, slice):
            there, both = there[both > 0], both[both > 0]
        more = both - lost[number, there]  # Kahan's compensated sum, as pandas adds up groups
        grown = total[number, there] + more
        lost[number, there] = grown - total[number, there] - more
        total[number, there] = grown
        counted[number, there] = True
    return [_last_sorted(total[counted[:, i], i], names, counted[:, i]) for i in range(len(starts))]


def _last_sorted(sums: Float64, names: Sequence[str], counted: NDArray[np.bool_]) -> str | None:
    """The name that pandas puts first when it sorts sums downwards: it sorts them upwards, back to front, with numpy's
    unstable sort, so that the order of equals depends on the processor; here it is the same on the same processor."""
    if not len(sums):
        return None
    last = int(np.argsort(sums[::-1])[-1])
    place = int(np.flatnonzero(counted)[len(sums) - 1 - last])
    return names[place]
