"""Statistics over time under the weights of each speaker: how embedding networks pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diarist.core.protocols import EmbeddingSpec
from diarist.core.types import Float32
from diarist.models.checks import check_weights


def weighted_statistics(maps: Float32, weights: Float32, min_frames: int) -> Float32:
    """Mean and unbiased standard deviation over time under weights, `(batch, num_local, 2 * channels)`.

    NaN where fewer than `min_frames` weights are above zero. With weights of 0 and 1 they are those of the chosen maps.
    """
    weights = np.asarray(weights, dtype=np.float32)
    total = weights.sum(axis=2, keepdims=True)
    few = np.count_nonzero(weights, axis=2, keepdims=True) < min_frames
    total = np.where(few, np.float32(1), total)
    centre = maps.sum(axis=1, keepdims=True) / max(1, maps.shape[1])
    centred = maps - centre  # keeps the squares small, so that float32 is enough
    mean: Float32 = weights @ centred / total
    spread = total - np.square(weights).sum(axis=2, keepdims=True) / total
    square = weights @ np.square(centred) - total * np.square(mean)
    deviation = np.sqrt(np.maximum(square, 0) / np.where(spread > 0, spread, np.float32(1)))
    statistics: Float32 = np.concatenate([mean + centre, deviation], axis=2)
    statistics[few[..., 0]] = np.nan
    return statistics


class StatisticsPooling:
    """`pool` of a network whose embeddings are one layer, its `_head`, on the statistics of its maps."""

    spec: EmbeddingSpec
    _head: Callable[[Float32], Float32]

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Maps `(batch, num_maps, channels)` under `(batch, num_local, num_maps)` to `(batch, num_local, size)`."""
        check_weights(maps, weights)
        return self._head(weighted_statistics(maps, weights, self.spec.min_frames))
