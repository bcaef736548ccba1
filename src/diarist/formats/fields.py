"""What the text formats share: lines with their place, numbers that are numbers, turns that are turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from diarist.core.types import Turn
from diarist.errors import FormatError

MOST = 1e15  # seconds; no time of anything is further away
NO_NAME = "<text>"
"""The name of a text that comes from no file."""


@dataclass(frozen=True)
class Place:
    """A line of a text, for messages."""

    name: str
    line: int

    def error(self, what: str) -> FormatError:
        """`name:line: what`."""
        return FormatError(f"{self.name}:{self.line}: {what}")

    def number(self, text: str, field: str) -> float:
        """A number that a clock can show. Raises `FormatError` naming the field."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) <= MOST:
            raise self.error(f"the {field} must be a number, not {shown(text)}")
        return value

    def turn(self, start: float, end: float, speaker: str, confidence: float = 1.0) -> Iterator[Turn]:
        """One turn, or none where it has no length. Raises `FormatError` where it ends before it starts."""
        if end < start:
            raise self.error(f"the turn ends at {end:g} s, before its start at {start:g} s")
        if end > start:
            yield Turn(start, end, speaker, confidence)


def lines(text: str, name: str, comment: str = ";;") -> Iterator[tuple[Place, str]]:
    """Lines that are neither blank nor a comment, whatever ends them, without a byte order mark."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not (comment and line.lstrip().startswith(comment)):
            yield Place(name, number), line


def shown(text: str) -> str:
    """A piece of somebody's file, quoted, on one line, not too long."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def one_line(name: str) -> str:
    """A name without line breaks, tabs and double blanks."""
    return " ".join(name.split())


def uri_of(name: str) -> str:
    """The recording that a file speaks of: its stem."""
    return "audio" if name == NO_NAME else PurePath(name).stem


def clock(seconds: float, point: str) -> str:
    """`hh:mm:ss` and milliseconds after `point`, as subtitles have it; nothing is before 0."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
