"""How much likelier two voices are if one person has them than if two have: a log likelihood ratio.

Mean voices of recordings are scaled to length 1, centred and projected to a space in which, by dimension, people differ
with variance `between` and one person's recordings with `within * (1 + noise / seconds)`: the session, and what little
speech leaves unsure. That is the two-covariance model (Brummer & de Villiers, "The speaker partitioning problem",
2010) with the amount of speech in it (after Kenny et al., "PLDA for speaker verification with utterances of arbitrary
duration", 2013). Several recordings of a person are combined as the model says. Voices are less Gaussian than the model
has them, so that its ratios are too sure: `scale` takes off what is too much. No constant is added, so that no speech
stays no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from diarist.core.types import Float64
from diarist.errors import UsageError, WeightsError
from diarist.speakers.voices import Voice

SCORERS = {"campplus-zh-en": "campplus-zh-en-voices.npz"}
"""What ships, by the embedding model."""

_ARRAYS = ("mu", "projection", "between", "within")
_NUMBERS = ("noise", "scale")


@dataclass(frozen=True)
class Evidence:
    """What is known of people (or voices), one a row: in each dimension, a precision and a precision times a mean.

    `precision` `(n, rank)`, `weighted` `(n, rank)`. Evidence of several recordings of one person adds up.
    """

    precision: Float64
    weighted: Float64

    def __len__(self) -> int:
        return len(self.precision)

    def sums(self, owners: NDArray[np.integer], num_owners: int) -> Evidence:
        """The evidence of each owner's rows, added up: `(num_owners, rank)`."""
        precision, weighted = (np.zeros((num_owners, self.precision.shape[1])) for _ in range(2))
        np.add.at(precision, owners, self.precision)
        np.add.at(weighted, owners, self.weighted)
        return Evidence(precision, weighted)


@dataclass(frozen=True)
class Scorer:
    """The model of this module: `mu` `(dimension,)`, `projection` `(dimension, rank)`, `between` and `within`
    `(rank,)`; `noise` in seconds; `scale` of the log ratios."""

    mu: Float64
    projection: Float64
    between: Float64
    within: Float64
    noise: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        rank = self.between.shape
        if self.mu.ndim != 1 or self.projection.shape != (*self.mu.shape, *rank) or self.within.shape != rank:
            raise UsageError(
                f"a scorer needs mu (dimension,), projection (dimension, rank), between and within (rank,), not "
                f"{self.mu.shape}, {self.projection.shape}, {self.between.shape} and {self.within.shape}"
            )

    def evidence(self, embeddings: NDArray[np.floating], seconds: NDArray[np.floating]) -> Evidence:
        """Embeddings `(n, dimension)` of voices heard for `seconds` `(n,)`. Raises `UsageError` for another model's."""
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mu):
            raise UsageError(f"the scorer takes voices of {len(self.mu)} numbers, not {embeddings.shape}")
        precision = 1 / (self.within * (1 + self.noise / np.asarray(seconds, np.float64)[:, None]))
        return Evidence(precision, precision * self.project(embeddings))

    def project(self, embeddings: NDArray[np.floating]) -> Float64:
        """Unit embeddings `(n, dimension)` in the space of the model, `(n, rank)`."""
        features: Float64 = (embeddings.astype(np.float64) - self.mu) @ self.projection
        return features

    def log_ratios(self, voices: Evidence, people: Evidence) -> Float64:
        """Log likelihood ratios, calibrated, in nats, `(num_voices, num_people)`.

        By dimension the ratio is that of the marginal likelihoods of all evidence as one person's and as two people's.
        """
        marginal = self._marginal(voices)[:, None] + self._marginal(people)
        joint = np.empty_like(marginal)
        for row in range(len(voices)):  # one voice at a time: a whole table of dimensions would not fit
            both = Evidence(people.precision + voices.precision[row], people.weighted + voices.weighted[row])
            joint[row] = self._marginal(both)
        return np.asarray(self.scale * (joint - marginal))

    def _marginal(self, evidence: Evidence) -> Float64:
        """Log marginal likelihood of each row, but for what does not depend on whose it is: `(n,)`."""
        total = 1 / self.between + evidence.precision
        quadratic = evidence.weighted**2 / total - np.log(self.between * total)
        return np.asarray(quadratic.sum(axis=1) / 2)

    def save(self, path: str | Path) -> None:
        """Write an npz file."""
        np.savez(path, **{name: getattr(self, name) for name in (*_ARRAYS, *_NUMBERS)})

    @classmethod
    def load(cls, path: str | Path) -> Scorer:
        """Read an npz file. Raises `WeightsError` for anything else."""
        try:
            with Path(path).open("rb") as handle, np.load(handle) as file:
                mu, projection, between, within = (np.asarray(file[name], np.float64) for name in _ARRAYS)
                return cls(mu, projection, between, within, *(float(file[name]) for name in _NUMBERS))
        except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
            raise WeightsError(f"'{path}' is no scorer of voices (tools/fit_naming.py makes one): {error}") from error

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.floating],
        seconds: Float64,
        people: NDArray[np.integer],
        *,
        rank: int,
        noise: float,
        shrink: float,
    ) -> Scorer:
        """Fit to mean voices `(n, dimension)` of several recordings of each of `people` `(n,)`; not yet calibrated.

        A voice counts as its amount of speech lets it. The covariance within people is shrunk: `1 - shrink` of it,
        plus `shrink` of its mean variance in every direction. Raises `UsageError` where data are too few.
        """
        x = embeddings.astype(np.float64)
        _, member = np.unique(people, return_inverse=True)
        trust = 1 / (1 + noise / seconds)  # of a variance within people that is 1 for endless speech
        total = np.bincount(member, trust)
        means = np.zeros((len(total), x.shape[1]))
        np.add.at(means, member, x * trust[:, None])
        means /= total[:, None]
        several = np.bincount(member) > 1
        if several.sum() < 2 or not 1 <= rank <= x.shape[1]:
            raise UsageError(f"a scorer of rank {rank} needs 2 or more people with 2 or more voices: give more data")
        inner = x - means[member]
        freedom = len(x) - len(total)
        within = (inner * trust[:, None]).T @ inner / freedom
        within = (1 - shrink) * within + shrink * np.trace(within) / len(within) * np.eye(len(within))
        between = np.cov(means, rowvar=False) - within * np.mean(1 / total)
        psi, directions = eigh(between, within)
        psi, directions = psi[::-1][:rank], directions[:, ::-1][:, :rank]
        if psi[-1] <= 0:
            raise UsageError(f"only {int((psi > 0).sum())} of {rank} dimensions tell people apart: lower the rank")
        return cls(means.mean(axis=0), directions, psi, np.ones(rank), noise)


@lru_cache
def scorer_for(model: str) -> Scorer:
    """The scorer that ships for voices of a model (`models.identity`). Raises `UsageError` where there is none."""
    name = model.rpartition(" ")[0]
    if name not in SCORERS:
        raise UsageError(
            f"how sure a name is can be told for voices of {', '.join(SCORERS)}, not of '{model}': "
            f"fit a scorer with tools/fit_naming.py and give it with --scorer FILE"
        )
    with resources.as_file(resources.files("diarist.speakers") / SCORERS[name]) as path:
        return Scorer.load(path)


def evidence_of(scorer: Scorer, groups: Sequence[Sequence[Voice]]) -> Evidence:
    """What voices say of each group's owner, `(num_groups, rank)`. Groups must not be empty."""
    voices = [voice for group in groups for voice in group]
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    if not voices:
        return Evidence(np.zeros((0, len(scorer.between))), np.zeros((0, len(scorer.between))))
    lengths = {len(voice.embedding) for voice in voices}
    if len(lengths) > 1:
        raise UsageError(f"voices of different lengths, {sorted(lengths)}, cannot be compared")
    heard = scorer.evidence(np.stack([v.embedding for v in voices]), np.array([v.seconds for v in voices]))
    return heard.sums(owners, len(groups))
