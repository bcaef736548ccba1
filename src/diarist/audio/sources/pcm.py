"""Plain samples from a pipe: `arecord -f S16_LE -r 16000 | diarist stream -`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from diarist.audio.decode import HIGHEST_RATE, LOWEST_RATE
from diarist.audio.pcm import Stretch, to_float
from diarist.audio.sources.containers import from_file
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.core.config import nearest
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import AudioError, UsageError

ENCODINGS = {
    "u8": "u1",
    "s16le": "<i2",
    "s16be": ">i2",
    "s32le": "<i4",
    "s32be": ">i4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64le": "<f8",
}
"""How plain samples are written, in FFmpeg's names, and numpy's. `s16`, `s32`, `f32` and `f64` mean little-endian."""

_MAGIC = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"FORM", b"caff")
_ENOUGH = 12  # bytes that tell a container
_PORTION = 65_536  # bytes that are read at once, at most


def dtype_of(encoding: str) -> np.dtype[Any]:
    """The numpy type of an encoding. Raises `UsageError` naming the nearest."""
    name = encoding.lower()
    name = name if name in ENCODINGS else f"{name}le"
    if name not in ENCODINGS:
        raise UsageError(f"unknown encoding '{encoding}'{nearest(encoding, ENCODINGS)}")
    return np.dtype(ENCODINGS[name])


class Samples:
    """Bytes, cut anywhere, to samples `(num_samples, num_channels)` in [-1, 1]; half a sample waits for its rest."""

    def __init__(self, encoding: str = "s16le", num_channels: int = 1) -> None:
        self._dtype = dtype_of(encoding)
        self._num_channels = num_channels
        self._rest = b""

    def __call__(self, data: bytes) -> Float32:
        """The whole samples so far."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._dtype.itemsize * self._num_channels)
        self._rest = data[whole:]
        values = np.frombuffer(data[:whole], self._dtype)
        return to_float(values.astype(self._dtype.newbyteorder("="))).reshape(-1, self._num_channels)

    @property
    def num_left(self) -> int:
        """Bytes of a sample whose rest has not come."""
        return len(self._rest)


class PcmSource(BlockSource):
    """Samples without a header from a binary `file` (standard input), as soon as they are there.

    `sample_rate`, `encoding` and `num_channels` say what they are. Where the first bytes are those of a container
    (wav, flac, ogg, webm, mp3 with a tag ...), it is decoded as it comes, and says all this itself.

    Raises `AudioError` where there is nothing to read, `UsageError` for what cannot be.
    """

    def __init__(
        self,
        file: Any = None,
        sample_rate: int = SAMPLE_RATE,
        encoding: str = "s16le",
        num_channels: int = 1,
        *,
        block: float = BLOCK,
        uri: str = "stdin",
    ) -> None:
        super().__init__(uri, block)
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise UsageError(f"a sample rate lies between {LOWEST_RATE} and {HIGHEST_RATE} Hz, not {sample_rate}")
        if not 1 <= num_channels <= 64:
            raise UsageError(f"there are 1 to 64 channels, not {num_channels}")
        dtype_of(encoding)
        if file is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise AudioError("'-' reads sound from standard input: pipe some in, as in: arecord ... | ...")
            file = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)  # no lock: Python may end while a thread reads it
        self._file, self._rate, self._encoding, self._num_channels = file, sample_rate, encoding, num_channels
        self._closed = False

    def stretches(self) -> Iterator[Stretch]:
        """The samples as they arrive. Raises `AudioError` where reading fails, or there was not a byte."""
        head = b""
        while len(head) < _ENOUGH and (data := self._read()):
            head += data
        if not head:
            raise AudioError(f"{self.uri} is empty (0 bytes)")
        if head.startswith(_MAGIC) or head[4:8] == b"ftyp":
            yield from from_file(_Continued(head, self._file), self.uri, self.warnings)
            return
        samples = Samples(self._encoding, self._num_channels)
        while head and not self._closed:
            yield self._rate, samples(head)
            head = self._read()
        if samples.num_left:
            self.warnings.append(f"cut off within a sample: the last {samples.num_left} bytes were dropped")

    def close(self) -> None:
        """End at the next portion."""
        self._closed = True

    def _read(self) -> bytes:
        """What is there, at least a byte unless it has ended."""
        read = getattr(self._file, "read1", self._file.read)
        try:
            return bytes(read(_PORTION) or b"")
        except (OSError, ValueError) as error:
            raise AudioError(f"{self.uri} cannot be read: {getattr(error, 'strerror', None) or error}") from error


class _Continued(io.RawIOBase):
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, those that are there."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        try:
            return bytes(getattr(self._file, "read1", self._file.read)(size) or b"")
        except (OSError, ValueError):
            return b""
