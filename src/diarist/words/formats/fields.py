"""What the transcript formats share: times in any dress, speakers before a text, words of a line."""

from __future__ import annotations

import math
import re
from typing import Any

from diarist.errors import FormatError
from diarist.formats.fields import MOST, one_line, shown

NO_ONE = "<NA>"
"""What formats with a field for the speaker have in it where nobody is named."""

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)")
_PREFIX = re.compile(r"\s*\[([^\[\]]+)\]:\s?")


def time_of(value: Any, where: str, field: str) -> float | None:
    """Seconds: a number, its text, or a clock (`01:02:03.5`); None for what says nothing (null, NaN, "").

    Raises `FormatError` for anything else, and for what no clock can show.
    """
    if value is None or value == "":
        return None
    time: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        time = _finite(value)
    elif isinstance(value, str):
        time = _read(value.strip())
    if time is None or abs(time) > MOST:
        raise FormatError(f"{where}the {field} must be a time in seconds, not {shown(str(value))}")
    return None if math.isnan(time) else time


def share_of(value: Any) -> float | None:
    """A probability in [0, 1]; None for anything else."""
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return share if 0.0 <= share <= 1.0 else None


def ordered(start: float | None, end: float | None) -> tuple[float | None, float | None]:
    """Times as they are; an end before its start is no end."""
    return (start, None) if start is not None and end is not None and end < start else (start, end)


def speaker_of(value: Any) -> str | None:
    """A speaker's name on one line; None for an empty one, `<NA>` and null."""
    name = "" if value is None else one_line(str(value))
    return None if name in ("", NO_ONE) else name


def prefixed(speaker: str | None, text: str) -> str:
    """`[speaker]: text`, as WhisperX writes it, on one line."""
    return one_line(text) if speaker is None else f"[{bare(speaker)}]: {one_line(text)}"


def unprefixed(text: str) -> tuple[str | None, str]:
    """The speaker before a text, and the text."""
    match = _PREFIX.match(text)
    return (None, text.strip()) if match is None else (speaker_of(match[1]), text[match.end() :].strip())


def one_word(text: str) -> str:
    """A text that survives a format whose fields are parted by blanks."""
    return "_".join(text.split()) or "_"


def bare(speaker: str) -> str:
    """A name for within brackets: on one line, with round ones in place of its own."""
    return one_line(speaker).translate({ord("["): "(", ord("]"): ")"})


def _finite(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _read(text: str) -> float | None:
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3].replace(",", "."))
    try:
        return float(text)
    except ValueError:
        return None
