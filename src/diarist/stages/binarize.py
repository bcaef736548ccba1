"""From scores of frames to turns: hysteresis, padding, gaps filled, short turns dropped.

Gelly and Gauvain, "Minimum word error training of RNN-based voice activity detection", Interspeech 2015. As in
pyannote.audio, a turn starts in the middle of its first frame and ends in the middle of the first frame after it, or of
the last frame of all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Float64, Track, Turn
from diarist.stages.activity import hysteresis
from diarist.stages.subsegments import runs
from diarist.stages.turns import SHORTEST, label, middles


def binarize(
    track: Track,
    *,
    onset: float,
    offset: float,
    min_duration_on: float = 0.0,
    min_duration_off: float = 0.0,
    pad_onset: float = 0.0,
    pad_offset: float = 0.0,
) -> list[Turn]:
    """Turns of every speaker of a track, in order of start; the speaker is `SPEAKER_` and its column.

    Active from above `onset` until below `offset`. Turns grow by `pad_onset` and `pad_offset`; those that then touch,
    or are less than `min_duration_off` apart, become one; those shorter than `min_duration_on` go. All in seconds.
    """
    turns: list[Turn] = []
    for column, scores in enumerate(track.scores.T):
        spans = regions(hysteresis(scores, onset, offset), track.frames)
        spans = spans + np.array([-pad_onset, pad_offset])
        if pad_onset > 0 or pad_offset > 0 or min_duration_off > 0:
            spans = fill_gaps(spans, min_duration_off)
        spans = np.maximum(spans[spans[:, 1] - spans[:, 0] >= min_duration_on], 0)
        turns.extend(Turn(start, end, label(column)) for start, end in spans.tolist())
    return sorted(turns)


def regions(active: NDArray[Any], frames: Axis) -> Float64:
    """Stretches of active frames `(num_frames,)` in seconds: `(num_regions, 2)`."""
    seconds = middles(runs(active), len(active), frames)
    return seconds[seconds[:, 1] - seconds[:, 0] > SHORTEST]


def fill_gaps(spans: Float64, shorter_than: float) -> Float64:
    """Spans `(n, 2)` in order; those that touch, or have a gap shorter than this between them, become one."""
    if not len(spans):
        return spans
    gaps = spans[1:, 0] - spans[:-1, 1]
    cut = np.flatnonzero((gaps > SHORTEST) & (gaps >= shorter_than))
    return np.column_stack([spans[np.r_[0, cut + 1], 0], spans[np.r_[cut, len(spans) - 1], 1]])
