"""Two opinions on whether anybody talks: a segmentation network's, and a voice activity model's.

Their log-odds are added with weights (a logarithmic opinion pool: Genest and Zidek, "Combining probability
distributions", 1986); who talks, given that somebody does, stays the segmentation network's.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from diarist.core.protocols import SegmentationModel, SegmentationSpec, VoiceActivityModel
from diarist.core.time import to_seconds
from diarist.core.types import Float32

LEAST = 1e-4  # probabilities are held this far from 0 and 1


class FusedSegmentation:
    """A `SegmentationModel` whose log-odds of speech are `(1 - weight)` times those of `model`, `weight` times those of
    `vad`, and `bias`.

    Where the rows of a batch are a sliding view of one recording (`segment.cut`), the voice activity model hears what
    they share once.
    """

    def __init__(self, model: SegmentationModel, vad: VoiceActivityModel, *, weight: float, bias: float) -> None:
        self.model, self.vad, self.weight, self.bias = model, vad, weight, bias
        self._middles = self.spec.frames.middles(self.spec.num_frames)

    @property
    def spec(self) -> SegmentationSpec:
        """The segmentation model's."""
        return self.model.spec

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to scores `(batch, num_frames, num_classes)`, of the model's own kind."""
        return fuse(self.model(batch), self._odds(batch), self.spec, weight=self.weight, bias=self.bias)

    def _odds(self, batch: Float32) -> Float32:
        """The voice activity model's log-odds at the middles of the frames, `(batch, num_frames)`."""
        length, (apart, within) = batch.shape[1], batch.strides
        if len(batch) > 1 and within == batch.itemsize and 0 < apart < length * within and apart % within == 0:
            step = apart // within
            shared = as_strided(batch, ((len(batch) - 1) * step + length,), (within,), writeable=False)
            return self._heard(shared, [first * step for first in range(len(batch))])
        empty = np.zeros((0, self.spec.num_frames), np.float32)
        return np.concatenate([empty, *(self._heard(row, [0]) for row in batch)])

    def _heard(self, samples: Float32, firsts: list[int]) -> Float32:
        odds = log_odds(self.vad(np.ascontiguousarray(samples)))
        middles = self.vad.frames.middles(len(odds))
        rate = self.spec.sample_rate
        rows = [np.interp(self._middles + to_seconds(first, rate), middles, odds) for first in firsts]
        return np.asarray(rows, dtype=np.float32)


def fuse(scores: Float32, odds: Float32, spec: SegmentationSpec, *, weight: float, bias: float) -> Float32:
    """Scores `(..., num_frames, num_classes)` of a segmentation model with that `spec`, once its log-odds of speech are
    pooled with `odds` `(..., num_frames)`."""
    powerset = spec.max_simultaneous is not None
    speech = 1 - np.exp(scores[..., 0]) if powerset else scores.max(axis=-1)
    fused = 1 / (1 + np.exp(-(bias + (1 - weight) * log_odds(speech) + weight * odds)))
    if not powerset:
        return np.asarray(scores * (fused / np.maximum(speech, LEAST))[..., None], dtype=np.float32)
    told = scores + np.log(fused / np.clip(speech, LEAST, 1))[..., None]
    told[..., 0] = np.log1p(-fused)
    return np.asarray(told, dtype=np.float32)


def log_odds(probability: Float32) -> Float32:
    """`log(p / (1 - p))` of probabilities, which are held within `LEAST` of 0 and 1."""
    clipped = np.clip(probability, LEAST, 1 - LEAST)
    return np.asarray(np.log(clipped / (1 - clipped)))
