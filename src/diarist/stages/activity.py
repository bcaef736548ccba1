"""How many people talk in each frame: local answers of overlapping chunks, averaged in a moving window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32


class MovingMean:
    """Mean over overlapping chunks of `num_values` per frame, handed out as soon as no later chunk can change it.

    Holds only the frames that are still open, so memory does not grow with the recording.
    """

    def __init__(self, num_values: int) -> None:
        self._sum = np.zeros((0, num_values), dtype=np.float64)
        self._weight = np.zeros(0, dtype=np.float64)
        self.first = 0
        """Index of the first frame not yet handed out."""

    @property
    def last(self) -> int:
        """Past the last frame that a chunk has reached."""
        return self.first + len(self._weight)

    def add(self, first: int, values: NDArray[np.floating]) -> None:
        """Add a chunk's `(num_frames, num_values)` from frame `first` on; frames handed out already are dropped."""
        skip = max(0, self.first - first)
        values = values[skip:]
        start = first + skip - self.first
        missing = start + len(values) - len(self._weight)
        if missing > 0:
            self._sum = np.concatenate([self._sum, np.zeros((missing, self._sum.shape[1]))])
            self._weight = np.concatenate([self._weight, np.zeros(missing)])
        self._sum[start : start + len(values)] += values
        self._weight[start : start + len(values)] += 1

    def take(self, until: int) -> Float32:
        """Hand out the frames before `until`: `(num_frames, num_values)`, 0 where no chunk reached."""
        num = max(0, until - self.first)
        done = np.zeros((num, self._sum.shape[1]), dtype=np.float32)
        known = min(num, len(self._weight))
        done[:known] = self._sum[:known] / np.maximum(self._weight[:known, None], 1)
        self._sum, self._weight = self._sum[known:], self._weight[known:]
        self.first += num
        return done


def hysteresis(scores: NDArray[np.floating], onset: float, offset: float, *, before: bool = False) -> NDArray[np.bool_]:
    """True from where `scores` `(num_frames,)` rises above `onset` until it falls below `offset`.

    `before` is the state that holds until the first frame which decides.
    """
    if offset >= onset:
        return np.asarray(scores > onset)
    decides = np.flatnonzero((scores > onset) | (scores < offset))
    if len(decides) == 0:
        return np.full(len(scores), before)
    last = np.searchsorted(decides, np.arange(len(scores)), side="right") - 1
    return np.where(last < 0, before, scores[decides[np.maximum(last, 0)]] > onset)


def count_by_probability(
    speech: Float32, overlap: Float32, *, onset: float, offset: float, overlap_onset: float, before: bool = False
) -> NDArray[np.uint8]:
    """Speakers talking in each frame: 0, 1 or 2. `(num_frames,)`.

    `speech` is the probability that anybody talks, `overlap` that two do at once; `before`: somebody talked just
    before the first frame.
    """
    talking = hysteresis(speech, onset, offset, before=before)
    return (talking.astype(np.uint8) + (talking & (overlap > overlap_onset))).astype(np.uint8)


def count_by_mean(number: Float32) -> NDArray[np.uint8]:
    """Mean number of active local speakers `(num_frames,)`, rounded half to even (Bredin, pyannote.audio 2.1, 2023)."""
    return np.rint(number).astype(np.uint8)
