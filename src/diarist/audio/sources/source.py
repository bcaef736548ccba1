"""What all sources have in common: a name, a rate, and sound that is cleaned, mixed, re-sampled and cut on its way."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator

from diarist.audio.decode import cut
from diarist.audio.mixing import FULL_SCALE_LIMIT, Cleaner, MixDown
from diarist.audio.pcm import Stretch
from diarist.audio.sources.blocks import resample
from diarist.core.time import SAMPLE_RATE, to_samples
from diarist.core.types import Float32
from diarist.errors import UsageError

BLOCK = 0.5
"""Seconds in a block unless asked otherwise: diart's."""


class BlockSource(ABC):
    """A source: iterate it once for mono blocks of `block` seconds at 16 kHz; only the last is shorter.

    - `uri`: what the stream is called in an answer.
    - `live`: whether its sound is lost where nobody listens in time, as a microphone's is.
    - `warnings`: what was odd, in words; complete once the iteration has ended.

    A subclass gives `stretches()`; whatever rate and number of channels they have, and NaN in them, is taken care of.
    """

    sample_rate = SAMPLE_RATE
    live = True

    def __init__(self, uri: str, block: float = BLOCK) -> None:
        if not 0 < block <= 60:
            raise UsageError(f"a block has more than 0 and up to 60 seconds, not {block}")
        self.uri = uri
        self.block = max(1, to_samples(block))
        self.warnings: list[str] = []

    @abstractmethod
    def stretches(self) -> Iterator[Stretch]:
        """Sample rate and samples `(num_samples, num_channels)`, as they come."""

    def __iter__(self) -> Iterator[Float32]:
        return cut(self._mono(), self.block)

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Stop: whoever waits for a block gets no more. May be called from another thread, and twice."""

    def _mono(self) -> Iterator[Float32]:
        cleaner = Cleaner()
        shapes = itertools.groupby(self.stretches(), key=lambda stretch: (stretch[0], stretch[1].shape[1]))
        for (rate, num_channels), group in shapes:
            cleaned = (cleaner(samples) for _, samples in group)
            yield from resample(_mixed(cleaned, num_channels, rate), rate)
        if cleaner.num_bad:
            self.warnings.append(f"{cleaner.num_bad} samples are NaN, infinite or absurd, and were read as 0")
        if cleaner.peak > FULL_SCALE_LIMIT:
            self.warnings.append(f"samples reach {cleaner.peak:.6g} where full scale is 1: divide them by full scale")


def _mixed(blocks: Iterator[Float32], num_channels: int, rate: int) -> Iterator[Float32]:
    """One channel of many, a tenth of a second at a time, which is what the mixing looks at."""
    if num_channels == 1:
        return (block[:, 0] for block in blocks)
    return map(MixDown(num_channels, rate), cut(blocks, max(1, rate // 10)))
