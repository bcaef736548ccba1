"""Powerset classes: one class for silence, one for each speaker, one for each pair, ... of the local speakers.

Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization", Interspeech 2023. Classes
are in order of size, and within a size in the order of `itertools.combinations`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32
from diarist.errors import UsageError

MAX_LOCAL = 8  # bits of a byte


@lru_cache
def mapping(num_local: int, max_simultaneous: int) -> NDArray[np.bool_]:
    """Which of `num_local` speakers each class holds: `(num_classes, num_local)`, not to be written to."""
    if not 1 <= max_simultaneous <= num_local <= MAX_LOCAL:
        raise UsageError(f"no powerset of {num_local} speakers (1 to {MAX_LOCAL}), {max_simultaneous} at once")
    sets = [c for size in range(max_simultaneous + 1) for c in combinations(range(num_local), size)]
    members = np.zeros((len(sets), num_local), dtype=bool)
    for row, members_of_class in zip(members, sets, strict=True):
        row[list(members_of_class)] = True
    members.flags.writeable = False
    return members


def decode(scores: Float32, num_local: int, max_simultaneous: int) -> NDArray[np.bool_]:
    """Who talks: the members of the best class. Scores `(..., num_classes)` to `(..., num_local)`."""
    active: NDArray[np.bool_] = _fitting(scores, num_local, max_simultaneous)[np.argmax(scores, axis=-1)]
    return active


def probabilities(log_probabilities: Float32, num_local: int, max_simultaneous: int) -> Float32:
    """How likely each talks: the sum over the classes it is in. Shapes as in `decode()`."""
    members = _fitting(log_probabilities, num_local, max_simultaneous)
    summed: Float32 = np.exp(log_probabilities) @ members.astype(np.float32)
    return summed


def overlap(log_probabilities: Float32, num_local: int, max_simultaneous: int) -> Float32:
    """How likely two or more talk at once: `(..., num_classes)` to `(...)`."""
    several = _fitting(log_probabilities, num_local, max_simultaneous).sum(axis=1) >= 2
    summed: Float32 = np.exp(log_probabilities) @ several.astype(np.float32)
    return summed


def pack(active: NDArray[Any]) -> NDArray[np.uint8]:
    """Activity `(..., num_local)` of up to eight speakers as one byte, bit `j` for speaker `j`: `(...)`.

    A day of chunks at a step of a second is 51 MB so, and 600 MB as float32 activity.
    """
    packed: NDArray[np.uint8] = np.packbits(np.asarray(active, dtype=bool), axis=-1, bitorder="little")[..., 0]
    return packed


def unpack(bits: NDArray[np.uint8], num_local: int) -> NDArray[np.bool_]:
    """What `pack()` was given: bytes `(...)` to `(..., num_local)`."""
    return np.unpackbits(bits[..., None], axis=-1, count=num_local, bitorder="little").astype(bool)


def _fitting(scores: Float32, num_local: int, max_simultaneous: int) -> NDArray[np.bool_]:
    members = mapping(num_local, max_simultaneous)
    if scores.shape[-1:] != members.shape[:1]:
        raise UsageError(
            f"{num_local} speakers, {max_simultaneous} at once, make {len(members)} classes, not scores {scores.shape}"
        )
    return members
