"""What a person sees on a terminal."""

import pytest

from diarist.cli.table import LANE, render, render_timings, stamp
from diarist.core.types import Diarization, Turn

TALK = Diarization(
    (Turn(0.5, 7.25, "SPEAKER_00", 0.934), Turn(6.0, 3661.5, "Ann", 1.0), Turn(3662.0, 3670.0, "SPEAKER_00", 0.5)),
    uri="call",
    duration=7200.0,
)


def test_turns_then_speakers():
    assert render(TALK).splitlines() == [
        "call: 2 speakers, 3 turns in 2:00:00",
        "",
        "     start         end  seconds  speaker     confidence",
        "   0:00.50     0:07.25     6.75  SPEAKER_00        0.93",
        "   0:06.00  1:01:01.50  3655.50  Ann               1.00",
        "1:01:02.00  1:01:10.00     8.00  SPEAKER_00        0.50",
        "",
        "SPEAKER_00  .           .                   0:15    0%  2 turns",
        "Ann         ############.                1:00:56  100%  1 turn",
        "overlap                                     0:01",
    ]


def test_columns_stay_in_place():
    talk = Diarization((Turn(0, 1, "A"), Turn(89_000, 90_000, "Bartholomew the second")), duration=90_000.0)
    rows = render(talk).splitlines()
    assert rows[3].index("A") == rows[4].index("Bartholomew") == rows[2].index("speaker")
    assert len(rows[2]) == len(rows[3]) == len(rows[4])
    assert rows[6].index("%") == rows[7].index("%")


def test_nobody():
    assert render(Diarization(uri="x", duration=3.0)) == "x: nobody speaks in 0:03\n"
    assert render(Diarization(uri="x")) == "x: nobody speaks\n"


def test_one_of_each():
    assert render(Diarization((Turn(0, 1, "A"),), duration=2.0)).startswith("audio: 1 speaker, 1 turn in 0:02\n")


def test_the_lane_shows_where_somebody_talks():
    talk = Diarization((Turn(0, 12, "A"), Turn(12, 24, "B"), Turn(23.5, 24, "A")), duration=24.0)
    first = len("overlap  ")
    rows = render(talk).splitlines()[-3:]
    assert [row[first : first + LANE] for row in rows] == [
        "############           :",
        "            ############",
        " " * LANE,
    ]


def test_a_turn_beyond_the_duration_or_without_one_does_not_break_the_lane():
    assert "#" in render(Diarization((Turn(0, 10, "A"),), duration=5.0))
    assert "#" in render(Diarization((Turn(2, 10, "A"),)))


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00.00"), (7.254, "0:07.25"), (59.999, "1:00.00"), (3599.996, "1:00:00.00"), (3723.5, "1:02:03.50")],
)
def test_stamp(seconds, text):
    assert stamp(seconds) == text


def test_timings_tell_stages_work_and_the_whole():
    timings = {
        "models": 0.5,
        "segmentation": 3.0,
        "embedding": 4.0,
        "listening": 4.0,
        "clustering": 0.4,
        "decoding": 0.1,
    }
    text = render_timings(Diarization(uri="call", duration=500.0, extra={"timings": timings}))
    assert text.splitlines() == [
        "call: 5.000 s, 100 x real time",
        "  models              0.500 s",
        "  listening           4.000 s",
        "    segmentation      3.000 s on all threads",
        "    embedding         4.000 s on all threads",
        "  clustering          0.400 s",
        "  decoding            0.100 s",
    ]
