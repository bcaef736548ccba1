"""CAM++ on ONNX Runtime, from the tensors of its checkpoint."""

from __future__ import annotations

import numpy as np

from diarist.core.protocols import EmbeddingSpec
from diarist.core.types import Float32
from diarist.models.nets import campplus, campplus_int8
from diarist.models.onnx import check_features, check_weights, session


class CamPlusPlus:
    """CAM++ from the tensors of its checkpoint: see `nets/campplus.py`.

    In eight bits it is three times faster; embeddings keep a cosine of .99 to those of float32.
    """

    spec = EmbeddingSpec(dimension=192, min_frames=2, map_stride=campplus.STRIDE)

    def __init__(self, tensors: campplus.Tensors, *, int8: bool = False) -> None:
        graph = campplus_int8.frames_graph(tensors, campplus_int8.ranges()) if int8 else campplus.frames_graph(tensors)
        self._session = session(graph.serialize())
        self._head = campplus.Head.of(tensors)

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to `(batch, ceil(num_fbank / 2), 512)`.

        Features should have their mean removed. Stretches are filled with zeros, that is the mean, to a multiple of
        two seconds: stretches of ten seconds need none.
        """
        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        num_maps = -(-num_fbank // campplus.STRIDE)
        maps = np.empty((batch, num_maps, campplus.CHANNELS), dtype=np.float32)
        if num_maps:
            padded = np.zeros((1, -(-num_fbank // campplus.MULTIPLE) * campplus.MULTIPLE, 80), dtype=np.float32)
            for row in range(batch):
                padded[0, :num_fbank] = fbank[row]
                maps[row] = self._session.run(["maps"], {"fbank": padded})[0][0, :num_maps]
        return maps

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Maps `(batch, num_maps, 512)` under `(batch, num_local, num_maps)` to `(batch, num_local, 192)`."""
        check_weights(maps, weights)
        return self._head(weighted_statistics(maps, weights, self.spec.min_frames))


def weighted_statistics(maps: Float32, weights: Float32, min_frames: int) -> Float32:
    """Mean and unbiased standard deviation over time under weights, `(batch, num_local, 2 * channels)`.

    NaN where fewer than `min_frames` weights are above zero. With weights of 0 and 1 they are those of the chosen maps.
    """
    weights = np.asarray(weights, dtype=np.float32)
    total = weights.sum(axis=2, keepdims=True)
    few = np.count_nonzero(weights, axis=2, keepdims=True) < min_frames
    total = np.where(few, np.float32(1), total)
    centre = maps.mean(axis=1, keepdims=True) if maps.shape[1] else np.zeros_like(maps[:, :1])
    centred = maps - centre  # keeps the squares small, so that float32 is enough
    mean: Float32 = weights @ centred / total
    spread = total - np.square(weights).sum(axis=2, keepdims=True) / total
    square = weights @ np.square(centred) - total * np.square(mean)
    deviation = np.sqrt(np.maximum(square, 0) / np.where(spread > 0, spread, np.float32(1)))
    statistics: Float32 = np.concatenate([mean + centre, deviation], axis=2)
    statistics[few[..., 0]] = np.nan
    return statistics
