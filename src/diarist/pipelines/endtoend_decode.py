"""From what an end-to-end model said to turns: thresholds, pads, pauses, each speaker by itself."""

from __future__ import annotations

import numpy as np

from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Turn
from diarist.pipelines.endtoend_join import Joined
from diarist.pipelines.endtoend_listen import Heard
from diarist.pipelines.endtoend_presets import DecodingConfig
from diarist.stages.speech import UNIT, stretches
from diarist.stages.turns import SHORTEST, label


def decode(heard: Heard, joined: Joined, config: DecodingConfig) -> tuple[list[Turn], dict[str, int]]:
    """Turns in order of start, and the speaker of `joined` that each label stands for.

    The steps and their order are NeMo's (`stages.speech.stretches`), the edges are not: a turn ends with its last
    frame. Its confidence is the mean probability of its frames. Speakers are numbered by first turn.
    """
    found: list[tuple[float, float, float, int]] = []
    for speaker in range(len(joined.talk)):
        found += [(*turn, speaker) for turn in turns_of(activity(heard, joined, speaker), heard, config)]
    found.sort()
    order = list(dict.fromkeys(speaker for *_, speaker in found))
    names = {speaker: label(index) for index, speaker in enumerate(order)}
    turns = [Turn(start, end, names[speaker], sure) for start, end, sure, speaker in found]
    return turns, {names[speaker]: speaker for speaker in order}


def activity(heard: Heard, joined: Joined, speaker: int) -> Float32:
    """Probability that a speaker talks in each frame, `(num_frames,)`: of the likeliest of its slots."""
    parts = []
    for memory, labels in zip(heard.memories, joined.labels, strict=True):
        slots = memory.scores[:, labels == speaker]
        parts.append(slots.max(axis=1) if slots.shape[1] else np.zeros(len(slots), np.float16))
    return np.concatenate(parts).astype(np.float32)


def turns_of(scores: Float32, heard: Heard, config: DecodingConfig) -> list[tuple[float, float, float]]:
    """Turns of one speaker, `(start, end, confidence)`, from its probabilities `(num_frames,)`."""
    spans = spans_of(scores, heard.frames, config)
    sure = confidence_of(scores, spans, heard.frames)
    spans = np.clip(spans, 0, heard.duration).round(6)
    return [
        (start, end, confidence)
        for (start, end), confidence in zip(spans.tolist(), sure, strict=True)
        if end - start > SHORTEST
    ]


def spans_of(scores: Float32, frames: Axis, config: DecodingConfig) -> Float64:
    """Stretches `(num, 2)` in seconds in which somebody talks, from probabilities `(num_frames,)`."""
    spans = stretches(
        np.append(scores, np.float32(0)),  # what ends with the recording ends with its last frame
        frames.step / frames.sample_rate,
        onset=config.onset,
        offset=config.offset,
        pad_onset=config.pad_onset,
        pad_offset=config.pad_offset,
        min_duration_on=config.min_duration_on,
        min_duration_off=config.min_duration_off,
        filter_speech_first=config.filter_speech_first,
    )
    return np.asarray(spans - np.array([0.0, UNIT]) + begins(frames))


def confidence_of(scores: Float32, spans: Float64, frames: Axis) -> list[float]:
    """Mean probability in stretches `(num, 2)` of seconds, each in [0, 1]."""
    index = np.rint((spans - begins(frames)) * frames.sample_rate / frames.step)
    index = np.clip(index, 0, len(scores)).astype(np.int64)
    summed = np.concatenate(([0.0], np.cumsum(scores, dtype=np.float64)))
    means = (summed[index[:, 1]] - summed[index[:, 0]]) / np.maximum(1, index[:, 1] - index[:, 0])
    return [round(mean, 4) for mean in np.clip(means, 0, 1).tolist()]


def begins(frames: Axis) -> float:
    """Where the first frame begins, in seconds: half-way from the one that would be before it."""
    return (frames.start + frames.size / 2 - frames.step / 2) / frames.sample_rate
