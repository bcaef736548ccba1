"""A recording as a stream."""

from __future__ import annotations

from collections.abc import Iterator

from diarist.audio.decode import AudioReader, AudioSource, open_audio
from diarist.audio.pcm import Stretch
from diarist.audio.sources.blocks import paced
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.core.types import Float32


class FileSource(BlockSource):
    """A file, bytes or an array: everything that `open_audio` takes, and the same samples as it gives.

    As fast as they are asked for or, with a `pace`, so many times as fast as they were spoken (1 is real time).
    Raises `AudioError` where it cannot be read as sound, `UsageError` for a pace that cannot be.
    """

    live = False

    def __init__(
        self,
        audio: AudioSource,
        *,
        pace: float | None = None,
        block: float = BLOCK,
        uri: str | None = None,
        sample_rate: int | None = None,
        channel: int | None = None,
    ) -> None:
        if pace is not None:
            paced((), speed=pace)  # refuses one that cannot be
        self._reader: AudioReader = open_audio(audio, channel=channel, uri=uri, sample_rate=sample_rate)
        super().__init__(self._reader.uri, block)
        self.duration = self._reader.duration
        self.warnings = self._reader.warnings
        self._pace, self._begun = pace, False

    def stretches(self) -> Iterator[Stretch]:
        """The samples at 16 kHz, one channel."""
        for block in self:
            yield self.sample_rate, block[:, None]

    def __iter__(self) -> Iterator[Float32]:
        blocks = self._blocks()
        return blocks if self._pace is None else paced(blocks, self.sample_rate, self._pace)

    def close(self) -> None:
        """Let go of a file that is not being read; one that is, is closed by its reader."""
        if not self._begun:
            self._reader.close()

    def _blocks(self) -> Iterator[Float32]:
        self._begun = True
        with self._reader as reader:
            yield from reader.blocks(self.block)
