"""Counting speakers without a threshold to tune: VBx on short windows, centred on the recording.

1. Seeds: average linkage on the cosine distance of windows less the training mean, cut low, so that one speaker may
   get several seeds but two speakers seldom share one.
2. Twice: the recording's offset is estimated as the shrunken mean of its speakers' mean voices (a microphone moves all
   voices the same way), taken off, and VBx with a PLDA lets the seeds that explain nothing die. Fb grows with the
   number of windows, so that short recordings are not merged.
3. Speakers with too few windows go, and every window joins the nearest mean voice.
4. Where the times of windows and a choice are given, and the recording is neither a handful of windows nor longer than
   four hours: seeds cut at two heights and a weaker penalty for speakers, then mergers down to one; of all these
   answers the likeliest is taken (`hypotheses.py`).

The evidence lower bound of VBx prefers merged solutions, so there are no restarts: it starts over-clustered and stays
at the local optimum. VBx: Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx)", 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.stages import agglomerative
from diarist.stages.assign import centroids, sums
from diarist.stages.hypotheses import Choice, different, features_of, merges
from diarist.stages.pieces import stretches
from diarist.stages.plda import Plda
from diarist.stages.vbx import vbx

Array = NDArray[np.floating[Any]]

ROUNDS = 2
ITERATIONS = 40
SMOOTHING = 5.0  # of the seeds, as responsibilities
PRUNE = 1e-5  # prior below which a speaker is gone
OFFSET_WINDOWS = 3  # a cluster with fewer does not speak for the recording
REFERENCE_WINDOWS = 150  # Fb holds for so many windows,
GROWTH_BELOW = 0.25  # with fewer it falls with this power of their number,
GROWTH_ABOVE = 0.5  # with more it grows with this one: a voice changes over an hour, and evidence adds up
LONG_WINDOWS = 500  # about six minutes: with more it grows a little slower, with this power
GROWTH_LONG = 0.45
LEAST_SHARE = 0.1  # of `REFERENCE_WINDOWS`: Fb falls no further
MAX_SEEDS = 512
LENIENCE = 0.6  # factor on Fb, tried again and again until there are as many speakers as asked for
EXACT_WINDOWS = 4096  # above, float32 is worked on
CHOSEN_WINDOWS = (6, 20_000)  # recordings of so many windows are answered in several ways: up to about four hours
STARTS = ((0.0, 5 / 11), (0.1, 5 / 11))  # of these: so far above the threshold seeds are cut, and the share of Fb
MOST_SPEAKERS = 48  # in an answer
SHORT_WINDOWS = 75  # with fewer, about a minute,
SURE_OF_ONE = 0.75  # so likely has to be that nobody else talks: two people are the commonest case


@dataclass(frozen=True)
class WindowVbx:
    """A `Clusterer` for unit embeddings in order of time. See the module for the method, `ClusteringConfig` for values.

    `groups` are not used: a window holds one voice, and windows of different voices say so by themselves.
    """

    plda: Plda
    threshold: float
    Fa: float
    Fb: float
    loop: float
    centring: float
    min_cluster_size: int
    choice: Choice | None = None

    def __call__(
        self, embeddings: Float32, groups: Int64, bounds: SpeakerBounds, times: Float64 | None = None
    ) -> Int64:
        """Embeddings `(num_windows, dimension)` to labels `(num_windows,)` within `bounds` where windows allow it.

        `times` `(num_windows,)` are the middles of the windows in seconds, which a choice of answers needs.
        """
        return self.answer(embeddings, bounds, times)[0]

    def answer(
        self, embeddings: Float32, bounds: SpeakerBounds, times: Float64 | None = None
    ) -> tuple[Int64, float | None]:
        """The labels of a call, and how likely their number of speakers is right; None where nothing was chosen."""
        if len(embeddings) < 2:
            return np.zeros(len(embeddings), dtype=np.int64), None
        centered = self.plda.center(np.asarray(embeddings, np.float64 if len(embeddings) <= EXACT_WINDOWS else "f4"))
        if times is not None and self.chooses(times):
            answers, features = self.answers(centered, embeddings, times, bounds)
            if len(answers):
                return self._chosen(answers, features)
        seeds = self._seeds(centered, self.threshold)
        labels = self._at_least(bounds.least, seeds, centered, embeddings)
        if bounds.most is not None and labels.max() >= bounds.most:
            labels = merge(labels, self.plda.project(centered), bounds.most)
        return labels, None

    def chooses(self, times: Float64) -> bool:
        """Whether windows with these middles are answered in several ways."""
        fewest, most = CHOSEN_WINDOWS  # out of order: means of windows, of a stream
        return self.choice is not None and fewest <= len(times) <= most and not (np.diff(times) < 0).any()

    def _chosen(self, answers: list[Int64], features: Float64) -> tuple[Int64, float]:
        assert self.choice is not None
        likely = self.choice(features)
        number = np.array([labels.max() + 1 for labels in answers])
        one = number == 1
        doubtful = len(answers[0]) < SHORT_WINDOWS and likely[one].sum() < SURE_OF_ONE and not one.all()
        best = int(np.where(one & doubtful, 0, likely).argmax())
        return answers[best], float(likely[number == number[best]].sum())

    def answers(
        self,
        centered: Array,
        embeddings: Float32,
        times: Float64,
        bounds: SpeakerBounds,
    ) -> tuple[list[Int64], Float64]:
        """Labels that could be right, within `bounds`, and what tells of them, `(num_answers, num_features)`."""
        smallest, stretch = max(1, self.min_cluster_size - 1), stretches(times)
        found: list[Int64] = []
        for above, weak in STARTS:
            seeds = self._seeds(centered, max(0.0, self.threshold + above))
            labels = nearest_voice(self._refine(seeds, centered, weak * self.Fb), embeddings, smallest)
            if labels.max() >= MOST_SPEAKERS:
                labels = merge(labels, self.plda.project(centered), MOST_SPEAKERS)
            own_space = self.plda.project(centered, offset(labels, centered, self.centring))
            fewer = merges(labels, stretch, own_space, self.plda.psi)
            found += [labels, *fewer, *(nearest_voice(one, embeddings, smallest) for one in fewer)]
        found = different(found)
        projected = self.plda.project(centered, offset(found[0], centered, self.centring))
        found = [labels for labels in found if bounds.clip(int(labels.max()) + 1) == labels.max() + 1]
        rows, psi = np.asarray(embeddings, centered.dtype), self.plda.psi
        features = [features_of(labels, stretch, rows, projected, psi) for labels in found]
        return found, np.array(features)

    def _seeds(self, centered: Array, threshold: float) -> Int64:
        return _largest(agglomerative.cluster(centered, threshold=threshold, linkage="average"), centered)

    def _at_least(self, least: int, seeds: Int64, centered: Array, embeddings: Float32) -> Int64:
        """Labels of at least so many speakers: Fb falls until there are, then seeds are cut as fine as needed."""
        fb, smallest = self.Fb, self.min_cluster_size
        while True:
            labels = nearest_voice(self._refine(seeds, centered, fb), embeddings, smallest)
            if labels.max() + 1 >= least:
                return labels
            if fb < 0.01 * self.Fb:
                break
            fb, smallest = fb * LENIENCE, max(1, smallest - 1)
        count = min(least, len(centered))
        finer = agglomerative.cluster(centered, num_clusters=count, linkage="average")
        return merge(_cross(labels, finer), self.plda.project(centered), count)

    def _refine(self, seeds: Int64, centered: Array, fb: float) -> Int64:
        """Two rounds of offset and VBx from the same seeds."""
        scale = growth(len(centered))
        labels = seeds
        for _ in range(ROUNDS):
            features = self.plda.project(centered, offset(labels, centered, self.centring))
            labels = vbx(
                features,
                self.plda.psi,
                seeds,
                fa=self.Fa,
                fb=fb * scale,
                loop=self.loop,
                smoothing=SMOOTHING,
                max_iterations=ITERATIONS,
                prune=PRUNE,
            ).labels
        return labels


def growth(num_windows: int) -> float:
    """What Fb is multiplied with, so that short recordings are not merged and long ones not split."""
    ratio = max(LEAST_SHARE, min(num_windows, LONG_WINDOWS) / REFERENCE_WINDOWS)
    beyond = max(1.0, num_windows / LONG_WINDOWS) ** GROWTH_LONG
    return float(beyond * ratio ** (GROWTH_BELOW if ratio < 1 else GROWTH_ABOVE))


def offset(labels: Int64, centered: Array, centring: float) -> Array:
    """What a recording adds to every voice: `K / (K + centring)` times the mean of its K speakers' mean voices.

    `centered` `(num_windows, dimension)` is less the training mean. Speakers with few windows do not count.
    """
    totals, counts = sums(centered, labels)
    large = counts >= OFFSET_WINDOWS
    if not large.any():
        return np.zeros(centered.shape[1])
    means = totals[large] / counts[large, None]
    shrunken: Array = means.mean(axis=0) * (len(means) / (len(means) + centring))
    return shrunken


def nearest_voice(labels: Int64, embeddings: Float32, smallest: int) -> Int64:
    """Drop speakers with fewer than `smallest` windows (the largest stays), then every window joins the nearest voice.

    Labels come out dense, from 0.
    """
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    keep = counts >= smallest
    if not keep.any():
        keep[counts.argmax()] = True
    voices = centroids(embeddings, labels)[keep]
    nearest = (embeddings @ voices.T.astype(embeddings.dtype)).argmax(axis=1)
    return np.unique(nearest, return_inverse=True)[1]


def merge(labels: Int64, features: Array, most: int) -> Int64:
    """Merge speakers until at most `most` are left, each time the two whose merger costs the least likelihood.

    With noise of variance 1 the cost is Ward's: n m / (n + m) times the squared distance of the means, so that a
    handful of stray windows joins somebody before two people become one. `features` `(num_windows, rank)`.
    """
    _, labels = np.unique(labels, return_inverse=True)
    totals, counts = sums(features, labels)
    owner = np.arange(len(counts))
    while (left := np.unique(owner)).size > most:
        means, sizes = totals[left] / counts[left, None], counts[left].astype(np.float64)
        square = (means**2).sum(axis=1)
        distance = square[:, None] + square - 2 * means @ means.T
        cost = distance * (sizes[:, None] * sizes / (sizes[:, None] + sizes))
        np.fill_diagonal(cost, np.inf)
        one, other = np.unravel_index(int(cost.argmin()), cost.shape)
        keep, gone = left[one], left[other]
        totals[keep] += totals[gone]
        counts[keep] += counts[gone]
        owner[owner == gone] = keep
    return np.unique(owner[labels], return_inverse=True)[1]


def _largest(seeds: Int64, centered: Array) -> Int64:
    """At most `MAX_SEEDS` seeds: windows of the smaller ones join the nearest of the larger."""
    _, seeds, counts = np.unique(seeds, return_inverse=True, return_counts=True)
    if len(counts) <= MAX_SEEDS:
        return np.asarray(seeds, dtype=np.int64)
    large = np.zeros(len(counts), dtype=bool)
    large[np.argsort(-counts, kind="stable")[:MAX_SEEDS]] = True
    voices = centroids(centered, seeds)[large]
    dense = np.cumsum(large) - 1
    moved = np.asarray(dense[seeds], dtype=np.int64)
    homeless = np.flatnonzero(~large[seeds])
    for first in range(0, len(homeless), EXACT_WINDOWS):  # all at once, a day would take another 200 MB
        some = homeless[first : first + EXACT_WINDOWS]
        moved[some] = (centered[some] @ voices.T.astype(centered.dtype)).argmax(axis=1)
    return moved


def _cross(one: Int64, other: Int64) -> Int64:
    """Labels that differ where either does."""
    return np.asarray(np.unique(one * (int(other.max()) + 1) + other, return_inverse=True)[1])
