"""Praat's TextGrid, long form: an interval tier a speaker.

Where turns of one speaker overlap each other, the speaker has as many tiers of that name as it takes.
Read as Praat reads it (manual, "TextGrid file formats"): numbers and texts that stand by themselves, all else is
decoration; so the short form is read by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from diarist.core.types import Diarization, Turn
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, Place, uri_of

_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)|(<exists>|<absent>)|![^\n]*'
)


def dumps(diarization: Diarization) -> str:
    """Tiers in order of the speakers' first turn; times to the microsecond, gaps as empty intervals."""
    end = max([diarization.duration or 0.0, *(t.end for t in diarization)])
    tiers = [(speaker, layer) for speaker in diarization.labels for layer in _layers(diarization, speaker)]
    rows = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", f"xmax = {_time(end)} "]
    rows += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (speaker, turns) in enumerate(tiers, 1):
        intervals = list(_intervals(turns, end))
        rows += [f"    item [{number}]:", '        class = "IntervalTier" ', f"        name = {_quoted(speaker)} "]
        rows += ["        xmin = 0 ", f"        xmax = {_time(end)} ", f"        intervals: size = {len(intervals)} "]
        for index, (since, until, label) in enumerate(intervals, 1):
            rows += [f"        intervals [{index}]:", f"            xmin = {since} ", f"            xmax = {until} "]
            rows += [f"            text = {_quoted(label)} "]
    return "\n".join(rows) + "\n"


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """One recording, named after the file: a turn for each interval with a text, its speaker the name of the tier.

    Point tiers are passed over. Raises `FormatError` with `name:line`.
    """
    reader = _Reader(text.removeprefix("\ufeff"), name)
    reader.header()
    end = reader.number("xmax")
    turns: list[Turn] = []
    for _ in range(reader.count("number of tiers") if reader.exists() else 0):
        turns.extend(reader.tier())
    return [Diarization(tuple(turns), uri_of(name), duration=end)]


class _Reader:
    """The tokens of a TextGrid, one after the other."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._tokens = (match for match in _TOKEN.finditer(text) if not match[0].startswith("!"))
        self._at = 0
        self.place = Place(name, 1)

    def header(self) -> None:
        if self._next("text", 1) != "ooTextFile" or self._next("text", 1) != "TextGrid":
            raise FormatError(f'{self.place.name}:1: a TextGrid begins with File type = "ooTextFile" and Object class')
        self.number("xmin")

    def exists(self) -> bool:
        return self._next("<exists>", 3) == "<exists>"

    def number(self, field: str) -> float:
        return self.place.number(self._next(field, 2), field)

    def count(self, field: str) -> int:
        value = self.number(field)
        if value != int(value) or value < 0:
            raise self.place.error(f"the {field} must be a whole number, not {value:g}")
        return int(value)

    def tier(self) -> Iterator[Turn]:
        kind, speaker = self._next("class of a tier", 1), self._next("name of a tier", 1)
        self.number("xmin"), self.number("xmax")
        for _ in range(self.count("number of intervals")):
            start = self.number("xmin")
            end = self.number("xmax") if kind == "IntervalTier" else start
            if self._next("text of an interval", 1).strip():
                yield from self.place.turn(start, end, speaker)

    def _next(self, field: str, group: int) -> str:
        match = next(self._tokens, None)
        if match is None:
            raise self.place.error(f"the file ends where the {field} should be")
        line = self.place.line + self._text.count("\n", self._at, match.start())
        self._at, self.place = match.start(), Place(self.place.name, line)
        if match[group] is None:
            raise self.place.error(f"expected the {field}, not {match[0][:40]!r}")
        return match[group].replace('""', '"')


def _layers(diarization: Diarization, speaker: str) -> list[list[Turn]]:
    """The turns of a speaker, parted so that none overlaps another."""
    layers: list[list[Turn]] = []
    for turn in diarization:
        if turn.speaker == speaker:
            free = next((layer for layer in layers if layer[-1].end <= turn.start), None)
            if free is None:
                layers.append([turn])
            else:
                free.append(turn)
    return layers


def _intervals(turns: list[Turn], end: float) -> Iterator[tuple[str, str, str]]:
    """Turns and the gaps between them, as written."""
    since = _time(0.0)
    for turn in turns:
        start, until = _time(turn.start), _time(turn.end)
        if start != since:
            yield since, start, ""
        if until != start:
            yield start, until, turn.speaker.strip() or "_"
        since = until
    if since != _time(end) or not turns:
        yield since, _time(end), ""


def _time(seconds: float) -> str:
    return f"{max(0.0, seconds):.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
