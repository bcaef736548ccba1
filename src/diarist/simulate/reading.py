"""Recordings in sections, as 16 kHz mono samples, so that an audio book does not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from diarist.audio.decode import open_audio
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Waveform

SECTION = 120.0
"""Seconds that are read at once."""


def duration_of(source: Path | Waveform) -> float:
    """Length in seconds. Raises `AudioError` where it cannot be read."""
    return source.duration if isinstance(source, Waveform) else _file_duration(source)


@lru_cache(maxsize=1 << 18)
def _file_duration(path: Path) -> float:
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.SoundFileError, OSError):
        with open_audio(path) as reader:
            known = reader.duration
            return known if known else sum(len(block) for block in reader.blocks()) / SAMPLE_RATE


def num_sections(duration: float) -> int:
    """How many sections a recording has; a remainder of less than half a section belongs to the last."""
    return max(1, round(duration / SECTION))


def read_section(source: Path | Waveform, index: int) -> Float32:
    """Section `index` of a recording. Raises `AudioError` where it cannot be read.

    libsndfile is asked first: it finds a place in a long file without reading what comes before, and is much the
    faster for many short ones. What it does not know is read from the beginning.
    """
    last = index == num_sections(duration_of(source)) - 1
    if isinstance(source, Path):
        try:
            return _seek(source, index, last)
        except (soundfile.SoundFileError, OSError):
            pass
    with open_audio(source) as reader:
        return _skip(reader.blocks(int(SECTION * SAMPLE_RATE)), index, last)


def _seek(path: Path, index: int, last: bool) -> Float32:
    with soundfile.SoundFile(str(path)) as file:
        rate = file.samplerate
        file.seek(int(index * SECTION * rate))
        samples = file.read(int((2 if last else 1) * SECTION * rate), dtype="float32", always_2d=True).mean(axis=1)
    if rate != SAMPLE_RATE and len(samples):
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return np.nan_to_num(np.asarray(samples, dtype=np.float32))


def _skip(blocks: Iterator[Float32], index: int, last: bool) -> Float32:
    kept = [block for i, block in enumerate(blocks) if i == index or (last and i > index)]
    return np.concatenate([np.zeros(0, np.float32), *kept])
