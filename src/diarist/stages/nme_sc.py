"""NME-SC as NeMo's clustering diarizer has it, step for step, chance included.

Park, Han, Kumar and Narayanan, "Auto-tuning spectral clustering for speaker diarization using normalized maximum
eigengap", IEEE Signal Processing Letters 27, 2020; the details (a sparse search for `p`, a graph forced to be
connected, anchors that steady the count in short recordings) are those of
`nemo/collections/asr/parts/utils/offline_clustering.py` in nemo_toolkit 3.0.0. Long recordings go chunk by chunk, as in
its `longform_clustering.py`, but what makes many small clusters of a chunk is average linkage.
`spectral.py` holds the shorter variant that runs on rows of any kind, within groups.

`p` counts the row itself: with `p = 1` a row is tied to none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, eigvalsh
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from diarist.core.types import Float32, Int64, SpeakerBounds
from diarist.stages import agglomerative
from diarist.stages.spectral import kmeans
from diarist.stages.torch_random import TorchRandom

LEAST_ROWS = 6  # with no more, similarities are used as they are, and `p` is not searched for
SEARCH_ROWS = 512  # `p` is chosen on every k-th row, so that about so many are left
TRIALS, ANCHORS, ANCHOR_ROWS, ANCHOR_SIGMA = 5, 3, 10, 50.0  # counting with anchors: voices that nobody has
TRIAL_SHARE, TRIAL_STEPS, TRIAL_ROWS = 0.15, 10, 300
STARTS, ROUNDS, SHIFT = 30, 15, 1e-4  # of k-means: candidates for a start, rounds at most, and when it has settled
CHUNK_CLUSTERS = 50  # a chunk of a long recording is cut into so many clusters first
DENSE_ROWS = 1200  # eigenvectors of larger graphs are found by iteration
_ROWS = 1024  # worked on at a time
_NORM_EPS, _GAP_EPS = np.float32(3.5e-4), 1e-10

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NmeSc:
    """Clusters rows by their similarity; parameters and defaults are NeMo's.

    `enhanced_count_thres`: with no more rows than that, speakers are counted with anchors. `p` is searched for among
    `sparse_search_volume` values up to `max_rp_threshold` of all rows; or is `fixed_thres` of them. With
    `maj_vote_spk_count` the count is the most frequent one over all `p`. Above `embeddings_per_chunk` rows, chunks of
    so many are cut into 50 clusters each, whose means are clustered then.
    """

    max_num_speakers: int = 8
    enhanced_count_thres: int = 80
    max_rp_threshold: float = 0.25
    sparse_search_volume: int = 30
    maj_vote_spk_count: bool = False
    fixed_thres: float | None = None
    embeddings_per_chunk: int = 10_000

    def __call__(self, similarity: Float32, rows: Array, bounds: SpeakerBounds) -> Int64:
        """Labels `(n,)` from 0, of rows with a fused `similarity` `(n, n)` and embeddings `rows` `(n, dimension)` (of
        the shortest scale), which counting with anchors looks at. `bounds` are met wherever there are `least` rows."""
        num = len(rows)
        if num <= 1 or bounds.most == 1:
            return np.zeros(num, np.int64)
        most = min(bounds.most or max(self.max_num_speakers, bounds.least), num)
        least = min(bounds.least, num)
        counted = None
        if bounds.exact is None and num <= max(self.enhanced_count_thres, LEAST_ROWS):
            counted = count_with_anchors(rows)
        return self._labelled(similarity, least, most, counted)

    def long(self, rows: Array, bounds: SpeakerBounds) -> Int64:
        """Labels `(n,)` of `rows` `(n, dimension)` (scales summed by weight) of a long recording, chunk by chunk."""
        num, size = len(rows), self.embeddings_per_chunk
        clusters = np.empty(num, np.int64)
        means: list[Array] = []
        for first in range(0, num, size):
            begin = max(0, min(first, num - size))  # the last chunk is a whole one too, and reaches back
            part = rows[begin : begin + size]
            fine = min(CHUNK_CLUSTERS, len(part))
            labels = agglomerative.cluster(part, linkage="average", num_clusters=fine)
            kept = np.unique(labels, return_inverse=True)[1]
            clusters[begin : begin + size] = sum(map(len, means)) + kept
            sums = np.zeros((int(kept.max()) + 1, rows.shape[1]))
            np.add.at(sums, kept, part)
            means.append(sums / np.bincount(kept)[:, None])
        reduced = np.concatenate(means).astype(np.float32)
        least = min(bounds.least, len(reduced))
        most = min(bounds.most or max(self.max_num_speakers, bounds.least), len(reduced))
        return self._labelled(similarity(reduced), least, most, None)[clusters]

    def _labelled(self, similarity: Float32, least: int, most: int, counted: int | None) -> Int64:
        num = len(similarity)
        if num <= LEAST_ROWS:
            estimate, ties = self._search(similarity, most, fixed=self.max_rp_threshold)
            graph = similarity
        else:
            estimate, ties = self._search(similarity, most, fixed=self.fixed_thres)
            graph = tied(similarity, ties)
        num_speakers = max(least, min(counted or estimate, most))
        points = low_eigenvectors(graph, num_speakers)
        labels = seeded_kmeans(points, num_speakers)
        if len(np.unique(labels)) < num_speakers:  # a start that caught nobody
            labels = kmeans(points, num_speakers)
        return labels

    def _search(self, similarity: Float32, most: int, *, fixed: float | None) -> tuple[int, int]:
        share = self.max_rp_threshold if fixed is None else fixed
        return search(
            similarity,
            most,
            max_share=share,
            steps=self.sparse_search_volume if fixed is None else 0,
            vote=self.maj_vote_spk_count,
        )


def similarity(rows: Array) -> Float32:
    """Cosines of `rows` `(n, dimension)`, moved and scaled to reach from 0 to 1. `(n, n)`."""
    unit = np.asarray(rows, np.float32)
    unit = unit / (np.linalg.norm(unit, axis=1, keepdims=True) + _NORM_EPS)
    cosine: Float32 = unit @ unit.T
    np.fill_diagonal(cosine, 1)
    low, high = cosine.min(initial=1), cosine.max(initial=1)
    if high == low:
        return np.ones_like(cosine)
    cosine -= low
    cosine /= high - low
    return cosine


def tied(similarity: Float32, ties: int) -> Float32:
    """A graph `(n, n)` in which each row is tied to the `ties` most like it, itself among them; one way counts half."""
    num = len(similarity)
    ties = min(ties, num)
    graph = np.zeros((num, num), np.float32)
    for first in range(0, num if ties > 0 else 0, _ROWS):
        nearest = np.argpartition(-similarity[first : first + _ROWS], ties - 1, axis=1)[:, :ties]
        np.put_along_axis(graph[first : first + _ROWS], nearest, np.float32(0.5), axis=1)
    for first in range(0, num, _ROWS):  # a large graph has no room for a copy of itself
        last = first + _ROWS
        both = graph[first:last, first:] + graph[first:, first:last].T
        graph[first:last, first:], graph[first:, first:last] = both, both.T
    return graph


def laplacian(graph: Float32) -> Float32:
    """Degrees less ties; a row has no tie to itself."""
    ties = graph.copy()
    np.fill_diagonal(ties, 0)
    result: Float32 = np.diag(np.abs(ties).sum(axis=1)) - ties
    return result


def candidates(num: int, max_share: float, steps: int) -> Int64:
    """The values of `p` to try; `steps` of them up to `max_share` of `num` rows, or, with 0 steps, that one alone."""
    most = max(int(np.floor(np.float32(num * max_share))), 2)
    if steps == 0:
        return np.array([most])
    steps = min(most, max(min(most, steps), 2))
    step = np.float32(most - 1) / np.float32(max(1, steps - 1))
    index = np.arange(steps)
    line = np.where(index < steps // 2, np.float32(1) + step * index, np.float32(most) - step * (steps - 1 - index))
    return np.asarray(line.astype(np.float32), np.int64)


def search(
    similarity: Float32, most: int, *, max_share: float, steps: int, rows: int = SEARCH_ROWS, vote: bool = False
) -> tuple[int, int]:
    """The number of speakers, `most` at most, and `p` for the whole graph, by the normalised maximum eigengap."""
    stride = int(max(1, len(similarity) / rows))
    few = similarity[::stride, ::stride]
    values = candidates(len(few), max_share, steps)
    ratios, counts = np.transpose([_eigen_ratio(few, int(p), most) for p in values])
    best = int(np.argmin(ratios))
    if not connected(tied(few, int(values[best]))):
        best = _first_connected(few, values)
    ties = int(stride * values[best])
    if vote:
        found, votes = np.unique(counts, return_counts=True)
        return int(found[votes.argmax()]), ties
    return int(counts[best]), ties


def _eigen_ratio(similarity: Float32, ties: int, most: int) -> tuple[float, int]:
    """`(p / n) / (largest gap / largest eigenvalue)`, and the place of that gap."""
    values = np.sort(eigvalsh(laplacian(tied(similarity, ties)), check_finite=False))
    gaps = np.diff(values)[:most]
    place = int(gaps.argmax())
    gap = gaps[place] / (values[-1] + _GAP_EPS)
    return (ties / len(similarity)) / (gap + _GAP_EPS), place + 1


def connected(graph: Float32) -> bool:
    """Whether every row can be reached from every other."""
    return bool(connected_components(graph > 0, directed=False, return_labels=False) == 1)


def _first_connected(similarity: Float32, values: Int64) -> int:
    """Which of the growing `values` of `p` follows the first that connects the graph; the last where none does."""
    for index, ties in enumerate(values[:-1]):
        if connected(tied(similarity, int(ties))):
            return index + 1
    return len(values) - 1


def count_with_anchors(rows: Array) -> int:
    """How many speakers a few `rows` `(n, dimension)` are of: the most frequent count of five trials.

    Each adds three anchors of ten rows, voices that nobody has, counts all by the eigengap, and takes three off.
    """
    rows = np.asarray(rows, np.float32)
    counts = []
    for seed in range(TRIALS):
        more = np.concatenate([*anchors(rows, TorchRandom(seed)), rows])
        most = min(len(rows), len(more) - 1)
        counts.append(search(similarity(more), most, max_share=TRIAL_SHARE, steps=TRIAL_STEPS, rows=TRIAL_ROWS)[0])
    found, votes = np.unique(counts, return_counts=True)
    return max(int(found[votes.argmax()]) - ANCHORS, 1)


def anchors(rows: Float32, random: TorchRandom) -> list[Float32]:
    """Rows `(10, dimension)` of each anchor: a normal vector, and noise that is as wide as `rows` in each dimension."""
    width = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1], np.float32)
    made = []
    for _ in range(ANCHORS):
        centre = random.normal(1, rows.shape[1])
        noise = random.normal(ANCHOR_ROWS, rows.shape[1])
        noise = noise / np.abs(noise).max(axis=1, keepdims=True) * width
        made.append((centre + np.float32(ANCHOR_SIGMA) * noise).astype(np.float32))
    return made


def low_eigenvectors(graph: Float32, num: int) -> Float32:
    """The `num` lowest eigenvectors of a graph's Laplacian, the lowest last. `(n, num)`."""
    if len(graph) > DENSE_ROWS:
        found = _iterated(graph, num)
        if found is not None:
            return found
    vectors = eigh(laplacian(graph), driver="evd", check_finite=False)[1][:, :num]
    return np.asarray(vectors[:, ::-1], np.float32)


def _iterated(graph: Float32, num: int) -> Float32 | None:
    """The same by Lanczos' iteration on what the Laplacian leaves of twice the highest degree; None where it fails."""
    np.fill_diagonal(graph, 0)
    degrees = graph.sum(axis=1)  # none of a large graph's ties is below 0
    bound = 2 * degrees.max()

    def applied(vector: Array) -> Array:
        vector = vector.reshape(-1)
        result: Array = (bound - degrees) * vector + graph @ vector
        return result

    operator = LinearOperator(graph.shape, matvec=applied, dtype=np.float32)
    start = np.random.default_rng(0).normal(size=len(graph)).astype(np.float32)
    try:
        values, vectors = eigsh(operator, k=num, which="LA", ncv=min(len(graph), max(40, 2 * num + 20)), v0=start)
    except ArpackError:
        return None
    return np.asarray(vectors[:, np.argsort(values)], np.float32)


def seeded_kmeans(points: Float32, num_clusters: int, seed: int = 0) -> Int64:
    """Labels `(n,)` of `points` `(n, dimension)` by NeMo's k-means: some of the labels may be nobody's."""
    labels = np.zeros(len(points), np.int64)
    if num_clusters < 2:
        return labels
    points = np.ascontiguousarray(points, np.float32)
    random = TorchRandom(seed)
    centers = _starts(points, num_clusters, random)
    for _ in range(ROUNDS):
        labels = _squared(points, centers).argmin(axis=1)
        before = centers.copy()
        for index in range(num_clusters):
            chosen = points[labels == index]
            centers[index] = chosen.mean(axis=0) if len(chosen) else points[random.integer(len(points))]
        if np.square(np.sqrt(np.square(centers - before).sum(axis=1)).sum()) < SHIFT:
            break
    return labels


def _starts(points: Float32, num_clusters: int, random: TorchRandom) -> Float32:
    """Starts that lie apart: of thirty points drawn by squared distance, the one that leaves the least of it."""
    centers = np.zeros((num_clusters, points.shape[1]), np.float32)
    centers[0] = points[random.integer(len(points))]
    distance = _squared(points, centers[:1])[:, 0]
    for index in range(1, num_clusters):
        drawn = random.uniform(STARTS) * distance.sum()
        chosen = np.minimum(np.searchsorted(np.cumsum(distance), drawn), len(points) - 1)
        left = np.minimum(distance[:, None], _squared(points, points[chosen]))
        best = int(left.sum(axis=0).argmin())
        centers[index], distance = points[chosen[best]], left[:, best]
    return centers


def _squared(points: Float32, centers: Float32) -> Float32:
    """Squared distances `(n, num_centers)`."""
    distance: Float32 = np.square(points[:, None] - centers[None]).sum(axis=2)
    return distance
