"""What becomes of updates: files that are whole at any moment, lines, lanes, pictures."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist import formats
from diarist.audio.sinks import (
    Accumulator,
    ConsoleLanes,
    ConsoleLines,
    Joiner,
    JsonLines,
    LivePlot,
    RttmLines,
    RttmWriter,
)
from diarist.audio.sinks.console import clock, draw
from diarist.audio.sinks.linefile import LineFile
from diarist.audio.sinks.recent import Recent
from diarist.core.types import Diarization, Turn, Update
from diarist.errors import DiaristError, UsageError


def update(*final, settled, tentative=(), until=None, renamed=None, session=None):
    """Turns as (start, end, speaker)."""
    until = settled if until is None else until
    return Update(
        tuple(Turn(*t) for t in final), tuple(Turn(*t) for t in tentative), until, settled, renamed or {}, session
    )


SAID = [
    update((0.2, 0.5, "speaker0"), settled=0.5, tentative=[(0.5, 1.0, "speaker0")], until=1.0),
    update((0.5, 1.0, "speaker0"), (0.8, 1.0, "speaker1"), settled=1.0, until=1.5),
    update((1.0, 1.3, "speaker0"), (1.02, 1.4, "speaker1"), settled=1.5, until=2.0),
    update((1.7, 2.0, "speaker0"), settled=2.0),
]
WHOLE = [Turn(0.2, 1.3, "speaker0"), Turn(0.8, 1.4, "speaker1"), Turn(1.7, 2.0, "speaker0")]
SESSION = Diarization((Turn(0.25, 2.0, "speaker0"),), "talk", duration=2.0)


def spans(turns):
    return [(round(t.start, 3), round(t.end, 3), t.speaker) for t in sorted(turns)]


def test_pieces_become_turns_as_soon_as_they_cannot_go_on():
    joiner = Joiner()
    taken = [spans(joiner.take(u)) for u in SAID]
    assert taken == [[], [], [(0.2, 1.3, "speaker0"), (0.8, 1.4, "speaker1")], []]
    assert spans(joiner.growing) == [(1.7, 2.0, "speaker0")] == spans(joiner.rest())
    assert joiner.rest() == ()


def test_a_speaker_who_turns_out_to_be_another_goes_on_as_that_one():
    joiner = Joiner()
    joiner.take(update((0.0, 1.0, "speaker0"), settled=1.0))
    joiner.take(update((1.0, 2.0, "speaker1"), settled=2.0, renamed={"speaker0": "speaker1"}))
    assert spans(joiner.rest()) == [(0.0, 2.0, "speaker1")]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_joining_pieces_gives_back_the_turns(data):
    """Any turns with real pauses, cut at any steps, come back whole."""
    turns, at = [], 0.0
    for _ in range(data.draw(st.integers(0, 6))):
        start = at + data.draw(st.floats(0.1, 2))
        at = start + data.draw(st.floats(0.05, 3))
        turns.append(Turn(round(start, 3), round(at, 3), data.draw(st.sampled_from("ab"))))
    step = data.draw(st.sampled_from([0.25, 0.5, 0.7]))
    joiner, got, begin = Joiner(), [], 0.0
    while begin < at + step:
        inside = [(max(t.start, begin), min(t.end, begin + step), t.speaker) for t in turns]
        got += joiner.take(update(*(t for t in inside if t[1] > t[0]), settled=begin + step))
        begin += step
    assert spans([*got, *joiner.rest()]) == spans(turns)


def test_accumulator():
    sink = Accumulator("talk")
    for said in SAID:
        sink.write(said)
    assert spans(sink.diarization) == spans(WHOLE) and sink.diarization.duration == 2.0
    sink.write(update(settled=2.0, renamed={"speaker1": "speaker0"}))
    assert {t.speaker for t in sink.live} == {"speaker0"}
    sink.write(update(settled=2.0, session=SESSION))
    sink.close()
    assert sink.diarization is SESSION


def test_the_file_is_valid_rttm_after_every_update(tmp_path):
    path = tmp_path / "talk.rttm"
    sink = RttmWriter("talk", path, final="live")
    seen = []
    for said in SAID:
        sink.write(said)
        seen.append(spans(formats.read(path)[0]) if path.stat().st_size else [])
    assert seen[0] == [(0.2, 0.5, "speaker0")]  # a crash now would lose nothing that is final
    assert seen[1] == [(0.2, 1.0, "speaker0"), (0.8, 1.0, "speaker1")]
    sink.close()
    assert spans(formats.read(path)[0]) == spans(WHOLE)
    assert "\n\n" not in path.read_text() and path.read_text().count("\n") == 3


def test_the_session_takes_the_files_place_where_it_is_wanted(tmp_path):
    for final, expected in (("session", SESSION), ("live", WHOLE)):
        sink = RttmWriter("talk", tmp_path / "talk.rttm", final=final)
        for said in (*SAID, update(settled=2.0, session=SESSION)):
            sink.write(said)
        sink.close()
        assert spans(formats.read(tmp_path / "talk.rttm")[0]) == spans(expected)
    assert [p.name for p in tmp_path.iterdir()] == ["talk.rttm"]


def test_speakers_renamed_within_one_update_have_the_kept_name():
    sink = Accumulator()
    sink.write(update((0.0, 1.0, "speaker1"), settled=1.0))
    said = (1.0, 2.0, "speaker1"), (3.0, 4.0, "speaker1"), (4.0, 5.0, "speaker0")
    sink.write(update(*said, settled=5.0, renamed={"speaker1": "speaker0"}))
    sink.close()
    assert [(t.start, t.end, t.speaker) for t in sink.live.turns] == [(0.0, 2.0, "speaker0"), (3.0, 5.0, "speaker0")]


def test_a_renamed_speaker_is_told_in_a_comment(tmp_path):
    sink, lines = RttmWriter("talk", tmp_path / "talk.rttm", final="live"), io.StringIO()
    both = [sink, RttmLines("talk", lines)]
    for one in both:
        one.write(update((0.0, 1.0, "speaker1"), settled=3.0))
        one.write(update((3.0, 4.0, "speaker0"), settled=4.0, renamed={"speaker1": "speaker0"}))
        one.close()
    for text in ((tmp_path / "talk.rttm").read_text(), lines.getvalue()):
        assert ";; renamed speaker1 speaker0\n" in text
        assert len(formats.loads(text, "rttm")[0]) == 2


def test_lines_come_once_they_are_settled():
    text = io.StringIO()
    sink = RttmLines("talk", text)
    lengths = []
    for said in SAID:
        sink.write(said)
        lengths.append(text.getvalue().count("\n"))
    sink.close()
    assert lengths == [0, 0, 2, 2] and spans(formats.loads(text.getvalue(), "rttm")[0]) == spans(WHOLE)
    text = io.StringIO()
    sink = RttmLines("talk", text, final="session")
    for said in (*SAID, update(settled=2.0, session=SESSION)):
        sink.write(said)
        assert text.getvalue() == ""
    sink.close()
    assert text.getvalue() == SESSION.to_rttm()


def test_json_lines(tmp_path):
    text = io.StringIO()
    for sink in (JsonLines("talk", text), JsonLines("talk", tmp_path / "talk.jsonl")):
        for said in (*SAID, update(settled=2.0, session=SESSION, renamed={"a": "b"})):
            sink.write(said)
        sink.close()
    assert (tmp_path / "talk.jsonl").read_text() == text.getvalue()
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0] == {
        "type": "update",
        "seq": 1,
        "uri": "talk",
        "final": [{"start": 0.2, "end": 0.5, "speaker": "speaker0", "confidence": 1.0}],
        "tentative": [{"start": 0.5, "end": 1.0, "speaker": "speaker0", "confidence": 1.0}],
        "settled": 0.5,
        "until": 1.0,
        "renamed": {},
        "session": None,
    }
    assert lines[-1]["renamed"] == {"a": "b"} and lines[-1]["session"]["turns"][0]["end"] == 2.0


def test_a_file_of_lines_that_shrink(tmp_path):
    file = LineFile(tmp_path / "lines")
    file.put("one\n", "a long line that goes again\n")
    file.put("", "x\n")
    assert (tmp_path / "lines").read_text() == "one\nx\n"
    file.put("two\n")
    file.close()
    file.close()
    file.put("after the end\n")
    assert (tmp_path / "lines").read_text() == "one\ntwo\n"


def test_into_a_pipe_goes_only_what_stays():
    reading, writing = os.pipe()
    file = LineFile(f"/dev/fd/{writing}") if Path("/dev/fd").exists() else pytest.skip("no /dev/fd here")
    os.close(writing)
    file.put("one\n", "growing\n")
    file.put("two\n")
    file.close()
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "one\ntwo\n"


def test_a_full_disk_is_told_and_what_was_whole_stays(tmp_path, monkeypatch):
    path = tmp_path / "talk.rttm"
    sink = RttmWriter("talk", path)
    for said in SAID[:3]:
        sink.write(said)
    from diarist.audio.sinks import linefile

    def full(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(linefile, "_write_all", full)
    with pytest.raises(DiaristError, match=r"cannot write '.*talk.rttm': No space left on device"):
        sink.write(SAID[3])
    sink.close()
    assert spans(formats.read(path)[0]) == spans(WHOLE)[:2]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(DiaristError, match="No such file"):
        RttmWriter("talk", tmp_path / "nowhere" / "talk.rttm")
    with pytest.raises(DiaristError, match="directory"):
        JsonLines("talk", tmp_path)
    if Path("/dev/full").exists():
        sink = JsonLines("talk", "/dev/full")
        with pytest.raises(DiaristError, match="No space left"):
            sink.write(SAID[0])
        sink.close()


def test_recent_forgets_what_left_the_window_but_not_the_talk_time():
    recent = Recent(window=5.0)
    for second in range(1000):
        recent.write(update((second, second + 0.5, f"speaker{second % 2}"), settled=second + 1.0))
    picture = recent.picture
    assert len(picture.final) <= 7 and picture.talk == {"speaker0": 250.0, "speaker1": 250.0}
    recent.write(update(settled=1001.0, renamed={"speaker1": "speaker0"}, tentative=[(1001, 1002, "new")], until=1002))
    assert recent.picture.talk == {"speaker0": 500.0, "new": 0.0}


def test_lanes():
    pytest.importorskip("rich")
    recent = Recent(30.0)
    recent.write(
        update((0, 10, "speaker0"), (5, 10, "speaker1"), settled=10, tentative=[(10, 15, "speaker1")], until=15)
    )
    lines = draw(recent.picture, title="talk", window=30.0, width=84, most=5).plain.split("\n")
    assert lines[0] == "talk" and "0:00" in lines[1] and "0:10" in lines[1]
    assert lines[2] == f"speaker0  {'█' * 20 + ' ' * 10 + '╎':60}     0:10  67%"
    assert lines[3].startswith(f"speaker1  {' ' * 10}{'█' * 10}{'▒' * 10}╎")
    assert all(len(line) <= 84 for line in lines)


def test_lanes_of_more_speakers_than_lines_are_of_those_who_talked_last():
    pytest.importorskip("rich")
    recent = Recent(30.0)
    for number in range(12):
        recent.write(update((number, number + 0.9, f"speaker{number}"), settled=number + 1.0))
    lines = draw(recent.picture, title="t", window=30.0, width=60, most=3).plain.split("\n")
    assert [line.split()[0] for line in lines[2:] if line] == ["speaker9", "speaker10", "speaker11"]


def test_lanes_are_drawn_and_wiped():
    pytest.importorskip("rich")
    screen = io.StringIO()
    sink = ConsoleLanes("a\x1b]0;title\x07b", screen, live=True, note="latency 0.5 s")
    for said in SAID:
        sink.write(said)
    sink._live.refresh()
    sink.close()
    assert "\x07" not in screen.getvalue() and "\x1b]0" not in screen.getvalue()


def test_lanes_say_how_far_a_live_answer_is_behind_its_sound(monkeypatch):
    pytest.importorskip("rich")
    now = [100.0]
    monkeypatch.setattr("diarist.audio.sinks.console.time.monotonic", lambda: now[0])
    for live, expected in ((True, "talk   0:01   9 s behind"), (False, "talk   0:01")):
        sink = ConsoleLanes("talk", io.StringIO(), live=live)
        sink.close()
        now[0] = 200.0  # nobody was there for a while
        sink.write(update(settled=0.5))
        assert sink._title() == "talk   0:00"
        now[0] = 209.7
        sink.write(update(settled=1.0))
        assert sink._title() == expected


def test_plain_lines():
    text = io.StringIO()
    sink = ConsoleLines(text)
    for said in (*SAID, update(settled=9.0, renamed={"speaker1": "speaker0"})):
        sink.write(said)
    sink.close()
    assert text.getvalue().split("\n")[0] == "   0:00.20     0:01.30  speaker0"
    assert "speaker1 has turned out to be speaker0\n" in text.getvalue() and text.getvalue().count("\n") == 4


def test_clock():
    assert [clock(59.6), clock(3725), clock(59.999, 2), clock(0.25, 2)] == ["1:00", "1:02:05", "1:00.00", "0:00.25"]


@pytest.mark.parametrize("visualization", ["slide", "accumulate"])
def test_a_plot_in_a_file_is_whole_at_any_moment(tmp_path, visualization):
    pytest.importorskip("matplotlib")
    path = tmp_path / "live.png"
    sink = LivePlot("talk", path, visualization=visualization, reference=SESSION)
    sink.write(SAID[0])
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG") and first.endswith(b"IEND\xaeB`\x82")
    for said in (*SAID[1:], update(settled=2.0, session=SESSION)):
        sink.write(said)
    assert path.read_bytes() == first  # not drawn anew within a second
    sink.close()
    assert path.read_bytes() != first and [p.name for p in tmp_path.iterdir()] == ["live.png"]


def test_plots_that_cannot_be():
    matplotlib = pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"png or .svg"):
        LivePlot("talk", "live.gif")
    with pytest.raises(UsageError, match="slide or accumulate"):
        LivePlot("talk", "live.png", visualization="jump")
    if matplotlib.get_backend().lower() == "agg":
        with pytest.raises(UsageError, match="needs a display"):
            LivePlot("talk")
