"""Agglomerative hierarchical clustering: merge the two nearest clusters until they are too far apart.

Up to `EXACT_ROWS` rows the tree is scipy's. Above, a matrix of all distances would not fit, and two stages keep time
and memory near-linear: rows are merged within blocks of neighbours in time, then what is left is joined from the sums
of the clusters. Average linkage on cosine distance is exact from sums: the mean of `1 - a.b` over all pairs of unit
vectors is `1 - mean(a).mean(b)`, so that the second stage grows the tree that a full matrix would from the same
clusters (`reciprocal.py` says how). Centroid linkage goes through the same rounds, which its few inversions make
approximate. Complete linkage, and average linkage of euclidean distances, have no form in sums: they join the clusters
of the blocks by average (cosine) or centroid (euclidean) linkage.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist

from diarist.core.types import Float64, Int64, SpeakerBounds
from diarist.errors import UsageError
from diarist.stages.plda import unit_length
from diarist.stages.reciprocal import Clusters, Forest, join

Array = NDArray[np.floating[Any]]
Linkage = Literal["average", "centroid", "complete"]
Metric = Literal["cosine", "euclidean"]

EXACT_ROWS = 4096  # up to here one matrix of all distances
BLOCK_ROWS = 256  # of the first stage
BLOCK_CLUSTERS = 2048  # of a pass between the first stage and the last
KEPT_PER_BLOCK = 32  # clusters that a block of the first stage is brought to where no threshold is given
FAR = 1e9  # times the largest distance: between rows of one group


def cluster(
    embeddings: Array,
    *,
    linkage: Linkage,
    threshold: float | None = None,
    num_clusters: int | None = None,
    metric: Metric = "cosine",
    groups: Int64 | None = None,
    min_size: int = 1,
) -> Int64:
    """Labels `(n,)`, from 0, of `embeddings` `(n, dimension)`, in order of time.

    Give either `threshold`, the distance up to which clusters merge, or `num_clusters`, which is reached whenever there
    are as many rows. `metric` is the distance (centroid linkage takes the euclidean distance of unit vectors for
    cosine). Two rows of one group of `groups` `(n,)` (-1: none) are never in one cluster, unless a count cannot be
    reached otherwise. Clusters of fewer than `min_size` rows do not count and join the one with the nearest mean.
    Raises `UsageError` for embeddings that are not finite or, for cosine, zero.
    """
    if (threshold is None) == (num_clusters is None):
        raise UsageError("agglomerative clustering needs either a threshold or a number of clusters")
    bounds = SpeakerBounds() if num_clusters is None else SpeakerBounds.of(num_clusters)
    return _cluster(embeddings, bounds, threshold, linkage, metric, groups, min_size)


def cluster_within(
    embeddings: Array,
    bounds: SpeakerBounds,
    *,
    linkage: Linkage,
    threshold: float,
    metric: Metric = "cosine",
    groups: Int64 | None = None,
    min_size: int = 1,
) -> Int64:
    """`cluster()` at a threshold, moved to the nearest cut whose number of clusters lies within `bounds`.

    The bounds are met whenever there are `bounds.least` rows; small clusters count only where no cut does without.
    """
    return _cluster(embeddings, bounds, threshold, linkage, metric, groups, min_size)


def _cluster(
    embeddings: Array,
    bounds: SpeakerBounds,
    threshold: float | None,
    linkage: Linkage,
    metric: Metric,
    groups: Int64 | None,
    min_size: int,
) -> Int64:
    rows = _checked(embeddings, metric)
    if groups is not None and np.shape(groups) != rows.shape[:1]:
        raise UsageError(f"{len(rows)} embeddings need as many groups, not {np.shape(groups)}")
    if len(rows) < 2:
        return np.zeros(len(rows), np.int64)
    if len(rows) <= EXACT_ROWS:
        tree = _exact_tree(rows, linkage, metric, groups)
    else:
        tree = _two_stage_tree(rows, linkage, metric, groups, threshold, bounds.most or len(rows))
    merges, min_size = _choose(tree, bounds, threshold, min_size)
    labels = _cut(tree, merges)
    return labels if min_size <= 1 else _absorb_small(rows, labels, min_size, metric, groups)


def _checked(embeddings: Array, metric: Metric) -> Array:
    rows = np.asarray(embeddings)
    if rows.ndim != 2:
        raise UsageError(f"embeddings must come as (n, dimension), not {rows.shape}")
    if metric == "cosine":
        return unit_length(rows)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise UsageError(f"row {bad[0]} of the embeddings is not finite: drop such rows before clustering")
    return rows


def _choose(tree: Float64, bounds: SpeakerBounds, threshold: float | None, min_size: int) -> tuple[int, int]:
    """How many of the lowest merges to make, and the size from which clusters count."""
    num_rows = len(tree) + 1
    order, heights = _order(tree)
    sizes = np.r_[np.ones(num_rows, np.int64), tree[:, 3].astype(np.int64)] >= min_size
    children = tree[order, :2].astype(np.int64)
    change = sizes[num_rows:][order].astype(np.int64) - sizes[children[:, 0]] - sizes[children[:, 1]]
    counts = np.r_[0, np.cumsum(change)] + int(sizes[:num_rows].sum())  # large clusters after so many merges
    merges = len(tree) if threshold is None else int(np.searchsorted(heights, threshold, side="right"))
    target = bounds.clip(int(counts[merges]))
    if counts[merges] == target:
        return merges, min_size
    fitting = np.flatnonzero(counts == target)
    if len(fitting):
        return int(fitting[np.abs(fitting - merges).argmin()]), min_size
    return num_rows - min(target, num_rows), 1


def _order(tree: Float64) -> tuple[Int64, Float64]:
    """Merges from low to high, and their heights; one that lies below its children is as high as they are."""
    heights = hierarchy.maxdists(tree)
    order = np.argsort(heights, kind="stable")
    return order, heights[order]


def _cut(tree: Float64, merges: int) -> Int64:
    """Labels `(n,)` after the lowest `merges` merges."""
    order, _ = _order(tree)
    rank = np.empty(len(tree))
    rank[order] = np.arange(len(tree))
    labels: Int64 = hierarchy.fcluster(tree, merges - 0.5, "monocrit", monocrit=rank).astype(np.int64) - 1
    return labels


def _absorb_small(rows: Array, labels: Int64, min_size: int, metric: Metric, groups: Int64 | None) -> Int64:
    """Give each cluster under `min_size` to the large one with the nearest mean and no row of a common group."""
    sizes = np.bincount(labels)
    large, small = np.flatnonzero(sizes >= min_size), np.flatnonzero(sizes < min_size)
    if not len(small) or not len(large):
        return np.unique(labels, return_inverse=True)[1] if len(large) else np.zeros_like(labels)
    means = _means(rows, labels, len(sizes))
    taken: dict[int, set[int]] = defaultdict(set)
    if groups is not None:
        for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
            if group >= 0 and sizes[label] >= min_size:
                taken[group].add(label)
    inside = np.argsort(labels, kind="stable")
    ends = np.cumsum(sizes)
    for label in small.tolist():
        members = inside[ends[label] - sizes[label] : ends[label]]
        distance = _to_means(means[label], means[large], metric)
        own = [g for g in groups[members].tolist() if g >= 0] if groups is not None else []
        conflict = np.isin(large, list(set().union(*(taken[g] for g in own))))
        distance[conflict] += FAR
        labels[members] = chosen = large[int(distance.argmin())]
        for group in own:
            taken[group].add(int(chosen))
    return np.unique(labels, return_inverse=True)[1]


def _means(rows: Array, labels: Int64, num: int) -> Float64:
    """Mean row of each label `(num, dimension)`."""
    member = csr_array((np.ones(len(rows)), (labels, np.arange(len(rows)))), shape=(num, len(rows)))
    means: Float64 = np.asarray(member @ rows, np.float64) / np.maximum(np.bincount(labels, minlength=num), 1)[:, None]
    return means


def _to_means(point: Float64, means: Float64, metric: Metric) -> Float64:
    if metric == "cosine":
        lengths = np.linalg.norm(means, axis=1) * np.linalg.norm(point)
        cosine: Float64 = 1 - means @ point / np.where(lengths > 0, lengths, 1)
        return cosine
    distance: Float64 = np.linalg.norm(means - point, axis=1)
    return distance


def distances(rows: Array, linkage: Linkage, metric: Metric = "cosine", groups: Int64 | None = None) -> Float64:
    """What the exact tree is grown from, in scipy's order `(n (n - 1) / 2,)`; rows of one group are so far apart that
    they meet only above all else."""
    rows = rows.astype(np.float64)
    num = len(rows)
    if metric == "cosine" and linkage != "centroid":
        distance: Float64 = np.empty(num * (num - 1) // 2)
        similarity = rows @ rows.T
        filled = 0
        for row in range(num - 1):
            distance[filled : filled + num - row - 1] = similarity[row, row + 1 :]
            filled += num - row - 1
        np.clip(np.subtract(1, distance, out=distance), 0, None, out=distance)
    else:
        distance = pdist(rows)
    if groups is not None:
        far = FAR * (1 + distance.max())
        filled = 0
        for row in range(num - 1):
            same = (groups[row + 1 :] == groups[row]) & (groups[row] >= 0)
            distance[filled : filled + num - row - 1][same] = far
            filled += num - row - 1
    return distance


def dendrogram(distance: Float64, linkage: Linkage) -> Float64:
    """scipy's tree `(n - 1, 4)` of what `distances` gave."""
    tree: Float64 = hierarchy.linkage(distance, linkage)
    return tree


def _exact_tree(rows: Array, linkage: Linkage, metric: Metric, groups: Int64 | None) -> Float64:
    return dendrogram(distances(rows, linkage, metric, groups), linkage)


def _two_stage_tree(
    rows: Array, linkage: Linkage, metric: Metric, groups: Int64 | None, threshold: float | None, most: int
) -> Float64:
    """A tree that is right up to `threshold`, and on down to `most` clusters; above, what is left meets at infinity."""
    forest = Forest(len(rows))
    limit = np.inf if threshold is None else threshold
    squared = metric == "euclidean" or linkage == "centroid"
    clusters = _merge_blocks(rows, forest, linkage, metric, groups, threshold)
    while len(clusters.nodes) > 2 * BLOCK_CLUSTERS and threshold is not None:
        parts = [
            join(clusters.part(first, first + BLOCK_CLUSTERS), forest, limit, squared=squared)
            for first in range(0, len(clusters.nodes), BLOCK_CLUSTERS)
        ]
        joined = Clusters.concatenate(parts)
        if len(joined.nodes) > 0.8 * len(clusters.nodes):
            clusters = joined
            break
        clusters = joined
    clusters = join(clusters, forest, limit, squared=squared)
    if len(clusters.nodes) > most:
        clusters = join(clusters, forest, np.inf, squared=squared)
    if len(clusters.nodes) > most:  # every pair left shares a group
        clusters.owners = clusters.groups = np.zeros(0, np.int64)
        clusters = join(clusters, forest, np.inf, squared=squared, lift=FAR)
    return forest.close(clusters)


def _merge_blocks(
    rows: Array, forest: Forest, linkage: Linkage, metric: Metric, groups: Int64 | None, threshold: float | None
) -> Clusters:
    """The first stage: a tree for each block of rows, cut at the threshold or, without one, to a few clusters."""
    parts: list[Clusters] = []
    for first in range(0, len(rows), BLOCK_ROWS):
        block = rows[first : first + BLOCK_ROWS]
        own = None if groups is None else groups[first : first + BLOCK_ROWS]
        parts.append(_merge_block(block, first, forest, _exact_tree(block, linkage, metric, own), threshold, own))
    return Clusters.concatenate(parts)


def _merge_block(
    block: Array, first: int, forest: Forest, tree: Float64, threshold: float | None, groups: Int64 | None
) -> Clusters:
    """Make the low merges of the `tree` of one block, whose rows start at `first`, in the forest."""
    num = len(block)
    order, heights = _order(tree)
    merges = num - KEPT_PER_BLOCK if threshold is None else int(np.searchsorted(heights, threshold, side="right"))
    made = np.sort(order[: max(merges, 0)])
    nodes = np.r_[first + np.arange(num), np.full(len(tree), -1)]
    nodes[num + made] = forest.num_rows + forest.num_merges + np.arange(len(made))
    children = nodes[tree[made, :2].astype(np.int64)]
    forest.add(children[:, 0], children[:, 1], tree[made, 2], tree[made, 3].astype(np.int64))
    labels = _cut(tree, len(made))
    leaders, names = hierarchy.leaders(tree, (labels + 1).astype(np.int32))
    top = np.empty(len(leaders), np.int64)
    top[names - 1] = nodes[leaders]
    grouped = np.zeros(0, np.int64) if groups is None else np.flatnonzero(groups >= 0)
    return Clusters(
        _means(block, labels, len(top)).astype(np.float32),
        np.bincount(labels),
        top,
        labels[grouped],
        np.zeros(0, np.int64) if groups is None else groups[grouped],
    )
