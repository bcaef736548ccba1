"""One speaker a channel: calls and interviews recorded one voice a channel need no clustering, only voice activity.

A channel talks where the segmentation model hears anybody in it, less what leaks in from another channel: frames in
which another channel that talks is louder by `LEAK` decibels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationModel
from diarist.core.time import Axis
from diarist.core.types import Float32, Turn
from diarist.pipelines.config import TurnsConfig
from diarist.pipelines.sections import SECTION, Section, batches, sections
from diarist.stages import activity, segment
from diarist.stages.assign import NOBODY
from diarist.stages.turns import label
from diarist.stages.turns import to_turns as frames_to_turns

LEAK = 12.0  # decibels
SMOOTH = 15  # frames over which loudness is averaged: a quarter of a second
SAME = 0.999  # correlation of loudness above which two channels are one


@dataclass(frozen=True)
class Channel:
    """What one channel holds: `speech` `(num_frames,)` probability, `level` `(num_frames,)` in decibels."""

    speech: Float32
    level: Float32
    num_samples: int


def hear(
    blocks: Iterable[Float32],
    model: SegmentationModel,
    step: float,
    pool: ThreadPoolExecutor,
    report: Callable[[float], None],
) -> Channel:
    """Speech probability and loudness of one channel's blocks, in bounded memory; `report` is told of seconds done."""
    spec = model.spec
    chunks = segment.axis(spec, step)
    mean = activity.MovingMean(1)
    speech: list[Float32] = []
    level: list[Float32] = []
    total = 0
    for section in sections(blocks, SECTION * spec.sample_rate, spec.chunk):
        moved = None if section.total is None else segment.moved_inside(spec, chunks, section.total)
        cuts = list(batches(section, chunks, moved))
        parts = (segment.cut(section.samples, first - section.start, num, chunks) for _, first, num in cuts)
        for (_, first, _), heard in zip(
            cuts, pool.map(lambda part: segment.read(model(part), spec), parts), strict=True
        ):
            for chunk, row in enumerate(heard.speech):
                mean.add(spec.frames.index_at(first + chunk * chunks.step), row[:, None])
        until = mean.last if section.last else spec.frames.index_at(section.end)
        level.append(_levels(section, spec.frames, mean.first, until))
        speech.append(mean.take(until)[:, 0])
        total = section.end
        report(total / spec.sample_rate)
    if not speech:
        return Channel(np.zeros(0, np.float32), np.zeros(0, np.float32), 0)
    num = 1 + max(0, (total - spec.frames.size // 2 - 1) // spec.frames.step)
    return Channel(np.concatenate(speech)[:num], np.concatenate(level)[:num], total)


def talking(channels: list[Channel], config: TurnsConfig) -> NDArray[np.bool_]:
    """Who talks in each frame, leaks taken out: `(num_frames, num_channels)`."""
    num_frames = max((len(channel.speech) for channel in channels), default=0)
    active = np.zeros((num_frames, len(channels)), dtype=bool)
    level = np.full((num_frames, len(channels)), -np.inf, dtype=np.float32)
    for index, channel in enumerate(channels):
        num = len(channel.speech)
        active[:num, index] = activity.hysteresis(channel.speech, config.onset, config.offset)
        level[:num, index] = channel.level
    loudest = np.where(active, level, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return np.asarray(active & (level >= loudest - LEAK))


def to_turns(channels: list[Channel], config: TurnsConfig, frames: Axis, duration: float) -> list[Turn]:
    """Turns of every channel; `SPEAKER_03` is the fourth channel, however early or late it first talks."""
    active = talking(channels, config)
    turns: list[Turn] = []
    for index, channel in enumerate(channels):
        alone = np.where(active[:, index], 0, NOBODY).astype(np.int32)[:, None]
        confidence = np.zeros(len(active), dtype=np.float32)
        confidence[: len(channel.speech)] = channel.speech
        found, _ = frames_to_turns(
            alone,
            confidence,
            frames,
            duration=duration,
            min_duration_on=config.min_duration_on,
            min_duration_off=config.min_duration_off,
            pad_onset=config.pad_onset,
            pad_offset=config.pad_offset,
        )
        turns += [replace(turn, speaker=label(index)) for turn in found]
    return sorted(turns)


def same_sound(channels: list[Channel]) -> bool:
    """True where the channels are copies of each other, so that they cannot be one speaker each."""
    if len(channels) < 2 or len(channels[0].level) < 2:
        return False
    first = channels[0].level
    others = [channel.level for channel in channels[1:]]
    if any(len(other) != len(first) or np.ptp(other) == 0 for other in (first, *others)):
        return False
    return all(np.corrcoef(first, other)[0, 1] > SAME for other in others)


def _levels(section: Section, frames: Axis, first: int, until: int) -> Float32:
    """Loudness in decibels of frames `first` to `until`, smoothed over `SMOOTH` frames."""
    starts = np.arange(first, until) * frames.step + frames.start - section.start
    energy = np.concatenate(([0.0], np.cumsum(section.samples.astype(np.float64) ** 2)))
    low = np.clip(starts - (SMOOTH // 2) * frames.step, 0, len(section.samples))
    high = np.clip(starts + (SMOOTH // 2 + 1) * frames.step, 0, len(section.samples))
    mean = (energy[high] - energy[low]) / np.maximum(high - low, 1)
    return np.asarray(10 * np.log10(mean + 1e-12), dtype=np.float32)
