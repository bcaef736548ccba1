"""What every model refuses, in one line that names both shapes."""

from __future__ import annotations

import numpy as np

from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ModelFileError, UsageError


def check_chunks(batch: Float32, spec: SegmentationSpec) -> None:
    """Raise `UsageError` unless the shape is `(batch, spec.chunk)`."""
    if batch.ndim != 2 or batch.shape[1] != spec.chunk:
        raise UsageError(f"a segmentation network takes (batch, {spec.chunk}) samples, not {batch.shape}")


def check_features(fbank: Float32, spec: EmbeddingSpec) -> None:
    """Raise `UsageError` unless the shape is `(batch, num_fbank, spec.num_mels)`."""
    if fbank.ndim != 3 or fbank.shape[2] != spec.num_mels:
        raise UsageError(f"an embedding network takes (batch, num_fbank, {spec.num_mels}) features, not {fbank.shape}")


def check_weights(maps: Float32, weights: Float32) -> None:
    """Raise `UsageError` unless weights `(batch, num_local, num_maps)` fit maps `(batch, num_maps, channels)`."""
    if maps.ndim != 3 or weights.ndim != 3 or (len(maps), maps.shape[1]) != (len(weights), weights.shape[2]):
        raise UsageError(
            f"weights {weights.shape} do not fit maps {maps.shape}: "
            "they must be (batch, num_local, num_maps) and (batch, num_maps, channels)"
        )


def check_finite(answers: Float32) -> None:
    """Raise `WeightsError` where a network answers with something that is no number."""
    if not np.isfinite(answers).all():
        raise ModelFileError("its weights are too large: what it answers is not finite")
