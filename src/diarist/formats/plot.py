"""The timeline as a picture: one lane a speaker, overlap in a lane of its own and marked in the others.

Up to half an hour every turn is drawn. Beyond that turns would be thinner than a pixel, so a lane shows how much of
each stretch of time (ten seconds of an hour, five minutes of a day) its speaker talks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Diarization
from diarist.errors import ExtraError, UsageError
from diarist.formats.fields import one_line
from diarist.formats.writing import write_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito, "Color Universal Design" (2008), without black and yellow; lanes beyond the sixth start over."""

SUFFIXES = (".png", ".svg")
LONGEST_IN_TURNS = 1800.0
"""Seconds up to which single turns are drawn."""

_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_INK, _FAINT, _OVERLAP = "#222222", "#8A8A8A", "#444444"
_BAR = 0.72  # of a lane's height
_LEAST = 0.06  # of a bar's height: what there is must be seen
_TALK_TIME, _SHARE = 1.075, 1.135  # right edges of the columns beside the lanes
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Micro Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)
_WIDTH, _LANE, _MARGIN, _TALLEST = 13.0, 0.42, 1.45, 60.0  # inches
_Spans = Sequence[tuple[float, float]]


def plot(diarization: Diarization, path: str | Path, *, title: str | None = None) -> None:
    """Draw a recording's timeline into a `.png` or `.svg` file; the title is its uri unless given.

    Raises `ExtraError` without matplotlib, `UsageError` for another suffix, `DiaristError` where the file cannot be
    written. The same diarization gives the same bytes.
    """
    check(path)
    suffix = Path(path).suffix.lower()
    figure = _figure(diarization, diarization.uri if title is None else title)
    from matplotlib import rc_context

    with write_aside(path) as aside, rc_context({"svg.hashsalt": "diarist"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(aside, format=suffix[1:], dpi=150, metadata={"Date": None} if suffix == ".svg" else None)


def check(path: str | Path) -> None:
    """Raise what `plot` would raise before it draws: `UsageError` for the suffix, `ExtraError` without matplotlib."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"a plot is a .png or .svg file, not {str(path)!r}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ExtraError("matplotlib", "plot", "a plot of the timeline") from error


def _figure(diarization: Diarization, title: str) -> Figure:
    from matplotlib.figure import Figure

    labels = diarization.labels
    overlaps = diarization.overlaps()
    num_lanes = max(1, len(labels)) + bool(overlaps)
    length = max([diarization.duration or 0.0, *(turn.end for turn in diarization)]) or 1.0
    height = min(_MARGIN + _LANE * num_lanes, _TALLEST)
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    axes = figure.add_axes((0.14, 0.55 / height, 0.70, 1 - _MARGIN / height))
    axes.set_xlim(0, length)
    axes.set_ylim(num_lanes - 0.5, -0.5)
    _time_axis(axes, length)
    draw = _draw_turns if length <= LONGEST_IN_TURNS else _draw_shares
    for lane, label in enumerate(labels):
        spans = _joined([(turn.start, turn.end) for turn in diarization if turn.speaker == label])
        draw(axes, lane, spans, length, PALETTE[lane % len(PALETTE)])
    if overlaps:
        draw(axes, num_lanes - 1, overlaps, length, _OVERLAP)
        if draw is _draw_turns:
            _mark_overlaps(axes, overlaps, len(labels))
    _captions(axes, diarization, overlaps, title, height)
    if not labels:
        axes.text(0.5, 0.5, "nobody speaks", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
    return figure


def _draw_turns(axes: Axes, lane: int, spans: _Spans, length: float, color: str) -> None:
    """A block a turn, at least about a pixel wide."""
    least = length / 1500
    ranges = [(start, max(end - start, least)) for start, end in spans]
    axes.broken_barh(ranges, (lane - _BAR / 2, _BAR), facecolors=color, edgecolor="none")


def _draw_shares(axes: Axes, lane: int, spans: _Spans, length: float, color: str) -> None:
    """The part of each stretch of time that the spans cover, as a filled line standing on the lane's floor."""
    step = _stretch(length)
    edges = np.arange(0, length + step, step)
    share = _covered(spans, edges) / step
    share = np.where(share > 0, np.maximum(share, _LEAST), 0.0)
    floor = lane + _BAR / 2
    axes.axhline(floor, color="#D0D0D0", linewidth=0.6, zorder=0)
    axes.fill_between(edges, floor, floor - _BAR * np.append(share, share[-1:]), step="post", color=color, linewidth=0)


def _stretch(length: float) -> float:
    """Seconds that one step of `_draw_shares` stands for."""
    return next((step for step in _STEPS if length / step <= 420), 86400)


def _covered(spans: _Spans, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds that spans without overlap cover between one edge and the next: `(num_edges - 1,)`."""
    if not spans:
        return np.zeros(len(edges) - 1)
    starts, ends = np.asarray(spans, np.float64).T
    before = np.concatenate([[0.0], np.cumsum(ends - starts)])
    index = np.searchsorted(starts, edges, side="right")  # spans that began by then
    last = np.maximum(index - 1, 0)
    running = np.clip(ends[last] - edges, 0, None) * (index > 0)  # what of the last one is still to come
    return np.diff(before[index] - running)


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that touch or overlap as one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _mark_overlaps(axes: Axes, overlaps: _Spans, num_lanes: int) -> None:
    """A hatched veil over all lanes where people talk at once."""
    ranges = [(start, end - start) for start, end in overlaps]
    veil = (-0.5, num_lanes)
    axes.broken_barh(ranges, veil, facecolors=_OVERLAP, alpha=0.10, edgecolor="none", zorder=0.5)
    axes.broken_barh(
        ranges, veil, facecolors="none", edgecolor="white", hatch="//////", linewidth=0, alpha=0.55, zorder=3
    )


def _time_axis(axes: Axes, length: float) -> None:
    step = next((step for step in _STEPS if length / step <= 12), 86400)
    ticks = np.arange(0, length + step / 1000, step)
    axes.set_xticks(ticks, [_time(tick, step, length) for tick in ticks])
    axes.tick_params(axis="x", color=_FAINT, labelcolor=_INK, labelsize=9)
    axes.set_yticks([])
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.7, zorder=-1)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)


def _time(seconds: float, step: float = 1, length: float = 0) -> str:
    """`m:ss`, `h:mm` for long recordings in steps of minutes, `h:mm:ss` otherwise, tenths where the step needs them."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60, whole % 60
    if length >= 3600 and step % 60 == 0:
        return f"{hours}:{minutes % 60:02d}"
    if max(seconds, length) >= 3600:
        return f"{hours}:{minutes % 60:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" + (f".{int(seconds * 10) % 10}" if step < 1 else "")


def _captions(axes: Axes, diarization: Diarization, overlaps: _Spans, title: str, height: float) -> None:
    """Names to the left of the lanes, talk time and share to their right, a title and a summary above."""
    talk = diarization.talk_time()
    total = sum(talk.values())
    together = sum(end - start for start, end in overlaps)
    rows = [
        (_short(label), seconds, _percent(seconds / total), PALETTE[index % len(PALETTE)])
        for index, (label, seconds) in enumerate(talk.items())
    ]
    if overlaps:
        rows.append(("overlap", together, "", _OVERLAP))
    to_lanes = axes.get_yaxis_transform()
    beside: dict[str, Any] = {"transform": to_lanes, "ha": "right", "va": "center", "color": _INK, "fontsize": 10}
    for lane, (name, seconds, share, color) in enumerate(rows):
        axes.text(-0.022, lane, name, parse_math=False, fontfamily=_fonts(), **beside)
        axes.plot([-0.012], [lane], "s", color=color, transform=to_lanes, clip_on=False, ms=6)
        axes.text(_TALK_TIME, lane, _time(round(seconds)), **beside)
        axes.text(_SHARE, lane, share, **beside)
    above: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom", "fontsize": 9, "color": _FAINT}
    top, title_at = (1 + inches / (height - _MARGIN) for inches in (0.14, 0.38))
    if talk:
        axes.text(_TALK_TIME, top, "talk time", ha="right", **above)
        axes.text(_SHARE, top, "share", ha="right", **above)
    unit = "h:mm" if axes.get_xlim()[1] >= 3600 else "m:ss"
    axes.text(_TALK_TIME, -0.06 / (height - _MARGIN), unit, ha="right", **{**above, "va": "top"})
    spoken = sum(end - start for start, end in _joined([(turn.start, turn.end) for turn in diarization]))
    axes.text(0, top, _summary(diarization, together / (spoken or 1.0), axes.get_xlim()[1]), **above)
    above |= {"fontsize": 13, "color": _INK, "fontfamily": _fonts()}
    axes.text(0, title_at, one_line(title), parse_math=False, **above)


def _summary(diarization: Diarization, overlap: float, length: float) -> str:
    speakers, turns = diarization.num_speakers, len(diarization)
    words = [f"{speakers} speaker{'' if speakers == 1 else 's'}", f"{turns} turn{'' if turns == 1 else 's'}"]
    if overlap:
        words.append(f"{_percent(overlap)} of speech is overlap")
    if length > LONGEST_IN_TURNS:
        step = _stretch(length)
        words.append(f"a full lane is {f'{step / 60:g} min' if step >= 60 else f'{step:g} s'} of talk")
    return ", ".join(words)


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if part >= 0.005 else "< 1 %"


def _fonts() -> list[str]:
    """Fonts for names in any script, of those that are installed."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [font for font in _FONTS if font in installed] or ["sans-serif"]


def _short(name: str) -> str:
    name = one_line(name) or "_"
    return name if len(name) <= 20 else name[:19] + "…"
