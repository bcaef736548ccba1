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
        members = powerset.mapping(spec.num_local, spec.max_simultaneous)  # (num_classes, num_local)
        code = (members.astype(np.uint8) << np.arange(spec.num_local, dtype=np.uint8)).sum(axis=1).astype(np.uint8)
        bits = code[scores.argmax(axis=-1)]
        size = members.sum(axis=1)
        probability = np.exp(scores)
        overlap = probability[..., size >= 2].sum(axis=-1)
        return LocalActivity(bits, probability[..., size == 1].sum(axis=-1) + overlap, overlap)
    talks = (scores > 0.5).astype(np.uint8) << np.arange(spec.num_local, dtype=np.uint8)
    ranked = np.sort(scores, axis=-1)
    second = ranked[..., -2] if spec.num_local > 1 else np.zeros_like(ranked[..., -1])
    return LocalActivity(talks.sum(axis=-1).astype(np.uint8), ranked[..., -1], second)
