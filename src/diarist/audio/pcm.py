"""Plain samples in a file (wav, aiff, caf, w64, au, NIST sphere ...) through libsndfile, and arrays in memory."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from diarist.audio.opening import GuardedFile
from diarist.core.types import Float32
from diarist.errors import UsageError

Stretch = tuple[int, Float32]
"""A sample rate, and the samples `(num_samples, num_channels)` that follow at it."""

_CUT_OFF = re.compile(r"^\W*(?:RIFF|RIFX|FORM|riff|data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF_0000  # and above: what a writer that cannot seek puts in the header
_MOST_CHANNELS = 64
_RAW = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # one sample after the other
_EMPTY_LIMIT = 4096  # bytes; a larger file cannot be an empty recording


class PcmDecoder:
    """Reads what libsndfile knows. Raises `soundfile.LibsndfileError` where it does not know the file."""

    def __init__(self, file: GuardedFile, warnings: list[str]) -> None:
        self._file = _opened(file, warnings)
        self._warnings = warnings
        self.sample_rate: int = self._file.samplerate
        self.num_channels: int = self._file.channels
        self.num_frames: int = self._file.frames
        known = 0 <= self.num_frames < 1 << 48 and self.sample_rate > 0
        self.duration: float | None = self.num_frames / self.sample_rate if known else None

    def stretches(self) -> Iterator[Stretch]:
        """The samples, a second at a time. What is damaged ends the recording with a warning."""
        promised = _promised_bytes(self._file.extra_info)
        if promised is not None:
            self._warnings.append(f"cut off: its header promises {promised[0]} bytes, {promised[1]} are there")
        done = 0
        while True:
            try:
                block = self._file.read(self.sample_rate, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                self._warnings.append(f"damaged after {done / self.sample_rate:.1f} s: {error.error_string}")
                return
            if len(block) == 0:
                break
            done += len(block)
            yield self.sample_rate, block
        if self.duration is not None and done < self.num_frames:
            self._warnings.append(
                f"cut off: its header promises {self.duration:.1f} s, {done / self.sample_rate:.1f} s are there"
            )

    def close(self) -> None:
        """Let go of libsndfile's handle."""
        self._file.close()


def _opened(file: GuardedFile, warnings: list[str]) -> Any:
    """libsndfile's handle; where a wav header says less than is there, on all of it to the end of the file.

    The sizes in a wav header stay 0 where its recorder crashed, and wrap around beyond 4 GiB.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    sound = soundfile.SoundFile(file)
    unfinished = sound.frames == 0 and size > _EMPTY_LIMIT
    if sound.format not in ("WAV", "WAVEX") or sound.subtype not in _RAW or not (unfinished or size > 1 << 32):
        return sound
    start = _data_start(file, size)
    if start is None:
        file.seek(0)
        return soundfile.SoundFile(file)
    shape = {"samplerate": sound.samplerate, "channels": sound.channels, "subtype": sound.subtype}
    warnings.append("its header gives a wrong size (0, or beyond 4 GiB): read to the end of the file")
    return soundfile.SoundFile(GuardedFile(file, owned=False, start=start), format="RAW", endian="LITTLE", **shape)


def _data_start(file: GuardedFile, size: int) -> int | None:
    """Where the samples of a RIFF wav begin, by its chunks; None where it has none or its size is right after all."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or 8 + int.from_bytes(head[4:8], "little") >= size:
        return None
    position = 12
    while len(head := file.read(8)) == 8:
        position += 8
        if head[:4] == b"data":
            return position
        length = int.from_bytes(head[4:], "little")
        position += length + length % 2
        file.seek(position)
    return None


def _promised_bytes(log: str) -> tuple[int, int] | None:
    """From libsndfile's log: bytes that the header promises and bytes that are there, where those are fewer."""
    for promised, there in _CUT_OFF.findall(log):
        if int(there) < int(promised) < _UNKNOWN_SIZE:
            return int(promised), int(there)
    return None


class ArrayDecoder:
    """Samples that are in memory: `(num_samples,)` or `(num_samples, num_channels)`, integers scaled by their type."""

    def __init__(self, samples: NDArray[Any], sample_rate: int) -> None:
        if samples.ndim not in (1, 2):
            raise UsageError(
                f"sound must be of shape (num_samples,) or (num_samples, num_channels), not {samples.shape}"
            )
        if samples.ndim == 2 and not 1 <= samples.shape[1] <= _MOST_CHANNELS:
            raise UsageError(
                f"sound of shape {samples.shape} would have {samples.shape[1]} channels: "
                "it must be (num_samples, num_channels), transpose it"
            )
        if samples.dtype.kind not in "iuf":
            raise UsageError(f"sound must be integers or real numbers, not {samples.dtype}")
        self._samples = samples.reshape(len(samples), -1) if samples.size else samples.reshape(0, 1)
        self.sample_rate = sample_rate
        self.num_channels = self._samples.shape[1]
        self.duration: float | None = len(samples) / sample_rate

    def stretches(self) -> Iterator[Stretch]:
        """The samples, a second at a time."""
        for start in range(0, len(self._samples), self.sample_rate):
            yield self.sample_rate, to_float(self._samples[start : start + self.sample_rate].copy())

    def close(self) -> None:
        """Nothing to do."""


def to_float(samples: NDArray[Any]) -> Float32:
    """Samples of any real type to float32 in [-1, 1]: integers are divided by their full scale, unsigned ones first
    moved to have their middle at 0; floats stay as they are."""
    if samples.dtype == np.float32:
        return samples
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is cleaned later
            return samples.astype(np.float32)
    half = float(2 ** (8 * samples.dtype.itemsize - 1))
    middle = half if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - middle) / half).astype(np.float32)
