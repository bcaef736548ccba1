"""The bar: on a terminal only, in one line, and gone afterwards."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.cli import progress
from diarist.cli.progress import ProgressBar, clock, line
from diarist.core.events import Event


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def time(monkeypatch):
    """A clock that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(stream):
    """What stands on the line in the end."""
    return stream.getvalue().rpartition("\r\x1b[K")[2]


def test_it_says_stage_share_speed_and_time_left(time):
    stream = Terminal()
    with ProgressBar(stream) as bar:
        bar(Event("listening", "start", uri="call"))
        assert shown(stream) == "call  listening"
        time[0] += 10
        bar(Event("listening", "progress", done=300, total=1200, uri="call"))
        assert " 25%  30 x real time  0:30 left" in shown(stream)
        assert shown(stream).startswith("call  listening  [####")
        assert abs(shown(stream).count("#") * 3 - shown(stream).count("-")) <= 3
        time[0] += 5
        bar(Event("listening", "progress", done=600, uri="call"))  # of a stream nobody knows the end
        assert shown(stream) == "call  listening  10:00 heard  40 x real time"
    assert shown(stream) == "" and "\n" not in stream.getvalue()


def test_it_draws_ten_times_a_second_at_most(time):
    stream = Terminal()
    bar = ProgressBar(stream)
    for step in range(200):
        time[0] += 0.01
        bar(Event("listening", "progress", done=step, total=200))
    assert 15 <= stream.getvalue().count("\r") <= 21


def test_stages_and_recordings_are_timed_apart(time):
    stream = Terminal()
    bar = ProgressBar(stream)
    bar(Event("listening", "start", uri="a"))
    time[0] += 100
    bar(Event("listening", "start", uri="b"))
    time[0] += 10
    bar(Event("listening", "progress", done=100, total=1000, uri="b"))
    assert "10 x real time" in shown(stream)


def test_downloads_are_shown_in_megabytes(time):
    stream = Terminal()
    bar = ProgressBar(stream)
    bar.fetching("campplus-zh-en", 14_000_000, 28_036_335)
    assert shown(stream) == "fetching campplus-zh-en  14.0 of 28.0 MB"
    bar.fetching("campplus-zh-en", 15_000_000, 28_036_335)
    assert "15.0" not in stream.getvalue()  # too soon


def test_elsewhere_it_says_nothing():
    stream = io.StringIO()
    with ProgressBar(stream) as bar:
        bar(Event("listening", "start"))
        bar(Event("listening", "progress", done=1, total=2))
        bar.fetching("x", 1, 2)
    assert stream.getvalue() == ""


def test_the_line_is_wiped_also_after_an_error():
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), ProgressBar(stream) as bar:
        bar(Event("listening", "start", uri="a"))
        raise KeyboardInterrupt
    assert shown(stream) == ""


def test_it_never_cancels():
    bar = ProgressBar(Terminal())
    assert bar(Event("listening", "progress", done=1, total=2)) is None


@given(
    st.text(max_size=300),
    st.floats(0, 1e6),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.floats(0, 1e5),
    st.integers(1, 200),
)
def test_the_line_fits_whatever_it_says(uri, done, total, seconds, width):
    text = line(Event("listening", "progress", done=done, total=total, uri=uri), seconds, width)
    assert len(text) <= width


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text
