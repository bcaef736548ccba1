"""Local speaker activity of fixed-length chunks: cutting the sound, and reading what the model says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.stages import powerset


@dataclass(frozen=True)
class LocalActivity:
    """What the model says of a batch of chunks.

    `bits` `(batch, num_frames)` uint8: bit j is set where local speaker j talks (no probability is kept of each: a day
    of audio must fit). `speech` and `overlap` `(batch, num_frames)`: probability that anybody, that two or more, talk.
    """

    bits: NDArray[np.uint8]
    speech: Float32
    overlap: Float32


def cut(samples: Float32, first: int, starts: list[int], size: int) -> Float32:
    """Chunks of `size` samples that begin at the recording's samples `starts`; silence beyond the end.

    `samples` holds the recording from sample `first` on. Returns `(len(starts), size)`.
    """
    batch = np.zeros((len(starts), size), dtype=np.float32)
    for row, start in zip(batch, starts, strict=True):
        piece = samples[start - first : start - first + size]
        row[: len(piece)] = piece
    return batch


def read(scores: Float32, spec: SegmentationSpec) -> LocalActivity:
    """Model output `(batch, num_frames, num_classes)` to local activity.

    Log-probabilities of a powerset (the class with the highest wins) or, where `spec.max_simultaneous` is None, one
    independent probability a local speaker (above 0.5 talks).
    """
    if spec.max_simultaneous is not None:
        active = powerset.decode(scores, spec.num_local, spec.max_simultaneous)
        overlap = powerset.overlap(scores, spec.num_local, spec.max_simultaneous)
        return LocalActivity(powerset.pack(active), 1 - np.exp(scores[..., 0]), overlap)
    ranked = np.sort(scores, axis=-1)
    overlap = ranked[..., -2] if spec.num_local > 1 else np.zeros_like(ranked[..., -1])
    return LocalActivity(powerset.pack(scores > 0.5), ranked[..., -1], overlap)
