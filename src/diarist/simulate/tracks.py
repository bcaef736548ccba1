"""Room for the sound of a conversation while it is made: in memory, or in a file where it is long."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32

BLOCK = 30 * SAMPLE_RATE
"""Samples that are worked on at once."""


class Track(Protocol):
    """`num_samples` samples, zero at first, that are read and written in blocks."""

    num_samples: int

    def read(self, at: int, num: int) -> Float32:
        """`num` samples from `at` on; fewer at the end."""
        ...

    def write(self, at: int, block: Float32) -> None:
        """Overwrite samples from `at` on."""
        ...


class InMemory:
    """A track in an array."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples
        self._samples: Float32 = np.zeros(num_samples, np.float32)

    def read(self, at: int, num: int) -> Float32:
        """`num` samples from `at` on; fewer at the end."""
        return np.array(self._samples[at : min(at + num, self.num_samples)])

    def write(self, at: int, block: Float32) -> None:
        """Overwrite samples from `at` on."""
        self._samples[at : at + len(block)] = block


class OnDisk:
    """Makes tracks in nameless files of a folder, whose memory does not grow with their length."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, num_samples: int) -> Track:
        """A new track."""
        return _FileTrack(self._folder, num_samples)


class _FileTrack:
    def __init__(self, folder: Path, num_samples: int) -> None:
        self.num_samples = num_samples
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
        self._file.truncate(4 * num_samples)

    def read(self, at: int, num: int) -> Float32:
        self._file.seek(4 * at)
        return np.frombuffer(self._file.read(4 * min(num, self.num_samples - at)), np.float32)

    def write(self, at: int, block: Float32) -> None:
        self._file.seek(4 * at)
        self._file.write(np.ascontiguousarray(block, np.float32).tobytes())

    def __del__(self) -> None:
        self._file.close()


def blocks(track: Track) -> Iterator[tuple[int, Float32]]:
    """The samples in order: where each block begins, and the block."""
    for at in range(0, track.num_samples, BLOCK):
        yield at, track.read(at, BLOCK)


def add(track: Track, at: int, sound: Float32) -> None:
    """Add a sound to a track; what lies outside is lost."""
    sound = sound[max(-at, 0) :][: max(track.num_samples - max(at, 0), 0)]
    if len(sound):
        track.write(max(at, 0), track.read(max(at, 0), len(sound)) + sound)
