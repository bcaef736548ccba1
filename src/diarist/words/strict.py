"""WhisperX's own rules for whose a word is, with their faults, for those who need the same answer.

Two are published (BSD-2, m-bain/whisperX, `diarize.py`; read, not copied):

`3.8` (3.8.0 and later; 3.8.6 was compared): seconds of overlap are added up by speaker in order of the turns' start;
the most wins, the first of equals. Without overlap, `fill_nearest` takes the turn with the nearest middle. A segment
without times is at 0; a word without end is a moment, which overlaps nothing; one without start is passed over. Without
turns or segments the transcript stays as it is, and embeddings are not added.

`3.7` (3.2 to 3.7, and the NeMo branch): the sums run in the order given, compensated as pandas does; equals as pandas
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


def _first_most(starts: Float64, ends: Float64, turns: Sequence[Turn], fill_nearest: bool) -> list[str | None]:
    names = list(dict.fromkeys(turn.speaker for turn in turns))
    total = np.zeros((len(names), len(starts)))
    first = np.full((len(names), len(starts)), len(turns))
    for index, turn in enumerate(turns):
        number = names.index(turn.speaker)
        both = np.minimum(turn.end, ends) - np.maximum(turn.start, starts)
        meets = (turn.start < ends) & (turn.end > starts) & (both > 0)
        total[number] += np.where(meets, both, 0.0)
        first[number] = np.minimum(first[number], np.where(meets, index, len(turns)))
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
    for turn in turns:
        number = names.index(turn.speaker)
        both = np.minimum(turn.end, ends) - np.maximum(turn.start, starts)
        takes_part: NDArray[np.bool_] = np.full(len(both), True) if every_turn else both > 0
        more = both - lost[number]  # Kahan's compensated sum, as pandas adds up groups
        grown = total[number] + more
        lost[number] = np.where(takes_part, grown - total[number] - more, lost[number])
        total[number] = np.where(takes_part, grown, total[number])
        counted[number] |= takes_part
    return [_last_sorted(total[counted[:, i], i], names, counted[:, i]) for i in range(len(starts))]


def _last_sorted(sums: Float64, names: Sequence[str], counted: NDArray[np.bool_]) -> str | None:
    """The name that pandas puts first when it sorts sums downwards: it sorts them upwards, back to front, with numpy's
    unstable sort, so that the order of equals depends on the processor; here it is the same on the same processor."""
    if not len(sums):
        return None
    last = int(np.argsort(sums[::-1])[-1])
    place = int(np.flatnonzero(counted)[len(sums) - 1 - last])
    return names[place]
