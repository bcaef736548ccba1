"""How far two arrays of a stage are from each other, each kind in its own way.

A comparison takes two arrays and gives a `Difference`; it raises `ValueError`, in words, where their shapes do not let
them be compared. Numbers of speakers mean nothing, so labels, columns and turns are compared after the best match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Int64

Array = NDArray[Any]
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4  # what the C++ port's own check allows


@dataclass(frozen=True)
class Difference:
    """`largest`: the largest absolute difference, None where there is no such thing. `agreement`: the smallest cosine
    of vectors, or the part that is the same, None where neither says anything."""

    largest: float | None = None
    agreement: float | None = None


def exact(ours: Array, theirs: Array) -> Difference:
    """Numbers that must be the same."""
    a, b = _alike(ours, theirs)
    return Difference(_largest(a, b), _share((a == b) | (np.isnan(a) & np.isnan(b))))


def frames(ours: Array, theirs: Array) -> Difference:
    """As `exact`, of frames; where one array is longer, nobody must talk in its rest."""
    long = max(len(ours), len(theirs))
    a, b = (np.pad(x.reshape(-1), (0, long - x.size)) for x in (ours, theirs))
    return exact(a, b)


def values(ours: Array, theirs: Array) -> Difference:
    """Numbers that may differ by a little; what is NaN in one only counts as no agreement."""
    a, b = _alike(ours, theirs)
    same = np.isnan(a) == np.isnan(b)
    return Difference(_largest(a, b), _share(same))


def close(ours: Array, theirs: Array) -> Difference:
    """As numpy's `allclose`, with a thousandth of the number and 1e-4 on top; the part that is."""
    a, b = _alike(ours, theirs)
    return Difference(_largest(a, b), _share(np.isclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)))


def scores(ours: Array, theirs: Array) -> Difference:
    """Scores `(..., num_classes)` as probabilities; agreement is the part of frames with the same best class."""
    a, b = _alike(ours, theirs)
    if a.size and (a.min() < 0 or b.min() < 0):  # log-probabilities
        a, b = np.exp(a), np.exp(b)
    return Difference(_largest(a, b), _share(a.argmax(axis=-1) == b.argmax(axis=-1) if a.size else np.ones(0, bool)))


def vectors(ours: Array, theirs: Array) -> Difference:
    """Vectors of the last axis: the largest difference over their mean length, the smallest cosine."""
    a, b = (x.reshape(-1, x.shape[-1]) for x in _alike(ours, theirs))
    there, others = (~np.asarray(np.isnan(x).any(axis=1)) for x in (a, b))
    if not np.array_equal(there, others):
        raise ValueError(f"{there.sum()} of {len(there)} vectors are there, not {others.sum()}, or not the same ones")
    a, b = a[there], b[there]
    if not len(a):
        return Difference(0.0, 1.0)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = lengths[0] * lengths[1]
    cosine = (a * b).sum(axis=1) / np.where(product > 0, product, 1.0)
    return Difference(float(np.abs(a - b).max() / max(float(lengths[1].mean()), 1e-12)), float(cosine.min()))


def tree(ours: Array, theirs: Array) -> Difference:
    """Dendrograms `(n - 1, 4)`: the largest difference in height, the part of merges that are the same."""
    a, b = _alike(ours, theirs)
    merges = (np.sort(a[:, :2], axis=1) == np.sort(b[:, :2], axis=1)).all(axis=1) & (a[:, 3] == b[:, 3])
    return Difference(_largest(a[:, 2], b[:, 2]), _share(merges))


def labels(ours: Array, theirs: Array) -> Difference:
    """Labels, negative for nobody: the part that is the same once labels are matched."""
    a, b = (x.reshape(-1).astype(np.int64) for x in _alike(ours, theirs))
    a, b = np.where(a < 0, -1, a), np.where(b < 0, -1, b)
    together = np.zeros((a.max(initial=-1) + 1, b.max(initial=-1) + 1))
    both = (a >= 0) & (b >= 0)
    np.add.at(together, (a[both], b[both]), 1)
    return Difference(None, _share(_renamed(a, together) == b))


def columns(ours: Array, theirs: Array) -> Difference:
    """Activity `(num_frames, num_speakers)`: the part of frames that are the same once speakers are matched. A speaker
    who never talks is none."""
    a, b = (np.asarray(x) > 0 for x in (ours, theirs))
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"activity {ours.shape}, not {theirs.shape}")
    long = max(len(a), len(b))
    a, b = (np.pad(x[:, x.any(axis=0)], ((0, long - len(x)), (0, 0))) for x in (a, b))
    most = max(a.shape[1], b.shape[1])
    a, b = (np.pad(x, ((0, 0), (0, most - x.shape[1]))) for x in (a, b))
    rows, matched = linear_sum_assignment(-(a.T.astype(np.float64) @ b))
    return Difference(None, _share((a[:, rows] == b[:, matched]).all(axis=1)))


def turns(ours: Array, theirs: Array) -> Difference:
    """Turns `(num_turns, 3)`: the largest difference of an edge, the part of turns with the same speaker once speakers
    are matched."""
    a, b = _alike(ours, theirs)
    if not len(a):
        return Difference(0.0, 1.0)
    a, b = (x[np.lexsort((np.rint(x[:, 1] * 1e3), np.rint(x[:, 0] * 1e3)))] for x in (a, b))
    one, other = a[:, 2].astype(np.int64), b[:, 2].astype(np.int64)
    together = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(together, (one, other), 1)
    return Difference(_largest(a[:, :2], b[:, :2]), _share(_renamed(one, together) == other))


COMPARISONS: Mapping[str, Callable[[Array, Array], Difference]] = {
    compare.__name__: compare
    for compare in (exact, frames, values, close, scores, vectors, tree, labels, columns, turns)
}


def _renamed(labels: Int64, together: NDArray[np.float64]) -> Int64:
    """Labels under the names that they share most rows with, by `together` `(num_ours, num_theirs)`; -1 stays, and who
    has no match gets a name that nobody has."""
    names = np.arange(len(together), dtype=np.int64) + together.shape[1] + 1
    rows, found = linear_sum_assignment(-together)
    names[rows] = found
    return np.where(labels < 0, -1, names[labels] if len(names) else -1)


def _alike(ours: Array, theirs: Array) -> tuple[Array, Array]:
    if ours.shape != theirs.shape:
        raise ValueError(f"{_shape(ours)}, not {_shape(theirs)}")
    return ours.astype(np.float64), theirs.astype(np.float64)


def _shape(array: Array) -> str:
    return " x ".join(map(str, array.shape)) or "one number"


def _largest(a: Array, b: Array) -> float:
    known = ~(np.isnan(a) | np.isnan(b)) & (a != b)
    return float(np.abs(a[known] - b[known]).max()) if known.any() else 0.0


def _share(same: Array) -> float:
    return float(np.mean(same)) if same.size else 1.0
