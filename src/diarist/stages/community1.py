"""The clustering of pyannote's speaker-diarization-community-1, from embeddings to whom each local speaker is.

Voices that talk alone for long enough are merged by centroid linkage, VBx without a chain refines that in the space of
a PLDA, and every local speaker is given to the nearest of the voices that VBx kept, those of one chunk to different
ones (`VBxClustering` of pyannote.audio 4.0.7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.stages.agglomerative import cluster
from diarist.stages.assign import NOBODY
from diarist.stages.plda import XvectorPlda, unit_length
from diarist.stages.reconstruct import BLOCK_ROWS, assign, soft_clusters
from diarist.stages.spectral import kmeans
from diarist.stages.vbx import vbx

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
        voices = embeddings[alone[row, number] >= LEAST_ALONE * num_frames]
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
        likeness = np.full((*talking.shape, len(centroids)), np.nan)
        likeness[row, number] = soft_clusters(embeddings, centroids)
        likeness[silent] = np.nanmin(likeness) - 1  # last in line for a speaker
        clusters = assign(likeness, apart=fits)
        clusters[silent] = NOBODY
        return clusters, centroids

    def _centroids(self, voices: Float32) -> Float64:
        """Mean voices, weighted by responsibility, of the speakers that VBx kept: `(num_clusters, dimension)`."""
        start = cluster(voices, linkage="centroid", threshold=self.threshold)
        result = vbx(
            self._features(voices),
            self.plda.psi,
            start,
            fa=self.fa,
            fb=self.fb,
            loop=0.0,
            smoothing=SMOOTHING,
            max_iterations=MAX_ITERATIONS,
            prune=PRUNED,
            prior_floor=PRIOR_FLOOR,
            keep_responsibilities=True,
        )
        assert result.responsibilities is not None
        weights = result.responsibilities[:, result.priors > GONE]
        centroids: Float64 = weights.T @ voices / weights.sum(axis=0)[:, None]
        return centroids

    def _features(self, voices: Float32) -> Float64:
        """Voices `(n, dimension)` in the space of the PLDA, `(n, rank)`, block by block."""
        blocks = (voices[first : first + BLOCK_ROWS] for first in range(0, len(voices), BLOCK_ROWS))
        return np.concatenate([self.plda.project(self.plda.normalize(block)) for block in blocks])
