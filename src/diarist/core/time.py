"""The only index arithmetic in the house: windows, frames, samples, seconds.

Everything is counted in samples, so that nothing drifts over a day of audio; seconds appear at the edges only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Axis:
    """A regular row of windows: window `i` covers samples `[start + i * step, start + i * step + size)`.

    Describes both the chunks a model is run on and the frames that it answers with.
    """

    size: int
    step: int
    start: int = 0
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.size < 1 or self.step < 1 or self.sample_rate < 1:
            raise ValueError(f"an Axis needs a positive size, step and sample rate, not {self}")

    def first(self, index: int) -> int:
        """First sample of window `index`."""
        return self.start + index * self.step

    def span(self, index: int) -> tuple[int, int]:
        """`(first, past the last)` sample of window `index`."""
        first = self.first(index)
        return first, first + self.size

    def middle(self, index: int) -> float:
        """Middle of window `index`, in seconds."""
        return (self.start + index * self.step + self.size / 2) / self.sample_rate

    def middles(self, num: int) -> NDArray[np.float64]:
        """Middles of the first `num` windows, in seconds. Shape `(num,)`."""
        return (self.start + self.size / 2 + np.arange(num, dtype=np.float64) * self.step) / self.sample_rate

    def closest(self, seconds: float) -> int:
        """Index of the window whose middle is closest to a time; may lie outside the recording.

        Halves go to the even index, as in `numpy.rint`.
        """
        return int(np.rint((seconds * self.sample_rate - self.start - self.size / 2) / self.step))

    def index_at(self, sample: int) -> int:
        """Index of the window of this axis that starts closest to `sample`."""
        return int(np.rint((sample - self.start) / self.step))

    def count_covering(self, num_samples: int) -> int:
        """How many windows it takes until every one of `num_samples` samples is covered (the last may stick out)."""
        if num_samples <= 0:
            return 0
        beyond = num_samples - self.start - self.size
        return 1 if beyond <= 0 else 1 + -(-beyond // self.step)

    def count_inside(self, num_samples: int) -> int:
        """How many whole windows fit into `num_samples` samples."""
        room = num_samples - self.start - self.size
        return 0 if room < 0 else 1 + room // self.step

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Endless `(first, past the last)` samples."""
        index = 0
        while True:
            yield self.span(index)
            index += 1


def to_samples(seconds: float, sample_rate: int = SAMPLE_RATE) -> int:
    """Seconds to whole samples, to the nearest."""
    return int(np.rint(seconds * sample_rate))


def to_seconds(samples: int, sample_rate: int = SAMPLE_RATE) -> float:
    """Samples to seconds."""
    return samples / sample_rate
