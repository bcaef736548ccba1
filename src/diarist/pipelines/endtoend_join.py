"""Which slots of an end-to-end model's memories are the same speaker.

One memory keeps its slots apart by itself. Slots of two memories that follow each other are one speaker's where they
agree in the seconds that both heard; beyond that voices decide, the nearest pair first, and two slots of one memory are
never one speaker unless fewer speakers were asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.pipelines.endtoend_listen import TALKS, Heard
from diarist.pipelines.endtoend_presets import EndToEndConfig
from diarist.stages.assign import NOBODY

AGREE = 0.5  # share of the seconds in which either of two slots talks, that both do
_LEAST_SHARED = 1.0  # seconds that two slots must talk at once to agree


@dataclass(frozen=True)
class Joined:
    """Whose slots are whose: `labels` `(num_memories, num_slots)`, `NOBODY` for slots that are nobody's.

    `voices` `(num_speakers, dimension)` of length 1, NaN for who has none; `talk` `(num_speakers,)` in seconds.
    """

    labels: Int64
    voices: Float32
    talk: Float64
    warnings: tuple[str, ...] = ()


def join(heard: Heard, config: EndToEndConfig, bounds: SpeakerBounds) -> Joined:
    """Speakers from slots, as few as `bounds` ask for and no fewer than `bounds.least` where there are so many."""
    frame = heard.frames.step / heard.frames.sample_rate
    talk = np.array([(m.scores > config.turns.onset).sum(axis=0) * frame for m in heard.memories])  # (memories, slots)
    groups = _Groups(heard, talk, config.embedding.alone)
    for one, other in _agreeing(heard, frame):
        groups.merge(one, other)
    groups.merge_near(config.embedding.join)
    keep = groups.order(config.turns.least_talk, bounds.least)
    warnings: list[str] = []
    if bounds.most is not None and len(keep) > bounds.most:
        keep, mute = groups.reduce(keep, bounds.most)
        if mute:
            warnings.append(f"{mute} who never talk alone were left out, to have no more than {bounds.most} speakers")
    labels = np.full(talk.size, NOBODY, np.int64)
    for index, group in enumerate(keep):
        labels[groups.members(group)] = index
    return Joined(labels.reshape(talk.shape), groups.voices(keep), groups.talk[keep], tuple(warnings))


def _agreeing(heard: Heard, frame: float) -> list[tuple[int, int]]:
    """Pairs of slots, counted over all memories, that say the same of the seconds that both heard."""
    found: list[tuple[int, int]] = []
    num_slots = heard.memories[0].scores.shape[1]
    for index in range(1, len(heard.memories)):
        later = heard.memories[index].before > TALKS
        earlier = heard.memories[index - 1].scores[-len(later) :] > TALKS
        later = later[: len(earlier)]
        if not len(later):
            continue
        both = earlier.T.astype(np.float32) @ later.astype(np.float32)
        either = earlier.sum(axis=0)[:, None] + later.sum(axis=0)[None] - both
        agreement = both / np.maximum(either, 1)
        for row, column in zip(*linear_sum_assignment(-agreement), strict=True):
            if agreement[row, column] >= AGREE and both[row, column] * frame >= _LEAST_SHARED:
                found.append(((index - 1) * num_slots + int(row), index * num_slots + int(column)))
    return found


class _Groups:
    """Slots of all memories, merged step by step. A group is named by its first slot."""

    def __init__(self, heard: Heard, talk: Float64, alone: float) -> None:
        num_slots = talk.shape[1]
        self._sums = np.concatenate([memory.voices for memory in heard.memories])
        self._seconds = np.concatenate([memory.seconds for memory in heard.memories])
        self._least = alone
        self.talk = talk.ravel().copy()
        self._group = np.arange(talk.size)
        memory = np.arange(talk.size) // num_slots
        self._apart = memory[:, None] == memory[None]
        self._first = [_first(m.first, m.scores[:, slot]) for m in heard.memories for slot in range(num_slots)]

    def members(self, group: int) -> NDArray[np.bool_]:
        """Which slots are of a group, `(num_slots_of_all_memories,)`."""
        return np.asarray(self._group == group)

    def merge(self, one: int, other: int) -> None:
        """Make the groups of two slots one."""
        kept, gone = sorted((int(self._group[one]), int(self._group[other])))
        if kept == gone:
            return
        self._group[self._group == gone] = kept
        for values in (self._sums, self._seconds, self.talk):
            values[kept] += values[gone]
            values[gone] = 0
        self._apart[kept] |= self._apart[gone]
        self._apart[:, kept] = self._apart[kept]
        self._first[kept] = min(self._first[kept], self._first[gone])

    def merge_near(self, distance: float) -> None:
        """Merge the nearest two groups that may be one, until none are near enough."""
        while True:
            groups = [int(g) for g in np.unique(self._group) if self._has_voice(int(g))]
            pair = self._nearest(groups, 1 - distance, allowed=True)
            if pair is None:
                return
            self.merge(*pair)

    def order(self, least_talk: float, least: int) -> list[int]:
        """Groups that talk, in order of first words; those who talk too little are left out while enough are left."""
        talking = [int(g) for g in np.unique(self._group) if self.talk[g] > 0]
        talking.sort(key=lambda g: -self.talk[g])
        kept = [g for rank, g in enumerate(talking) if self.talk[g] >= least_talk or rank < least]
        return sorted(kept, key=lambda g: (self._first[g], g))

    def reduce(self, keep: list[int], most: int) -> tuple[list[int], int]:
        """No more than `most` groups: those without a voice go, those that talk least first, then the nearest two
        become one. How many went."""
        keep, mute = list(keep), 0
        for group in sorted(keep, key=lambda g: self.talk[g]):
            if len(keep) > most and not self._has_voice(group):
                keep.remove(group)
                mute += 1
        while len(keep) > most:
            pair = self._nearest(keep, -2.0, allowed=False)
            assert pair is not None
            self.merge(*pair)
            keep.remove(max(pair))
        return keep, mute

    def voices(self, keep: list[int]) -> Float32:
        """Unit voices `(len(keep), dimension)`, NaN where there is none."""
        found = self._unit(keep)
        found[[not self._has_voice(group) for group in keep]] = np.nan
        return found.astype(np.float32)

    def _has_voice(self, group: int) -> bool:
        return bool(self._seconds[group] >= self._least and np.linalg.norm(self._sums[group]) > 0)

    def _unit(self, groups: list[int]) -> Float64:
        sums = self._sums[groups]
        return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))

    def _nearest(self, groups: list[int], least: float, *, allowed: bool) -> tuple[int, int] | None:
        """The two groups whose voices are nearest, none below a similarity; `allowed`: that may be one speaker."""
        if len(groups) < 2:
            return None
        unit = self._unit(groups)
        similarity = unit @ unit.T
        similarity[np.tril_indices(len(groups))] = -np.inf
        if allowed:
            similarity[self._apart[np.ix_(groups, groups)]] = -np.inf
        row, column = np.unravel_index(int(similarity.argmax()), similarity.shape)
        if not similarity[row, column] >= least:
            return None
        return groups[int(row)], groups[int(column)]


def _first(first_frame: int, scores: NDArray[np.float16]) -> int:
    """The first frame in which a slot talks; past all where it never does."""
    talks = scores > TALKS
    return first_frame + int(talks.argmax()) if talks.any() else np.iinfo(np.int64).max
