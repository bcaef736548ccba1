"""From chunks, whose speakers are local, to frames of the recording and its speakers.

Chunks overlap, and a frame is heard by several. Each function takes the chunks one by one, in order, and keeps only a
moving window: no array of chunks by frames by speakers is ever made. Given the segmentation and clusters of
pyannote.audio 4 (Bredin, "pyannote.audio 2.1 speaker diarization pipeline", Interspeech 2023) the answers are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Int64, Track
from diarist.errors import UsageError

NOBODY = -1
BLOCK_FRAMES = 4096  # handed out at once, so that numpy has something to do
COVERED = 1e-9  # weight of frames in a warm-up: they count where there is nothing else

Activity = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """Where the frames of each chunk lie among the frames of the recording."""

    chunks: Axis
    frames: Axis

    def first(self, chunk: int) -> int:
        """The recording's frame that is the first of chunk number `chunk`."""
        return self.frames.index_at(self.chunks.first(chunk))

    def num_frames(self, num_chunks: int) -> int:
        """Frames of a recording of so many chunks."""
        return self.frames.index_at(self.chunks.span(num_chunks - 1)[1]) + 1 if num_chunks else 0


def overlap_add(pieces: Iterable[tuple[int, Activity]], *, warm_up: int = 0) -> Iterator[tuple[Float64, Float64]]:
    """Add up what chunks say of frames.

    `pieces` gives `(first frame, values (num_frames, num_columns))` in order of time. The first and last `warm_up`
    frames of a chunk count only where no other chunk says anything. Hands out, from frame 0 to the last that a chunk
    reaches, blocks of `(sums (num, num_columns), weights (num,))`, each as soon as no later chunk can change it.
    """
    window = np.zeros((0, 1))  # sums, and the weight in the last column
    done = reach = 0
    for first, values in pieces:
        if first < done:
            raise UsageError("chunks must come in order of time")
        num, columns = values.shape
        if first - done >= BLOCK_FRAMES:
            window = _at_least(window, first - done, columns)
            yield window[: first - done, :-1], window[: first - done, -1]
            window, done = window[first - done :], first
        reach = max(reach, first + num)
        if reach - done > len(window):
            window = _at_least(window, reach - done + BLOCK_FRAMES, columns)
        weights = np.ones(num)
        if warm_up:
            weights[:warm_up] = weights[-warm_up:] = COVERED
        part = window[first - done : first - done + num]
        part[:, :-1] += values * weights[:, None] if warm_up else values
        part[:, -1] += weights
    if reach:
        yield window[: reach - done, :-1], window[: reach - done, -1]


def _at_least(window: Float64, num_rows: int, columns: int) -> Float64:
    """The window with zeros after it, so that it has so many rows."""
    grown = np.zeros((max(num_rows, len(window)), columns + 1))
    grown[: len(window)] = window if len(window) else 0
    return grown


def aggregate(values: Iterable[Activity], grid: Grid, *, warm_up: int = 0) -> Iterator[Float32]:
    """The mean over chunks of `values` `(num_frames, num_columns)`, in blocks `(num, num_columns)`; 0 where none is."""
    pieces = ((grid.first(chunk), v) for chunk, v in enumerate(values))
    for sums, weights in overlap_add(pieces, warm_up=warm_up):
        yield (sums / np.where(weights > 0, weights, 1)[:, None]).astype(np.float32)


def speaker_count(active: Iterable[Activity], grid: Grid, *, warm_up: int = 0) -> NDArray[np.uint8]:
    """How many talk in each frame `(num_frames,)`: the mean of what chunks say, rounded half to even.

    `active` gives each chunk's activity `(num_frames, num_local)`.
    """
    seen = 0

    def numbers() -> Iterator[Activity]:
        nonlocal seen
        for chunk in active:
            seen += 1
            yield chunk.sum(axis=1, keepdims=True)

    blocks = [np.rint(mean[:, 0]).astype(np.uint8) for mean in aggregate(numbers(), grid, warm_up=warm_up)]
    beyond = grid.num_frames(seen) - sum(len(block) for block in blocks)
    return np.concatenate([*blocks, np.zeros(max(0, beyond), np.uint8)])


def top_speakers(
    active: Iterable[Activity], clusters: Int64, count: NDArray[np.uint8], grid: Grid, *, fill: bool
) -> NDArray[np.int16]:
    """Who talks in each frame: as many as `count` `(num_frames,)` says, most heard first, `NOBODY` after them.

    `active` gives each chunk's activity `(num_frames, num_local)`, `clusters` `(num_chunks, num_local)` whom each local
    speaker is (negative: nobody). A local speaker is heard as loud as its activity; two of one cluster count once.
    Where fewer are heard than `count` says, `fill` adds silent ones, lowest number first, as pyannote.audio does.
    Returns `(num_frames, count.max())`.
    """
    most = int(count.max(initial=0))
    num_speakers = int(clusters.max(initial=NOBODY)) + 1
    columns = max(num_speakers, most) if fill else num_speakers
    chosen = np.full((len(count), most), NOBODY, np.int16)
    first = 0
    for sums, _ in overlap_add(_by_cluster(active, clusters, columns, grid)):
        order = np.argsort(-sums, axis=1, kind="stable")[:, :most]
        wanted = count[first : first + len(sums), None]
        order = order[: len(wanted)]
        talks = np.arange(order.shape[1]) < wanted
        if not fill:
            talks &= np.take_along_axis(sums[: len(wanted)], order, axis=1) > 0
        chosen[first : first + len(sums), : order.shape[1]] = np.where(talks, order, NOBODY)
        first += len(sums)
    return chosen


def _by_cluster(active: Iterable[Activity], clusters: Int64, columns: int, grid: Grid) -> Iterator[tuple[int, Float32]]:
    """Each chunk's activity, of speakers of the recording in place of local ones."""
    for chunk, (activity, whom) in enumerate(zip(active, clusters, strict=True)):
        heard = np.zeros((len(activity), columns), np.float32)
        for local in np.flatnonzero(whom >= 0):
            np.maximum(heard[:, whom[local]], activity[:, local], out=heard[:, whom[local]])
        yield grid.first(chunk), heard


def to_track(chosen: NDArray[np.int16], num_speakers: int, frames: Axis) -> Track:
    """What `top_speakers()` gave, as a track of zeros and ones: for recordings short enough to hold it."""
    scores = np.zeros((len(chosen), num_speakers), np.float32)
    rows, ranks = np.nonzero(chosen != NOBODY)
    scores[rows, chosen[rows, ranks]] = 1
    return Track(scores, frames)


def frames_alone(active: Iterable[Activity]) -> tuple[Int64, Int64]:
    """In how many frames each local speaker talks, and talks alone: twice `(num_chunks, num_local)`."""
    talking, alone = [], []
    for activity in active:
        on = np.asarray(activity) > 0
        talking.append(on.sum(axis=0))
        alone.append((on & (on.sum(axis=1, keepdims=True) == 1)).sum(axis=0))
    return np.array(talking, np.int64), np.array(alone, np.int64)


def soft_clusters(embeddings: Float32, centroids: Float64) -> Float64:
    """How like each local speaker is to each cluster: `1 + cosine`, NaN where there is no embedding.

    Embeddings `(num_chunks, num_local, dimension)`, centroids `(num_clusters, dimension)`, of any length; the answer is
    `(num_chunks, num_local, num_clusters)`.
    """
    voices = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=2, keepdims=True)
    likeness: Float64 = 1 + embeddings @ voices.T / np.where(lengths > 0, lengths, np.nan)
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
        local, cluster = linear_sum_assignment(likeness[chunk], maximize=True)
        whom[chunk, local] = cluster
    return whom
