"""The stream as a person sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

from diarist.audio.sinks.pieces import Joiner
from diarist.audio.sinks.recent import Picture, Recent
from diarist.core.types import Turn, Update
from diarist.errors import ExtraError

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = ("dodger_blue1", "dark_orange", "spring_green3", "hot_pink", "sky_blue1", "orange_red1", "gold1", "plum1")
"""Of speakers in order of appearance; from the ninth on they start over."""

WINDOW = 30.0
"""Seconds in the lanes."""

_FINAL, _TENTATIVE, _NOW = "█", "▒", "╎"
_LEAST = 10  # columns of a lane
_BEHIND = 1.0  # seconds of lag that are worth telling
_PER_SECOND = 10  # drawings
_LONGEST_NAME = 16


class ConsoleLanes:
    """A lane a speaker over the last `window` seconds, redrawn in place; raises `ExtraError` without rich.

    What is final is solid, what may still change is shaded. `live` sources show how far the answer is behind them.
    """

    def __init__(
        self, uri: str, file: TextIO | None = None, *, window: float = WINDOW, live: bool = False, note: str = ""
    ) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError as error:
            raise ExtraError("rich", "live", "a console with lanes") from error
        self.uri = "".join(sign if sign.isprintable() else "?" for sign in uri)
        self.window, self.note = window, note
        self._recent = Recent(window)
        self._counts_lag = live
        self._begun: float | None = None  # when the first sample was heard
        self._order: list[str] = []
        self._console = Console(file=file, highlight=False)
        self._live: Any = Live(
            get_renderable=self._drawn, console=self._console, refresh_per_second=_PER_SECOND, transient=True
        )
        self._live.start()

    def write(self, update: Update) -> None:
        """Take one update; it is drawn soon."""
        self._recent.write(update)
        if self._begun is None and update.until > 0:
            self._begun = time.monotonic() - update.until

    def close(self) -> None:
        """Wipe the lanes."""
        self._live.stop()

    def _drawn(self) -> Text:
        size = self._console.size
        return draw(
            self._recent.picture,
            title=self._title(),
            window=self.window,
            width=size.width - 1,
            most=max(1, size.height - 5),
        )

    def _title(self) -> str:
        until = self._recent.picture.until
        words = [self.uri, clock(until), self.note]
        behind = 0.0 if self._begun is None else time.monotonic() - self._begun - until
        if self._counts_lag and behind > _BEHIND:
            words.append(f"{behind:.0f} s behind")
        return "   ".join(word for word in words if word)


class ConsoleLines:
    """A line for each turn, once it is settled: start, end, speaker."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self._joiner = Joiner()

    def write(self, update: Update) -> None:
        """Write what is settled."""
        self._put(self._joiner.take(update))
        for gone, kept in update.renamed.items():
            self.file.write(f"{gone} has turned out to be {kept}\n")
            self.file.flush()

    def close(self) -> None:
        """Write the rest."""
        self._put(self._joiner.rest())

    def _put(self, turns: tuple[Turn, ...]) -> None:
        for turn in turns:
            self.file.write(f"{clock(turn.start, 2):>10}  {clock(turn.end, 2):>10}  {turn.speaker}\n")
        if turns:
            self.file.flush()


def draw(picture: Picture, *, title: str, window: float, width: int, most: int) -> Text:
    """The lanes of a picture in `width` columns, at most `most` of them: those who talked last, in order of
    appearance."""
    from rich.text import Text

    speakers = list(picture.talk)
    names = {name: name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in speakers}
    label = max([len(name) for name in names.values()], default=8)
    columns = max(_LEAST, width - label - 16)
    begin = max(0.0, picture.until - window)
    text = Text(title[:width] + "\n", style="bold", no_wrap=True, overflow="crop")
    text.append(f"{'':{label}}  {_ruler(begin, window, columns)}\n", style="not bold dim")
    total = sum(picture.talk.values()) or 1.0
    for name in _last(picture, speakers, most):
        colour = COLOURS[speakers.index(name) % len(COLOURS)]
        text.append(f"{names[name]:{label}}  ", style=f"not bold {colour}")
        text.append(_lane(picture, name, begin, window, columns), style=f"not bold {colour}")
        text.append(f"  {clock(picture.talk[name]):>7} {picture.talk[name] / total:4.0%}\n", style="not bold")
    if not speakers:
        text.append(f"{'':{label}}  {'nobody has spoken yet' if picture.until else 'listening ...'}\n", "not bold dim")
    return text


def clock(seconds: float, digits: int = 0) -> str:
    """`0:07`, `1:02:03`; with two digits `0:07.25`."""
    ticks = round(seconds * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{shown}.{part:0{digits}d}" if digits else shown


def _last(picture: Picture, speakers: list[str], most: int) -> list[str]:
    if len(speakers) <= most:
        return speakers
    heard = {turn.speaker: turn.end for turn in sorted((*picture.final, *picture.tentative), key=lambda t: t.end)}
    latest = sorted(speakers, key=lambda name: heard.get(name, -1.0), reverse=True)[:most]
    return [name for name in speakers if name in latest]


def _lane(picture: Picture, name: str, begin: float, window: float, columns: int) -> str:
    cells = [" "] * columns
    per_second = columns / window
    for turns, sign in ((picture.tentative, _TENTATIVE), (picture.final, _FINAL)):
        for turn in turns:
            if turn.speaker == name and turn.end > begin:
                first = max(0, int((turn.start - begin) * per_second))
                last = min(columns, max(first + 1, round((turn.end - begin) * per_second)))
                cells[first:last] = sign * (last - first)
    now = int((picture.until - begin) * per_second)
    if now < columns and cells[now] == " ":
        cells[now] = _NOW
    return "".join(cells)


def _ruler(begin: float, window: float, columns: int) -> str:
    """Times above the lanes, every ten seconds where there is room."""
    cells = [" "] * (columns + 8)
    step = 10 if columns >= window else 20
    mark = int(-(-begin // step) * step)
    while mark <= begin + window:
        shown = clock(mark)
        at = int((mark - begin) * columns / window)
        if at + len(shown) <= columns:
            cells[at : at + len(shown)] = shown
        mark += step
    return "".join(cells).rstrip()
