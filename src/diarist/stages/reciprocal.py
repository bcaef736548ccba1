"""Average or centroid linkage from cluster sums alone, by rounds of reciprocal nearest neighbours.

Two clusters that are each other's nearest are merged at once, wherever they are in the order of distances. In a
reducible linkage (average is one) this grows the tree that merging the nearest pair of all grows, and the distance from
a cluster to its nearest never shrinks: what lies beyond the limit can be set aside for good, and a nearest neighbour
has to be found again only when it was itself merged (Müllner, "Modern hierarchical, agglomerative clustering
algorithms", 2011). Memory is a strip of the matrix of distances; the work is matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from diarist.core.types import Float32, Float64, Int64

STRIP_BYTES = 32 << 20


class Forest:
    """A tree of `num_rows` rows while it grows, as scipy writes it: a line of (node, node, height, size) a merge."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self.tree: Float64 = np.zeros((num_rows - 1, 4))
        self.num_merges = 0

    def add(self, first: Int64, second: Int64, heights: Float64, sizes: Int64) -> Int64:
        """Write down merges of nodes `first` and `second`; returns the nodes that they make."""
        new = slice(self.num_merges, self.num_merges + len(first))
        self.tree[new] = np.column_stack(
            [np.minimum(first, second), np.maximum(first, second), np.maximum(heights, 0), sizes]  # 1 - 1 may be -1e-8
        )
        self.num_merges = new.stop
        return self.num_rows + np.arange(new.start, new.stop)

    def close(self, clusters: Clusters) -> Float64:
        """Join what is left infinitely high; returns the whole tree `(num_rows - 1, 4)`."""
        left, size = clusters.nodes[:1], clusters.sizes[:1]
        for index in range(1, len(clusters.nodes)):
            size = size + clusters.sizes[index]
            left = self.add(left, clusters.nodes[index : index + 1], np.full(1, np.inf), size)
        return self.tree


@dataclass
class Clusters:
    """Clusters: `means` `(m, dimension)`, `sizes` `(m,)`, `nodes` `(m,)` in the forest.

    `owners` `(k,)` and `groups` `(k,)` say which cluster each row that has a group is in: two clusters that hold rows
    of one group are infinitely far apart.
    """

    means: Float32
    sizes: Int64
    nodes: Int64
    owners: Int64
    groups: Int64

    def part(self, first: int, last: int) -> Clusters:
        """Clusters `first` to before `last`."""
        chosen = (self.owners >= first) & (self.owners < last)
        cut = slice(first, last)
        return Clusters(
            self.means[cut], self.sizes[cut], self.nodes[cut], self.owners[chosen] - first, self.groups[chosen]
        )

    def take(self, chosen: Int64) -> Clusters:
        """Clusters by index."""
        place = np.full(len(self.nodes), -1)
        place[chosen] = np.arange(len(chosen))
        owners = place[self.owners]
        kept = owners >= 0
        return Clusters(self.means[chosen], self.sizes[chosen], self.nodes[chosen], owners[kept], self.groups[kept])

    @staticmethod
    def concatenate(parts: list[Clusters]) -> Clusters:
        """All clusters of all parts, in order."""
        starts = np.cumsum([0, *(len(p.nodes) for p in parts)])
        return Clusters(
            np.concatenate([p.means for p in parts]),
            np.concatenate([p.sizes for p in parts]),
            np.concatenate([p.nodes for p in parts]),
            np.concatenate([p.owners + start for p, start in zip(parts, starts, strict=False)]),
            np.concatenate([p.groups for p in parts]),
        )


def join(clusters: Clusters, forest: Forest, limit: float, *, squared: bool, lift: float = 0.0) -> Clusters:
    """Merge clusters up to the distance `limit`; returns what is left, each in the place of its first member.

    The distance is `1 - mean.mean` or, where `squared`, the euclidean one of the means. Merges are written to `forest`
    with `lift` added to their heights. The arrays of `clusters` are worked in, and hold nothing afterwards.
    """
    rounds = _Rounds(clusters, limit, squared)
    wanted = np.arange(len(clusters.nodes))
    while len(wanted):
        rounds.find_nearest(wanted)
        first, second = rounds.reciprocal()
        wanted = rounds.pointed_at_but_stale()
        if not len(first) and not len(wanted):
            wanted = np.flatnonzero(rounds.alive & ~rounds.fresh)
            if not len(wanted):  # a ring of distances equal but for rounding, or nothing left
                first, second = rounds.nearest_of_all()
        if len(first):
            sizes, nodes = rounds.sizes[first] + rounds.sizes[second], rounds.nodes
            made = forest.add(nodes[first], nodes[second], rounds.gap[first] + lift, sizes)
            rounds.merge(first, second, made)
            wanted = first
    return rounds.left()


class _Rounds:
    """The state between rounds: of each cluster which is nearest, how far that is, and whether it still holds."""

    def __init__(self, clusters: Clusters, limit: float, squared: bool) -> None:
        num = len(clusters.nodes)
        self.means, self.sizes, self.nodes = clusters.means, clusters.sizes, clusters.nodes
        self.owners, self.groups = clusters.owners, clusters.groups
        self.limit = limit
        self.squared = squared
        self.nearest = np.zeros(num, np.int64)
        self.gap: Float64 = np.zeros(num)
        self.alive = np.ones(num, bool)  # may still merge
        self.absorbed = np.zeros(num, bool)  # lives on in another
        self.fresh = np.zeros(num, bool)  # `nearest` holds
        self._gather()

    def _gather(self) -> None:
        """Lay the means of all that may still merge side by side."""
        self.columns = np.flatnonzero(self.alive)
        self.pool = self.means[self.columns]
        self.place = np.zeros(len(self.alive), np.int64)
        self.place[self.columns] = np.arange(len(self.columns))
        self.bias = self._bias(self.pool)

    def _bias(self, means: Float32) -> Float32:
        """What a cluster adds to its distance from any other, `(m,)`."""
        return np.einsum("md,md->m", means, means) if self.squared else np.ones(len(means), np.float32)

    def find_nearest(self, wanted: Int64) -> None:
        """Find the nearest of the clusters `wanted` again; those with none within the limit are done."""
        if self.alive.sum() < 0.7 * len(self.columns):
            self._gather()
        strip = max(1, STRIP_BYTES // (4 * max(1, len(self.columns))))
        for start in range(0, len(wanted), strip):
            rows = wanted[start : start + strip]
            distance = self.means[rows] @ self.pool.T
            distance *= -2 if self.squared else -1
            distance += self.bias
            distance[np.arange(len(rows)), self.place[rows]] = np.inf
            if len(self.owners):
                distance[self._conflicts(rows)] = np.inf
            best = distance.argmin(axis=1)
            gap = distance[np.arange(len(rows)), best].astype(np.float64)
            if self.squared:
                gap = np.sqrt(np.maximum(gap + self._bias(self.means[rows]), 0))
            self.nearest[rows], self.gap[rows], self.fresh[rows] = self.columns[best], gap, True
            done = rows[~(gap <= self.limit) | np.isinf(gap)]
            self.alive[done] = False
            self.bias[self.place[done]] = np.inf

    def _conflicts(self, rows: Int64) -> tuple[Int64, Int64]:
        """Which of `rows` hold a group that another living cluster holds: places in a strip of distances."""
        living = self.alive[self.owners]
        shape = (len(self.alive), int(self.groups.max()) + 1)
        holds = csr_array((np.ones(living.sum()), (self.owners[living], self.groups[living])), shape=shape)
        row, other = (holds[rows] @ holds.T).nonzero()
        return row, self.place[other]

    def reciprocal(self) -> tuple[Int64, Int64]:
        """Pairs that are each other's nearest, the first before the second."""
        first = np.flatnonzero(self.alive & self.fresh)
        second = self.nearest[first]
        pair = (first < second) & (self.nearest[second] == first) & self.alive[second] & self.fresh[second]
        return first[pair], second[pair]

    def pointed_at_but_stale(self) -> Int64:
        """Clusters that somebody's nearest is, and whose own nearest is not known."""
        self.fresh &= self.alive[self.nearest]
        target = self.nearest[self.alive & self.fresh]
        return np.unique(target[~self.fresh[target]])

    def nearest_of_all(self) -> tuple[Int64, Int64]:
        """The one nearest pair, if any may still merge."""
        living = np.flatnonzero(self.alive)
        if not len(living):
            return living, living
        first = living[self.gap[living].argmin()]
        pair = np.sort([first, self.nearest[first]])
        return pair[:1], pair[1:]

    def merge(self, first: Int64, second: Int64, nodes: Int64) -> None:
        """Each of `first` takes in its `second` and becomes one of `nodes`."""
        share = (self.sizes[second] / (self.sizes[first] + self.sizes[second])).astype(np.float32)[:, None]
        self.means[first] += share * (self.means[second] - self.means[first])
        self.sizes[first] += self.sizes[second]
        self.nodes[first] = nodes
        self.alive[second], self.absorbed[second] = False, True
        self.pool[self.place[first]] = self.means[first]
        self.bias[self.place[first]] = self._bias(self.means[first])
        self.bias[self.place[second]] = np.inf
        moved = np.arange(len(self.alive))
        moved[second] = first
        self.owners = moved[self.owners]
        touched = np.zeros(len(self.alive), bool)
        touched[first] = touched[second] = True
        self.fresh &= ~touched[self.nearest] & ~touched

    def left(self) -> Clusters:
        """The clusters that there are now."""
        everything = Clusters(self.means, self.sizes, self.nodes, self.owners, self.groups)
        return everything.take(np.flatnonzero(~self.absorbed))
