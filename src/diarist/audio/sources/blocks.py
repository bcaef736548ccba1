"""What can be done to blocks of sound on their way: each takes an iterator of blocks `(num_samples,)` and is one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from diarist.audio.decode import HIGHEST_RATE, LOWEST_RATE, cut
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import UsageError


def rechunk(blocks: Iterable[Float32], num_samples: int) -> Iterator[Float32]:
    """The same samples in blocks of `num_samples`; the last may be shorter. Raises `UsageError` below 1."""
    if num_samples < 1:
        raise UsageError(f"blocks need at least 1 sample, not {num_samples}")
    return cut(iter(blocks), num_samples)


def resample(blocks: Iterable[Float32], rate: int, to: int = SAMPLE_RATE) -> Iterator[Float32]:
    """Mono blocks at `rate` Hz to blocks at `to` Hz, as one sound: nothing is heard where blocks meet, and the tail
    comes out at the end. Raises `UsageError` for a rate that cannot be."""
    for hertz in (rate, to):
        if not LOWEST_RATE <= hertz <= HIGHEST_RATE:
            raise UsageError(f"a sample rate lies between {LOWEST_RATE} and {HIGHEST_RATE} Hz, not {hertz}")
    return iter(blocks) if rate == to else _resampled(blocks, rate, to)


def _resampled(blocks: Iterable[Float32], rate: int, to: int) -> Iterator[Float32]:
    stream = soxr.ResampleStream(rate, to, 1, dtype="float32")
    for block in blocks:
        out = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        if len(out):
            yield out
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest


def adjust_volume(blocks: Iterable[Float32], decibels: float) -> Iterator[Float32]:
    """Each block brought to a level of `decibels` (0 is an RMS of 1, so -20 is loud speech).

    What would go beyond full scale is brought to full scale instead, as diart does; digital silence stays.
    """
    for block in blocks:
        level = float(np.sqrt(np.mean(np.square(block, dtype=np.float64)))) if len(block) else 0.0
        if level > 0:
            block = block * np.float32(min(10 ** (decibels / 20) / level, 1 / float(np.abs(block).max())))
        yield np.asarray(block, dtype=np.float32)


def paced(blocks: Iterable[Float32], sample_rate: int = SAMPLE_RATE, speed: float = 1.0) -> Iterator[Float32]:
    """Blocks when a microphone would have them: each once its last sample would have been heard, `speed` times as
    fast. A consumer that falls behind gets the next ones at once until it has caught up."""
    if not speed > 0:
        raise UsageError(f"the pace must be above 0, not {speed}")
    return _paced(blocks, sample_rate * speed)


def _paced(blocks: Iterable[Float32], per_second: float) -> Iterator[Float32]:
    begun, heard = time.monotonic(), 0
    for block in blocks:
        heard += len(block)
        wait = begun + heard / per_second - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield block
