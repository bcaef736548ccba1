"""Which voices of a recording are the same person: the clusterer that the configuration names, on what was heard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

import numpy as np

from diarist.core.protocols import Clusterer
from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.errors import ConfigError, WeightsError
from diarist.models.hub import resolve
from diarist.models.origin import origin
from diarist.pipelines.config import ClusteringConfig, PipelineConfig
from diarist.pipelines.frontend import Evidence
from diarist.stages import agglomerative, spectral
from diarist.stages.assign import centroids, unit
from diarist.stages.community1 import Community1
from diarist.stages.embed import unit_rows
from diarist.stages.hypotheses import Choice
from diarist.stages.plda import Plda, XvectorPlda
from diarist.stages.reconstruct import frames_alone
from diarist.stages.window_vbx import WindowVbx

PLDAS = {"campplus-zh-en": "campplus-zh-en-windows"}  # of 1.5 s windows, by embedding model
CALIBRATIONS = {"all": "", "permissive": "-permissive"}  # what the speech was that a PLDA was fitted to: its suffix
CHOSEN = ("all",)  # which of them come with a choice of answers


@dataclass(frozen=True)
class Clusters:
    """Speakers of a recording: `labels` `(num_rows,)` from 0, the speakers' unit `voices` `(num_speakers, dimension)`,
    and how certain each row's label is, `(num_rows,)` in [0, 1].

    `local` `(num_chunks, num_local)`: whom each local speaker is, -1 for nobody, from a clustering that says so.
    `most`: at most so many speakers were asked for. `count_confidence`: how likely their number is right, where the
    clustering knows.
    """

    labels: Int64
    voices: Float64
    certainty: Float32
    warnings: tuple[str, ...] = ()
    local: Int64 | None = None
    most: int | None = None
    count_confidence: float | None = None


Clustering = Callable[[Evidence, SpeakerBounds], Clusters]

OWN_MODEL_THRESHOLD = 0.5  # cosine distance; voices of a model that no PLDA ships for are cut there
LARGEST_SHARE = 0.1  # of the local speakers; a cluster of so many always counts, as in pyannote.audio 3.1
PLDA_FILES = ("xvec_transform.npz", "plda.npz")
PLDA_SOURCE = (
    "accept the terms of pyannote/speaker-diarization-community-1 on Hugging Face, then set clustering.plda "
    f"(--clustering-plda) to that id, or to a copy of its folder 'plda' with {' and '.join(PLDA_FILES)}"
)


def clustering_of(config: PipelineConfig, dimension: int, *, offline: bool = False) -> Clustering:
    """The clustering that a configuration asks for, of voices `(n, dimension)`.

    Raises `ConfigError` where its parts do not fit, `WeightsError` for a PLDA that is not there; `offline`, none is
    fetched.
    """
    if config.clustering.method == "vbx":
        return _community1(config, dimension, offline)
    clusterer, warnings = _clusterer(config, dimension)

    def cluster(evidence: Evidence, bounds: SpeakerBounds) -> Clusters:
        rows = evidence.embeddings
        sure: float | None = None
        if isinstance(clusterer, WindowVbx):
            labels, sure = clusterer.answer(rows, bounds, evidence.times)
        else:
            labels = clusterer(rows, evidence.owners[:, 0], bounds)
        voices = centroids(rows, labels)
        sureness = certainty(rows, labels, voices)
        return Clusters(labels, voices, sureness, warnings, most=bounds.most, count_confidence=sure)

    return cluster


def _community1(config: PipelineConfig, dimension: int, offline: bool) -> Clustering:
    """The clustering of pyannote's community-1, which says whom each local speaker is."""
    chosen = config.clustering
    if config.embedding.rows != "chunks":
        raise ConfigError("clustering.method 'vbx' needs embedding.rows 'chunks'")
    plda = chunk_plda(chosen.plda, offline=offline)
    if len(plda.mean1) != dimension:
        raise ConfigError(
            f"the PLDA '{chosen.plda}' takes {len(plda.mean1)} dimensions and the embedding model "
            f"'{config.embedding.model}' makes {dimension}: a PLDA goes with the model that it was trained on"
        )
    method = Community1(plda, threshold=chosen.threshold, fa=chosen.Fa, fb=chosen.Fb)

    def cluster(evidence: Evidence, bounds: SpeakerBounds) -> Clusters:
        rows, owners = evidence.embeddings, evidence.owners
        if len(rows) == 0:
            return Clusters(np.zeros(0, np.int64), np.zeros((0, dimension)), np.zeros(0, np.float32))
        talking, alone = frames_alone(evidence.active(chunk) for chunk in range(len(evidence.local)))
        local, means = method(rows, owners, talking, alone, evidence.local.shape[1], bounds)
        labels, voices = local[owners[:, 0], owners[:, 1]], unit(means)
        return Clusters(labels, voices, certainty(unit_rows(rows), labels, voices), local=local, most=bounds.most)

    return cluster


@lru_cache
def chunk_plda(where: str | None, *, offline: bool = False) -> XvectorPlda:
    """The PLDA of community-1 from a folder or a hub id. Raises `WeightsError` where it is not."""
    if where is None:
        raise WeightsError(f"clustering.method 'vbx' needs the PLDA of community-1: {PLDA_SOURCE}")
    folder = resolve(where, offline=offline)
    found = [_inside(folder if folder.is_dir() else folder.parent, name) for name in PLDA_FILES]
    missing = [name for name, path in zip(PLDA_FILES, found, strict=True) if path is None]
    if missing:
        raise WeightsError(f"'{where}' holds no {' and no '.join(missing)}: {PLDA_SOURCE}")
    try:
        return XvectorPlda.load(*(path for path in found if path is not None))
    except (ValueError, np.linalg.LinAlgError) as error:
        raise WeightsError(f"the files in '{where}' make no PLDA ({error}): {PLDA_SOURCE}") from error


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder or below it."""
    return min(folder.rglob(name), default=None)


def _clusterer(config: PipelineConfig, dimension: int) -> tuple[Clusterer, tuple[str, ...]]:
    chosen = config.clustering
    if chosen.method == "nme-sc":
        return partial(_nme_sc, chosen), ()
    if chosen.method == "agglomerative":
        return partial(_agglomerative, chosen, config.embedding.rows == "chunks"), ()
    if config.embedding.rows != "windows":
        raise ConfigError("clustering.method 'vbx-windows' needs embedding.rows 'windows'")
    model = origin(config.embedding.model)
    if model in PLDAS:
        plda = window_plda(model, chosen.calibration)
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
            choice=choice_of_answers(model, chosen.calibration),
        )
        return vbx, ()
    warning = (
        f"no PLDA ships for the embedding model '{model}': voices were clustered by average linkage, cut at a cosine "
        f"distance of {OWN_MODEL_THRESHOLD}; set clustering.method and clustering.threshold to choose"
    )
    return partial(_agglomerative, replace(chosen, linkage="average", threshold=OWN_MODEL_THRESHOLD), False), (warning,)


def _nme_sc(config: ClusteringConfig, embeddings: Float32, groups: Int64, bounds: SpeakerBounds) -> Int64:
    return spectral.cluster_within(
        embeddings, bounds, max_ties=config.max_ties, max_speakers=config.max_speakers, groups=groups
    )


def _agglomerative(
    config: ClusteringConfig, chunks: bool, embeddings: Float32, groups: Int64, bounds: SpeakerBounds
) -> Int64:
    share = max(1, round(LARGEST_SHARE * len(embeddings))) if chunks else config.min_cluster_size
    return agglomerative.cluster_within(
        embeddings,
        bounds,
        linkage=config.linkage,  # type: ignore[arg-type]
        threshold=config.threshold,
        groups=groups,
        min_size=min(config.min_cluster_size, share),
    )


@lru_cache
def window_plda(model: str, calibration: str = "all") -> Plda:
    """The PLDA of short windows that ships for an embedding model. Raises `ConfigError` where there is none."""
    if model not in PLDAS:
        raise ConfigError(
            f"a PLDA ships for {', '.join(PLDAS)} only, not for '{model}': "
            f"choose clustering.method 'agglomerative' or 'nme-sc'"
        )
    with _shipped(f"{PLDAS[model]}{CALIBRATIONS[calibration]}.npz") as path:
        return Plda.load(path)


@lru_cache
def choice_of_answers(model: str, calibration: str = "all") -> Choice | None:
    """The choice of answers that goes with `window_plda`, where there is one."""
    if calibration not in CHOSEN:
        return None
    with _shipped(f"{PLDAS[model]}{CALIBRATIONS[calibration]}-choice.npz") as path:
        return Choice.load(path)


def _shipped(name: str) -> AbstractContextManager[Path]:
    return resources.as_file(resources.files("diarist.models") / "plda" / name)


def certainty(embeddings: Float32, labels: Int64, voices: Float64) -> Float32:
    """How sure it is that a row is its speaker rather than the next best: `(num_rows,)` in (0, 1].

    A logistic function of the margin between the cosines to both voices; 1 where there is one speaker, 0 for nobody.
    """
    if len(voices) < 2 or len(labels) == 0:
        return (labels >= 0).astype(np.float32)
    cosine = embeddings @ voices.T.astype(embeddings.dtype)
    rows = np.arange(len(labels))
    own = cosine[rows, labels]
    cosine[rows, labels] = -np.inf
    sure = 1 / (1 + np.exp(-(CERTAINTY_BIAS + CERTAINTY_SLOPE * (own - cosine.max(axis=1)))))
    return np.where(labels >= 0, sure, 0).astype(np.float32)


CERTAINTY_BIAS, CERTAINTY_SLOPE = -0.5, 10.0  # fitted to 12,000 windows of simulated conversations of unseen speakers
