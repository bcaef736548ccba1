"""Spectral clustering that tunes itself: NME-SC.

Park, Han, Kumar and Narayanan, "Auto-tuning spectral clustering for speaker diarization using normalized maximum
eigengap", IEEE Signal Processing Letters 27, 2020. Each row is tied to the `p` rows most like it; `p` is chosen so that
the largest gap between the graph's low eigenvalues, as a share of the largest eigenvalue, is high for so few ties, and
the place of that gap is the number of speakers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, eigvalsh
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Float64, Int64, SpeakerBounds
from diarist.errors import UsageError
from diarist.stages.plda import unit_length

MAX_ROWS = 2048  # more are sampled at even steps, and the others join the nearest mean
SEARCH_ROWS = 512  # `p` is chosen on a sample of so many
SEARCH_STEPS = 30  # values of `p` that are tried
RESTARTS = 5  # of k-means
ROUNDS = 50  # of k-means, at most
SAME_GROUP = -2.0  # similarity of rows that must not meet, below any cosine

Array = NDArray[np.floating[Any]]


def cluster_within(
    embeddings: Array,
    bounds: SpeakerBounds,
    *,
    max_ties: float,
    max_speakers: int,
    groups: Int64 | None = None,
    seed: int = 0,
) -> Int64:
    """Labels `(n,)`, from 0, of `embeddings` `(n, dimension)`.

    `bounds` are met whenever there are `bounds.least` rows; where they have no upper end, `max_speakers` is it.
    `max_ties` is the largest share of all rows that a row may be tied to. Two rows of one group of `groups` `(n,)` (-1:
    none) get different labels as long as there are as many. Deterministic for a `seed`. Above 2048 rows an even sample
    is clustered and the others join the nearest mean. Raises `UsageError` for embeddings that are zero or not finite.
    """
    rows = unit_length(embeddings)
    if groups is not None and np.shape(groups) != rows.shape[:1]:
        raise UsageError(f"{len(rows)} embeddings need as many groups, not {np.shape(groups)}")
    least = min(bounds.least, len(rows))
    most = min(bounds.most or max(max_speakers, bounds.least), len(rows))
    if most <= 1:
        return np.zeros(len(rows), np.int64)
    chosen = _sample(len(rows), max(MAX_ROWS, least))
    similarity = _similarity(rows[chosen], None if groups is None else groups[chosen])
    few = _sample(len(chosen), max(SEARCH_ROWS, least))
    share, num_speakers = _tune(similarity[np.ix_(few, few)], least, most, max_ties)
    ties = max(1, round(share * len(chosen)))
    points = eigh(_laplacian(similarity, ties), subset_by_index=[0, num_speakers - 1])[1]
    labels = kmeans(points, num_speakers, seed=seed)
    if len(chosen) < len(rows):
        labels = _spread(rows, chosen, labels)
    return labels if groups is None else _keep_apart(rows, labels, groups)


def _sample(num: int, at_most: int) -> Int64:
    """Indices of an even sample."""
    return np.arange(num) if num <= at_most else np.linspace(0, num - 1, at_most).round().astype(np.int64)


def _similarity(rows: Array, groups: Int64 | None) -> Float64:
    """Cosines `(n, n)`; a row is not like itself, nor like those of its group."""
    similarity = np.asarray(rows @ rows.T, np.float64)
    if groups is not None:
        similarity[(groups[:, None] == groups) & (groups >= 0)] = SAME_GROUP
    np.fill_diagonal(similarity, -np.inf)
    return similarity


def _laplacian(similarity: Float64, ties: int) -> Float64:
    """Degrees less ties `(n, n)`, where each row is tied to the `ties` most like it; a tie one way counts half."""
    num = len(similarity)
    nearest = np.argpartition(-similarity, min(ties, num - 1) - 1, axis=1)[:, :ties]
    tied = np.zeros((num, num))
    np.put_along_axis(tied, nearest, 0.5, axis=1)
    np.fill_diagonal(tied, 0)
    tied[similarity == SAME_GROUP] = 0
    tied += tied.T
    laplacian: Float64 = np.diag(tied.sum(axis=1)) - tied
    return laplacian


def _tune(similarity: Float64, least: int, most: int, max_ties: float) -> tuple[float, int]:
    """The share of rows to tie each row to, and the number of speakers, by the normalised maximum eigengap."""
    num = len(similarity)
    best, share, num_speakers = np.inf, 1 / num, least
    most = min(most, num - 1)
    if least > most:
        return share, least
    candidates = np.linspace(1, max(1, round(max_ties * num)), SEARCH_STEPS).round().astype(np.int64)
    for ties in np.unique(candidates).tolist():
        values = eigvalsh(_laplacian(similarity, ties))
        gaps = np.diff(values[least - 1 : most + 1])
        normalised = gaps.max() / (values[-1] + 1e-10)
        if normalised > 0 and ties / normalised < best:
            best, share, num_speakers = ties / normalised, ties / num, least + int(gaps.argmax())
    return share, num_speakers


def kmeans(points: Array, num_clusters: int, *, seed: int = 0) -> Int64:
    """Labels `(n,)` of `points` `(n, dimension)`: exactly `num_clusters` of them wherever there are as many points.

    Lloyd's rounds from k-means++ starts (Arthur and Vassilvitskii, 2007); the best of a few, the same each time.
    """
    places: Float64 = np.asarray(points, np.float64)
    num_clusters = min(num_clusters, len(places))
    random = np.random.default_rng(seed)
    best, labels = np.inf, np.zeros(len(places), np.int64)
    for _ in range(RESTARTS if num_clusters > 1 else 0):
        centers = _plus_plus(places, num_clusters, random)
        for _ in range(ROUNDS):
            distance = _squared(places, centers)
            attempt = _no_empty(distance.argmin(axis=1), distance.min(axis=1), num_clusters)
            sums = np.zeros_like(centers)
            np.add.at(sums, attempt, places)
            moved = sums / np.bincount(attempt, minlength=num_clusters)[:, None]
            if np.array_equal(moved, centers):
                break
            centers = moved
        cost = float(((places - centers[attempt]) ** 2).sum())
        if cost < best:
            best, labels = cost, attempt
    return labels


def _squared(points: Float64, centers: Float64) -> Float64:
    distance: Float64 = (points**2).sum(axis=1)[:, None] - 2 * points @ centers.T + (centers**2).sum(axis=1)
    return np.maximum(distance, 0)


def _plus_plus(points: Float64, num_clusters: int, random: np.random.Generator) -> Float64:
    """Starts that lie apart: each is drawn in proportion to its squared distance from those before."""
    chosen = [int(random.integers(len(points)))]
    distance = _squared(points, points[chosen])[:, 0]
    while len(chosen) < num_clusters:
        total = distance.sum()
        weights = distance / total if total > 0 else np.full(len(points), 1 / len(points))
        chosen.append(int(random.choice(len(points), p=weights)))
        distance = np.minimum(distance, _squared(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _no_empty(labels: Int64, distance: Float64, num_clusters: int) -> Int64:
    """Give each empty cluster the row that fits its own worst, and does not leave that one empty."""
    counts = np.bincount(labels, minlength=num_clusters)
    if not counts.all():
        order = iter(np.argsort(-distance, kind="stable").tolist())
        for empty in np.flatnonzero(counts == 0).tolist():
            row = next(row for row in order if counts[labels[row]] > 1)
            counts[labels[row]] -= 1
            counts[empty] += 1
            labels[row] = empty
    return labels


def _voices(rows: Array, labels: Int64) -> Float64:
    """Unit mean of each label `(num_clusters, dimension)`."""
    sums = np.zeros((int(labels.max()) + 1, rows.shape[1]))
    np.add.at(sums, labels, rows)
    unit: Float64 = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return unit


def _spread(rows: Array, chosen: Int64, labels: Int64) -> Int64:
    """Labels of all rows from those of the rows `chosen`."""
    everything: Int64 = np.argmax(rows @ _voices(rows[chosen], labels).T.astype(rows.dtype), axis=1)
    everything[chosen] = labels
    return everything


def _keep_apart(rows: Array, labels: Int64, groups: Int64) -> Int64:
    """Where rows of one group share a label, label that group again, one to one, by likeness to the mean voices."""
    order = np.flatnonzero(groups >= 0)
    order = order[np.argsort(groups[order], kind="stable")]
    voices, counts = _voices(rows, labels), np.bincount(labels)
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(np.unique(labels[members])) == len(members):
            continue
        row, label = linear_sum_assignment(-(rows[members] @ voices.T))
        again = labels[members].copy()
        again[row] = label
        changed = counts - np.bincount(labels[members], minlength=len(counts))
        changed += np.bincount(again, minlength=len(counts))
        if changed.all():
            labels[members], counts = again, changed
    return labels
