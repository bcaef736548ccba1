"""How far two models are from each other: a backend from its reference, eight bits from float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Float32
from diarist.errors import UsageError


@dataclass(frozen=True)
class Difference:
    """`largest`: the largest absolute difference. `cosine`: the smallest cosine between vectors of the last axis.

    `agreement`: the part of vectors whose largest value is at the same place (the same class, for scores).
    """

    largest: float
    cosine: float
    agreement: float


def compare(ours: NDArray[Any], theirs: NDArray[Any]) -> Difference:
    """Arrays `(..., n)` of one shape; vectors that are NaN in both are left out.

    Raises `UsageError` where shapes differ, or where only one of the two is NaN.
    """
    if ours.shape != theirs.shape:
        raise UsageError(f"outputs {ours.shape} and {theirs.shape} cannot be compared")
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (ours, theirs))
    missing = np.isnan(a).any(axis=1)
    if not np.array_equal(missing, np.isnan(b).any(axis=1)):
        raise UsageError("one of the two models gives NaN where the other gives numbers")
    a, b = a[~missing], b[~missing]
    if not len(a):
        return Difference(0.0, 1.0, 1.0)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    same = a.argmax(axis=1) == b.argmax(axis=1)
    return Difference(float(np.abs(a - b).max()), float(cosine.min()), float(same.mean()))


def compare_segmentation(model: SegmentationModel, reference: SegmentationModel, batch: Float32) -> Difference:
    """Scores of a batch `(batch, num_samples)`."""
    return compare(model(batch), reference(batch))


def compare_embedding(
    model: EmbeddingModel, reference: EmbeddingModel, features: Float32, weights: Float32
) -> Difference:
    """Embeddings pooled by `weights` `(batch, num_local, num_maps)` from features `(batch, num_fbank, num_mels)`."""
    ours, theirs = (one.pool(one.frames(features), weights) for one in (model, reference))
    return compare(ours, theirs)
