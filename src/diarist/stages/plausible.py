"""Speakers that are none: found too many, then dropped one by one for as long as that is likelier right than wrong.

Clustering errs in two ways that one penalty for speakers cannot mend together: people who say little are merged, and
windows across a change of speaker, or a voice that was raised, become people of their own. So VBx is run with a weak
penalty, and every speaker it finds is looked at beside the speaker most like them: how much likelier the windows are
as two people than as one, whether stretches of speech keep to their own side when they are left out of it, whether
the voice is a mixture of two others, how much was said. A logistic function of that, fitted on simulated
conversations of other people, says how likely the answer is no worse without; the likeliest goes, and the rest is
looked at again.

In the space of a PLDA the mean of a stretch of n windows is taken for a draw with noise of variance 1 / e(n), e(n) =
0.6 sqrt(n): windows overlap and one stretch says alike things, so that ten stretches tell more than ten windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64
from diarist.errors import WeightsError
from diarist.stages.assign import sums, unit
from diarist.stages.plda import read_arrays

GAP = 0.55  # seconds between the middles of two windows: more, and a new stretch of speech begins
WORTH = 0.6  # of the first window of a stretch, as evidence; n windows are worth sqrt(n) times that
FEATURES = (
    "ratio", "likely two", "cosine", "cosine of means", "own stretches", "its stretches", "distance", "windows",
    "its windows", "stretches", "all windows", "lead of the nearest", "mixture", "mixture to nearest", "touching",
    "length of a stretch", "margin", "share",
)  # fmt: skip


@dataclass(frozen=True)
class SpeakerTest:
    """`weights` `(num_features,)` and `bias` of the logistic function, on features less `mean`, over `scale`."""

    mean: Float64
    scale: Float64
    weights: Float64
    bias: float

    def __call__(self, features: Float64) -> Float64:
        """How likely it is that each speaker `(num_speakers, num_features)` is none: `(num_speakers,)` in [0, 1]."""
        score = (features - self.mean) / self.scale @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))))

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write an npz file; the same values are the same bytes."""
        np.savez(file, mean=self.mean, scale=self.scale, weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, path: str | Path) -> SpeakerTest:
        """Read what `save` wrote. Raises `WeightsError`."""
        found = read_arrays(path, ("mean", "scale", "weights", "bias"))
        if any(found[name].shape != (len(FEATURES),) for name in ("mean", "scale", "weights")):
            raise WeightsError(f"'{path}' is a test of {found['weights'].size} features, not {len(FEATURES)}")
        return cls(found["mean"], found["scale"], found["weights"], float(found["bias"]))


def stretches(times: Float64) -> Int64:
    """The stretch of speech that each window lies in, from 0, of their middles `(num_windows,)` in order."""
    return np.concatenate(([0], np.cumsum(np.diff(times) > GAP))).astype(np.int64)


def drop(labels: Int64, speaker: int, embeddings: NDArray[np.floating]) -> Int64:
    """Labels without a speaker, whose windows join the nearest mean voice; dense from 0."""
    voices = unit(sums(embeddings, labels)[0])
    left = np.flatnonzero(np.arange(len(voices)) != speaker)
    moved = labels.copy()
    own = labels == speaker
    moved[own] = left[(embeddings[own] @ voices[left].T).argmax(axis=1)]
    return np.asarray(np.unique(moved, return_inverse=True)[1], dtype=np.int64)


def features_of(
    labels: Int64, times: Float64, embeddings: NDArray[np.floating], projected: NDArray[np.floating], psi: Float64
) -> Float64:
    """What tells of each of 2 or more speakers whether they are one: `(num_speakers, num_features)`, as `FEATURES`.

    `labels` `(num_windows,)` dense from 0, `times` the middles of windows, `embeddings` `(num_windows, dimension)` of
    length 1, `projected` `(num_windows, rank)` the same in the space of the PLDA, `psi` `(rank,)`.
    """
    pieces = _Pieces(labels, stretches(times), projected, psi)
    voices = unit(sums(embeddings, labels)[0])
    cosines = embeddings @ voices.T
    own = cosines[np.arange(len(labels)), labels]
    cosines[np.arange(len(labels)), labels] = -np.inf
    margin = np.bincount(labels, own - cosines.max(axis=1)) / np.bincount(labels)
    alike = voices @ voices.T
    touching = _touching(labels, pieces.stretch)
    return np.stack(
        [_of_one(speaker, pieces, alike, touching, float(margin[speaker])) for speaker in range(len(voices))]
    )


class _Pieces:
    """Stretches cut where the speaker changes, with what is known of every speaker from the others of theirs."""

    def __init__(self, labels: Int64, stretch: Int64, projected: NDArray[np.floating], psi: Float64) -> None:
        self.stretch, self.psi = stretch, psi
        self.num_speakers = int(labels.max()) + 1
        found, piece = np.unique(stretch * self.num_speakers + labels, return_inverse=True)
        self.speaker = found % self.num_speakers
        totals, self.windows = sums(projected, piece)
        self.mean = totals / self.windows[:, None]
        self.worth = WORTH * np.sqrt(self.windows)
        self.evidence, self.worths = (
            sums(self.mean * self.worth[:, None], self.speaker)[0],
            self._by_speaker(self.worth),
        )
        self.num_windows = self._by_speaker(self.windows)
        self.num_pieces = np.bincount(self.speaker)
        self.variance = psi / (1 + self.worths[:, None] * psi)  # of a speaker's mean, given what they said
        self.voice = self.variance * self.evidence
        self.marginal = self._marginal(self.worths, self.evidence)
        self.likelihood = np.stack([self._likelihood(v, s) for v, s in zip(self.voice, self.variance, strict=True)], 1)
        rest = np.maximum(self.worths[self.speaker] - self.worth, 0)
        variance = psi / (1 + rest[:, None] * psi)
        without = self.evidence[self.speaker] - self.mean * self.worth[:, None]
        self.own = self._likelihood(variance * without, variance)  # by what the same speaker said elsewhere

    def _by_speaker(self, values: NDArray[np.generic]) -> Float64:
        return np.asarray(np.bincount(self.speaker, values.astype(np.float64), self.num_speakers), dtype=np.float64)

    def _likelihood(self, voice: Float64, variance: Float64) -> Float64:
        """Log-likelihood of every piece, less a constant, for a voice `(rank,)` known to a variance, or one a piece."""
        spread = variance + 1 / self.worth[:, None]
        return np.asarray(-0.5 * (np.log(spread) + (self.mean - voice) ** 2 / spread).sum(axis=1))

    def _marginal(self, worth: Float64, evidence: Float64) -> Float64:
        """Log-likelihood of all that one person said, less that of noise."""
        known = 1 + worth[:, None] * self.psi
        return np.asarray(0.5 * (evidence**2 * self.psi / known - np.log(known)).sum(axis=1))

    def ratio(self, one: int, other: int) -> float:
        """How much likelier two speakers are one person, in nats."""
        both = self._marginal(self.worths[[one]] + self.worths[other], self.evidence[[one]] + self.evidence[other])
        return float(both[0] - self.marginal[one] - self.marginal[other])

    def lead(self, speaker: int, others: list[int]) -> float:
        """By how many nats the speaker's pieces prefer the rest of them over the best of the others, on average."""
        mine = self.speaker == speaker
        lead = self.own[mine] - self.likelihood[np.ix_(mine, others)].max(axis=1)
        return float(np.average(lead, weights=self.windows[mine]))

    def mixture(self, speaker: int, others: list[int]) -> tuple[float, float]:
        """Mean square distance of a voice to the nearest mixture of two others (or one), and over that to one."""
        apart = self.voice[others] - self.voice[speaker]
        nearest = best = float((apart**2).mean(axis=1).min())
        for index, first in enumerate(apart):
            along = apart[index + 1 :] - first
            square = np.maximum((along**2).sum(axis=1), 1e-9)
            share = np.clip(-(along @ first) / square, 0.2, 0.8)[:, None]
            best = min(best, float(((first + share * along) ** 2).mean(axis=1).min(initial=np.inf)))
        return best, best / max(nearest, 1e-9)


def _touching(labels: Int64, stretch: Int64) -> Float64:
    """How often a window of a speaker has a neighbour, in its stretch, that is another's, per window."""
    changes = np.flatnonzero((np.diff(labels) != 0) & (np.diff(stretch) == 0))
    number = np.bincount(labels[changes], minlength=labels.max() + 1) + np.bincount(
        labels[changes + 1], minlength=labels.max() + 1
    )
    return np.asarray(number / np.bincount(labels))


def _of_one(speaker: int, pieces: _Pieces, alike: Float64, touching: Float64, margin: float) -> Float64:
    others = [other for other in range(pieces.num_speakers) if other != speaker]
    cosines = alike[speaker, others]
    near = others[int(cosines.argmax())]
    second = float(np.sort(cosines)[-2]) if len(others) > 1 else -0.2
    ratio = pieces.ratio(speaker, near)
    mixed, relative = pieces.mixture(speaker, others)
    mine, its = pieces.speaker == speaker, pieces.speaker == near
    back = float(np.average(pieces.own[its] - pieces.likelihood[its, speaker], weights=pieces.windows[its]))
    apart = (pieces.voice[speaker] - pieces.voice[near]) ** 2 / (pieces.variance[speaker] + pieces.variance[near])
    windows, total = pieces.num_windows, float(pieces.num_windows.sum())
    directions = unit(pieces.voice[[speaker, near]])
    return np.array(
        [
            np.sign(ratio) * np.sqrt(abs(ratio)) / 5,
            np.tanh(ratio / 30),
            alike[speaker, near],
            directions[0] @ directions[1],
            pieces.lead(speaker, others) / 20,
            back / 20,
            apart.mean() / 3,
            np.log(windows[speaker]),
            np.log(windows[near]),
            np.log(pieces.num_pieces[speaker]),
            np.log(total),
            alike[speaker, near] - second,
            mixed,
            relative,
            touching[speaker],
            np.log((pieces.windows[mine] ** 2).sum() / pieces.windows[mine].sum()),
            5 * margin,
            windows[speaker] / total,
        ]
    )
