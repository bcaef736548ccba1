"""A recording as it comes in: sections of a minute, and the chunks that begin in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from diarist.core.time import Axis
from diarist.core.types import Float32

SECTION = 60  # seconds; a whole number of blocks of the embedding trunk
SEGMENTATION_BATCH = 16


@dataclass(frozen=True)
class Section:
    """Samples from `start` on, past `end` by a chunk where there are so many; `total` once the end is known."""

    start: int
    end: int
    samples: Float32
    total: int | None

    @property
    def last(self) -> bool:
        """Nothing follows."""
        return self.total == self.end


def sections(blocks: Iterable[Float32], size: int, lookahead: int) -> Iterator[Section]:
    """Cut a stream of blocks into sections of `size` samples that also see `lookahead` samples more."""
    held: list[Float32] = []
    start = num_held = 0
    for block in blocks:
        held.append(block)
        num_held += len(block)
        if num_held >= size + lookahead:
            joined = np.concatenate(held)
            while num_held >= size + lookahead:
                yield Section(start, start + size, joined[: size + lookahead], None)
                joined, start, num_held = joined[size:], start + size, num_held - size
            held = [joined]
    rest = np.concatenate(held) if held else np.zeros(0, dtype=np.float32)
    total = start + num_held
    while start < total:
        end = min(start + size, total)
        yield Section(start, end, rest[: size + lookahead], total)
        rest, start = rest[size:], end


def batches(section: Section, chunks: Axis, moved: int | None) -> Iterator[tuple[int, int, int]]:
    """`(first chunk, its first sample, number of chunks)` of every batch of chunks that begin in a section.

    `moved` is where the last chunk of all begins, where that is not on `chunks`; it is a batch of its own.
    """
    first, past = -(-section.start // chunks.step), -(-section.end // chunks.step)
    if section.total is not None:
        past = min(past, chunks.count_covering(section.total) - (moved is not None))
    for low in range(first, past, SEGMENTATION_BATCH):
        yield low, chunks.first(low), min(SEGMENTATION_BATCH, past - low)
    if section.total is not None and moved is not None and section.start <= moved < section.end:
        yield chunks.count_covering(section.total) - 1, moved, 1
