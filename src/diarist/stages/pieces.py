"""What was said in one go by one speaker: pieces, as evidence of who is who.

In the space of a PLDA the mean of a piece of n windows is taken for a draw with noise of variance 1 / e(n), e(n) =
0.6 sqrt(n): windows overlap and one stretch says alike things, so that ten stretches tell more than ten windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64
from diarist.stages.assign import sums

GAP = 0.55  # seconds between the middles of two windows: more, and a new stretch of speech begins
WORTH = 0.6  # of the first window of a piece, as evidence; n windows are worth sqrt(n) times that


def stretches(times: Float64) -> Int64:
    """The stretch of speech that each window lies in, from 0, of their middles `(num_windows,)` in order."""
    return np.concatenate(([0], np.cumsum(np.diff(times) > GAP))).astype(np.int64)


class Pieces:
    """Stretches cut where the speaker changes: `speaker` and `windows` `(num_pieces,)`, `mean` `(num_pieces, rank)`.

    `labels` `(num_windows,)` are dense from 0, `stretch` what `stretches` gave, `projected` `(num_windows, rank)` the
    windows in the space of a PLDA whose speaker means have variance `psi` `(rank,)`.
    """

    def __init__(self, labels: Int64, stretch: Int64, projected: NDArray[np.floating], psi: Float64) -> None:
        self.psi = psi
        self.num_speakers = int(labels.max()) + 1
        found, piece = np.unique(stretch * self.num_speakers + labels, return_inverse=True)
        self.speaker = found % self.num_speakers
        totals, self.windows = sums(projected, piece)
        self.mean = totals / self.windows[:, None]
        self.worth: Float64 = WORTH * np.sqrt(self.windows)

    def evidence(self, worth: NDArray[np.floating]) -> tuple[Float64, Float64]:
        """All that each speaker said: worths `(num_speakers,)` and weighted sums of means `(num_speakers, rank)`."""
        worths = np.asarray(np.bincount(self.speaker, worth, self.num_speakers), np.float64)
        return worths, sums(self.mean * worth[:, None], self.speaker)[0]

    def marginal(self, worth: NDArray[np.floating]) -> float:
        """Log-likelihood of all pieces, less that of noise, where a piece is worth as many windows as `worth`."""
        return float(marginal(*self.evidence(worth), self.psi).sum())

    def likelihood(self) -> tuple[Float64, Float64]:
        """How likely each piece is its speaker's by what they said elsewhere, `(num_pieces,)`, and each speaker's by
        all they said, `(num_pieces, num_speakers)`; logarithms, less a constant."""
        worths, weighted = self.evidence(self.worth)
        known = self.psi / (1 + worths[:, None] * self.psi)  # variance of a speaker's mean, given what they said
        each = [self._likelihood(v * w, v) for v, w in zip(known, weighted, strict=True)]
        rest = np.maximum(worths[self.speaker] - self.worth, 0)
        known = self.psi / (1 + rest[:, None] * self.psi)
        without = weighted[self.speaker] - self.mean * self.worth[:, None]
        return self._likelihood(known * without, known), np.stack(each, axis=1)

    def _likelihood(self, voice: Float64, variance: Float64) -> Float64:
        """For a voice `(rank,)` known to a variance, or one a piece."""
        spread = variance + 1 / self.worth[:, None]
        return np.asarray(-0.5 * (np.log(spread) + (self.mean - voice) ** 2 / spread).sum(axis=1))


def marginal(worth: Float64, weighted: Float64, psi: Float64) -> Float64:
    """Log-likelihood of all that one person said `(...)`, less that of noise: `worth` `(...)`, `weighted` sums of
    means `(..., rank)`. A person's mean is a draw from a normal distribution of variance `psi` `(rank,)`."""
    known = 1 + worth[..., None] * psi
    return np.asarray(0.5 * (weighted**2 * psi / known - np.log(known)).sum(axis=-1))
