"""The timeline as a picture: it is there, it is the same each time, and what it shows is what was said."""

from __future__ import annotations

import builtins
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from diarist.core.types import Diarization, Turn
from diarist.errors import DiaristError, ExtraError, UsageError
from diarist.formats import plot as plotting
from diarist.formats.plot import plot

TALK = Diarization((Turn(0, 40, "A"), Turn(30, 70, "B"), Turn(80, 90, "A")), uri="talk", duration=100.0)


def talk(hours: float, people: int = 4) -> Diarization:
    generator = np.random.default_rng(0)
    starts = np.arange(0, hours * 3600, 5.0)
    return Diarization(
        tuple(Turn(s, s + 6 * generator.random(), f"S{generator.integers(people)}") for s in starts.tolist()),
        uri="long",
    )


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    "diarization",
    [
        TALK,
        Diarization(),
        Diarization(duration=5.0),
        Diarization((Turn(0.01, 0.02, "A"),)),
        Diarization((Turn(0, 1, "$x_{"), Turn(0, 1, "李雷 🎉"), Turn(0, 1, "a\nb" * 30), Turn(0, 1, ""))),
        talk(2),
        talk(24, people=50),
    ],
    ids=["talk", "nothing", "silence", "short", "names", "hours", "day"],
)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_comes_out(diarization: Diarization, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    plot(diarization, path)
    if suffix == ".png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_the_same_bytes_each_time(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        plot(TALK, tmp_path / (name + suffix), title="x")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_lanes_and_captions() -> None:
    figure = plotting._figure(TALK, "My talk")
    assert texts(figure) == [
        *("A", "0:50", "56 %"),
        *("B", "0:40", "44 %"),
        *("overlap", "0:10", ""),
        *("talk time", "share", "m:ss"),
        "2 speakers, 3 turns, 12 % of speech is overlap",
        "My talk",
    ]
    (first, second, overlap, *veils) = figure.axes[0].collections
    boxes = [[path.get_extents() for path in lane.get_paths()] for lane in (first, second, overlap, *veils)]
    spans = [[(box.x0, box.x1) for box in lane] for lane in boxes]
    assert spans == [[(0, 40), (80, 90)], [(30, 70)], [(30, 40)], [(30, 40)], [(30, 40)]]
    assert all(abs(box.y0 + box.height / 2 - lane) < 1e-9 for lane in range(3) for box in boxes[lane])
    assert figure.axes[0].get_xlim() == (0, 100)


def test_long_recordings_show_shares() -> None:
    figure = plotting._figure(talk(2), "long")
    assert any("a full lane is 30 s of talk" in text for text in texts(figure))
    assert "h:mm" in texts(figure)
    assert len(figure.axes[0].collections) == 5


def test_many_turns_are_fast_enough_and_few_shapes() -> None:
    figure = plotting._figure(talk(24), "day")
    assert sum(len(shape.get_paths()) for shape in figure.axes[0].collections) < 2000


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=8),
    st.lists(st.integers(0, 200), min_size=2, unique=True).map(sorted),
)
def test_covered(gaps: list[tuple[int, int]], edges: list[int]) -> None:
    spans, at = [], 0
    for gap, length in gaps:
        spans.append((float(at + gap), float(at + gap + length)))
        at += gap + length
    second = np.zeros(201)
    for start, end in spans:
        second[int(start) : int(end)] = 1
    expected = [second[a:b].sum() for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(plotting._covered(spans, np.array(edges, float)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("seconds", "step", "length", "text"),
    [
        (0, 5, 30, "0:00"),
        (65, 5, 100, "1:05"),
        (0.5, 0.5, 3, "0:00.5"),
        (5400, 1800, 7200, "1:30"),
        (3599, 1, 0, "59:59"),
        (90061, 1, 0, "25:01:01"),
    ],
)
def test_time_labels(seconds: float, step: float, length: float, text: str) -> None:
    assert plotting._time(seconds, step, length) == text


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a \.png or \.svg file, not 'a\.jpeg'"):
        plot(TALK, "a.jpeg")
    with pytest.raises(DiaristError, match="cannot write"):
        plot(TALK, tmp_path / "gone" / "a.png")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[plot\]'"):
        plot(TALK, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_pyplot_stays_out_of_it(tmp_path: Path) -> None:
    code = (
        "import sys, matplotlib as m; before = m.rcParams.copy();"
        "from diarist.core.types import Diarization as D, Turn; from diarist.formats.plot import plot;"
        f"plot(D((Turn(0, 1, 'A'),)), {str(tmp_path / 'a.svg')!r});"
        "print('matplotlib.pyplot' in sys.modules, m.rcParams.copy() == before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (out.stdout.strip(), out.stderr) == ("False True", "")
