"""Any iterator of numpy blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.audio.decode import HIGHEST_RATE, LOWEST_RATE
from diarist.audio.pcm import ArrayDecoder, Stretch
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.core.time import SAMPLE_RATE
from diarist.errors import UsageError


class IteratorSource(BlockSource):
    """Blocks `(num_samples,)` or `(num_samples, num_channels)` at `sample_rate`, of any length, from any iterator.

    Integers are scaled by their type. Raises `UsageError` for blocks that are no sound, at the block.
    """

    def __init__(
        self,
        blocks: Iterable[NDArray[Any]],
        sample_rate: int = SAMPLE_RATE,
        *,
        block: float = BLOCK,
        uri: str = "stream",
        live: bool = True,
    ) -> None:
        super().__init__(uri, block)
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise UsageError(f"a sample rate lies between {LOWEST_RATE} and {HIGHEST_RATE} Hz, not {sample_rate}")
        self.live = live
        self._blocks, self._rate = blocks, int(sample_rate)
        self._closed = False

    def stretches(self) -> Iterator[Stretch]:
        """As they come."""
        for block in self._blocks:
            if self._closed:
                return
            yield from ArrayDecoder(np.asarray(block), self._rate).stretches()

    def close(self) -> None:
        """End at the next block."""
        self._closed = True
