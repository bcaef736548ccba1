"""Plain samples in a file (wav, aiff, caf, w64, au, NIST sphere ...) through libsndfile, and arrays in memory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from diarist.audio.opening import GuardedFile
from diarist.core.types import Float32
from diarist.errors import AudioError, UsageError

Stretch = tuple[int, Float32]
"""A sample rate, and the samples `(num_samples, num_channels)` that follow at it."""

_CUT_OFF = re.compile(r"^\W*(?:RIFF|RIFX|FORM|riff|data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF_0000  # and above: what a writer that cannot seek puts in the header
_MOST_CHANNELS = 64
_EMPTY_LIMIT = 4096  # bytes; a larger file cannot be an empty recording
_RAW = {"PCM_U8": "u1", "PCM_16": "<i2", "PCM_24": "u1", "PCM_32": "<i4", "FLOAT": "<f4", "DOUBLE": "<f8"}
_BY_DESCRIPTOR = os.name == "posix"  # elsewhere libsndfile may have another idea of what a descriptor is
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM


class PcmDecoder:
    """Reads what libsndfile knows. Raises `soundfile.LibsndfileError` where it does not know the file.

    A wav whose header says less than is there (its size stays 0 where the recorder crashed, and wraps around beyond
    4 GiB) is read to the end of the file.
    """

    def __init__(self, file: GuardedFile, name: str, warnings: list[str]) -> None:
        self._raw = file
        self._name = name
        self._warnings = warnings
        self._start = _start_of_unsized(file)
        file.seek(0)
        # A descriptor of its own: before 1.2.2 libsndfile closes the one it is given wherever it fails to open it.
        self._file = soundfile.SoundFile(os.dup(file.fileno()) if _BY_DESCRIPTOR else file)
        self.sample_rate: int = self._file.samplerate
        self.num_channels: int = self._file.channels
        self.num_frames: int = self._file.frames
        if self._file.subtype not in _RAW:
            self._start = None
        if self._start is not None:
            warnings.append("its header gives a wrong size (0, or beyond 4 GiB): read to the end of the file")
            self.num_frames = (file.seek(0, io.SEEK_END) - self._start) // self._frame_size()
        known = 0 <= self.num_frames < 1 << 48 and self.sample_rate > 0
        self.duration: float | None = self.num_frames / self.sample_rate if known else None

    def stretches(self) -> Iterator[Stretch]:
        """The samples, a second at a time. What is damaged ends the recording with a warning.

        Raises `AudioError` where the system fails to read the file.
        """
        promised = _promised_bytes(self._file.extra_info)
        if promised is not None:
            self._warnings.append(f"cut off: its header promises {promised[0]} bytes, {promised[1]} are there")
        done = 0
        for block in self._blocks() if self._start is None else self._raw_blocks(self._start):
            done += len(block)
            yield self.sample_rate, block
        if self.duration is not None and done < self.num_frames:
            self._warnings.append(
                f"cut off: its header promises {self.duration:.1f} s, {done / self.sample_rate:.1f} s are there"
            )

    def close(self) -> None:
        """Let go of libsndfile's handle."""
        self._file.close()

    def _blocks(self) -> Iterator[Float32]:
        while True:
            try:
                block = self._file.read(self.sample_rate, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if error.code == _SYSTEM_ERROR:
                    raise AudioError(f"{self._name} was lost while it was read: {error.error_string}") from error
                self._warnings.append(f"damaged: {error.error_string}")
                return
            if len(block) == 0:
                return
            yield block

    def _raw_blocks(self, start: int) -> Iterator[Float32]:
        """The samples of a wav whose header is of no use beyond their type."""
        self._raw.seek(start)
        size = self._frame_size()
        while data := self._raw.read(self.sample_rate * size):
            data = data[: len(data) // size * size]
            values = np.frombuffer(data, _RAW[self._file.subtype]).copy()
            if self._file.subtype == "PCM_24":  # as the upper bytes of 32 bits
                widened = np.zeros((len(values) // 3, 4), np.uint8)
                widened[:, 1:] = values.reshape(-1, 3)
                values = widened.view("<i4")
            yield to_float(values.reshape(-1, self.num_channels))

    def _frame_size(self) -> int:
        width = 3 if self._file.subtype == "PCM_24" else np.dtype(_RAW[self._file.subtype]).itemsize
        return width * self.num_channels


def _start_of_unsized(file: GuardedFile) -> int | None:
    """Where the samples of a RIFF wav begin, if its header says less than is there; None for all other files."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or 8 + int.from_bytes(head[4:8], "little") >= size:
        return None
    position = 12
    while len(head := file.read(8)) == 8:
        position += 8
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return position if size > 1 << 32 or (length == 0 and size > _EMPTY_LIMIT) else None
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
