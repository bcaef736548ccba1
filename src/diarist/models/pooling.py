"""Statistics over time under the weights of each speaker: how embedding networks pool."""

from __future__ import annotations

import numpy as np

from diarist.core.types import Float32


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
