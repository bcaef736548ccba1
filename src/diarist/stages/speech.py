"""From the probability of speech in each frame to stretches of speech, as NeMo's voice activity detection has it.

Onset and offset thresholds, padding, then short stretches dropped and short gaps closed (Gelly and Gauvain, "Minimum
word error training of RNN-based voice activity detection", Interspeech 2015); the order and the edges follow
`nemo/collections/asr/parts/utils/vad_utils.py` of nemo_toolkit 3.0.0, which ends each stretch one frame of 10 ms later.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Float32, Float64
from diarist.errors import ConfigError
from diarist.stages.activity import hysteresis
from diarist.stages.subsegments import runs

EDGE = 1e-9  # seconds; a stretch or gap of just the least length is long enough, however it was rounded
UNIT = 0.01  # seconds in a frame of smoothed probabilities, and by which a stretch is longer than found


def read_each(probabilities: Float32, frames: Axis, shift: float, duration: float) -> Float32:
    """Probabilities of frames `(num_frames,)` read each `shift` seconds from 0 on, at the nearest middle of a frame;
    NaN is read as 0. Where the middles are at those times already, there are no more than the frames."""
    num = int(np.ceil(duration / shift - 1e-9))
    if abs(frames.middle(0)) < EDGE and abs(frames.step / frames.sample_rate - shift) < EDGE:
        num = min(num, len(probabilities))
    if len(probabilities) == 0 or num <= 0:
        return np.zeros(0, np.float32)
    seconds = np.arange(num) * shift
    index = np.rint((seconds * frames.sample_rate - frames.start - frames.size / 2) / frames.step).astype(np.int64)
    return np.nan_to_num(probabilities[np.clip(index, 0, len(probabilities) - 1)], nan=0.0)


def smooth(probabilities: Float32, *, window: float, shift: float, overlap: float, method: str) -> Float32:
    """The `median` or `mean`, each 10 ms, of the probabilities of the windows that reach there. `(num_units,)`.

    `probabilities` `(num_frames,)` are those of windows of `window` seconds, each `shift` seconds; of those so many are
    left out that neighbours share `overlap` of a window. Raises `ConfigError` where none can be left, and for shifts
    that are not whole units.
    """
    per_shift, size = round(shift / UNIT), int(window / UNIT + 1)
    if abs(shift / UNIT - per_shift) > EDGE:
        raise ConfigError(f"to be smoothed, probabilities must come each 10, 20, 30, ... ms, not each {shift:g} s")
    jump = int(int(size * (1 - overlap)) / per_shift) if per_shift else 0
    if jump < 1:
        raise ConfigError(
            f"windows of {window:g} s each {shift:g} s cannot overlap by {overlap:g}: take a longer window, a shorter "
            f"shift (10 ms or more) or less overlap"
        )
    num, kept = len(probabilities) * per_shift, probabilities[::jump]
    if num == 0:
        return np.zeros(0, np.float32)
    starts = np.arange(len(kept)) * jump * per_shift
    layers = np.full((-(-size // (jump * per_shift)), num), np.nan)
    for index, (start, value) in enumerate(zip(starts.tolist(), kept.tolist(), strict=True)):
        layers[index % len(layers), start : start + size] = value
    covered = ~np.isnan(layers).all(axis=0)
    smoothed = np.empty(num)
    smoothed[covered] = (np.nanmedian if method == "median" else np.nanmean)(layers[:, covered], axis=0)
    smoothed[~covered] = smoothed[covered][-1]
    return smoothed.astype(np.float32)


def stretches(
    probabilities: Float32,
    frame: float,
    *,
    onset: float,
    offset: float,
    pad_onset: float,
    pad_offset: float,
    min_duration_on: float,
    min_duration_off: float,
    filter_speech_first: bool,
) -> Float64:
    """Stretches of speech `(num_stretches, 2)` in seconds, apart and in order.

    Speech begins where `probabilities` `(num_frames,)`, one each `frame` seconds, rise above `onset`, and ends where
    they fall below `offset`; it is made longer by the pads. Stretches shorter than `min_duration_on` are dropped and
    gaps shorter than `min_duration_off` closed, in that order or, without `filter_speech_first`, the other way round.
    """
    found = runs(hysteresis(probabilities, onset, offset)) * frame
    if len(found) and found[-1, 1] >= len(probabilities) * frame:
        found[-1, 1] = (len(probabilities) - 1) * frame  # speech that goes on ends where the last frame begins
    spans = np.stack([np.maximum(found[:, 0] - pad_onset, 0), found[:, 1] + pad_offset], axis=1)
    spans = merged(spans[spans[:, 1] > spans[:, 0]])
    steps = [_dropped, _closed] if filter_speech_first else [_closed, _dropped]
    for step in steps:
        spans = step(spans, min_duration_on if step is _dropped else min_duration_off)
    return np.asarray(spans + np.array([0, UNIT]))


def merged(spans: Float64 | Iterable[tuple[float, float]]) -> Float64:
    """Stretches `(num, 2)` in order of start, those that meet joined."""
    ordered = np.asarray(spans if isinstance(spans, np.ndarray) else list(spans), np.float64).reshape(-1, 2)
    ordered = ordered[np.argsort(ordered[:, 0], kind="stable")]
    if len(ordered) == 0:
        return ordered
    reach = np.maximum.accumulate(ordered[:, 1])
    apart = np.flatnonzero(ordered[1:, 0] > reach[:-1])
    return np.stack([ordered[np.append(0, apart + 1), 0], reach[np.append(apart, len(ordered) - 1)]], axis=1)


def within(spans: Float64, regions: Float64) -> Float64:
    """What of stretches `(num, 2)` lies within regions `(num_regions, 2)`, both apart and in order."""
    kept = [
        (max(start, low), min(end, high))
        for low, high in regions.tolist()
        for start, end in spans[(spans[:, 1] > low) & (spans[:, 0] < high)].tolist()
    ]
    return np.asarray(kept, np.float64).reshape(-1, 2)


def _dropped(spans: Float64, least: float) -> Float64:
    return spans[spans[:, 1] - spans[:, 0] >= least - EDGE] if least > 0 else spans


def _closed(spans: Float64, gap: float) -> Float64:
    if len(spans) < 2 or gap <= 0:
        return spans
    apart: NDArray[np.intp] = np.flatnonzero(spans[1:, 0] - spans[:-1, 1] >= gap - EDGE)
    return np.stack([spans[np.append(0, apart + 1), 0], spans[np.append(apart, len(spans) - 1), 1]], axis=1)
