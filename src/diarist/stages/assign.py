"""From labelled windows to who talks in each frame.

A frame with one speaker takes the label of the window whose middle is nearest. A frame with two takes the two best of
the chunk's local speakers, mapped to speakers by Hungarian assignment on voice similarity plus the share of the local
speaker's own single-speaker frames that carry the label.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from diarist.core.types import Float32, Float64, Int64

NOBODY = -1
BLOCK_ROWS = 4096  # worked on at once in float64


def unit(vectors: NDArray[np.floating]) -> Float64:
    """Rows scaled to length 1; a zero row stays zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    scaled: Float64 = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled


def sums(rows: NDArray[np.floating], labels: Int64) -> tuple[Float64, Int64]:
    """Sum `(num_labels, dimension)` and number `(num_labels,)` of the rows of each label `0 .. labels.max()`."""
    counts = np.bincount(labels)
    total = np.zeros((len(counts), rows.shape[1]))
    for first in range(0, len(rows), BLOCK_ROWS):
        some = labels[first : first + BLOCK_ROWS]
        member = csr_array((np.ones(len(some)), (some, np.arange(len(some)))), shape=(len(counts), len(some)))
        total += member @ np.asarray(rows[first : first + BLOCK_ROWS], np.float64)  # np.add.at takes 10 times as long
    return total, counts


def centroids(embeddings: NDArray[np.floating], labels: Int64) -> Float64:
    """Unit mean voice of each label `0 .. labels.max()`: `(num_speakers, dimension)`."""
    return unit(sums(embeddings, labels)[0])


def nearest_index(times: Float64, frame_times: Float64) -> Int64:
    """Index of the window with the nearest middle: windows `(num_windows,)`, frames `(num_frames,)`, in seconds."""
    order = np.argsort(times, kind="stable")
    times = times[order]
    return order[np.searchsorted((times[1:] + times[:-1]) / 2, frame_times)]


def match_local(similarity: Float64) -> Int64:
    """Best one-to-one speaker of each local speaker; rows of NaN (silent) and rows left over get `NOBODY`.

    `similarity` `(num_local, num_speakers)`; two local speakers of one chunk never share a speaker.
    """
    matched = np.full(len(similarity), NOBODY, dtype=np.int64)
    present = np.flatnonzero(~np.isnan(similarity).any(axis=1))
    if len(present) and similarity.shape[1]:
        rows, columns = linear_sum_assignment(-similarity[present])
        matched[present[rows]] = columns
    return matched


def votes(active: NDArray[np.bool_], labels: NDArray[np.integer], num_speakers: int) -> Float64:
    """Share of each local speaker's own single-speaker frames that carry each label: `(num_local, num_speakers)`.

    `active` `(num_frames, num_local)`, `labels` `(num_frames,)`. All zero where a speaker is never alone, NaN where it
    is never active.
    """
    alone = active & (active.sum(axis=1, keepdims=True) == 1)
    share = np.zeros((active.shape[1], num_speakers))
    for local in range(active.shape[1]):
        if not active[:, local].any():
            share[local] = np.nan
        elif alone[:, local].any():
            share[local] = np.bincount(labels[alone[:, local]], minlength=num_speakers) / alone[:, local].sum()
    return share


def match_chunk(active: NDArray[np.bool_], local: Float32, labels: NDArray[np.integer], voices: Float64) -> Int64:
    """The speaker of each local speaker of one chunk, `NOBODY` where it is silent: `(num_local,)`.

    `active` `(num_frames, num_local)`; `local` its embeddings `(num_local, dimension)`, NaN where there is too little
    to embed (then votes alone decide); `labels` `(num_frames,)` the nearest window's; `voices` the unit centroids.
    """
    return match_local(votes(active, labels, len(voices)) + np.nan_to_num(unit(local) @ voices.T))


def speakers_by_frame(
    count: NDArray[np.uint8], labels: NDArray[np.integer], pairs: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The speakers of each frame, best first: `(num_frames, 2)`, `NOBODY` where there is none.

    One speaker: the nearest label. Two: both of `pairs` `(num_frames, 2)`; where fewer than two are heard, only the
    nearest label.
    """
    chosen = np.full((len(count), 2), NOBODY, dtype=np.int32)
    chosen[count >= 1, 0] = labels[count >= 1]
    if pairs.shape[1] == 2:
        both = (pairs != NOBODY).all(axis=1)
        chosen[both] = pairs[both]
    return chosen
