"""Which of several answers to "who is who" explains the windows best, and how sure that is.

No penalty for speakers is right everywhere: one that keeps a monologue whole merges people who say little, one that
finds them splits others. So many answers are made: VBx with a weak penalty finds too many speakers, and those likeliest
one person are merged, pair by pair, down to one. Each answer gets numbers that tell good ones from bad: how likely the
windows are, as evidence that grows with the square root of a stretch and with its length; whether stretches keep to
their speaker when they are left out of them; how far voices lie apart; how often speakers change; how much was said;
how often the answer goes against the segmentation (`links.py`). A weighted sum of these, through a softmax over the
answers of a recording, is how likely each is the best (McFadden, "Conditional logit analysis of qualitative choice
behavior", 1974). The weights come from simulated conversations of other people (`tools/fit_choice.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64
from diarist.errors import WeightsError
from diarist.stages.assign import centroids
from diarist.stages.pieces import WORTH, Pieces, marginal
from diarist.stages.plda import read_arrays

PLAIN = 0.2  # what every window of a piece is worth where that grows with its length
NATS = 10.0  # features are near 1
LONGEST = 500  # windows that the weights were fitted to: longer recordings are described as if they had so many
FEATURES = (
    "speakers", "log speakers", "one speaker", "likely", "likely a window", "likely a root",
    "plain", "plain a window", "plain a root", "own stretches", "best of all", "touching", "changes",
    "cosine", "margin", "least windows", "entropy", "least share",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """`weights` `(num_features,)` of the answers' features."""

    weights: Float64

    def __call__(self, features: Float64) -> Float64:
        """How likely each answer `(num_answers, num_features)` is the best: `(num_answers,)`, they sum to 1."""
        score = features @ self.weights
        odds = np.exp(score - score.max())
        return np.asarray(odds / odds.sum())

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write an npz file; the same values are the same bytes."""
        np.savez(file, weights=self.weights)

    @classmethod
    def load(cls, path: str | Path) -> Choice:
        """Read what `save` wrote. Raises `WeightsError`."""
        weights = read_arrays(path, ("weights",))["weights"]
        if weights.shape != (len(FEATURES),):
            raise WeightsError(f"'{path}' weighs {weights.size} features, not {len(FEATURES)}")
        return cls(weights)


def features_of(
    labels: Int64,
    stretch: Int64,
    embeddings: NDArray[np.floating],
    projected: NDArray[np.floating],
    psi: Float64,
) -> Float64:
    """What tells of an answer how good it is: `(num_features,)`, as `FEATURES`.

    `labels` `(num_windows,)` dense from 0, `stretch` `(num_windows,)` of `stretches`, `embeddings`
    `(num_windows, dimension)` of length 1, `projected` `(num_windows, rank)` the same in the space of the PLDA, the
    same for all answers that are compared, `psi` `(rank,)`. A voice changes over an hour, and evidence for two where
    there is one would add up with every window: above 500 windows the evidence is taken for that of 500.
    """
    number, counts = len(labels), np.bincount(labels)
    told, share = min(number, LONGEST), counts / number
    pieces = Pieces(labels, stretch, projected, psi)
    own, each = pieces.likelihood()
    if len(counts) > 1:
        each[np.arange(len(own)), pieces.speaker] = -np.inf
        best = np.maximum(own, each.max(axis=1))
    else:
        best = own
    cosine, margin = _cosines(labels, embeddings)
    changed = np.diff(labels) != 0
    worths = (pieces.worth, PLAIN * pieces.windows)
    likely, plain = (told / number * pieces.marginal(worth) / NATS for worth in worths)
    return np.array(
        [
            len(counts),
            np.log(len(counts)),
            len(counts) == 1,
            *(likely, NATS * likely / told, likely / np.sqrt(told)),
            *(plain, NATS * plain / told, plain / np.sqrt(told)),
            own @ pieces.windows / number / NATS,
            best @ pieces.windows / number / NATS,
            (changed & (np.diff(stretch) == 0)).sum() / number,
            changed.sum() / number,
            cosine,
            margin,
            np.log(counts.min() * (told / number)),
            -(share @ np.log(share)),
            share.min(),
        ],
        dtype=np.float64,
    )


def _cosines(labels: Int64, embeddings: NDArray[np.floating]) -> tuple[float, float]:
    """Mean cosine of windows to their own voice, and by how much it is above that to the next; 0 for one voice."""
    cosine = embeddings @ centroids(embeddings, labels).T.astype(embeddings.dtype)
    rows = np.arange(len(labels))
    own = cosine[rows, labels]
    if cosine.shape[1] == 1:
        return float(own.mean()), 0.0
    cosine[rows, labels] = -np.inf
    return float(own.mean()), float((own - cosine.max(axis=1)).mean())


def merges(labels: Int64, stretch: Int64, projected: NDArray[np.floating], psi: Float64) -> list[Int64]:
    """Labels after each merger of the two speakers who are likeliest one person, until there is one; dense from 0.

    Arguments as in `features_of`.
    """
    pieces = Pieces(labels, stretch, projected, psi)
    worth, weighted = pieces.evidence(WORTH * np.sqrt(pieces.windows))
    found, labels = [], labels.copy()
    while len(worth) > 1:
        alone = marginal(worth, weighted, psi)
        both = marginal(worth[:, None] + worth, weighted[:, None] + weighted, psi)
        gain = both - alone[:, None] - alone
        np.fill_diagonal(gain, -np.inf)
        one, other = sorted(np.unravel_index(int(gain.argmax()), gain.shape))
        worth[one] += worth[other]
        weighted[one] += weighted[other]
        worth, weighted = np.delete(worth, other), np.delete(weighted, other, axis=0)
        labels[labels == other] = one
        labels[labels > other] -= 1
        found.append(labels.copy())
    return found


def different(answers: list[Int64]) -> list[Int64]:
    """Answers without those that differ in nothing but the names of speakers, who are numbered as they first talk."""
    kept: dict[bytes, Int64] = {}
    for labels in answers:
        _, first, dense = np.unique(labels, return_index=True, return_inverse=True)
        renamed = np.argsort(np.argsort(first))[dense]
        kept.setdefault(renamed.tobytes(), renamed)
    return list(kept.values())
