"""From the speakers of each frame to turns in seconds, with a confidence.

A turn starts half a frame step before the middle of its first frame and ends half a step after that of its last; or,
as in pyannote.audio, in the middle of its first frame and of the first frame after it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Float64, Turn
from diarist.stages.subsegments import runs

Edges = Literal["between", "middle"]

SHORTEST = 1e-6  # seconds; a turn of no more is none


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


def padded(spans: NDArray[np.int64], num_frames: int, before: int, after: int) -> NDArray[np.int64]:
    """Spans `(num_spans, 2)` in frames that begin `before` frames earlier and end `after` later (later and earlier
    where negative), inside `num_frames`; those of which nothing is left are dropped."""
    wider = np.clip(spans + np.array([-before, after]), 0, num_frames)
    return np.asarray(wider[wider[:, 0] < wider[:, 1]])


def middles(spans: NDArray[Any], num_frames: int, frames: Axis) -> Float64:
    """Spans of frames `(num_spans, 2)` in seconds, from the middle of the first to that of the first after them, which
    is the last of all where there is none after.

    Middles are summed in pyannote's order, so that a half millisecond falls on its side in a text file.
    """
    spans = np.minimum(spans, num_frames - 1)
    first = frames.start / frames.sample_rate + spans * (frames.step / frames.sample_rate)
    seconds: Float64 = 0.5 * (first + (first + frames.size / frames.sample_rate))
    return seconds


def halfway(spans: NDArray[Any], num_frames: int, frames: Axis, duration: float) -> Float64:
    """Spans of frames `(num_spans, 2)` in seconds, from half a step before the middle of the first to half a step after
    that of the last; the first and the last frame of all reach the edges of the recording."""
    frame = frames.step / frames.sample_rate
    offset = (frames.start + frames.size / 2 - frames.step / 2) / frames.sample_rate
    seconds = np.minimum(duration, (offset + spans * frame).round(6))
    seconds[spans[:, 0] == 0, 0] = 0.0  # the first frame's half window is speech too: nothing can be seen before it
    seconds[spans[:, 1] == num_frames, 1] = duration
    return np.asarray(seconds)


def to_turns(
    speakers: NDArray[np.int32],
    confidence: NDArray[np.float32],
    frames: Axis,
    *,
    duration: float,
    min_duration_on: float,
    min_duration_off: float,
    pad_onset: float = 0.0,
    pad_offset: float = 0.0,
    edges: Edges = "between",
) -> tuple[list[Turn], dict[str, int]]:
    """Turns of every speaker, in order of start, and the index that each label stands for.

    `speakers` `(num_frames, num_simultaneous)` holds indices, negative for nobody; `confidence` `(num_frames,)` in
    [0, 1] is averaged over a turn. Speakers are numbered by first appearance. Durations in seconds: a turn begins
    `pad_onset` earlier and ends `pad_offset` later, then pauses are closed, then short turns dropped. `edges` are
    half-way `"between"` two frames or in the `"middle"` of one.
    """
    frame = frames.step / frames.sample_rate
    gap, least = round(min_duration_off / frame), int(np.ceil(min_duration_on / frame - 1e-9))
    before, after = round(pad_onset / frame), round(pad_offset / frame)
    summed = np.concatenate(([0.0], np.cumsum(confidence, dtype=np.float64)))
    pieces: list[tuple[int, int, int]] = []
    for speaker in np.unique(speakers[speakers >= 0]):
        spans = padded(runs((speakers == speaker).any(axis=1)), len(speakers), before, after)
        spans = filled(spans, gap=gap, least=max(least, 1))
        pieces.extend((int(first), int(last), int(speaker)) for first, last in spans)
    pieces.sort()
    order = list(dict.fromkeys(speaker for _, _, speaker in pieces))
    names = {speaker: label(i) for i, speaker in enumerate(order)}
    spans = np.array([(first, last) for first, last, _ in pieces], np.int64).reshape(-1, 2)
    num_frames = len(speakers)
    seconds = middles(spans, num_frames, frames) if edges == "middle" else halfway(spans, num_frames, frames, duration)
    means = np.clip((summed[spans[:, 1]] - summed[spans[:, 0]]) / (spans[:, 1] - spans[:, 0]), 0, 1).round(4)
    turns = [
        Turn(start, end, names[speaker], mean)
        for (_, _, speaker), (start, end), mean in zip(pieces, seconds.tolist(), means.tolist(), strict=True)
    ]
    turns = sorted(turn for turn in turns if turn.duration > SHORTEST)  # none of frames past the end
    there = {turn.speaker for turn in turns}
    return turns, {name: index for index, name in names.items() if name in there}
