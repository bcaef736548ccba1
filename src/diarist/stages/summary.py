"""A bounded number of embeddings for an unbounded session: those near in time that sound alike become one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diarist.core.types import Float32, Int64

REACH = 32  # rows; who sounds alike is looked for so far


@dataclass
class Rows:
    """At most `most` rows in order of time: `sums` `(num_rows, dimension)` of the unit embeddings that each stands for,
    `sizes` `(num_rows,)` how many they are."""

    most: int
    sums: Float32
    sizes: Int64
    num: int = 0

    @classmethod
    def empty(cls, most: int, dimension: int) -> Rows:
        """None yet."""
        return cls(most, np.zeros((0, dimension), np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self.num

    def add(self, voice: Float32) -> Int64 | None:
        """Add one unit embedding as the last row. Where there are too many then, half of them are left: returns the
        new number of each row."""
        if self.num == len(self.sizes):
            room = min(self.most, max(64, 2 * self.num)) + 1
            sums = np.zeros((room, self.sums.shape[1]), np.float32)
            sums[: self.num] = self.sums[: self.num]
            self.sums, self.sizes = sums, np.concatenate([self.sizes, np.zeros(room - self.num, np.int64)])
        self.sums[self.num], self.sizes[self.num] = voice, 1
        self.num += 1
        if self.num <= self.most:
            return None
        owner = merged(self.sums[: self.num], self.sizes[: self.num], self.most // 2)
        self.sums, self.sizes = joined(self.sums[: self.num], self.sizes[: self.num], owner)
        self.num = len(self.sizes)
        return owner

    def voices(self) -> Float32:
        """Unit mean of each row, `(num_rows, dimension)`."""
        sums = self.sums[: self.num]
        voices: Float32 = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return voices


def joined(sums: Float32, sizes: Int64, owner: Int64) -> tuple[Float32, Int64]:
    """Sums and sizes of the rows that `owner` `(num_rows,)` says, numbered from 0."""
    num = int(owner.max()) + 1 if len(owner) else 0
    total = np.zeros((num, sums.shape[1]), np.float32)
    np.add.at(total, owner, sums)
    return total, np.bincount(owner, weights=sizes, minlength=num).astype(np.int64)


def merged(sums: Float32, sizes: Int64, most: int) -> Int64:
    """The number of the row that each of `sums` `(num_rows, dimension)` joins, so that at most `most` are left.

    Again and again, two of `REACH` rows that follow each other, whose merger loses least (Ward: n m / (n + m) times the
    squared distance of their means), become one; in each round a third at most, and no row twice. The reach is what
    keeps voices apart: of two people who take turns, neighbours are never the same one. Rows are numbered in order of
    their first members.
    """
    owner = np.arange(len(sizes))
    while len(sizes) > max(most, 1):
        left = min(len(sizes) - most, max(1, len(sizes) // 3))
        step = _paired(*_likeliest(sums, sizes), left)
        sums, sizes = joined(sums, sizes, step)
        owner = step[owner]
    return owner


def _likeliest(sums: Float32, sizes: Int64) -> tuple[Float32, Int64]:
    """The row after each, but within reach, with which its merger costs least, and that cost: twice `(num_rows,)`."""
    means = sums / sizes[:, None]
    number = sizes.astype(np.float32)
    cost = np.full(len(sizes), np.inf, dtype=np.float32)
    partner = np.arange(len(sizes))
    for apart in range(1, min(REACH, len(sizes))):
        one, other = number[:-apart], number[apart:]
        new = one * other / (one + other) * ((means[apart:] - means[:-apart]) ** 2).sum(axis=1)
        better = np.flatnonzero(new < cost[:-apart])
        cost[better], partner[better] = new[better], better + apart
    return cost, partner


def _paired(cost: Float32, partner: Int64, left: int) -> Int64:
    """The new number of each row, once up to `left` rows have taken their partners in, cheapest first."""
    taken = np.zeros(len(cost), dtype=bool)
    joins = np.arange(len(cost))
    for row in np.argsort(cost, kind="stable")[: len(cost) - 1]:  # the last row has no partner
        other = partner[row]
        if left and not taken[row] and not taken[other] and other != row:
            taken[row] = taken[other] = True
            joins[other] = row
            left -= 1
    kept = joins == np.arange(len(cost))
    return np.asarray((np.cumsum(kept) - 1)[joins])
