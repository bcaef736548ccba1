"""Probabilistic linear discriminant analysis (PLDA): a space in which noise is standard normal and speakers differ.

In the space, an embedding is its speaker's mean plus noise of variance 1 in each dimension; means have variance `psi`,
largest first (Ioffe, "Probabilistic Linear Discriminant Analysis", 2006). Two forms: `Plda`, for short windows of one
recording, with an offset that adapts to the recording; `XvectorPlda`, the one of pyannote's community-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from diarist.core.types import Float64, Int64
from diarist.errors import UsageError, WeightsError

INDEPENDENT = 0.6  # of the windows of a class: they overlap by half, so that a class of n counts as 0.6 n
MIN_CLASS = 4  # a class with fewer windows says nothing about how classes differ

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Plda:
    """PLDA of unit-length embeddings: `mu` `(dimension,)`, `projection` `(dimension, rank)`, `psi` `(rank,)`.

    With `rectify`, negative values of an embedding count as 0, as they do in networks that end in a ReLU.
    """

    mu: Float64
    projection: Float64
    psi: Float64
    rectify: bool = False

    def __post_init__(self) -> None:
        if self.projection.shape != (*self.mu.shape, *self.psi.shape) or self.mu.ndim != 1 or self.psi.ndim != 1:
            raise UsageError(
                f"a PLDA needs mu (dimension,), projection (dimension, rank) and psi (rank,), "
                f"not {self.mu.shape}, {self.projection.shape} and {self.psi.shape}"
            )

    def center(self, embeddings: Array) -> Array:
        """Embeddings `(n, dimension)`, scaled to unit length, less `mu`; float32 stays float32."""
        x = _prepared(embeddings, self.rectify)
        x -= self.mu.astype(x.dtype)
        return x

    def project(self, centered: Array, offset: Array | float = 0.0) -> Array:
        """What `center()` gave, `(n, dimension)`, less `offset` `(dimension,)`, to features `(n, rank)`.

        Each is scaled to the length that the model expects, the root of sum(1 + psi). float32 stays float32.
        """
        features = centered @ self.projection.astype(centered.dtype)
        features -= (offset * np.ones(len(self.mu)) @ self.projection).astype(features.dtype)
        features = unit_length(features)
        features *= features.dtype.type(np.sqrt(np.sum(1 + self.psi)))
        return features

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write an npz file; the same values are the same bytes."""
        np.savez(file, mu=self.mu, L=self.projection, psi=self.psi, rectify=self.rectify)

    @classmethod
    def load(cls, path: str | Path) -> Plda:
        """Read an npz file with `mu`, `L`, `psi` and `rectify`. Raises `WeightsError`."""
        values = read_arrays(path, ("mu", "L", "psi", "rectify"))
        return cls(values["mu"], values["L"], values["psi"], bool(values["rectify"]))

    @classmethod
    def fit(cls, embeddings: Array, classes: Int64, *, rank: int, shrink: float, rectify: bool = False) -> Plda:
        """Fit to embeddings `(n, dimension)` whose `classes` `(n,)` are a speaker in one recording.

        `mu` is the mean of the class means. The covariance within classes is shrunk: `1 - shrink` of it, plus `shrink`
        of its mean variance in every direction. From the covariance of class means comes off what the noise of few
        windows adds to it. `rank` directions are kept. Raises `UsageError` where the data cannot carry that.
        """
        x = _prepared(np.asarray(embeddings, np.float64), rectify)
        _, member, counts = np.unique(classes, return_inverse=True, return_counts=True)
        dimension, large = x.shape[1], counts >= MIN_CLASS
        if large.sum() < 2 or not 1 <= rank <= dimension:
            raise UsageError(
                f"a PLDA of rank {rank} (1 to {dimension}) needs 2 or more classes of {MIN_CLASS} windows, "
                f"not {int(large.sum())}: give more data"
            )
        means = np.zeros((len(counts), dimension))
        np.add.at(means, member, x)
        means /= counts[:, None]
        inner = x - means[member]
        within = inner.T @ inner / (len(x) - len(counts))
        between = np.cov(means[large], rowvar=False) - within * np.mean(1 / (INDEPENDENT * counts[large]))
        within = (1 - shrink) * within + shrink * np.trace(within) / dimension * np.eye(dimension)
        psi, directions = eigh(between, within)
        psi, directions = psi[::-1][:rank], directions[:, ::-1][:, :rank]
        if psi[-1] <= 0:
            raise UsageError(
                f"only {int((psi > 0).sum())} of {rank} PLDA dimensions tell classes apart: lower the rank"
            )
        return cls(means.mean(axis=0), directions, psi, rectify)


@dataclass(frozen=True)
class XvectorPlda:
    """The two steps of pyannote's community-1: `normalize()` embeddings, then `project()` them.

    `mean1` `(dimension,)`, `lda` `(dimension, rank)`, `mean2` `(rank,)`; `mu` `(rank,)`, `directions` `(rank, rank)`
    in rows, `psi` `(rank,)`.
    """

    mean1: Float64
    lda: Float64
    mean2: Float64
    mu: Float64
    directions: Float64
    psi: Float64

    def normalize(self, embeddings: Array) -> Array:
        """Embeddings `(n, dimension)`: centred, brought to the length root(dimension), through the discriminant
        analysis, centred, brought to the length root(rank). `(n, rank)`."""
        dimension, rank = self.lda.shape
        inner = unit_length(np.asarray(embeddings, np.float64) - self.mean1) * np.sqrt(dimension)
        unit = unit_length(inner @ self.lda - self.mean2)
        unit *= np.sqrt(rank)
        return unit

    def project(self, normalized: Array) -> Array:
        """What `normalize()` gave, `(n, rank)`, in the space of the PLDA, `(n, rank)`."""
        features: Array = (normalized - self.mu) @ self.directions.T
        return features

    @classmethod
    def load(cls, transform: str | Path, plda: str | Path) -> XvectorPlda:
        """Read `xvec_transform.npz` (mean1, mean2, lda) and `plda.npz` (mu, tr, psi). Raises `WeightsError`.

        The file holds a transform `tr` that diagonalises both covariances; solving for it again puts the directions
        in order of psi and the covariance within classes at exactly 1.
        """
        first = read_arrays(transform, ("mean1", "mean2", "lda"))
        second = read_arrays(plda, ("mu", "tr", "psi"))
        tr = second["tr"]
        within = np.linalg.inv(tr.T @ tr)
        between = np.linalg.inv((tr.T / second["psi"]) @ tr)
        psi, directions = eigh(between, within)
        return cls(first["mean1"], first["lda"], first["mean2"], second["mu"], directions.T[::-1], psi[::-1])


def _prepared(embeddings: Array, rectify: bool) -> Array:
    if not rectify:
        return unit_length(embeddings)
    rectified: Array = np.maximum(embeddings, 0)
    rectified /= _lengths(rectified)
    return rectified


def unit_length(vectors: Array) -> Array:
    """A copy of rows `(n, dimension)` scaled to length 1; float32 stays float32, all else becomes float64.

    Raises `UsageError` for a row that is zero or not finite.
    """
    vectors = np.asarray(vectors, dtype=np.float32 if getattr(vectors, "dtype", None) == np.float32 else np.float64)
    if vectors.ndim != 2:
        raise UsageError(f"vectors must come as (n, dimension), not {vectors.shape}")
    unit: Array = vectors / _lengths(vectors)
    return unit


def _lengths(vectors: Array) -> Array:
    """Lengths of rows, `(n, 1)`. Raises `UsageError` for a row that is zero or not finite."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]  # norm() would make a copy
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        raise UsageError(f"row {bad[0]} of the vectors is zero or not finite and has no direction: drop such rows")
    return np.asarray(lengths)


def read_arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, Float64]:
    """Arrays of an npz file, by name. Raises `WeightsError`."""
    try:
        with Path(path).open("rb") as handle, ZipFile(handle), np.load(handle) as file:
            return {name: np.asarray(file[name], np.float64) for name in names}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise WeightsError(f"'{path}' is not an npz file with {', '.join(names)}: {error}") from error
