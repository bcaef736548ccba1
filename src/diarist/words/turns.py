"""Turns out of whatever holds them: our own answer, a pandas frame, pyannote's annotation, dictionaries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diarist.core.types import Diarization, Turn
from diarist.errors import UsageError


def turns_of(source: Any, *, exclusive: bool | None = None) -> list[Turn]:
    """The turns of a `Diarization`, a pandas frame or a mapping with the columns `start, end, speaker` (and
    `confidence`), a `pyannote.core.Annotation`, pyannote 4's output, or anything that gives `Turn`s, mappings or
    `(start, end, speaker)`; None has none.

    `exclusive` asks for at most one speaker at a time: the source's own exclusive turns, where it has them, else of the
    turns that overlap the more confident one and, of equal ones, the longer. None takes a source's own exclusive turns
    and else the turns as they are; False never does. Turns of nobody (None, or a gap in a frame) are passed over.
    Raises `UsageError` where a turn lacks what it needs.
    """
    if isinstance(source, (str, Path)):
        raise UsageError(f"turns are a frame or a list, not a path: diarist.formats.read({str(source)!r}) has them")
    own = None if exclusive is False else getattr(source, "exclusive_speaker_diarization", None)
    if own is not None:
        return list(_turns(own))
    turns = list(_turns(getattr(source, "speaker_diarization", source)))
    return list(Diarization(tuple(turns)).exclusive()) if exclusive else turns


def _turns(source: Any) -> Iterator[Turn]:
    if source is None:
        return
    if isinstance(source, Diarization):
        yield from source
    elif hasattr(source, "itertracks"):
        yield from (_turn(s.start, s.end, label) for s, _, label in source.itertracks(yield_label=True))
    elif hasattr(source, "columns") or isinstance(source, Mapping):
        yield from _columns(source)
    elif isinstance(source, Iterable):
        yield from _items(source)
    else:
        raise UsageError(f"turns are a frame, a diarization or a list of turns, not {type(source).__name__}")


def _columns(table: Any) -> Iterator[Turn]:
    missing = [name for name in ("start", "end", "speaker") if name not in table]
    if missing and len(table):
        raise UsageError(f"the turns lack the column '{missing[0]}': they need start, end and speaker")
    if missing:
        return
    trust = table["confidence"] if "confidence" in table else [1.0] * len(table["start"])
    for start, end, speaker, confidence in zip(table["start"], table["end"], table["speaker"], trust, strict=True):
        if not _is_nobody(speaker):
            yield _turn(start, end, speaker, confidence)


def _items(items: Iterable[Any]) -> Iterator[Turn]:
    for item in items:
        if isinstance(item, Turn):
            yield item
        elif isinstance(item, Mapping):
            missing = [name for name in ("start", "end", "speaker") if name not in item]
            if missing:
                raise UsageError(f"a turn lacks '{missing[0]}': it needs start, end and speaker")
            if not _is_nobody(item["speaker"]):
                yield _turn(item["start"], item["end"], item["speaker"], item.get("confidence", 1.0))
        else:
            try:
                start, end, speaker = item
            except (TypeError, ValueError):
                raise UsageError(f"a turn has a start, an end and a speaker; {item!r} has not") from None
            if not _is_nobody(speaker):
                yield _turn(start, end, speaker)


def _is_nobody(speaker: Any) -> bool:
    """None, pandas' `NA`, and NaN, which is not what it is."""
    return speaker is None or type(speaker).__name__ == "NAType" or bool(speaker != speaker)


def _turn(start: Any, end: Any, speaker: Any, confidence: Any = 1.0) -> Turn:
    try:
        first, last, trust = float(start), float(end), float(confidence)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"a turn from {start!r:.40} to {end!r:.40}: the times must be numbers") from None
    if math.isnan(first) or math.isnan(last):
        raise UsageError(f"the turn of {speaker!r} has a time that is not a number")
    return Turn(first, last, str(speaker), 1.0 if math.isnan(trust) else trust)
