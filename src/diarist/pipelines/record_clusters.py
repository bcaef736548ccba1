"""What a clustering goes through, step by step: distances, dendrogram, seeds, and the space of a PLDA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Int64, SpeakerBounds
from diarist.models.origin import origin
from diarist.pipelines.cluster import PLDAS, Clustering, Clusters, chunk_plda, window_plda
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Evidence
from diarist.stages import agglomerative
from diarist.stages.agglomerative import EXACT_ROWS, Linkage
from diarist.stages.assign import centroids, unit
from diarist.stages.community1 import GONE, Community1
from diarist.stages.plda import unit_length
from diarist.stages.reconstruct import frames_alone

Arrays = dict[str, NDArray[Any]]
Given = Mapping[str, NDArray[Any]]


def clustered(
    config: PipelineConfig, clustering: Clustering, evidence: Evidence, bounds: SpeakerBounds, given: Given
) -> tuple[Arrays, Clusters]:
    """What the steps of a clustering make of the evidence, each from what `given` has of the step before it; and the
    clusters that decoding is to start from, those of `given` where it has them."""
    rows, linkage, groups = _compared(config, evidence)
    arrays: Arrays = {}
    if 2 <= len(rows) <= EXACT_ROWS:
        arrays["distances"] = agglomerative.distances(unit_length(rows), linkage, "cosine", groups)
        arrays["dendrogram"] = agglomerative.dendrogram(_of(given, arrays, "distances"), linkage)
        if config.clustering.method in ("vbx", "vbx-windows"):
            arrays["seeds"] = agglomerative.cluster(rows, linkage=linkage, threshold=config.clustering.threshold)
    own = clustering(evidence, bounds)
    arrays["voices"], arrays["clusters"] = own.voices, own.labels if own.local is None else own.local
    others = given.get("clusters")
    if own.local is None and others is not None and others.shape == own.labels.shape and len(others):
        if not np.array_equal(others, own.labels):
            arrays["voices"] = centroids(evidence.embeddings, np.asarray(others, np.int64))
    elif config.clustering.method == "vbx" and "seeds" in arrays:
        _community1(config, evidence, arrays, given)
    return arrays, _forced(own, evidence, given)


def _compared(config: PipelineConfig, evidence: Evidence) -> tuple[NDArray[Any], Linkage, Int64 | None]:
    """The rows that are compared with each other, how, and which can never be one person."""
    chosen, rows = config.clustering, evidence.embeddings
    if chosen.method == "nme-sc" or len(rows) < 2:
        return rows[:0], "average", None  # a graph of neighbours: no distances are kept, and there is no tree
    groups = evidence.owners[:, 0]
    if chosen.method == "agglomerative":
        return rows, chosen.linkage, groups  # type: ignore[return-value]
    if chosen.method == "vbx":
        return rows[_takes_part(config, evidence)], "centroid", None
    model = origin(config.embedding.model)
    if model not in PLDAS:
        return rows, "average", groups
    plda = window_plda(model, chosen.calibration)
    return plda.center(np.asarray(rows, np.float64)), "average", None


def _takes_part(config: PipelineConfig, evidence: Evidence) -> NDArray[np.bool_]:
    _, alone = _talking(evidence)
    return _method(config).takes_part(evidence.owners, alone, evidence.local.shape[1])


def _talking(evidence: Evidence) -> tuple[Int64, Int64]:
    return frames_alone(evidence.active(chunk) for chunk in range(len(evidence.local)))


def _method(config: PipelineConfig) -> Community1:
    chosen = config.clustering
    return Community1(chunk_plda(chosen.plda), threshold=chosen.threshold, fa=chosen.Fa, fb=chosen.Fb)


def _community1(config: PipelineConfig, evidence: Evidence, arrays: Arrays, given: Given) -> None:
    """Add the steps of pyannote's community-1, of voices that take part."""
    method = _method(config)
    rows = evidence.embeddings[_takes_part(config, evidence)]
    arrays["plda"] = method.features(rows)
    seeds = _of(given, arrays, "seeds").astype(np.int64)
    result = method.refine(_of(given, arrays, "plda"), seeds, prune=0.0)
    assert result.responsibilities is not None
    arrays["responsibilities"] = result.responsibilities
    weights = _of(given, arrays, "responsibilities")
    if len(weights) == len(rows):
        kept = weights[:, weights.sum(axis=0) / weights.sum() > GONE]
        arrays["voices"] = unit(kept.T @ rows)
    voices = _of(given, arrays, "voices")
    if voices.shape[1] == rows.shape[1]:
        talking, _ = _talking(evidence)
        arrays["likeness"] = method.likeness(evidence.embeddings, evidence.owners, talking == 0, voices)


def _of(given: Given, arrays: Arrays, name: str) -> NDArray[Any]:
    """The other run's array, or this one's where it has none that fits the rows."""
    other, own = given.get(name), arrays.get(name)
    fits = other is not None and (own is None or len(other) == len(own))
    return np.asarray(other if fits else own)


def _forced(own: Clusters, evidence: Evidence, given: Given) -> Clusters:
    """The other run's clusters, where they fit the rows."""
    labels, voices = given.get("clusters"), given.get("voices", own.voices)
    if labels is None or voices.ndim != 2 or labels.max(initial=-1) >= len(voices):
        return own
    labels, voices = np.asarray(labels, np.int64), np.asarray(voices, np.float64)
    if own.local is not None:
        if labels.shape != own.local.shape:
            return own
        rows = labels[evidence.owners[:, 0], evidence.owners[:, 1]]
        return replace(own, labels=rows, local=labels, voices=voices)
    return replace(own, labels=labels, voices=voices) if labels.shape == own.labels.shape else own
