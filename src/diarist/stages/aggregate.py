"""Delayed aggregation: what overlapping windows say of the same frames, put together.

Coria et al. 2021, section 2.4: a stretch of sound is answered for once all windows within the latency have heard it.
`hamming` weighs each window's answer with a Hamming window, so that the middle of a window counts more than its edges;
`mean` weighs all alike; `first` takes the earliest window's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diarist.core.types import Float32, Int64

STRATEGIES = ("hamming", "mean", "first")


@dataclass(frozen=True)
class Heard:
    """One window's answer: `scores` `(num_frames, num_local)` from frame `first` of the stream on; `names`
    `(num_local,)` whom each local speaker is, negative for nobody."""

    first: int
    scores: Float32
    names: Int64

    @property
    def last(self) -> int:
        """Past its last frame."""
        return self.first + len(self.scores)


def aggregate(windows: Sequence[Heard], first: int, last: int, strategy: str) -> tuple[Float32, Int64]:
    """Scores of each speaker in frames `first` to `last`, `(last - first, num_speakers)`, and the speakers' numbers.

    `windows` in order of time. Frames that none has heard are silent.
    """
    inside = [window for window in windows if window.first < last and window.last > first]
    names = np.unique(np.concatenate([w.names[w.names >= 0] for w in inside] or [np.zeros(0, np.int64)]))
    total = np.zeros((max(0, last - first), len(names)), dtype=np.float64)
    weight = np.zeros((len(total), 1))
    for window in inside:
        low, high = max(first, window.first), min(last, window.last)
        into, source = slice(low - first, high - first), slice(low - window.first, high - window.first)
        share = _weights(strategy, len(window.scores))[source, None]
        if strategy == "first":
            share = share * (weight[into] == 0)
        weight[into] += share
        for column, name in enumerate(names):
            of_speaker = window.names == name  # two local speakers once they have turned out to be one
            if of_speaker.any():
                total[into, column] += share[:, 0] * window.scores[source][:, of_speaker].max(axis=1)
    return (total / np.where(weight > 0, weight, 1)).astype(np.float32), names


@lru_cache
def _weights(strategy: str, num_frames: int) -> Float32:
    return np.asarray(np.hamming(num_frames) if strategy == "hamming" else np.ones(num_frames), dtype=np.float32)
