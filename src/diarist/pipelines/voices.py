"""The voice of every speaker of a diarization, also of those whom an engine heard too briefly to keep one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diarist.audio.decode import load
from diarist.core.protocols import EmbeddingModel
from diarist.core.types import Diarization, Float32
from diarist.stages.embed import pool_windows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean

AROUND, LONGEST = 2.0, 20.0  # seconds of sound around a turn that give the mean, and of the turn that are heard


def voices_of(
    diarization: Diarization, audio: Any, sample_rate: int | None, model: Callable[[], EmbeddingModel]
) -> dict[str, Float32]:
    """Unit embeddings `(dimension,)` of the speakers who have a turn, by label.

    Those that the engine left out are pooled from the speaker's longest turn in `audio`, with more of its sides where
    it is shorter than the network of `model` needs; of a recording that is too short itself they are zeros.
    """
    found: dict[str, Float32] = {}
    for name in diarization.labels:
        voice = diarization.speakers[name].embedding
        if voice is None or not np.isfinite(voice).all():
            voice = _pooled(diarization, name, audio, sample_rate, model())
        found[name] = voice
    return found


def _pooled(diarization: Diarization, name: str, audio: Any, sample_rate: int | None, model: EmbeddingModel) -> Float32:
    spec, rate = model.spec, model.spec.sample_rate
    longest = max((turn for turn in diarization.turns if turn.speaker == name), key=lambda turn: turn.duration)
    origin = max(0, round((longest.start - AROUND) * rate))
    sound = load(audio, sample_rate=sample_rate).samples[origin : round((longest.start + LONGEST + AROUND) * rate)]
    features = fbank(sound, num_mels=spec.num_mels, window=spec.window, scale=spec.scale)
    empty = np.zeros(spec.dimension, np.float32)
    if len(features) < spec.map_stride:
        return empty
    maps = model.frames(remove_mean(features)[None])[0]
    per_second = rate / FBANK.step / spec.map_stride
    low = round((longest.start - origin / rate) * per_second)
    high = round((min(longest.end, longest.start + LONGEST) - origin / rate) * per_second)
    short = max(0, spec.min_frames + 1 - (high - low))
    mask = np.zeros(len(maps), np.bool_)
    mask[max(0, min(low, len(maps) - 1) - short) : high + short] = True
    voice = pool_windows(model, maps, np.array([[0, len(maps)]]), mask)[0]
    return voice if np.isfinite(voice).all() else empty
