"""A recording in memory as a segmentation network hears it: overlapping chunks, averaged frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationModel
from diarist.core.types import Float32
from diarist.stages import segment
from diarist.stages.activity import MovingMean

BATCH = 16  # chunks that a model gets at once


@dataclass(frozen=True)
class Heard:
    """`bits` `(num_chunks, num_chunk_frames)`: bit j is set where local speaker j of a chunk talks; `firsts`
    `(num_chunks,)`: the frame of the recording that each chunk begins with. `speech` and `overlap` `(num_frames,)`:
    probability that anybody, that two or more, talk."""

    bits: NDArray[np.uint8]
    firsts: tuple[int, ...]
    speech: Float32
    overlap: Float32


def hear(samples: Float32, model: SegmentationModel, step: float, each: Callable[..., Iterable[Any]] = map) -> Heard:
    """Run a segmentation network over sound `(num_samples,)`, a chunk each `step` seconds.

    `each` is as `map`: that of a pool of threads runs batches side by side. Raises `ConfigError` for a step longer than
    a chunk.
    """
    spec = model.spec
    chunks = segment.axis(spec, min(step, spec.chunk / spec.sample_rate))
    num_chunks = chunks.count_covering(len(samples))
    starts = [chunks.first(index) for index in range(num_chunks)]
    moved = segment.moved_inside(spec, chunks, len(samples)) if starts else None
    cuts = [(starts[i], min(BATCH, num_chunks - i)) for i in range(0, num_chunks, BATCH)]
    if moved is not None:
        starts[-1] = moved
        cuts[-1:] = [(cuts[-1][0], cuts[-1][1] - 1), (moved, 1)]
    parts = (segment.cut(samples, first, num, chunks) for first, num in cuts if num)
    mean, bits = MovingMean(2), [np.zeros((0, spec.num_frames), np.uint8)]
    firsts = [spec.frames.index_at(start) for start in starts]
    done = 0
    for local in each(lambda part: segment.read(model(part), spec), parts):
        for row in np.stack([local.speech, local.overlap], axis=-1):
            mean.add(firsts[done], row)
            done += 1
        bits.append(local.bits)
    values = mean.take(mean.last)[: segment.num_frames(spec.frames, len(samples)) if starts else 0]
    return Heard(np.concatenate(bits), tuple(firsts), values[:, 0].copy(), values[:, 1].copy())
