"""The random numbers that torch draws on a CPU, without torch.

So that the two steps of NeMo's clustering that leave something to chance (anchors for short recordings, the starts of
k-means) come out as NeMo's do. The generator is MT19937 (Matsumoto and Nishimura, 1998), seeded as in their paper; a
float takes the lower 24 bits of a word; normal numbers are made in rows of 16 by the transform of Box and Muller, the
first eight words giving radii and the other eight angles.
"""

from __future__ import annotations

import numpy as np

from diarist.core.types import Float32, Int64

_ROW = 16


class TorchRandom:
    """What `torch.manual_seed(seed)` starts."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed)  # the seeding of MT19937 that torch has too

    def integer(self, high: int) -> int:
        """As `torch.randint(0, high, (1,))`."""
        return int(self._draw(1)[0]) % high

    def uniform(self, num: int) -> Float32:
        """As `torch.rand(num)`: `(num,)` in [0, 1)."""
        return np.asarray((self._draw(num) & 0xFFFFFF) / (1 << 24), np.float32)

    def normal(self, rows: int, columns: int) -> Float32:
        """As `torch.randn(rows, columns)` where that has 16 numbers or more."""
        num = rows * columns
        values = self.uniform(max(num, _ROW))
        whole = len(values) // _ROW * _ROW
        normal = values.copy()
        normal[:whole] = _box_muller(values[:whole])
        if whole < len(values):  # the last row is drawn again, over the end of the one before
            normal[-_ROW:] = _box_muller(self.uniform(_ROW))
        drawn: Float32 = normal[:num].reshape(rows, columns)
        return drawn

    def _draw(self, num: int) -> Int64:
        words: Int64 = np.asarray(self._words.randint(0, 1 << 32, size=num, dtype=np.uint32), np.int64)
        return words


def _box_muller(uniform: Float32) -> Float32:
    """Rows of 16 uniform numbers to rows of 16 normal ones."""
    pairs = uniform.reshape(-1, 2, _ROW // 2)
    radius = np.sqrt(-2 * np.log(1 - pairs[:, 0]))
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    return np.asarray(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), np.float32).reshape(-1)
