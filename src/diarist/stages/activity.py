"""How many people talk in each frame: local answers of overlapping chunks, averaged in a moving window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64

SPARE_FRAMES = 4096  # a window grows by so many more than it needs


class MovingMean:
    """Sum and mean over overlapping chunks of `num_values` per frame, handed out as soon as no later chunk can change
    them.

    Holds only the frames that are still open, so memory does not grow with the recording.
    """

    def __init__(self, num_values: int) -> None:
        self._held = np.zeros((0, num_values + 1))  # sums, and the number of chunks; rows past `_num` are spare
        self._num = 0
        self.first = 0
        """Index of the first frame not yet handed out."""

    @property
    def held(self) -> Float64:
        """The frames that are still open, sums and number of chunks: `(num_frames, num_values + 1)`."""
        held: Float64 = self._held[: self._num].copy()
        return held

    @classmethod
    def held_from(cls, first: int, held: Float64) -> MovingMean:
        """One that has handed out the frames before `first`, and holds what `held` gave."""
        mean = cls(held.shape[1] - 1)
        mean._held, mean._num, mean.first = held.copy(), len(held), first
        return mean

    @property
    def last(self) -> int:
        """Past the last frame that a chunk has reached."""
        return self.first + self._num

    def add(self, first: int, values: NDArray[Any]) -> None:
        """Add a chunk's `(num_frames, num_values)` from frame `first` on; frames handed out already are dropped."""
        values = values[max(0, self.first - first) :]
        start = max(first, self.first) - self.first
        stop = start + len(values)
        if stop > len(self._held):
            grown = np.zeros((stop + SPARE_FRAMES, self._held.shape[1]))
            grown[: self._num] = self._held[: self._num]
            self._held = grown
        self._held[start:stop, :-1] += values
        self._held[start:stop, -1] += 1
        self._num = max(self._num, stop)

    def sums(self, until: int) -> tuple[Float64, Float64]:
        """Hand out the frames before `until`: sums `(num_frames, num_values)`, number of chunks `(num_frames,)`."""
        num = max(0, until - self.first)
        known = min(num, self._num)
        out = np.zeros((num, self._held.shape[1]))
        out[:known] = self._held[:known]
        self._held, self._num = self._held[known:], self._num - known
        self.first += num
        return out[:, :-1], out[:, -1]

    def take(self, until: int) -> Float32:
        """Hand out the frames before `until`: means `(num_frames, num_values)`, 0 where no chunk reached."""
        sums, number = self.sums(until)
        means: Float32 = (sums / np.maximum(number[:, None], 1)).astype(np.float32)
        return means


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
