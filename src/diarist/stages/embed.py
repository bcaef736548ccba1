"""Voices of windows and of local speakers, pooled from one map of the audio.

The costly trunk of the embedding network runs once over the audio, in blocks; every voice after that is a weighted
pooling of its output, which is exact because masks act nowhere but in the pooling.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingModel
from diarist.core.time import Axis
from diarist.core.types import Float32, Int64

Value = TypeVar("Value", bound=np.generic)


def at_maps(values: NDArray[Value], frames: Axis, maps: Axis, first_map: int, num_maps: int) -> NDArray[Value]:
    """Values over segmentation frames `(num_frames,)` read at the middles of maps `first_map` and on: `(num_maps,)`."""
    if len(values) == 0:
        return np.zeros(num_maps, dtype=values.dtype)
    seconds = maps.middles(num_maps) + first_map * maps.step / maps.sample_rate
    index = np.rint((seconds * frames.sample_rate - frames.start - frames.size / 2) / frames.step).astype(np.int64)
    return values[np.clip(index, 0, len(values) - 1)]


def pool_windows(model: EmbeddingModel, maps: Float32, spans: Int64, mask: NDArray[np.bool_]) -> Float32:
    """One unit embedding a window: maps `(num_maps, channels)`, windows `(num_windows, 2)` in maps.

    Only maps where `mask` `(num_maps,)` is set count. Returns `(num_windows, dimension)`, NaN where too short.
    """
    low, high = int(spans[:, 0].min()), int(spans[:, 1].max())
    index = np.arange(low, high)
    inside = (index >= spans[:, :1]) & (index < spans[:, 1:]) & mask[low:high]
    return unit_rows(model.pool(maps[None, low:high], inside[None].astype(np.float32))[0])


def pool_local(
    model: EmbeddingModel, maps: Float32, active: NDArray[np.bool_], *, least: int, unit: bool = True
) -> Float32:
    """One embedding a local speaker of one chunk: maps `(num_maps, channels)`, `active` `(num_maps, num_local)`.

    Pools over the maps where the speaker talks alone; where those are fewer than `least`, over all of its maps; NaN
    where it is silent or too short. Returns `(num_local, dimension)`, of length 1 or, without `unit`, of the network's
    own length.
    """
    alone = active & (active.sum(axis=1, keepdims=True) == 1)
    weights = np.where(alone.sum(axis=0) >= least, alone, active).T.astype(np.float32)
    embeddings = model.pool(maps[None], weights[None])[0]
    return unit_rows(embeddings) if unit else embeddings


def unit_rows(embeddings: Float32) -> Float32:
    """Rows scaled to length 1; NaN rows stay NaN."""
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(norms, 1e-12), dtype=np.float32)
