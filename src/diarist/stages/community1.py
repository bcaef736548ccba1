"""The clustering of pyannote's speaker-diarization-community-1, from embeddings to whom each local speaker is.

Voices that talk alone for long enough are merged by centroid linkage, VBx without a chain refines that in the space of
a PLDA, and every local speaker is given to the nearest of the voices that VBx kept, those of one chunk to different
ones (`VBxClustering` of pyannote.audio 4.0.7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.stages.agglomerative import cluster
from diarist.stages.assign import NOBODY
from diarist.stages.plda import XvectorPlda, unit_length
from diarist.stages.reconstruct import BLOCK_ROWS, assign, soft_clusters
from diarist.stages.spectral import kmeans
from diarist.stages.vbx import VbxResult, vbx

LEAST_ALONE = 0.2  # share of a chunk that a voice must talk alone to take part in clustering
SMOOTHING = 7.0
MAX_ITERATIONS = 20
PRIOR_FLOOR = 1e-8
GONE = 1e-7  # prior at which a speaker is none
PRUNED = 1e-12  # prior at which it is not even computed with; the answer is the same


@dataclass(frozen=True)
class Community1:
    """The clustering, with the model's PLDA and the three values that its configuration names."""

    plda: XvectorPlda
    threshold: float
    fa: float
    fb: float

    def __call__(
        self, embeddings: Float32, owners: Int64, talking: Int64, alone: Int64, num_frames: int, bounds: SpeakerBounds
    ) -> tuple[Int64, Float64]:
        """`(clusters (num_chunks, num_local), centroids (num_clusters, dimension))`, `NOBODY` where no one talks.

        `embeddings` `(num_rows, dimension)`, of the length that the network gives them, are those of the local speakers
        `owners` `(num_rows, 2)` (chunk and number), all others have none; `talking` and `alone` as
        `reconstruct.frames_alone()` counts them, of the `num_frames` of a chunk. Where VBx finds a number of speakers
        outside `bounds`, k-means makes as many as are allowed.
        """
        silent = talking == 0
        row, number = owners.T
        voices = embeddings[self.takes_part(owners, alone, num_frames)]
        if len(voices) < 2:
            everybody = voices if len(voices) else embeddings[~silent[row, number]]
            mean = everybody.sum(axis=0, keepdims=True, dtype=np.float64) / max(1, len(everybody))
            return np.where(silent, NOBODY, 0), mean
        centroids = self._centroids(voices)
        target = min(bounds.clip(len(centroids)), len(voices))
        fits = target == len(centroids)
        if not fits:
            labels = kmeans(unit_length(voices), target)
            centroids = np.stack([voices[labels == k].mean(axis=0, dtype=np.float64) for k in range(target)])
        clusters = assign(self.likeness(embeddings, owners, silent, centroids), apart=fits)
        clusters[silent] = NOBODY
        return clusters, centroids

    def takes_part(self, owners: Int64, alone: Int64, num_frames: int) -> NDArray[np.bool_]:
        """Which of the local speakers `owners` `(num_rows, 2)` are clustered: those that talk alone for long enough."""
        enough: NDArray[np.bool_] = alone[owners[:, 0], owners[:, 1]] >= LEAST_ALONE * num_frames
        return enough

    def seeds(self, voices: Float32) -> Int64:
        """Where VBx starts: clusters of voices `(n, dimension)` by centroid linkage, `(n,)`."""
        return cluster(voices, linkage="centroid", threshold=self.threshold)

    def features(self, voices: Float32) -> Float64:
        """Voices `(n, dimension)` in the space of the PLDA, `(n, rank)`, block by block."""
        blocks = (voices[first : first + BLOCK_ROWS] for first in range(0, len(voices), BLOCK_ROWS))
        return np.concatenate([self.plda.project(self.plda.normalize(block)) for block in blocks])

    def refine(self, features: Float64, seeds: Int64, *, prune: float = PRUNED) -> VbxResult:
        """VBx, with responsibilities, from `features` `(n, rank)` and `seeds` `(n,)`."""
        return vbx(
            features,
            self.plda.psi,
            seeds,
            fa=self.fa,
            fb=self.fb,
            loop=0.0,
            smoothing=SMOOTHING,
            max_iterations=MAX_ITERATIONS,
            prune=prune,
            prior_floor=PRIOR_FLOOR,
            keep_responsibilities=True,
        )

    def likeness(self, embeddings: Float32, owners: Int64, silent: NDArray[np.bool_], centroids: Float64) -> Float64:
        """How like each local speaker is to each voice, `(num_chunks, num_local, num_clusters)`: 1 plus the cosine, NaN
        where there is no embedding, and less than all others where it is `silent` `(num_chunks, num_local)`."""
        likeness = np.full((*silent.shape, len(centroids)), np.nan)
        likeness[owners[:, 0], owners[:, 1]] = soft_clusters(embeddings, centroids)
        likeness[silent] = np.nanmin(likeness) - 1  # last in line for a speaker
        return likeness

    def _centroids(self, voices: Float32) -> Float64:
        """Mean voices, weighted by responsibility, of the speakers that VBx kept: `(num_clusters, dimension)`."""
        result = self.refine(self.features(voices), self.seeds(voices))
        assert result.responsibilities is not None
        weights = result.responsibilities[:, result.priors > GONE]
        centroids: Float64 = weights.T @ voices / weights.sum(axis=0)[:, None]
        return centroids
