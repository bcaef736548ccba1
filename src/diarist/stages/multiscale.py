"""Sub-segments of several lengths over the same speech, their similarities fused, and their labels joined to turns.

Park et al., "Multi-scale speaker diarization with dynamic scale weighting", Interspeech 2022, but for the weights of
scales, which no network makes: they are given. Cutting, mapping and joining follow NeMo's clustering diarizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64
from diarist.stages.nme_sc import Array, similarity

SHORTEST = 0.05  # seconds; sub-segments no longer than that are left out
_ROWS = 2048  # of a similarity that are fused at a time


def subsegments(speech: Float64, window: float, shift: float) -> Float64:
    """Stretches of `speech` `(num_stretches, 2)` cut into windows, all in seconds. `(num_windows, 2)`.

    A stretch no longer than a window is one. Windows begin each `shift`, until one reaches the stretch's end, where it
    is cut off.
    """
    found: list[tuple[float, float]] = []
    for start, end in speech.tolist():
        num = max(0, math.ceil(round((end - start - window) / shift, 6))) + 1  # rounded: 12.05 + 1.9 - 12.05 > 1.9
        pieces = ((start + i * shift, min(start + i * shift + window, end)) for i in range(num))
        found.extend((first, last) for first, last in pieces if last - first > SHORTEST + 1e-9)
    return np.asarray(found, np.float64).reshape(-1, 2)


def mapped(base: Float64, longer: Float64) -> Int64:
    """Which window of `longer` `(m, 2)` stands for each of `base` `(n, 2)`: the one whose middle is nearest. `(n,)`."""
    middles, others = base.astype(np.float32).mean(axis=1), longer.astype(np.float32).mean(axis=1)
    order = np.argsort(others, kind="stable")
    others = others[order]
    after = np.clip(np.searchsorted(others, middles), 1, max(1, len(others) - 1))
    if len(others) == 1:
        return np.zeros(len(base), np.int64)
    nearer = np.where(np.abs(middles - others[after - 1]) <= np.abs(middles - others[after]), after - 1, after)
    return np.sort(order[np.searchsorted(others, others[nearer])])  # of windows with one middle, the first


def fused_similarity(embeddings: Sequence[Array], times: Sequence[Float64], weights: Sequence[float]) -> Float32:
    """Similarity `(n, n)` of the windows of the last scale: those of all scales, summed by weight.

    Of each scale `embeddings` `(num_windows, dimension)` and `times` `(num_windows, 2)`.
    """
    num = len(times[-1])
    fused = np.zeros((num, num), np.float32)
    for rows, spans, weight in zip(embeddings, times, weights, strict=True):
        alike = similarity(np.asarray(rows, np.float16))  # NeMo's precision
        index = mapped(times[-1], spans)
        for first in range(0, num, _ROWS):
            fused[first : first + _ROWS] += np.float32(weight) * alike[index[first : first + _ROWS]][:, index]
    return fused


def fused_rows(embeddings: Sequence[Array], times: Sequence[Float64], weights: Sequence[float]) -> Float32:
    """Embeddings `(n, dimension)` of the windows of the last scale: those of all scales, summed by weight."""
    total = np.zeros((len(times[-1]), embeddings[-1].shape[1]), np.float32)
    for rows, spans, weight in zip(embeddings, times, weights, strict=True):
        total += np.float32(weight) * np.asarray(rows, np.float32)[mapped(times[-1], spans)]
    return total


def joined(times: Float64, labels: NDArray[np.integer]) -> list[tuple[float, float, int]]:
    """Windows `(n, 2)` in order of time, and their labels, to stretches `(start, end, label)`.

    Windows that overlap part in the middle of what they share; neighbours that touch and have one label are one.
    """
    starts, ends = times[:, 0].tolist(), times[:, 1].tolist()
    found: list[tuple[float, float, int]] = []
    for index, label in enumerate(labels.tolist()):
        if index + 1 < len(starts) and ends[index] > starts[index + 1]:
            ends[index] = starts[index + 1] = (starts[index + 1] + ends[index]) / 2.0
        if found and found[-1][1] == starts[index] and found[-1][2] == label:
            found[-1] = (found[-1][0], ends[index], label)
        else:
            found.append((starts[index], ends[index], label))
    return found
