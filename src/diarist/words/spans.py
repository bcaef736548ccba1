"""When was a word said, where its aligner did not say: from the words around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

Times = tuple[float | None, float | None]
"""A start and an end in seconds; None where unknown."""


def word_spans(words: Sequence[Times], within: Times = (None, None)) -> list[tuple[float, float]]:
    """A span for each word of one utterance, `within` which they lie; NaN where nothing is known.

    A word with one time only is that moment. One without times lies between the last moment known before it and the
    first one known after it.
    """
    before: list[float] = []
    moment = _first(*within)
    for start, end in words:
        before.append(moment)
        moment = _first(end, start, moment)
    spans: list[tuple[float, float]] = []
    moment = _first(within[1], within[0])
    for (start, end), earlier in zip(reversed(words), reversed(before), strict=True):
        if start is None and end is None:
            spans.append((_first(earlier, moment), _first(moment, earlier)))
        else:
            spans.append((_first(start, end), _first(end, start)))
        moment = _first(start, end, moment)
    return spans[::-1]


def _first(*times: float | None) -> float:
    """The first time that is known, else NaN."""
    return next((time for time in times if time is not None and not math.isnan(time)), math.nan)
