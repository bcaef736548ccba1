"""From chunks, whose speakers are local, to frames of the recording and its speakers.

Chunks overlap, and a frame is heard by several. Chunks are taken one by one, in order, and only a moving window is
kept: no array of chunks by frames by speakers is ever made. Given the segmentation and clusters of pyannote.audio 4
(Bredin, "pyannote.audio 2.1 speaker diarization pipeline", Interspeech 2023) the answers are its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64
from diarist.errors import UsageError
from diarist.stages.activity import MovingMean
from diarist.stages.assign import NOBODY, match_local

BLOCK_FRAMES = 4096  # ranked at once, so that numpy has something to do
BLOCK_ROWS = 4096  # embeddings worked on at once in float64

Activity = NDArray[Any]


def top_speakers(
    chunks: Iterable[tuple[int, Activity, Int64]], count: NDArray[np.uint8], num_speakers: int, *, fill: bool
) -> tuple[NDArray[np.int32], Float32]:
    """Who talks in each frame: as many as `count` `(num_frames,)` says, most heard first, `NOBODY` after them.

    `chunks` gives, in order of time, `(first frame, activity (num_frames, num_local), whom each local speaker is
    (num_local,), negative for nobody)`. A local speaker is heard as loud as its activity; two of one speaker count
    once; of speakers heard as much, the lower number comes first. Where fewer are heard than `count` says, `fill` adds
    silent ones, lowest number first, as pyannote.audio does. Returns them, `(num_frames, count.max())`, and which share
    of all that is heard in a frame is theirs, `(num_frames,)`.
    """
    chosen = np.full((len(count), int(count.max(initial=0))), NOBODY, np.int32)
    share = np.zeros(len(count), np.float32)
    heard = MovingMean(num_speakers)

    def rank(until: int) -> None:
        first = heard.first
        sums, _ = heard.sums(until)
        rows = np.flatnonzero(count[first:until])
        sums, rows = sums[rows], rows + first
        order = np.argsort(-sums, axis=1, kind="stable")[:, : chosen.shape[1]]
        loudness = np.take_along_axis(sums, order, axis=1)
        talks = np.arange(order.shape[1]) < count[rows, None]
        if not fill:
            talks &= loudness > 0
        chosen[rows, : order.shape[1]] = np.where(talks, order, NOBODY)
        share[rows] = (loudness * talks).sum(axis=1) / np.maximum(sums.sum(axis=1), 1e-9)

    for first, activity, whom in chunks:
        if first < heard.first:
            raise UsageError("chunks must come in order of time")
        if first - heard.first >= BLOCK_FRAMES:
            rank(min(first, len(count)))
        heard.add(first, _by_speaker(activity, whom, num_speakers))
    rank(len(count))
    return chosen, share


def _by_speaker(activity: Activity, whom: Int64, num_speakers: int) -> Float32:
    """A chunk's activity, of speakers of the recording in place of local ones."""
    heard = np.zeros((len(activity), num_speakers), np.float32)
    for local in np.flatnonzero(whom >= 0):
        np.maximum(heard[:, whom[local]], activity[:, local], out=heard[:, whom[local]])
    return heard


def frames_alone(active: Iterable[Activity]) -> tuple[Int64, Int64]:
    """In how many frames each local speaker talks, and talks alone: twice `(num_chunks, num_local)`."""
    talking, alone = [], []
    for activity in active:
        on = np.asarray(activity) > 0
        talking.append(on.sum(axis=0))
        alone.append((on & (on.sum(axis=1, keepdims=True) == 1)).sum(axis=0))
    return np.array(talking, np.int64), np.array(alone, np.int64)


def soft_clusters(embeddings: Float32, centroids: Float64) -> Float64:
    """How like each of `embeddings` `(n, dimension)` is to each of `centroids` `(num_clusters, dimension)`, both of any
    length: `1 + cosine`, `(n, num_clusters)`; NaN for an embedding of zeros."""
    voices = (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T
    likeness = np.empty((len(embeddings), len(centroids)))
    for first in range(0, len(embeddings), BLOCK_ROWS):
        rows = embeddings[first : first + BLOCK_ROWS].astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        likeness[first : first + len(rows)] = 1 + rows @ voices / np.where(lengths > 0, lengths, np.nan)
    return likeness


def assign(likeness: Float64, *, apart: bool) -> Int64:
    """Whom each local speaker is `(num_chunks, num_local)`, by `likeness` `(num_chunks, num_local, num_clusters)`.

    With `apart`, local speakers of a chunk are different people: the assignment of highest sum (Kuhn, "The Hungarian
    method for the assignment problem", 1955), and `NOBODY` for whom no cluster is left. A NaN counts as the lowest.
    """
    whom = np.full(likeness.shape[:2], NOBODY, np.int64)
    if likeness.size == 0:
        return whom
    known = ~np.isnan(likeness)
    likeness = np.where(known, likeness, likeness[known].min() if known.any() else 0.0)
    if not apart:
        whom[:] = likeness.argmax(axis=2)
        return whom
    for chunk in range(len(likeness)):
        whom[chunk] = match_local(likeness[chunk])
    return whom
