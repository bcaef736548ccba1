"""A picture that follows the stream, in a window or in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from diarist.audio.sinks.recent import Recent
from diarist.core.types import Diarization, Turn, Update
from diarist.errors import ExtraError, UsageError
from diarist.formats.fields import one_line
from diarist.formats.plot import PALETTE, SUFFIXES
from diarist.formats.writing import write_aside

_EVERY = 1.0  # seconds between two drawings
_BAR = 0.7  # of a lane's height
_TENTATIVE = 0.35  # opacity


class LivePlot:
    """Lanes of speakers over time: solid what is final, pale what may change, a line where the sound ends.

    With a `path` (`.png` or `.svg`) the file is drawn anew every second, whole each time, so that a viewer can follow
    it, and once more at the end; without, a window of matplotlib is. `visualization` "slide" shows the last `window`
    seconds, "accumulate" all of it. A `reference` is drawn below.

    Raises `ExtraError` without matplotlib, `UsageError` for another suffix and where there is no display for a window,
    `DiaristError` where the file cannot be written.
    """

    def __init__(
        self,
        uri: str = "stream",
        path: str | Path | None = None,
        *,
        window: float = 30.0,
        visualization: Literal["slide", "accumulate"] = "slide",
        reference: Diarization | None = None,
    ) -> None:
        if visualization not in ("slide", "accumulate"):
            raise UsageError(f"a plot can slide or accumulate, not '{visualization}'")
        if path is not None and Path(path).suffix.lower() not in SUFFIXES:
            raise UsageError(f"a plot is a .png or .svg file, not {str(path)!r}")
        self.uri, self.path, self.window = uri, None if path is None else Path(path), window
        self._slide, self._reference = visualization == "slide", reference
        self._recent = Recent(window if self._slide else None)
        self._drawn = 0.0
        self._session: Diarization | None = None
        self._show: Any = None
        self._figure = self._opened()

    def write(self, update: Update) -> None:
        """Take one update; it is drawn within a second."""
        self._recent.write(update)
        self._session = update.session or self._session
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw()

    def close(self) -> None:
        """Draw the last state: all of the session, where the stream has ended."""
        self._draw(end=True)
        if self._show is not None:
            self._show.close(self._figure)

    def _opened(self) -> Any:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ExtraError("matplotlib", "plot", "a live plot") from error
        if self.path is not None:
            return Figure(figsize=(11, 4), facecolor="white")
        import matplotlib
        from matplotlib import pyplot

        if matplotlib.get_backend().lower() in ("agg", "pdf", "ps", "svg", "template", "cairo"):
            raise UsageError("a plot in a window needs a display: give it a file instead (--plot FILE.png)")
        self._show = pyplot
        pyplot.ion()
        return pyplot.figure(figsize=(11, 4), facecolor="white")

    def _draw(self, *, end: bool = False) -> None:
        self._drawn = time.monotonic()
        picture = self._recent.picture
        final, tentative, talk = picture.final, picture.tentative, picture.talk
        begin = max(0.0, picture.until - self.window) if self._slide else 0.0
        if end and self._session is not None:
            final, tentative, begin = self._session.turns, (), 0.0
            talk = self._session.talk_time()
        stop = max(picture.until, begin + (0.0 if end else self.window), 1.0)
        self._figure.clear()
        panels = self._figure.subplots(2 if self._reference else 1, 1, squeeze=False, sharex=True)[:, 0]
        _lanes(panels[0], list(talk), final, tentative)
        panels[0].axvline(picture.until, color="#222222", linewidth=0.8)
        panels[0].set_title(one_line(self.uri), loc="left", fontsize=11, parse_math=False)
        if self._reference is not None:
            _lanes(panels[1], self._reference.labels, self._reference.turns, ())
            panels[1].set_title("reference", loc="left", fontsize=11)
        for panel in panels:
            panel.set_xlim(begin, stop)
        panels[-1].set_xlabel("seconds")
        self._put()

    def _put(self) -> None:
        if self.path is not None:
            with write_aside(self.path) as aside:
                self._figure.savefig(aside, format=self.path.suffix.lower()[1:], dpi=110)
        else:
            self._figure.canvas.draw_idle()
            self._figure.canvas.flush_events()


def _lanes(axes: Any, names: list[str], final: tuple[Turn, ...], tentative: tuple[Turn, ...]) -> None:
    for lane, name in enumerate(names):
        colour = PALETTE[lane % len(PALETTE)]
        for turns, opacity in ((final, 1.0), (tentative, _TENTATIVE)):
            spans = [(turn.start, turn.duration) for turn in turns if turn.speaker == name]
            axes.broken_barh(spans, (lane - _BAR / 2, _BAR), facecolors=colour, alpha=opacity, edgecolor="none")
    axes.set_yticks(range(len(names)), [one_line(name) for name in names])
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
