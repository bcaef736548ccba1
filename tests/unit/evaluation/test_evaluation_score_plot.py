"""The picture: what it shows, and where it cannot be drawn."""

from __future__ import annotations

import itertools
import sys

import pytest

from diarist.core.types import Diarization, Turn
from diarist.errors import DiaristError, ExtraError, InputError, UsageError
from diarist.evaluation.plot import plot_errors, save_plot
from diarist.evaluation.report import Convention
from diarist.evaluation.score import compare

pytest.importorskip("matplotlib")


def said(*turns):
    return Diarization(tuple(Turn(start, end, speaker) for start, end, speaker in turns), "call")


REFERENCE = said((0, 10, "ann"), (10, 20, "bob"))
HYPOTHESIS = said((2, 13, "x"), (13, 25, "y"), (24, 26, "z"))


def lane_labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def bars(axes, lane):
    """`(start, end)` of the bars in a lane, hatching left out."""
    y = lane_labels(axes).index(lane)
    spans = set()
    for collection in axes.collections:
        for path in collection.get_paths():
            box = path.get_extents()
            if y < box.y0 and box.y1 < y + 1:
                spans.add((box.x0, box.x1))
    return sorted(spans)


def test_lanes_and_errors():
    figure = plot_errors(compare(REFERENCE, HYPOTHESIS), Convention())
    (axes,) = figure.axes
    assert lane_labels(axes) == ["ann", "bob", "x = ann", "y = bob", "z (nobody)", "miss", "false alarm", "confusion"]
    assert bars(axes, "ann") == [(0, 10)]
    assert bars(axes, "y = bob") == [(13, 25)]
    assert bars(axes, "miss") == [(0, 2)]
    assert bars(axes, "false alarm") == [(20, 26)]
    assert bars(axes, "confusion") == [(10, 13)]
    assert axes.get_xlim() == (0, 26)


def test_a_speaker_keeps_the_colour_in_both_groups():
    (axes,) = plot_errors(compare(REFERENCE, HYPOTHESIS)).axes
    colours = {}
    for collection in axes.collections:
        y = min(path.get_extents().y0 for path in collection.get_paths()) if collection.get_paths() else 0
        if y % 1 and len(collection.get_facecolor()):
            colours.setdefault(int(y), tuple(collection.get_facecolor()[0]))
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert len(set(colours.values())) == 2 + 1 + 3  # speakers, nobody, errors


def test_title_and_legend_tell_the_figures_and_the_convention():
    figure = plot_errors(compare(REFERENCE, HYPOTHESIS, collar=0.5), Convention(0.5, reference_kind="manual"))
    texts = " ".join(text.get_text() for text in figure.texts)
    assert "call:   DER" in texts and "2 in the reference, 3 found" in texts
    assert "collar 0.5 s" in texts and "manual" in texts
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "miss", "false alarm", "confusion", "any of them", "not scored", "found, but nobody in the reference"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "rows"), [(30, 1), (75, 1), (90, 2), (122, 2), (241, 2), (600, 5), (1200, 4), (7200, 24), (86_400, 24)]
)
def test_long_recordings_go_over_several_rows(seconds, rows):
    long = said(
        *((start, start + 5, "ann") for start in range(0, seconds - 4, max(seconds // 50, 6))), (0, seconds, "b")
    )
    figure = plot_errors(compare(long, long))
    assert len(figure.axes) == rows
    limits = [axes.get_xlim() for axes in figure.axes]
    assert limits[0][0] == 0 and limits[-1][1] >= seconds
    assert all(this[1] == following[0] for this, following in itertools.pairwise(limits))


def test_rows_show_only_who_talks_in_them():
    first, second = plot_errors(compare(said((0, 50, "ann"), (70, 110, "bob")), said((0, 50, "x")))).axes
    assert lane_labels(first)[:2] == ["ann", "x = ann"]
    assert lane_labels(second)[:2] == ["bob", "miss"]


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")])
def test_files_are_whole_and_the_same_each_time(tmp_path, name, begins):
    comparison = compare(REFERENCE, HYPOTHESIS)
    save_plot(comparison, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert first.startswith(begins)
    save_plot(comparison, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_stay_text_in_svg(tmp_path):
    save_plot(compare(REFERENCE, HYPOTHESIS), tmp_path / "a.svg")
    assert "x = ann" in (tmp_path / "a.svg").read_text()


def test_more_speakers_than_colours_differ_by_hatching():
    many = said(*((k, k + 1, f"s{k:02}") for k in range(30)))
    (axes,) = plot_errors(compare(many, many)).axes
    hatches = {collection.get_hatch() for collection in axes.collections}
    assert {"///", "..."} <= hatches


def test_odd_names_are_drawn_as_they_are(tmp_path):
    odd = Diarization((Turn(0, 5, "$x_1"), Turn(5, 9, "Zoë 李"), Turn(5, 9, "_hidden")), "a$b")
    save_plot(compare(odd, odd), tmp_path / "a.svg")
    assert "$x_1" in (tmp_path / "a.svg").read_text()


def test_a_suffix_that_is_no_picture(tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.png"):
        save_plot(compare(REFERENCE, REFERENCE), tmp_path / "a.txt")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DiaristError, match="cannot write"):
        save_plot(compare(REFERENCE, REFERENCE), tmp_path / "no" / "a.png")


def test_nothing_to_draw():
    with pytest.raises(InputError, match="nothing to plot"):
        plot_errors(compare(said(), said()))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[plot\]'"):
        plot_errors(compare(REFERENCE, REFERENCE))
