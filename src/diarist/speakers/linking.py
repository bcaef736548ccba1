"""The same voice across recordings: which speakers, each of one recording, are one person.

Clusters of voices merge, the two that the scorer finds likeliest to be one person's first, until no merger is probable
enough; two speakers of one recording are never one. A cluster's evidence is the sum of its voices', so a merger is
judged on all of them. Only each voice's likeliest `NEIGHBOURS` are looked at: memory grows with the number of voices,
not with its square.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64
from diarist.speakers.config import LinkConfig
from diarist.speakers.scoring import Evidence, Scorer, evidence_of
from diarist.speakers.voices import Voice

NEIGHBOURS = 64
BLOCK = 256  # voices compared with all others at once


@dataclass(frozen=True)
class Links:
    """`labels` `(n,)`, from 0 in order of first appearance; `probability` `(n,)` that a voice belongs with the others
    of its label, 1 for one that is alone."""

    labels: Int64
    probability: Float64


def link(
    voices: Sequence[Voice], recordings: NDArray[np.integer], scorer: Scorer, config: LinkConfig | None = None
) -> Links:
    """Who is who among `voices`, where `recordings` `(n,)` numbers the recording that each comes from."""
    config = config or LinkConfig()
    if len(voices) == 0:
        return Links(np.zeros(0, np.int64), np.zeros(0))
    evidence = evidence_of(scorer, [[voice] for voice in voices])
    prior = prior_log_odds(len(voices), config.known)
    least = float(np.log(config.probability / (1 - config.probability))) - prior
    labels = _Merging(evidence, recordings, scorer, least).labels()
    return Links(labels, _belonging(evidence, labels, scorer, prior))


def prior_log_odds(num_voices: int, known: float) -> float:
    """Log odds that two voices are one person's before they are heard: a voice is heard elsewhere with the probability
    `known`, and then any of the others may be it."""
    return float(np.log(known / (1 - known)) - np.log(max(num_voices - 1, 1)))


class _Merging:
    """Clusters that grow. A merged cluster gets a new number, so that what waits for the old ones is out of date."""

    def __init__(self, evidence: Evidence, recordings: NDArray[np.integer], scorer: Scorer, least: float) -> None:
        self._scorer, self._least = scorer, least
        self._precision = list(evidence.precision)
        self._weighted = list(evidence.weighted)
        self._num_rows = len(evidence)
        self._members: dict[int, list[int]] = {row: [row] for row in range(len(evidence))}
        self._recordings = {row: {int(number)} for row, number in enumerate(recordings)}
        self._near: dict[int, set[int]] = {row: set() for row in range(len(evidence))}
        self._heap: list[tuple[float, int, int]] = []
        self._compare_all(evidence, recordings)

    def labels(self) -> Int64:
        """Merge while it is probable enough; `(n,)`, from 0 in order of first appearance."""
        while self._heap:
            _, one, other = heapq.heappop(self._heap)
            if one in self._members and other in self._members:
                self._merge(one, other)
        labels = np.zeros(self._num_rows, np.int64)
        for number, members in enumerate(sorted(self._members.values(), key=min)):
            labels[members] = number
        return labels

    def _compare_all(self, evidence: Evidence, recordings: NDArray[np.integer]) -> None:
        for first in range(0, len(evidence), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(evidence)))
            some = Evidence(evidence.precision[rows], evidence.weighted[rows])
            scores = self._scorer.log_ratios(some, evidence)
            scores[recordings[rows][:, None] == recordings[None]] = -np.inf
            for row, values in zip(rows.tolist(), scores, strict=True):
                near = np.argsort(-values, kind="stable")[:NEIGHBOURS]
                for other in near[values[near] > -np.inf].tolist():
                    if other not in self._near[row]:
                        self._near[row].add(other)
                        self._near[other].add(row)
                        self._offer(float(values[other]), row, other)

    def _offer(self, score: float, one: int, other: int) -> None:
        if score >= self._least:
            heapq.heappush(self._heap, (-score, one, other))

    def _merge(self, one: int, other: int) -> None:
        new = len(self._precision)
        self._precision.append(self._precision[one] + self._precision[other])
        self._weighted.append(self._weighted[one] + self._weighted[other])
        self._members[new] = self._members.pop(one) + self._members.pop(other)
        self._recordings[new] = self._recordings.pop(one) | self._recordings.pop(other)
        around = (self._near.pop(one) | self._near.pop(other)) - {one, other}
        near = sorted(n for n in around if n in self._members and not self._recordings[n] & self._recordings[new])
        self._near[new] = set(near)
        if near:
            mine = Evidence(self._precision[new][None], self._weighted[new][None])
            theirs = Evidence(np.stack([self._precision[n] for n in near]), np.stack([self._weighted[n] for n in near]))
            for neighbour, score in zip(near, self._scorer.log_ratios(mine, theirs)[0].tolist(), strict=True):
                self._near[neighbour].add(new)
                self._offer(score, neighbour, new)


def _belonging(evidence: Evidence, labels: Int64, scorer: Scorer, prior: float) -> Float64:
    """How probable it is that each voice is the person of the others with its label: `(n,)`."""
    sums = evidence.sums(labels, int(labels.max()) + 1)
    sure = np.ones(len(labels))
    for row in np.flatnonzero(np.bincount(labels)[labels] > 1):
        own = slice(row, row + 1)
        mine = Evidence(evidence.precision[own], evidence.weighted[own])
        group = slice(labels[row], labels[row] + 1)
        rest = Evidence(sums.precision[group] - mine.precision, sums.weighted[group] - mine.weighted)
        odds = float(scorer.log_ratios(mine, rest)[0, 0]) + prior
        sure[row] = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
    return sure
