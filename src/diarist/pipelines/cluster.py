"""Which voices of a recording are the same person: the clusterer that the configuration names, on what was heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources

import numpy as np

from diarist.core.protocols import Clusterer
from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.errors import ConfigError
from diarist.pipelines.config import ClusteringConfig, PipelineConfig
from diarist.pipelines.frontend import Evidence
from diarist.stages import agglomerative, spectral
from diarist.stages.assign import centroids
from diarist.stages.plda import Plda
from diarist.stages.window_vbx import WindowVbx

PLDAS = {"campplus-zh-en": "campplus-zh-en-windows.npz"}  # of 1.5 s windows, by embedding model


@dataclass(frozen=True)
class Clusters:
    """Speakers of a recording: `labels` `(num_rows,)` from 0, the speakers' unit `voices` `(num_speakers, dimension)`,
    and how certain each row's label is, `(num_rows,)` in [0, 1]."""

    labels: Int64
    voices: Float64
    certainty: Float32
    warnings: tuple[str, ...] = ()


Clustering = Callable[[Evidence, SpeakerBounds], Clusters]

OWN_MODEL_THRESHOLD = 0.5  # cosine distance; voices of a model that no PLDA ships for are cut there


def clustering_of(config: PipelineConfig, dimension: int) -> Clustering:
    """The clustering that a configuration asks for, of voices `(n, dimension)`. Raises `ConfigError` where its parts
    do not fit."""
    clusterer, warnings = _clusterer(config, dimension)

    def cluster(evidence: Evidence, bounds: SpeakerBounds) -> Clusters:
        rows = evidence.embeddings
        labels = clusterer(rows, evidence.owners[:, 0], bounds)
        voices = centroids(rows, labels)
        return Clusters(labels, voices, certainty(rows, labels, voices), warnings)

    return cluster


def _clusterer(config: PipelineConfig, dimension: int) -> tuple[Clusterer, tuple[str, ...]]:
    chosen, model = config.clustering, config.embedding.model
    if chosen.method == "nme-sc":
        return partial(_nme_sc, chosen), ()
    if chosen.method == "agglomerative":
        return partial(_agglomerative, chosen), ()
    if config.embedding.rows != "windows":
        raise ConfigError("clustering.method 'vbx-windows' needs embedding.rows 'windows'")
    if model in PLDAS:
        plda = window_plda(model)
        if len(plda.mu) != dimension:
            raise ConfigError(
                f"the PLDA of '{model}' takes {len(plda.mu)} dimensions and the embedding model given makes "
                f"{dimension}: give that model a name of its own in embedding.model"
            )
        vbx = WindowVbx(
            plda=plda,
            threshold=chosen.threshold,
            Fa=chosen.Fa,
            Fb=chosen.Fb,
            loop=chosen.loop,
            centring=chosen.centring,
            min_cluster_size=chosen.min_cluster_size,
        )
        return vbx, ()
    warning = (
        f"no PLDA ships for the embedding model '{model}': voices were clustered by average linkage, cut at a cosine "
        f"distance of {OWN_MODEL_THRESHOLD}; set clustering.method and clustering.threshold to choose"
    )
    return partial(_agglomerative, replace(chosen, linkage="average", threshold=OWN_MODEL_THRESHOLD)), (warning,)


def _nme_sc(config: ClusteringConfig, embeddings: Float32, groups: Int64, bounds: SpeakerBounds) -> Int64:
    return spectral.cluster_within(
        embeddings, bounds, max_ties=config.max_ties, max_speakers=config.max_speakers, groups=groups
    )


def _agglomerative(config: ClusteringConfig, embeddings: Float32, groups: Int64, bounds: SpeakerBounds) -> Int64:
    return agglomerative.cluster_within(
        embeddings,
        bounds,
        linkage=config.linkage,  # type: ignore[arg-type]
        threshold=config.threshold,
        groups=groups,
        min_size=config.min_cluster_size,
    )


@lru_cache
def window_plda(model: str) -> Plda:
    """The PLDA of short windows that ships for an embedding model. Raises `ConfigError` where there is none."""
    if model not in PLDAS:
        raise ConfigError(
            f"a PLDA ships for {', '.join(PLDAS)} only, not for '{model}': "
            f"choose clustering.method 'agglomerative' or 'nme-sc'"
        )
    with resources.as_file(resources.files("diarist.models") / "plda" / PLDAS[model]) as path:
        return Plda.load(path)


def certainty(embeddings: Float32, labels: Int64, voices: Float64) -> Float32:
    """How sure it is that a row is its speaker rather than the next best: `(num_rows,)` in (0, 1].

    A logistic function of the margin between the cosines to both voices; 1 where there is one speaker.
    """
    if len(voices) < 2 or len(labels) == 0:
        return np.ones(len(labels), dtype=np.float32)
    cosine = np.asarray(embeddings, np.float64) @ voices.T
    rows = np.arange(len(labels))
    own = cosine[rows, labels]
    cosine[rows, labels] = -np.inf
    return np.asarray(1 / (1 + np.exp(-(CERTAINTY_BIAS + CERTAINTY_SLOPE * (own - cosine.max(axis=1))))), np.float32)


CERTAINTY_BIAS, CERTAINTY_SLOPE = 0.0, 10.0
