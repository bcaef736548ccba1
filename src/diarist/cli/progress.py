"""A progress bar on standard error, on a terminal only: stage, share done, speed, time left."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

from diarist.core.events import Event

REDRAW = 0.1  # seconds between two drawings
FALLBACK = 80  # columns of a terminal that does not say
LONGEST = 360_000  # seconds left that are worth telling
NARROWEST, WIDEST = 10, 40  # of the bar, in characters


class ProgressBar:
    """A hook that draws. Use it as a context manager: it clears its line at the end, whatever happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.enabled = self.stream.isatty()
        self._drawn = 0.0
        self._shown = ""
        self._begun: dict[tuple[str, str], float] = {}

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def __call__(self, event: Event) -> None:
        """Draw where enough time has passed."""
        if not self.enabled:
            return
        now = time.monotonic()
        begun = self._begun.setdefault((event.uri, event.stage), now)
        if event.kind == "start" or (event.kind == "progress" and now - self._drawn >= REDRAW):
            self._drawn = now
            self._write(line(event, now - begun, self._columns() - 1))

    def fetching(self, name: str, done: int, total: int) -> None:
        """Draw how far a download has come, in bytes."""
        now = time.monotonic()
        if self.enabled and now - self._drawn >= REDRAW:
            self._drawn = now
            self._write(f"fetching {name}  {done / 1e6:.1f} of {total / 1e6:.1f} MB")

    def clear(self) -> None:
        """Wipe the line, where there is one."""
        if self._shown:
            self._write("")

    def _columns(self) -> int:
        """Of the terminal that is drawn on, which need not be that of standard output."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or FALLBACK
        except (OSError, ValueError):
            return FALLBACK

    def _write(self, text: str) -> None:
        self._shown = text
        self.stream.write(f"\r\x1b[K{text}")
        self.stream.flush()


def line(event: Event, seconds: float, width: int) -> str:
    """`meeting  listening  [####----]  42 %  61 x real time  0:12 left`, cut to `width` characters."""
    parts = [event.uri, event.stage]
    if event.kind == "progress":
        speed = event.done / seconds if seconds > 0 else 0.0
        if event.total:
            share = min(1.0, event.done / event.total)
            room = min(WIDEST, max(NARROWEST, width - 60))
            parts += [f"[{'#' * round(share * room):-<{room}}]", f"{share:4.0%}"]
        else:
            parts.append(f"{clock(event.done)} heard")
        if speed > 0:
            parts.append(f"{speed:.0f} x real time")
            left = max(0.0, (event.total or 0.0) - event.done) / speed
            if event.total and left < LONGEST:
                parts.append(f"{clock(left)} left")
    return "  ".join(part for part in parts if part)[:width]


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
