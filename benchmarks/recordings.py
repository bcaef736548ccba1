"""The recordings to compare on: a folder is a data set, a reference lies beside each recording as RTTM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from diarist import formats
from diarist.audio.decode import open_audio
from diarist.core.types import Diarization
from diarist.errors import DiaristError

SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a")
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Recording:
    """A recording with reference turns. Every system reads the same `wav`: 16 kHz, mono, 16 bits."""

    uri: str
    dataset: str
    reference: Diarization
    wav: Path
    duration: float


def find(folders: Iterable[Path]) -> list[tuple[str, Path, Path]]:
    """`(data set, audio, RTTM)` for every recording in `folders` and the folders in them that has a reference."""
    found = []
    for folder in folders:
        for reference in sorted(folder.rglob("*.rttm")):
            for suffix in SUFFIXES:
                audio = reference.with_suffix(suffix)
                if audio.is_file():
                    found.append((reference.parent.name, audio, reference))
                    break
    return found


def stage(dataset: str, audio: Path, reference: Path, folder: Path) -> Recording:
    """Decode a recording once for all systems; raises `DiaristError` where audio or reference cannot be read."""
    uri = f"{dataset}__{audio.stem}"
    wav = folder / f"{uri}.wav"
    with open_audio(audio) as reader, soundfile.SoundFile(wav, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for block in reader.blocks():
            file.write(block)
    turns = formats.read(reference)
    if len(turns) != 1:
        raise DiaristError(f"{reference} holds {len(turns)} recordings: one is wanted, that of {audio.name}")
    return Recording(uri, dataset, turns[0], wav, soundfile.info(wav).duration)


def joined(recordings: list[Recording], minutes: float, folder: Path) -> Path:
    """A WAV of `minutes`: the recordings one after the other, over and over. For costs, not for accuracy."""
    wav = folder / f"joined-{minutes:g}-minutes.wav"
    left = round(minutes * 60 * SAMPLE_RATE)
    with soundfile.SoundFile(wav, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            for recording in recordings:
                samples = soundfile.read(recording.wav, dtype="int16")[0][:left]
                file.write(np.ascontiguousarray(samples))
                left -= len(samples)
    return wav
