"""From the speakers of each frame to turns in seconds, with a confidence.

A turn starts half a frame step before the middle of its first frame and ends half a step after that of its last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Turn
from diarist.stages.subsegments import runs


def label(index: int) -> str:
    """`SPEAKER_00`, `SPEAKER_01`, ..."""
    return f"SPEAKER_{index:02d}"


def filled(spans: NDArray[np.int64], *, gap: int, least: int) -> NDArray[np.int64]:
    """Spans `(num_spans, 2)` in frames with gaps up to `gap` closed, then those shorter than `least` dropped."""
    if len(spans) == 0:
        return spans
    apart = np.flatnonzero(spans[1:, 0] - spans[:-1, 1] > gap)
    joined = np.stack([spans[np.concatenate(([0], apart + 1)), 0], spans[np.append(apart, -1), 1]], axis=1)
    return np.asarray(joined[joined[:, 1] - joined[:, 0] >= least])


def to_turns(
    speakers: NDArray[np.int32],
    confidence: NDArray[np.float32],
    frames: Axis,
    *,
    duration: float,
    min_duration_on: float,
    min_duration_off: float,
) -> tuple[list[Turn], dict[str, int]]:
    """Turns of every speaker, in order of start, and the index that each label stands for.

    `speakers` `(num_frames, num_simultaneous)` holds indices, negative for nobody; `confidence` `(num_frames,)` in
    [0, 1] is averaged over a turn. Speakers are numbered by first appearance. Durations in seconds.
    """
    frame = frames.step / frames.sample_rate
    gap, least = round(min_duration_off / frame), int(np.ceil(min_duration_on / frame - 1e-9))
    summed = np.concatenate(([0.0], np.cumsum(confidence, dtype=np.float64)))
    offset = (frames.start + frames.size / 2 - frames.step / 2) / frames.sample_rate
    pieces: list[tuple[int, int, int]] = []
    for speaker in np.unique(speakers[speakers >= 0]):
        spans = filled(runs((speakers == speaker).any(axis=1)), gap=gap, least=max(least, 1))
        pieces.extend((int(first), int(last), int(speaker)) for first, last in spans)
    pieces.sort()
    order = list(dict.fromkeys(speaker for _, _, speaker in pieces))
    names = {speaker: label(i) for i, speaker in enumerate(order)}
    turns = []
    for first, last, speaker in pieces:
        # the first frame's half window is speech too: nothing can be seen before it
        start = 0.0 if first == 0 else offset + first * frame
        end = duration if last == len(speakers) else min(duration, offset + last * frame)
        mean = float((summed[last] - summed[first]) / (last - first))
        start, end = round(start, 6), min(duration, round(end, 6))
        turns.append(Turn(start, end, names[speaker], round(min(1.0, max(0.0, mean)), 4)))
    turns = sorted(turn for turn in turns if turn.end > turn.start)  # none of frames past the end
    there = {turn.speaker for turn in turns}
    return turns, {name: index for index, name in names.items() if name in there}
