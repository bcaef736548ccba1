"""Local speaker activity of fixed-length chunks: cutting the sound, and reading what the model says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import Axis, to_samples
from diarist.core.types import Float32
from diarist.errors import ConfigError
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


def axis(spec: SegmentationSpec, step: float) -> Axis:
    """Where chunks lie: `step` seconds apart, to the nearest whole frame of the model, so that frames coincide.

    Raises `ConfigError` for a step that leaves gaps between chunks.
    """
    frame, longest = spec.frames.step, spec.chunk / spec.sample_rate
    if step > longest:
        raise ConfigError(f"'segmentation.step' must be at most {longest:g} (seconds in a chunk), not {step:g}")
    num = min(max(1, round(to_samples(step, spec.sample_rate) / frame)), spec.num_frames)  # every frame in some chunk
    return Axis(spec.chunk, num * frame, sample_rate=spec.sample_rate)


def num_frames(frames: Axis, total: int) -> int:
    """Frames of a recording of `total` samples: those whose middle is inside, but at least one."""
    return max(1, -(-(total - frames.start - frames.size // 2) // frames.step))


def moved_inside(spec: SegmentationSpec, chunks: Axis, total: int) -> int | None:
    """First sample of the last chunk of a recording of `total` samples, moved back by whole frames so that its last
    frame is the recording's, and no sample is left out; None where it need not, or cannot, be moved.

    A model that hears the end of a recording followed by seconds of perfect silence does not know what to make of it.
    """
    last = chunks.first(chunks.count_covering(total) - 1)
    frame = spec.frames.step
    moved = max(num_frames(spec.frames, total) - spec.num_frames, -(-(total - chunks.size) // frame)) * frame
    return moved if total > chunks.size and moved < last else None


def cut(samples: Float32, first: int, num: int, chunks: Axis) -> Float32:
    """`num` chunks from sample `first` of `samples` on, silence beyond the end: `(num, chunks.size)`.

    The rows are a sliding view, so that a model can see what they share.
    """
    length = (num - 1) * chunks.step + chunks.size
    stretch = np.zeros(length, dtype=np.float32)
    piece = samples[first : first + length]
    stretch[: len(piece)] = piece
    view: Float32 = sliding_window_view(stretch, chunks.size)[:: chunks.step]
    return view


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
