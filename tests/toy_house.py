"""The whole house on toy models: conversations with known turns, a diarizer, and the command line.

`python tests/toy_house.py run meeting.wav` is `diarist run meeting.wav` with voices that are tones.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diarist.core.config import replace_from
from diarist.core.types import Diarization, Turn
from diarist.models import fetch
from diarist.models.toy import ToyEmbedding, ToyEndToEnd, ToySegmentation, conversation
from diarist.pipelines import endtoend, live_networks, offline, presets
from diarist.pipelines.offline import Diarizer

RATE = 16_000
CONFIG = {"segmentation.vad": "none", "clustering.method": "agglomerative", "clustering.threshold": 0.5}


def talk(num_turns: int, num_speakers: int, seed: int = 0, overlap: float = 0.15) -> list[Turn]:
    """Turns of 0.8 to 4 s, two people at a time in scenes of eight turns; a share of them begins in the one before."""
    rng = np.random.default_rng(seed)
    turns: list[Turn] = []
    speaker, end = -1, 0.3
    for index in range(num_turns):
        wanted = (int(rng.integers(min(num_speakers, 2))) + index // 8) % num_speakers
        speaker = (wanted + 1) % num_speakers if wanted == speaker else wanted
        length = rng.uniform(0.8, 4.0)
        begins_early = num_speakers > 1 and index > 0 and rng.random() < overlap
        start = end - min(0.7, length / 2) if begins_early else end + rng.uniform(0.1, 0.6)
        turns.append(Turn(round(start, 3), round(start + length, 3), f"S{speaker}"))
        end = start + length
    return turns


def recording(num_turns: int = 20, num_speakers: int = 2, seed: int = 0) -> tuple[np.ndarray, Diarization]:
    """Sound and its reference."""
    turns = talk(num_turns, num_speakers, seed)
    return conversation(turns, max(turn.end for turn in turns) + 0.5), Diarization(tuple(turns))


def diarizer(**options: object) -> Diarizer:
    options = {"segmentation": ToySegmentation(), "embedding": ToyEmbedding(), "config": CONFIG, **options}
    return Diarizer(**options)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    import soundfile

    soundfile.write(path, samples, rate, format="WAV", subtype="PCM_16")
    return path


class SlowSegmentation(ToySegmentation):
    """One that says when it begins, and then takes its time."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        Path(os.environ["TOY_STARTED"]).touch()
        time.sleep(float(os.environ["TOY_SECONDS"]))
        return super().__call__(batch)


def furnish(put: Callable[[object, str, object], object] = setattr) -> None:
    """Have presets and models mean the toys; `put` is as `setattr`."""
    toys = {
        name: dataclasses.replace(preset, config=replace_from(preset.config, CONFIG))
        for name, preset in presets.PRESETS.items()
    }
    slow = "TOY_SECONDS" in os.environ
    put(presets, "PRESETS", toys)
    for pipeline in (offline, live_networks):
        put(pipeline, "load_segmentation", lambda *_, **__: (SlowSegmentation if slow else ToySegmentation)())
        put(pipeline, "load_embedding", lambda *_, **__: ToyEmbedding())
    put(endtoend, "load_endtoend", lambda *_, **__: ToyEndToEnd())
    put(endtoend, "load_embedding", lambda *_, **__: ToyEmbedding())
    put(live_networks, "load_vad", lambda *_, **__: None)
    put(fetch, "fetch", lambda *_, **__: None)


if __name__ == "__main__":
    from diarist.cli.main import main

    furnish()
    raise SystemExit(main())
