"""Incremental clustering: whose voice a local speaker has, as the sound comes.

Coria, Bredin, Ghannay and Rosset, "Overlap-aware low-latency online speaker diarization based on end-to-end local
segmentation", ASRU 2021, as their program `diart` has it. Each new window has local speakers, one embedding each. Local
speakers of one window are different people. They are matched with the known speakers (Hungarian assignment on cosine
distance); a match at `delta_new` or more does not count. Who is left and talks long enough is somebody new; who is left
and talks little is the nearest known speaker that the window has not named yet. Speakers who were matched, and talk
long enough, have their voice added to their centre.

State is a value: `assign()` takes one and gives the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Float32, Float64, Int64
from diarist.stages.assign import NOBODY, unit

FLOOR = 1e-8  # least weight of a frame, as published
SHARE = 0.7  # of a speaker's windows, from which on the speaker is somebody else


@dataclass(frozen=True)
class Known:
    """The speakers of a stream: `centres` `(num_speakers, dimension)` are sums of unit embeddings, `names`
    `(num_speakers,)` their numbers, which are never used again; `born`: how many numbers have been given."""

    centres: Float64
    names: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    born: int = 0

    @classmethod
    def nobody(cls, dimension: int) -> Known:
        """Before the first window."""
        return cls(np.zeros((0, dimension)))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Thresholds:
    """`tau_active`: who reaches this probability anywhere in a window is heard in it. `rho_update`: who talks for this
    share of it, on average, is heard long enough to be somebody new, or to change a centre. `delta_new`: the cosine
    distance from which a voice is nobody known. At most `max_speakers` are known at once. Beyond the paper: `least`
    frames are needed to be somebody new, in the first window too."""

    tau_active: float
    rho_update: float
    delta_new: float
    max_speakers: int
    least: float = 0.0


def overlap_weights(activity: Float32, gamma: float, beta: float, *, normalize: bool = False) -> Float32:
    """How much each frame says of each local speaker's voice: `(num_frames, num_local)` to the same.

    `w = (s * softmax(beta * s)) ** gamma`, so that frames count where the speaker is heard for certain and alone. With
    `normalize` each speaker's weights reach from 0 to 1, for networks that take them for a mask.
    """
    scores = np.asarray(activity, dtype=np.float32)
    powers = np.exp(beta * (scores - scores.max(axis=1, keepdims=True)))
    weights = (scores * powers / powers.sum(axis=1, keepdims=True)) ** gamma
    weights = np.maximum(weights, FLOOR)
    if normalize:
        low, high = weights.min(axis=0), weights.max(axis=0)
        weights = np.where(high > low, (weights - low) / np.maximum(high - low, FLOOR), FLOOR)
        weights = np.maximum(weights, FLOOR)
    return np.asarray(weights, dtype=np.float32)


def assign(known: Known, activity: Float32, embeddings: Float32, given: Thresholds) -> tuple[Known, Int64]:
    """Whom each local speaker of one window is, and what is known after it.

    `activity` `(num_frames, num_local)` in [0, 1]; `embeddings` `(num_local, dimension)`, NaN where there is none.
    Returns the speakers' numbers `(num_local,)`, `NOBODY` where silent, without an embedding, or where nobody is left
    to be.
    """
    if not len(activity):
        return known, np.full(len(embeddings), NOBODY, dtype=np.int64)
    active = (activity.max(axis=0) >= given.tau_active) & np.isfinite(embeddings).all(axis=1)
    mean = activity.mean(axis=0)
    long = mean >= given.rho_update
    enough = activity.sum(axis=0) >= given.least
    voices = unit(np.nan_to_num(embeddings))
    matched = np.full(len(voices), NOBODY, dtype=np.int64)  # position in `known`
    if not active.any():
        return known, matched
    rows = np.flatnonzero(active)
    if len(known) == 0:
        rows = rows[enough[rows]]
        rows = rows[np.argsort(-mean[rows], kind="stable")[: given.max_speakers]]  # the longest, where not all fit
        rows.sort()
        matched[rows] = np.arange(len(rows))
        return _named(_with(known, voices[rows]), matched)
    distance = 1 - voices[rows] @ unit(known.centres).T
    near = _matched(distance, given.delta_new)
    matched[rows] = near
    centres = known.centres.copy()
    update = rows[(near != NOBODY) & long[rows]]
    centres[matched[update]] += voices[update]
    known = Known(centres, known.names, known.born)
    known = _place(
        known, rows[near == NOBODY], distance[near == NOBODY], long & enough, voices, matched, given.max_speakers
    )
    return _named(known, matched)


def _matched(distance: Float64, delta: float) -> Int64:
    """The one-to-one assignment of least distance, `NOBODY` from `delta` on: `(num_rows,)`.

    Those who are near are assigned once more without those who are not, who may have taken somebody's place.
    """
    near = np.full(len(distance), NOBODY, dtype=np.int64)
    rows, columns = linear_sum_assignment(distance)
    rows = rows[distance[rows, columns] < delta]
    again, columns = linear_sum_assignment(distance[rows])
    near[rows[again]] = columns
    return near


def _place(
    known: Known,
    rows: Int64,
    distance: Float64,
    long: NDArray[np.bool_],
    voices: Float64,
    matched: Int64,
    max_speakers: int,
) -> Known:
    """Make somebody new of `rows` that talk long enough while there is room, and the nearest free known of the rest.

    `distance` `(num_rows, num_known)`. Fills in `matched`.
    """
    num_known = len(known)
    for row, to_known in zip(rows, distance, strict=True):
        if long[row] and len(known) < max_speakers:
            matched[row] = len(known)
            known = _with(known, voices[row : row + 1])
            continue
        free = np.setdiff1d(np.arange(num_known), matched)
        if len(free):
            matched[row] = free[to_known[free].argmin()]
    return known


def _with(known: Known, voices: Float64) -> Known:
    """With new speakers, one for each voice."""
    born = known.born + len(voices)
    names = np.concatenate([known.names, np.arange(known.born, born)])
    return Known(np.concatenate([known.centres, voices]), names, born)


def _named(known: Known, matched: Int64) -> tuple[Known, Int64]:
    if not len(known):
        return known, matched
    return known, np.where(matched == NOBODY, NOBODY, known.names[np.maximum(matched, 0)]).astype(np.int64)


def revise(known: Known, said: Int64, labels: Int64, sums: Float64, max_speakers: int) -> tuple[Known, dict[int, int]]:
    """What is known once the session has been clustered anew, and who has turned out to be whom (gone to kept).

    `said` `(num_windows,)`: the number that the stream gave each window, negative for none; `labels` `(num_windows,)`:
    its new cluster; `sums` `(num_clusters, dimension)` of the windows' unit embeddings. Each cluster is the known
    speaker with whom it shares most windows, one to one, and becomes that speaker's centre. A cluster without one is
    somebody new, while there is room. A speaker without one, of whose windows `SHARE` are in another's cluster, has
    turned out to be that other one.
    """
    together = shared_windows(known, said, labels, len(sums))
    speakers, clusters = linear_sum_assignment(-together)
    fitting = together[speakers, clusters] > 0
    speakers, clusters = speakers[fitting], clusters[fitting]
    centres = known.centres.copy()
    centres[speakers] = sums[clusters]
    owner = np.full(len(sums), NOBODY, dtype=np.int64)  # of each cluster
    owner[clusters] = speakers
    renamed: dict[int, int] = {}
    for speaker in np.setdiff1d(np.arange(len(known)), speakers):
        number = together[speaker].sum()
        cluster = int(together[speaker].argmax()) if number else NOBODY
        if cluster != NOBODY and together[speaker, cluster] >= SHARE * number and owner[cluster] != NOBODY:
            renamed[int(known.names[speaker])] = int(known.names[owner[cluster]])
    left = ~np.isin(known.names, list(renamed))
    known = Known(centres[left], known.names[left], known.born)
    new = np.flatnonzero(owner == NOBODY)[: max(0, max_speakers - len(known))]
    return _with(known, sums[new]), renamed


def shared_windows(known: Known, said: Int64, labels: Int64, num_clusters: int) -> Float64:
    """In how many windows each known speaker was named and each cluster found: `(num_speakers, num_clusters)`."""
    together = np.zeros((len(known), num_clusters))
    position = {int(name): index for index, name in enumerate(known.names)}
    rows = np.array([position.get(int(name), NOBODY) for name in said], dtype=np.int64)
    named = rows != NOBODY
    np.add.at(together, (rows[named], labels[named]), 1)
    return together


def cluster_names(known: Known, said: Int64, labels: Int64, num_clusters: int) -> list[int]:
    """The number of each cluster: that of the known speaker with whom it shares most windows, one to one, else a new
    one. Arguments as for `revise()`."""
    together = shared_windows(known, said, labels, num_clusters)
    names = [NOBODY] * num_clusters
    for speaker, cluster in zip(*linear_sum_assignment(-together), strict=True):
        if together[speaker, cluster] > 0:
            names[cluster] = int(known.names[speaker])
    born = known.born
    for cluster, name in enumerate(names):
        if name == NOBODY:
            names[cluster], born = born, born + 1
    return names
