"""Where the error comes from: stages of a pipeline swapped, one after the other, for oracles that know the reference.

Evidence is heard once a recording; each oracle changes a part of it, or of the clusters, and the rest runs as it is:

    as-is          nothing changed
    count          the clustering is told the number of speakers
    clustering     each row (window, or local speaker of a chunk) is the reference speaker most active in it
    segmentation   who talks in each frame, and in each chunk, is the reference's; voices and clusters stay as found
    both           segmentation and clustering: what is left comes from decoding, and from speech without a voice

After the oracle stages of `pyannote.audio` (Bredin, "pyannote.audio 2.1 speaker diarization pipeline", 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist.audio.decode import open_audio
from diarist.core.events import Emitter
from diarist.core.time import Axis
from diarist.core.types import Diarization, Float32, Int64, SpeakerBounds
from diarist.evaluation.dataset import Item
from diarist.evaluation.systems import AS_IS, Answer, Clock, Offline, Work
from diarist.pipelines.cluster import Clustering, Clusters
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import decode
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages import powerset
from diarist.stages.assign import centroids
from diarist.stages.subsegments import runs

COUNT, CLUSTERING, SEGMENTATION, BOTH = "oracle-count", "oracle-clustering", "oracle-segmentation", "oracle-both"
VARIANTS = (AS_IS, COUNT, CLUSTERING, SEGMENTATION, BOTH)

Activity = NDArray[np.bool_]


@dataclass(frozen=True)
class Attributed:
    """A pipeline that also answers with each oracle in place; the cost is that of the answer as it is."""

    offline: Offline

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.offline.name

    @property
    def variants(self) -> tuple[str, ...]:
        """As it is, and with each oracle."""
        return VARIANTS

    def settings(self) -> dict[str, Any]:
        """The pipeline's: the answer as it is, is the same."""
        return self.offline.settings()

    def start(self) -> Work:
        """Hears each recording once, and answers five times."""
        diarizer = self.offline.diarizer()

        def answer(item: Item) -> Answer:
            segmentation, embedding, clustering, pool = diarizer.loaded()
            clock, config = Clock(), diarizer.config
            with single_threaded_algebra(), open_audio(item.audio, uri=item.uri) as reader:
                evidence = Listener(segmentation, embedding, config, pool, Emitter((), item.uri))(
                    reader.blocks(), reader.duration
                )
                clusters = clustering(evidence, SpeakerBounds())
                as_is = _decoded(item.uri, evidence, clusters, config)
                cost = clock.cost(evidence.duration)
                found = oracles(item.reference, evidence, clusters, clustering, config)
            return Answer({AS_IS: as_is, **found}, cost, (*reader.warnings, *clusters.warnings))

        return answer


def oracles(
    reference: Diarization, evidence: Evidence, found: Clusters, clustering: Clustering, config: PipelineConfig
) -> dict[str, Diarization]:
    """What comes out with each oracle in place; `found` are the clusters as they are."""
    uri, count = reference.uri, reference.num_speakers
    counted = clustering(evidence, SpeakerBounds.of(count)) if count else found
    active = reference_activity(reference, evidence.frames, len(evidence.count))
    right = right_segmentation(evidence, active)
    labelled = right_clusters(evidence, active, config, found)
    return {
        COUNT: _decoded(uri, evidence, counted, config),
        CLUSTERING: _decoded(uri, evidence, labelled, config),
        SEGMENTATION: _decoded(uri, right, found, config),
        BOTH: _decoded(uri, right, labelled, config),
    }


def reference_activity(reference: Diarization, frames: Axis, num_frames: int) -> Activity:
    """Who talks at the middle of each frame, `(num_frames, num_speakers)`; speakers in order of `reference.labels`."""
    middles = frames.middles(num_frames)
    active = np.zeros((num_frames, reference.num_speakers), dtype=bool)
    column = {label: index for index, label in enumerate(reference.labels)}
    for turn in reference:
        first, past = np.searchsorted(middles, (turn.start, turn.end))
        active[first:past, column[turn.speaker]] = True
    return active


def right_clusters(evidence: Evidence, active: Activity, config: PipelineConfig, found: Clusters) -> Clusters:
    """Rows labelled with the reference speaker who is most active in them or, where nobody is, in the nearest frame
    with anybody; `active` `(num_frames, num_speakers)`. Without a reference speaker, or a row, `found`."""
    somebody = np.flatnonzero(active.any(axis=1))
    if len(somebody) == 0 or len(found.labels) == 0:
        return found
    windows = evidence.owners[0, 0] < 0
    together, middle = _in_windows(evidence, active, config) if windows else _in_chunks(evidence, active)
    speaker = together.argmax(axis=1)
    silent = together.max(axis=1) == 0
    after = np.clip(np.searchsorted(somebody, middle), 1, max(len(somebody) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(somebody) - 1)
    nearer = np.where(middle - somebody[before] <= somebody[after] - middle, before, after)
    speaker[silent] = active[somebody[nearer[silent]]].argmax(axis=1)
    labels = np.unique(speaker, return_inverse=True)[1].astype(np.int64)
    return Clusters(labels, centroids(evidence.embeddings, labels), np.ones(len(labels), dtype=np.float32))


def _in_windows(evidence: Evidence, active: Activity, config: PipelineConfig) -> tuple[Int64, Int64]:
    """Frames of each speaker in each window `(num_rows, num_speakers)`, and the windows' middle frames.

    A window reaches half its size to both sides, but not out of the stretch of single speech that it was cut from.
    """
    middles = evidence.frames.middles(len(active))
    middle = np.minimum(np.searchsorted(middles, evidence.times), len(active) - 1)
    stretches = runs(evidence.count == 1)
    inside = np.searchsorted(stretches[:, 0], middle, side="right") - 1
    first, past = (np.searchsorted(middles, evidence.times + side * config.embedding.window / 2) for side in (-1, 1))
    known = (inside >= 0) & (middle < stretches[inside, 1]) if len(stretches) else np.zeros(len(middle), dtype=bool)
    first[known] = np.maximum(first[known], stretches[inside[known], 0])
    past[known] = np.minimum(past[known], stretches[inside[known], 1])
    together = np.zeros((len(first), active.shape[1]), dtype=np.int64)
    for speaker in range(active.shape[1]):
        summed = np.concatenate(([0], np.cumsum(active[:, speaker])))
        together[:, speaker] = summed[past] - summed[first]
    return together, np.asarray(middle, dtype=np.int64)


def _in_chunks(evidence: Evidence, active: Activity) -> tuple[Int64, Int64]:
    """Frames that each row, a local speaker, shares with each speaker, and the middle frame of its own.

    Those of one chunk are different people: what one shares with the speaker who is another's is not counted.
    """
    together = np.zeros((len(evidence.owners), active.shape[1]), dtype=np.int64)
    middle = np.zeros(len(evidence.owners), dtype=np.int64)
    for row, (chunk, local) in enumerate(evidence.owners):
        found, part = _chunk(evidence, active, chunk)
        rows, columns = _matched(found, part)
        together[row] = part[found[:, local]].sum(axis=0)
        together[row, columns[rows != local]] = 0
        talks = np.flatnonzero(found[:, local])
        middle[row] = evidence.first_frame(chunk) + (talks.mean() if len(talks) else len(part) / 2)
    return together, middle


def _chunk(evidence: Evidence, active: Activity, chunk: int) -> tuple[Activity, Activity]:
    """What was found in a chunk, `(num_frames, num_local)`, and what is so, `(num_frames, num_speakers)`."""
    first = evidence.first_frame(chunk)
    part = active[first : first + evidence.local.shape[1]]
    return evidence.active(chunk)[: len(part)], part


def _matched(found: Activity, part: Activity) -> tuple[Int64, Int64]:
    """Local speakers and the reference speaker of each: one to one, with the most time in common."""
    together = found.T.astype(np.int64) @ part.astype(np.int64)  # (num_local, num_speakers)
    rows, columns = linear_sum_assignment(together, maximize=True)
    shared = together[rows, columns] > 0
    return rows[shared], columns[shared]


def right_segmentation(evidence: Evidence, active: Activity) -> Evidence:
    """The evidence with the reference's activity `(num_frames, num_speakers)` in place of the model's.

    A local speaker of a chunk talks when the reference speaker does whom it shares the most time with, one to one, and
    keeps its voice; one that is left over is silent. Reference speakers left over are local speakers more (up to eight
    in all), without a voice.
    """
    count = active.sum(axis=1)
    parts = [_right_chunk(evidence, active, chunk) for chunk in range(len(evidence.local))]
    num_local = min(powerset.MAX_LOCAL, max((part.shape[1] for part in parts), default=evidence.num_local))
    local = np.zeros_like(evidence.local)
    voices: dict[int, Float32] = {}
    by_windows = bool((evidence.owners[:, 0] < 0).all())
    for chunk, part in enumerate(parts):
        local[chunk, : len(part)] = powerset.pack(part[:, :num_local]) if len(part) else 0
        if chunk in evidence.voices or (by_windows and (part.sum(axis=1) >= 2).any()):
            voices[chunk] = np.full((num_local, evidence.embeddings.shape[1]), np.nan, dtype=np.float32)
        if chunk in evidence.voices:
            voices[chunk][: evidence.num_local] = evidence.voices[chunk]
    return replace(
        evidence,
        local=local,
        num_local=num_local,
        speech=(count > 0).astype(np.float32),
        count=np.minimum(count, 255).astype(np.uint8),
        voices=voices,
    )


def _right_chunk(evidence: Evidence, active: Activity, chunk: int) -> Activity:
    """Local activity of a chunk by the reference, `(num_frames, num_local or more)`."""
    found, part = _chunk(evidence, active, chunk)
    rows, columns = _matched(found, part)
    right = np.zeros_like(found)
    right[:, rows] = part[:, columns]
    others = np.setdiff1d(np.flatnonzero(part.any(axis=0)), columns)
    others = others[np.argsort(-part[:, others].sum(axis=0), kind="stable")]
    return np.concatenate([right, part[:, others]], axis=1)


def _decoded(uri: str, evidence: Evidence, clusters: Clusters, config: PipelineConfig) -> Diarization:
    turns, _ = decode(evidence, clusters, config)
    return Diarization(tuple(turns), uri, duration=evidence.duration)


def summary(pooled: Mapping[str, float]) -> str:
    """What to work on, in words, from the pooled DER of each variant."""
    names = {COUNT: "the number of speakers", CLUSTERING: "clustering", SEGMENTATION: "segmentation"}
    gains = sorted(((pooled[AS_IS] - pooled[key], name) for key, name in names.items()), reverse=True)
    told = ", ".join(f"{name} {100 * gain:.1f}" for gain, name in gains)
    return f"points of DER to win by making it right: {told}; left with both: {100 * pooled[BOTH]:.1f}"
