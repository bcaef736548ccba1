"""A picture of what went wrong: reference and hypothesis, a lane for each speaker, and the errors beneath them."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.types import Diarization
from diarist.errors import ExtraError, InputError, UsageError
from diarist.evaluation.report import Convention
from diarist.evaluation.score import Bool, Comparison, Span
from diarist.formats.writing import write_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, then some of Paul Tol's: both made to be told apart by the colour-blind. The three errors
# are never a speaker's colour, and differ in hatching and lane as well.
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#882255",
    "#999933",
    "#332288",
    "#44AA99",
    "#AA4499",
)
_HATCHES = ("", "///", "...", "\\\\\\")  # one more for each time that the colours are used up
_NOBODY = "#B8B8B8"  # a hypothesis speaker that is nobody in the reference
_ERRORS = {"miss": ("#222222", "////"), "false alarm": ("#F0E442", "...."), "confusion": ("#D55E00", "xxxx")}
_NOT_SCORED = "#DDDDDD"
_TINT = "#FBE6DC"  # behind the lanes wherever there is an error

# (seconds a row, rows at most): the first that is enough is taken.
_ROWS = ((60, 4), (120, 6), (300, 24), (600, 24), (1200, 24), (1800, 24), (3600, 48))
_TICKS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
_WIDTH, _LEFT, _LANE, _ROW, _HEADER = 16.0, 2.5, 0.19, 0.42, 1.0  # inches: page; names; lane; a row's axis; title
_MOST_PIXELS = 30_000


@dataclass(frozen=True)
class _Lane:
    """One line of a row: a speaker of one side, or one kind of error."""

    name: str
    spans: list[Span]
    colour: str
    hatch: str = ""
    group: str = field(default="", kw_only=True)

    def within(self, start: float, end: float) -> list[Span]:
        """`(start, length)` of what lies in a row."""
        return _within(self.spans, start, end)


def save_plot(comparison: Comparison, path: str | Path, convention: Convention | None = None) -> None:
    """Draw `plot_errors` into a .png, .svg or .pdf file.

    Raises `UsageError` for another suffix, `ExtraError` without matplotlib, `InputError` where there is nothing to
    draw, `DiaristError` where the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot plot into '{path}': the name must end in {', '.join(SUFFIXES)}")
    figure = plot_errors(comparison, convention)
    import matplotlib

    dpi = min(130.0, _MOST_PIXELS / figure.get_figheight())
    settings = {"svg.hashsalt": "diarist", "svg.fonttype": "none", "hatch.linewidth": 0.6}
    metadata = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[path.suffix.lower()]
    with write_aside(path) as aside, matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        figure.savefig(aside, format=path.suffix[1:].lower(), dpi=dpi, metadata=metadata)


def plot_errors(comparison: Comparison, convention: Convention | None = None) -> Figure:
    """Reference lanes, hypothesis lanes in the colours of the speakers they are mapped to, and a lane for each kind of
    error. A long recording goes on over several rows; a row shows the speakers that talk in it.

    Raises `ExtraError` without matplotlib, `InputError` if neither side has a turn.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ExtraError("matplotlib", "plot", "a plot") from error
    if len(comparison.edges) < 2:
        raise InputError(f"'{comparison.reference.uri}': nothing to plot, there is no turn on either side")
    lanes = _lanes(comparison)
    unscored = _runs(comparison.edges, ~comparison.scored)
    rows = [(start, end, _of_row(lanes, start, end)) for start, end in _row_spans(comparison)]
    heights = [_LANE * len(shown) for _, _, shown in rows]
    height = sum(heights) + _ROW * len(rows) + _HEADER
    figure = Figure(figsize=(_WIDTH, height))
    top = height - _HEADER
    for (start, end, shown), tall in zip(rows, heights, strict=True):
        axes = figure.add_axes((_LEFT / _WIDTH, (top - tall) / height, (_WIDTH - _LEFT - 0.2) / _WIDTH, tall / height))
        _draw_row(axes, start, end, shown, unscored)
        top -= tall + _ROW
    _draw_header(figure, comparison, convention or Convention(), bool(unscored), height)
    return figure


def _lanes(comparison: Comparison) -> list[_Lane]:
    """Every lane: reference speakers in order of appearance, hypothesis speakers in the order of theirs, errors."""
    reference, hypothesis = comparison.reference, comparison.hypothesis
    looks = {
        name: (_COLOURS[i % len(_COLOURS)], _HATCHES[i // len(_COLOURS) % len(_HATCHES)])
        for i, name in enumerate(reference.labels)
    }
    order = {name: i for i, name in enumerate(reference.labels)}
    lanes = [_Lane(_short(name, 24), _turns(reference, name), *look, group="reference") for name, look in looks.items()]
    for name in sorted(hypothesis.labels, key=lambda n: order.get(comparison.mapping.get(n, ""), len(order))):
        matched = comparison.mapping.get(name)
        look = (_NOBODY, "") if matched is None else looks[matched]
        text = f"{_short(name)} = {_short(matched)}" if matched is not None else f"{_short(name)} (nobody)"
        lanes.append(_Lane(text, _turns(hypothesis, name), *look, group="hypothesis"))
    counts = {"miss": comparison.miss, "false alarm": comparison.false_alarm, "confusion": comparison.confusion}
    for name, look in _ERRORS.items():
        lanes.append(_Lane(name, _runs(comparison.edges, counts[name] > 0), *look, group="errors"))
    return lanes


def _within(spans: Iterable[Span], start: float, end: float) -> list[Span]:
    return [(max(s, start), min(e, end) - max(s, start)) for s, e in spans if s < end and e > start]


def _of_row(lanes: Iterable[_Lane], start: float, end: float) -> list[_Lane]:
    return [lane for lane in lanes if lane.group == "errors" or lane.within(start, end)]


def _turns(diarization: Diarization, speaker: str) -> list[Span]:
    return [(t.start, t.end) for t in diarization if t.speaker == speaker and t.end > t.start]


def _runs(edges: np.ndarray[Any, Any], marked: Bool) -> list[Span]:
    """Neighbouring stretches that are marked, as one span each."""
    change = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return [(float(edges[first]), float(edges[past])) for first, past in change.reshape(-1, 2)]


def _row_spans(comparison: Comparison) -> list[Span]:
    """Where each row starts and ends: one row up to 75 s, else rows of one round length, which stretches a little
    where that saves a last row of next to nothing."""
    starts = [t.start for t in (*comparison.reference, *comparison.hypothesis)]
    first, last = min(starts, default=0.0), float(comparison.edges[-1])
    first = min(first, 0.0) if first < 60 else math.floor(first / 60) * 60.0
    length = last - first
    if length <= 75:
        return [(first, last)]
    seconds: float = next((s for s, most in _ROWS if length <= s * most), _ROWS[-1][0])
    num = math.ceil(length / seconds - 0.1)
    seconds = max(seconds, length / num)
    return [(first + i * seconds, first + (i + 1) * seconds) for i in range(num)]


def _draw_row(axes: Axes, start: float, end: float, lanes: list[_Lane], unscored: list[Span]) -> None:
    """One stretch of time: lanes from top to bottom, a line between the groups, minutes beneath."""
    axes.broken_barh(
        [span for lane in lanes if lane.group == "errors" for span in lane.within(start, end)],
        (0, len(lanes)),
        facecolors=_TINT,
        linewidth=0,
        zorder=0,
    )
    axes.broken_barh(_within(unscored, start, end), (0, len(lanes)), facecolors=_NOT_SCORED, linewidth=0, zorder=0)
    for y, lane in enumerate(lanes):
        spans = lane.within(start, end)
        bars: dict[str, Any] = {"yrange": (y + 0.1, 0.8), "zorder": 2}
        hatching = _hatching(lane.name)
        edge = lane.colour if hatching == "#FFFFFF" else hatching  # a sliver is then never paler than its lane
        axes.broken_barh(spans, facecolors=lane.colour, edgecolors=edge, linewidth=0.7, **bars)
        if lane.hatch:
            axes.broken_barh(spans, facecolors="none", edgecolors=hatching, hatch=lane.hatch, linewidth=0, **bars)
    group_at = (0.1 - _LEFT) / (_WIDTH - _LEFT - 0.2)  # as a part of the axes' width
    top = 0
    for group, members in itertools.groupby(lanes, key=lambda lane: lane.group):
        num = len(list(members))
        axes.axhline(top, color="#444444", linewidth=0.8, zorder=3)
        middle = 1 - (top + num / 2) / len(lanes)
        axes.text(group_at, middle, group, transform=axes.transAxes, va="center", ha="left", size=8, weight="bold")
        top += num
    axes.set(xlim=(start, end), ylim=(len(lanes), 0))
    axes.set_yticks(np.arange(len(lanes)) + 0.5, [_literal(lane.name) for lane in lanes], size=7)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#CCCCCC", linewidth=0.5, zorder=1)
    axes.set_axisbelow(True)
    step = next((s for s in _TICKS if (end - start) / s <= 16), _TICKS[-1])
    axes.set_xticks(np.arange(math.ceil(start / step) * step, end + step / 1000, step))
    axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))


def _draw_header(
    figure: Figure, comparison: Comparison, convention: Convention, some_unscored: bool, height: float
) -> None:
    from matplotlib.patches import Patch

    e = comparison.errors
    parts = f"miss {e.miss_rate:.1%} + false alarm {e.false_alarm_rate:.1%} + confusion {e.confusion_rate:.1%}"
    title = f"{_short(comparison.reference.uri, 40)}:   DER {e.der:.1%} = {parts};   JER {e.jer:.1%}"
    title += f";   speakers: {e.ref_speakers} in the reference, {e.hyp_speakers} found"
    left = _LEFT / _WIDTH
    figure.text(left, 1 - 0.3 / height, _literal(title), size=12, weight="bold", va="center")
    figure.text(left, 1 - 0.53 / height, _literal(str(convention)), size=8, va="center", color="#444444")
    patches = []
    for name, (colour, hatch) in _ERRORS.items():
        patches.append(Patch(facecolor=colour, edgecolor=_hatching(name), hatch=hatch, label=name))
    patches.append(Patch(facecolor=_TINT, label="any of them"))
    if some_unscored:
        patches.append(Patch(facecolor=_NOT_SCORED, label="not scored"))
    if len(comparison.mapping) < comparison.hypothesis.num_speakers:
        patches.append(Patch(facecolor=_NOBODY, label="found, but nobody in the reference"))
    figure.legend(
        handles=patches,
        loc="center left",
        bbox_to_anchor=(left - 0.006, 1 - 0.78 / height),
        ncols=len(patches),
        frameon=False,
        fontsize=8,
        handlelength=2.5,
        handleheight=1.1,
        borderpad=0,
    )


def _hatching(name: str) -> str:
    """Colour of the hatching: dark on the one bright colour."""
    return "#554A00" if name == "false alarm" else "#FFFFFF"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    sign, whole = ("-", -whole) if whole < 0 else ("", whole)
    hours, minutes = divmod(whole // 60, 60)
    return f"{sign}{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{sign}{minutes}:{whole % 60:02}"


def _short(name: str, most: int = 12) -> str:
    """A name that fits."""
    return name if len(name) <= most else f"{name[: most - 4]}~{name[-3:]}"


def _literal(text: str) -> str:
    """Text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")
