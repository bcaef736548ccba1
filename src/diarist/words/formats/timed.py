"""Utterances that all have times, for the formats that cannot do without."""

from __future__ import annotations

import math
from dataclasses import replace

from diarist.core.types import Transcript, Utterance
from diarist.errors import UsageError
from diarist.words.spans import word_spans
from diarist.words.utterances import by_speaker


def timed(transcript: Transcript, format: str) -> tuple[Utterance, ...]:
    """Utterances of one speaker each, in order of start, those without times between their neighbours; nothing is
    before 0.

    Raises `UsageError` naming the format where no time is known at all.
    """
    utterances = by_speaker(transcript).utterances
    spans = word_spans([(utterance.start, utterance.end) for utterance in utterances])
    if any(math.isnan(start) for start, _ in spans):
        raise UsageError(
            f"{format} needs times and the transcript '{transcript.uri}' has none; txt, json and md do not"
        )
    return tuple(
        replace(utterance, start=max(0.0, start), end=max(0.0, start, end))
        for utterance, (start, end) in zip(utterances, spans, strict=True)
    )
